package kafka_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/kafka"
)

// asQueue makes a mapping one of a share group that begins with what is there.
func asQueue(t testing.TB, k *kgo.Client, m *eventsource.Mapping) *eventsource.Mapping {
	t.Helper()
	m.Source.Queue, m.Source.Start, m.Source.GroupID = true, "", "share-"+string(m.ID)
	configure(t, k, m.Source.GroupID, "share.auto.offset.reset", "earliest")
	return m
}

func configure(t testing.TB, k *kgo.Client, group, name, value string) {
	t.Helper()
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	one, c := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, &value
	one.ResourceType, one.ResourceName, one.Configs = kmsg.ConfigResourceTypeGroupConfig, group, append(one.Configs, c)
	r.Resources = append(r.Resources, one)
	response, err := r.RequestWith(t.Context(), k)
	if err != nil || response.Resources[0].ErrorCode != 0 {
		t.Fatal(err, response)
	}
}

func queueFixture(t *testing.T, c *kfake.Cluster) eventsourcetest.Fixture {
	t.Helper()
	f := fixture(t, c)
	k := client(t, c)
	stream := f.New
	f.New = func(t testing.TB) *eventsource.Mapping { return asQueue(t, k, stream(t)) }
	f.Unordered = true
	return f
}

func TestConformanceOfQueues(t *testing.T) {
	t.Parallel()
	eventsourcetest.Run(t, queueFixture(t, cluster(t, kfake.NumBrokers(3))))
}

// queueOf is a mapping of a share group with a topic of its own, in front of any cluster.
func queueOf(t *testing.T, k *kgo.Client, brokers []string, topic string, partitions int32) *eventsource.Mapping {
	t.Helper()
	createTopic(t, k, topic, partitions)
	m := &eventsource.Mapping{
		ID: eventsource.ID(uuid.NewString()), Kind: eventsource.SelfManagedKafka, Function: fn, Partition: "aws", State: eventsource.Creating,
		Source: eventsource.Origin{Brokers: brokers, Topics: []string{topic}},
	}
	m.Options.BatchSize, m.Options.MaxAge = 10, -1
	return asQueue(t, k, m)
}

// A function may run for longer than records are locked: nobody else gets them meanwhile. S-086 for queues.
func testLongFunction(t *testing.T, k *kgo.Client, brokers []string) {
	m := queueOf(t, k, brokers, "long-function", 2)
	configure(t, k, m.Source.GroupID, "share.record.lock.duration.ms", "3000")
	var mu sync.Mutex
	seen := map[string]int{}
	done := 0
	service := serveFunction(t, func(values []string) error {
		mu.Lock()
		for _, v := range values {
			seen[v]++
		}
		mu.Unlock()
		time.Sleep(7500 * time.Millisecond) // what it is about: locks run out after three seconds, however busy the machine is
		mu.Lock()
		defer mu.Unlock()
		done += len(values)
		return nil
	})
	for n := range 8 {
		put(t, k, &kgo.Record{Topic: "long-function", Value: []byte(strconv.Itoa(n))})
	}
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "all records are done with", func() bool { mu.Lock(); defer mu.Unlock(); return done >= 8 })
	mu.Lock()
	defer mu.Unlock()
	for n := range 8 {
		if got := seen[strconv.Itoa(n)]; got != 1 {
			t.Errorf("%d was seen %d times", n, got)
		}
	}
}

