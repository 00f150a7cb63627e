package node

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/internal/childtest"
)

// readerJS writes what it is given into files, one for each source, and answers a little later: that is when most kills come.
const readerJS = `const text = (b) => Buffer.from(b, 'base64').toString();
const told = (source, what) => require('node:fs').appendFileSync(process.env.SEEN + '/' + source, what + '\n');
exports.handler = async (e) => {
  if (e.rmqMessagesByQueue) for (const m of Object.values(e.rmqMessagesByQueue).flat()) told('rabbitmq', text(m.data));
  else if (e.messages) for (const m of e.messages) told('activemq', text(m.data));
  else if (e.events) for (const { event } of e.events) told('documentdb', event.fullDocument._id);
  else if (e.records) for (const r of Object.values(e.records).flat()) told('kafka', text(r.value));
  else for (const r of e.Records) {
    if (r.kinesis) told(r.eventSourceARN.split('/')[1], text(r.kinesis.data));
    else if (r.dynamodb) told(r.eventSourceARN.split('/')[1], r.dynamodb.Keys.id.S);
    else told(r.eventSourceARN.split(':')[5], r.body);
  }
  await new Promise((go) => setTimeout(go, 30));
};
`

// ledger is what was put into a source.
type ledger struct {
	mu   sync.Mutex
	sent []string          // in order
	of   map[string]string // whose order a record belongs to
	seen string            // the file in which the function writes
	mark int               // how many were seen at the last kill
}

// read are the records that the function has told of, in that order.
func (l *ledger) read() []string {
	b, _ := os.ReadFile(l.seen) //nolint:errcheck // nothing yet
	return strings.Fields(string(b))
}

// missing is how many records no function has been given.
func (l *ledger) missing() (n int) {
	there := map[string]bool{}
	for _, body := range l.read() {
		there[body] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, body := range l.sent {
		if !there[body] {
			n++
		}
	}
	return n
}

// With kill -9 of the server at any moment, while records come all the time, every record of every source is given to a
// real function, in order where its source has one, and again only as at-least-once allows; it is counted what the
// function itself has written. The mappings name an alias. Kinesis and DynamoDB have tests of their own.
// (THAW_TEST_KILLS is how many kills there are. With it Kafka is Apache's.)
func TestKillsLoseNoRecord(t *testing.T) {
	t.Parallel()
	kills, long := killsAsked()
	feeds := []*feed{documentFeed(t)}
	if having(t, "ElasticMQ", "mvn", "java") {
		feeds = append(feeds, queueFeeds(t)...)
	}
	if having(t, "ActiveMQ", "mvn", "javac") {
		feeds = append(feeds, activeFeed(t))
	}
	if having(t, "RabbitMQ", "apt-get", "dpkg") {
		feeds = append(feeds, rabbitFeed(t))
	}
	if !long || having(t, "Apache Kafka", "mvn", "java") {
		feeds = append(feeds, kafkaFeed(t, long))
	}
	killWhileRead(t, feeds, kills)
}

// having says whether programs are here that a server needs; without them the other sources are tested.
func having(t *testing.T, server string, programs ...string) bool {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Logf("%s is left out: %v", server, err)
			return false
		}
	}
	return true
}

// killsAsked is how many kills a test of sources makes, and whether somebody asked for that.
func killsAsked() (kills int, long bool) {
	if n, err := strconv.Atoi(os.Getenv("THAW_TEST_KILLS")); err == nil {
		return n, true
	}
	return 2, false
}