// What fails each time it is delivered goes to the destination, and to nobody any more; the cluster counts.
func testGivenUp(t *testing.T, k *kgo.Client, brokers []string) {
	m := queueOf(t, k, brokers, "given-up", 1)
	m.Options.BatchSize, m.Options.OnFailure, m.Options.Pollers = 1, "kafka://lost-ones", &eventsource.Pollers{Min: 1, Max: 1}
	createTopic(t, k, "lost-ones", 1)
	configure(t, k, m.Source.GroupID, "share.delivery.count.limit", "2")
	var mu sync.Mutex
	seen := map[string]int{}
	service := serveFunction(t, func(values []string) error {
		mu.Lock()
		defer mu.Unlock()
		seen[values[0]]++
		if values[0] == "bad" {
			return errors.New("as ever")
		}
		return nil
	})
	put(t, k, &kgo.Record{Topic: "given-up", Key: []byte("k"), Value: []byte("bad")})
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("lost-ones"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	told := reader.PollFetches(t.Context()).Records()
	if len(told) != 1 || string(told[0].Key) != "k" || !strings.Contains(string(told[0].Value), `"approximateInvokeCount":2`) || !strings.Contains(string(told[0].Value), `"condition":"RetriesExhausted"`) {
		t.Errorf("told %d times: %s", len(told), told[0].Value)
	}
	put(t, k, &kgo.Record{Topic: "given-up", Value: []byte("good")})
	eventsourcetest.Until(t, "what comes behind is seen", func() bool { mu.Lock(); defer mu.Unlock(); return seen["good"] == 1 })
	mu.Lock()
	defer mu.Unlock()
	if seen["bad"] != 2 {
		t.Errorf("the bad one was seen %d times, want 2", seen["bad"])
	}
}

// Offsets without a record, which transactions leave, keep nothing from being done with.
func testTransactions(t *testing.T, k *kgo.Client, brokers []string) {
	m := queueOf(t, k, brokers, "transactions", 1)
	configure(t, k, m.Source.GroupID, "share.isolation.level", "read_committed")
	sender, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.TransactionalID("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	var mu sync.Mutex
	var seen []string
	service := serveFunction(t, func(values []string) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, values...)
		return nil
	})
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for n, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := sender.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		put(t, sender, &kgo.Record{Topic: "transactions", Value: []byte(strconv.Itoa(n))})
		if err := sender.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		eventsourcetest.Until(t, "nothing is left", func() bool { return service.Status(t.Context())[0].Lag == 0 })
	}()
	eventsourcetest.Until(t, "what was committed is seen", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Equal(slices.Sorted(slices.Values(seen)), []string{"0", "2"})
	})
}

// A registry that is away costs no delivery: what cannot be read yet stays in hand.
func TestQueueWithSchemas(t *testing.T) {
	t.Parallel()
	registry := srfake.New()
	defer registry.Close()
	registry.SeedSchema("orders", 1, 7, sr.Schema{Schema: `{"type":"record","name":"Order","fields":[{"name":"n","type":"long"}]}`})
	c := cluster(t)
	k := client(t, c)
	m := asQueue(t, k, selfManaged(c, "lost"))
	m.Source.Schema = &eventsource.Schema{URI: registry.URL(), Attributes: []string{"VALUE"}}
	put(t, k, &kgo.Record{Topic: "lost", Value: []byte{0, 0, 0, 0, 7, 0x0a}}, &kgo.Record{Topic: "lost", Value: []byte("x")})
	src := open(t, kafka.New(noSecrets, nil, load), m)
	for _, status := range []int{http.StatusInternalServerError, http.StatusUnauthorized, http.StatusInternalServerError} {
		registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "{}", status)
			return true
		})
		_, err := src.Queue.Receive(t.Context(), 2)
		var p *eventsource.ProblemError
		if !errors.As(err, &p) || errors.Is(err, eventsource.ErrBroken) || !strings.Contains(p.Text, "schema registry") {
			t.Errorf("status %d: %v", status, err)
		}
		registry.ClearInterceptors()
	}
	all := eventsourcetest.Receive(t, src.Queue, 2)
	if got := string(all[0].Event); !strings.Contains(got, `"value":"eyJuIjo1fQ=="`) || all[1].Unreadable != "DESERIALIZATION_ERROR" {
		t.Errorf("read %s, and %q", got, all[1].Unreadable)
	}
	for _, r := range all {
		if r.Deliveries != 1 || r.Last {
			t.Errorf("%s was delivered %d times, the last time: %t", r.ID, r.Deliveries, r.Last)
		}
	}
	if err := src.Queue.Acknowledge(t.Context(), all); err != nil {
		t.Error(err)
	}
}

// child is what the test says to a server that it kills: brokers, topic, group.
const child = "THAW_TEST_QUEUE"

// TestQueueChild is that server: it tells of what it has seen, until it is killed.
func TestQueueChild(t *testing.T) {
	of := strings.Split(os.Getenv(child), " ")
	if len(of) != 3 {
		t.Skip("it is started by another test")
	}
	service := serveFunction(t, func(values []string) error {
		for _, v := range values {
			fmt.Println("seen", v)
		}
		time.Sleep(10 * time.Millisecond) // in which it may die
		return nil
	})
	m := &eventsource.Mapping{ID: "child", Kind: eventsource.SelfManagedKafka, Function: fn, Partition: "aws", State: eventsource.Creating,
		Source: eventsource.Origin{Brokers: []string{of[0]}, Topics: []string{of[1]}, GroupID: of[2], Queue: true}}
	m.Options.BatchSize, m.Options.MaxAge = 2, -1
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute) // longer than the test that kills it
}

// A server that is killed leaves its records to the next one at once: nothing is lost.
func testKills(t *testing.T, k *kgo.Client, brokers []string) {
	const records, kills = 60, 4
	m := queueOf(t, k, brokers, "kills", 3)
	configure(t, k, m.Source.GroupID, "share.delivery.count.limit", strconv.Itoa(kills+2))
	for n := range records {
		put(t, k, &kgo.Record{Topic: "kills", Value: []byte(strconv.Itoa(n))})
	}
	seen := map[string]int{}
	for run := 0; len(seen) < records; run++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestQueueChild$", "-test.v")
		cmd.Env = append(os.Environ(), child+"="+strings.Join([]string{brokers[0], "kills", m.Source.GroupID}, " "))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		patience := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		before, more := len(seen), 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if v, ok := strings.CutPrefix(lines.Text(), "seen "); ok {
				seen[v]++
				more++
			}
			if len(seen) == records || run < kills && more >= 10 {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait() // it was killed
		if !patience.Stop() || run > 2*kills {
			t.Fatalf("run %d: %d of %d seen, %d before", run, len(seen), records, before)
		}
	}
	again := -records
	for _, n := range seen {
		again += n
	}
	t.Logf("%d kills, %d put, 0 lost, %d seen again", kills, records, again)
}

// queueAround begins a queue, which has to go on after the broker has been killed and has come back.
func queueAround(t *testing.T, k *kgo.Client, b *eventsourcetest.Kafka) (after func(t *testing.T)) {
	m := queueOf(t, k, []string{b.Plain}, "around", 2)
	var mu sync.Mutex
	seen := map[string]bool{}
	service := serveFunction(t, func(values []string) error {
		mu.Lock()
		defer mu.Unlock()
		for _, v := range values {
			seen[v] = true
		}
		return nil
	})
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	send := func(from, to int) {
		for n := from; n < to; n++ {
			put(t, k, &kgo.Record{Topic: "around", Value: []byte(strconv.Itoa(n))})
		}
		eventsourcetest.Until(t, "what was put is seen", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == to })
	}
	send(0, 10)
	return func(t *testing.T) {
		send(10, 20)
		eventsourcetest.Until(t, "the problem is forgotten", func() bool { return !strings.HasPrefix(result(t, service, m), "PROBLEM: ") })
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	c := cluster(t, kfake.BrokerConfigs(map[string]string{"group.share.record.lock.duration.ms": "1000", "share.record.lock.sweep.interval.ms": "100"}))
	k := client(t, c)
	t.Run("long function", func(t *testing.T) { testLongFunction(t, k, c.ListenAddrs()) })
	t.Run("given up", func(t *testing.T) { testGivenUp(t, k, c.ListenAddrs()) })
}