// killWhileRead kills a server that reads all feeds, again and again, and counts what was seen.
func killWhileRead(t *testing.T, feeds []*feed, kills int) {
	t.Helper()
	dir, out := t.TempDir(), t.TempDir()
	for d := out; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777) //nolint:errcheck // the function's user must get there
	}
	sources, env := tell(t, dir, feeds)
	start := func() *child {
		p := childtest.Start(t, "TestServeUntilKilled", "process "+dir+" "+sources, env...)
		return &child{&server{t: t, client: clientOf(p.Line()), kind: "process"}, p}
	}
	c := start()
	mappings := readAll(t, c, feeds, out)
	books := make([]*ledger, len(feeds))
	over := make(chan struct{})
	var senders sync.WaitGroup
	stop := sync.OnceFunc(func() { close(over); senders.Wait() })
	defer stop()
	for i, f := range feeds {
		books[i] = &ledger{of: map[string]string{}, seen: filepath.Join(out, f.name)}
		senders.Go(func() { send(t, f, books[i], over) })
	}
	for range kills {
		for i, f := range feeds {
			b := books[i]
			until(t, 2*time.Minute, "records of "+f.name+" are read", func() bool { return len(b.read()) > b.mark+10 })
		}
		time.Sleep(rand.N(400 * time.Millisecond)) // wherever a batch may be
		c.Kill()
		for _, b := range books {
			b.mark = len(b.read())
		}
		c = start()
	}
	stop()
	for i, f := range feeds {
		until(t, 2*time.Minute, "everything of "+f.name+" is read", func() bool { return books[i].missing() == 0 })
		judge(t, f, books[i], kills)
	}
	for _, id := range mappings {
		m, err := c.client.GetEventSourceMapping(t.Context(), &lambda.GetEventSourceMappingInput{UUID: id})
		if err != nil || aws.ToString(m.State) != "Enabled" || !strings.HasSuffix(aws.ToString(m.FunctionArn), ":reads:live") || strings.HasPrefix(aws.ToString(m.LastProcessingResult), "PROBLEM") {
			t.Errorf("%+v, %v", m, err)
		}
	}
}

// readAll makes the function, and the mappings of all feeds.
func readAll(t *testing.T, c *child, feeds []*feed, out string) (mappings []*string) {
	t.Helper()
	f := &deployed{c.server, "reads"}
	_, err := c.client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: &f.name, Runtime: types.Runtime(nodeRuntime(t)), Handler: aws.String("index.handler"), Publish: true,
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Environment: &types.Environment{Variables: map[string]string{"SEEN": out}},
		Code: &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.js": readerJS})}})
	if err != nil {
		t.Fatal(err)
	}
	f.wait()
	if _, err := c.client.CreateAlias(t.Context(), &lambda.CreateAliasInput{FunctionName: &f.name, Name: aws.String("live"), FunctionVersion: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	for _, f := range feeds {
		f.mapping.FunctionName = aws.String("reads:live")
		m, err := c.client.CreateEventSourceMapping(t.Context(), &f.mapping)
		if err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		mappings = append(mappings, m.UUID)
	}
	return mappings
}

// farAhead is how many records may wait: servers of queues become slow where many do.
const farAhead = 200

// send puts records, one after the other, until over is closed.
func send(t *testing.T, f *feed, b *ledger, over <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-over:
			return
		case <-time.After(40 * time.Millisecond):
		}
		for n%50 == 49 && b.missing() > farAhead {
			select {
			case <-over:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
		key := string(rune('a' + n%3))
		body := fmt.Sprintf("%s-%d", key, n)
		if err := f.put(key, body); err != nil {
			t.Errorf("%s: %v", f.name, err)
			return
		}
		b.mu.Lock()
		b.sent = append(b.sent, body)
		if f.order != nil {
			b.of[body] = f.order(key)
		}
		b.mu.Unlock()
	}
}

// judge says what was seen more than once, and holds the order of those that were seen first against that of sending.
func judge(t *testing.T, f *feed, b *ledger, kills int) {
	t.Helper()
	all := b.read()
	first, known := map[string][]string{}, map[string]bool{}
	for _, body := range all {
		if !known[body] {
			known[body] = true
			first[b.of[body]] = append(first[b.of[body]], body)
		}
	}
	order := "none to keep"
	if f.order != nil {
		want := map[string][]string{}
		for _, body := range b.sent {
			want[b.of[body]] = append(want[b.of[body]], body)
		}
		order = "kept"
		for of, w := range want {
			if !slices.Equal(first[of], w) {
				order = "broken"
				t.Errorf("%s %s was seen as\n%v\nwant\n%v", f.name, of, first[of], w)
			}
		}
	}
	t.Logf("%s: %d kills, %d sent, 0 lost, %d seen again, order %s", f.name, kills, len(b.sent), len(all)-len(b.sent), order)
}
