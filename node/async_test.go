package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	bridge "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	objects "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"thaw/admin"
	"thaw/async"
	"thaw/eventsource/eventsourcetest"
	"thaw/internal/awsconfig"
)

// send has a function run for an event without waiting for it.
func (f *deployed) send(event string) error {
	out, err := f.client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.name, Payload: []byte(event), InvocationType: types.InvocationTypeEvent})
	if err != nil {
		return err
	}
	if out.StatusCode != http.StatusAccepted || len(out.Payload) > 0 || out.ExecutedVersion != nil {
		return fmt.Errorf("answered %d %q %v", out.StatusCode, out.Payload, aws.ToString(out.ExecutedVersion))
	}
	return nil
}

// until waits for a condition.
func until(t testing.TB, limit time.Duration, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v it is not so that %s", limit, what)
		}
	}
}

// C-070, C-081, C-082, C-090: an event is run with the request id that its sender got, again after an error, and with
// the same id; the older InvokeAsync does the same.
func TestAsynchronousInvokes(t *testing.T) {
	t.Parallel()
	for _, kind := range sandboxes {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			needRoot(t, kind)
			s := openServerWith(t, kind, t.TempDir(), func(c *Config) {
				c.delays = async.Delays{Retry: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}, First: 10 * time.Millisecond, Limit: 100 * time.Millisecond}
			})
			defer s.node.Close(context.Background())
			f := s.js(`exports.handler = async (e, c) => { console.log('ran', e.n, c.awsRequestId); if (e.fail) throw new Error('no'); }`)
			if err := f.send(`{"n":"one"}`); err != nil {
				t.Fatal(err)
			}
			if err := f.send(`{"n":"two","fail":true}`); err != nil {
				t.Fatal(err)
			}
			//lint:ignore SA1019 older tools call it
			if _, err := f.client.InvokeAsync(context.Background(), &lambda.InvokeAsyncInput{FunctionName: &f.name, InvokeArgs: strings.NewReader(`{"n":"three"}`)}); err != nil {
				t.Fatal(err)
			}
			f.logs("ran one", "ran two", "ran three")
			ids := map[string]int{}
			until(t, time.Minute, "the one that fails has run three times", func() bool {
				clear(ids)
				for _, line := range f.logs() {
					if _, id, ok := strings.Cut(line, "ran two "); ok {
						ids[strings.TrimSpace(id)]++
					}
				}
				for _, n := range ids {
					return n == 3
				}
				return false
			})
			if len(ids) != 1 {
				t.Errorf("its attempts had the ids %v", ids)
			}
			until(t, time.Minute, "nothing is left", func() bool { b, err := s.node.events.Backlog(t.Context()); return err == nil && len(b) == 0 })
		})
	}
}

// What is not done can be seen, by function, and be forgotten; what runs meanwhile ends as it does.
func TestTheBacklogIsSeenAndPurged(t *testing.T) {
	t.Parallel()
	s := openServerWith(t, "process", t.TempDir(), func(c *Config) { c.AsyncConcurrency = 2 })
	defer s.node.Close(context.Background())
	gate := filepath.Join(t.TempDir(), "open")
	for d := filepath.Dir(gate); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755) //nolint:errcheck // the function's user must see into it
	}
	f := s.js(`exports.handler = async (e) => { while (!require('fs').existsSync(process.env.GATE)) await new Promise(r => setTimeout(r, 10)); console.log('ran', e) }`,
		vars(map[string]string{"GATE": gate}))
	door := admin.Dial(s.node.cfg.DataDir)
	for i := range 20 {
		if err := f.send(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, time.Minute, "two of twenty run", func() bool {
		list, err := door.Backlog(t.Context())
		return err == nil && len(list) == 1 && list[0].Events == 20 && list[0].Running == 2 && list[0].Function == f.name && list[0].Qualifier == "$LATEST" && time.Since(list[0].Oldest) < time.Minute
	})
	if list, err := door.PurgeEvents(t.Context(), f.name+":live"); err != nil || len(list) != 0 {
		t.Errorf("purged of another qualifier: %+v, %v", list, err)
	}
	if list, err := door.PurgeEvents(t.Context(), f.name); err != nil || len(list) != 1 || list[0].Events != 20 {
		t.Errorf("purged %+v, %v", list, err)
	}
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.send(`"after"`); err != nil {
		t.Fatal(err)
	}
	f.logs("ran after")
	until(t, time.Minute, "three have run: two were running when the others were forgotten, and one came later", func() bool {
		ran := 0
		for _, line := range f.logs() {
			if strings.Contains(line, "ran ") {
				ran++
			}
		}
		return ran == 3
	})
	until(t, time.Minute, "nothing is left", func() bool { list, err := door.Backlog(t.Context()); return err == nil && len(list) == 0 })
	metrics := s.get("/metrics")
	for _, want := range []string{"thaw_async_events_received_total 21", "thaw_async_event_age_seconds_count 3", "thaw_async_events_dropped_total 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in the metrics", want)
		}
	}
}

// get reads a page of the server.
func (s *server) get(path string) string {
	s.t.Helper()
	resp, err := http.Get(s.node.Endpoint() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// C-079: 1 MB is taken, a byte more is not; what is no JSON is not, either.
func TestAsynchronousPayloads(t *testing.T) {
	t.Parallel()
	s := shared(t, "process")
	f := s.js(`exports.handler = async (e) => console.log('length', e.length)`)
	if err := f.send(`"` + strings.Repeat("x", 1<<20-2) + `"`); err != nil {
		t.Fatal(err)
	}
	f.logs("length 1048574")
	for body, want := range map[string]string{`"` + strings.Repeat("x", 1<<20-1) + `"`: "(limit 1048576 bytes)", `{"a":`: "Could not parse request body into json"} {
		if err := f.send(body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("an event of %d bytes: %v", len(body), err)
		}
	}
}

// C-100: with kill -9 at any moment every event that was accepted is run, and only those that were in flight more than
// once. It counts what the function itself has written.
func TestKillsLoseNoEvent(t *testing.T) {
	t.Parallel()
	kills := 4
	if n, err := strconv.Atoi(os.Getenv("THAW_TEST_KILLS")); err == nil {
		kills = n
	}
	dir, out := t.TempDir(), t.TempDir()
	for d := out; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777) //nolint:errcheck // the function's user must get there
	}
	seen := filepath.Join(out, "seen")
	c := startChild(t, "process", dir)
	f := &deployed{c.server, "counts"}
	_, err := c.client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: &f.name, Runtime: types.Runtime(nodeRuntime(t)), Handler: aws.String("index.handler"),
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Timeout: aws.Int32(60), Environment: &types.Environment{Variables: map[string]string{"SEEN": seen}},
		Code: &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.js": `exports.handler = async (e) => require('fs').appendFileSync(process.env.SEEN, e + '\n')`})}})
	if err != nil {
		t.Fatal(err)
	}
	f.wait()
	var mu sync.Mutex
	accepted := map[string]bool{}
	n := 0
	for round := range kills {
		f := &deployed{c.server, f.name}
		before := len(accepted)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					mu.Lock()
					n++
					id := fmt.Sprint(n)
					mu.Unlock()
					if err := f.send(`"` + id + `"`); err != nil {
						return
					}
					mu.Lock()
					accepted[id] = true
					mu.Unlock()
				}
			})
		}
		until(t, time.Minute, "events are accepted", func() bool { mu.Lock(); defer mu.Unlock(); return len(accepted) > before+100+70*round })
		c.Kill()
		wg.Wait()
		c = startChild(t, "process", dir)
	}
	times := map[string]int{}
	until(t, 2*time.Minute, "all have been run", func() bool {
		text, err := os.ReadFile(seen)
		if err != nil {
			t.Fatal(err)
		}
		clear(times)
		for id := range strings.Lines(string(text)) {
			times[strings.TrimSpace(id)]++
		}
		for id := range accepted {
			if times[id] == 0 {
				return false
			}
		}
		return true
	})
	again := 0
	for _, n := range times {
		again += n - 1
	}
	if most := kills * Default().AsyncConcurrency; again > most {
		t.Errorf("%d ran again; with %d kills at most %d were in flight", again, kills, most)
	}
	t.Logf("%d kills, %d accepted, 0 lost, %d run again", kills, len(accepted), again)
}

// moto is a server that stands for SQS, SNS, EventBridge and S3.
func moto(t *testing.T) (endpoint string) {
	t.Helper()
	program := filepath.Join(eventsourcetest.Python(t, "moto[server]==5.2.5"), "bin", "moto_server")
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", "0")
	lines, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	found := make(chan string, 1)
	go func() {
		var text strings.Builder
		b := make([]byte, 4096)
		for {
			n, err := lines.Read(b)
			text.Write(b[:n])
			if _, rest, ok := strings.Cut(text.String(), "Running on "); ok && strings.Contains(rest, "\n") {
				found <- strings.Fields(rest)[0]
				io.Copy(io.Discard, lines) //nolint:errcheck // until it ends
				return
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case endpoint = <-found:
		return endpoint
	case <-time.After(time.Minute):
		t.Fatal("moto does not start")
	}
	return ""
}

// C-092, C-095, C-096: real functions, and clients of the services that were told. The endpoints come from the environment,
// as the SDK has it.
func TestDestinations(t *testing.T) { // it sets variables, so it runs alone
	endpoint := moto(t)
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SQS": endpoint, "AWS_ENDPOINT_URL_SNS": endpoint,
		"AWS_ENDPOINT_URL_EVENTBRIDGE": endpoint, "AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"} {
		t.Setenv(k, v)
	}
	ctx := t.Context()
	cfg, err := awsconfig.Load(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	queues, topics, buses := sqs.NewFromConfig(cfg), sns.NewFromConfig(cfg), eventbridge.NewFromConfig(cfg)
	buckets := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	const of = "arn:aws:%s:eu-west-1:123456789012:%s" // moto's account
	arn := func(service, name string) string { return fmt.Sprintf(of, service, name) }
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	urls := map[string]string{}
	for _, name := range []string{"dead", "told", "of-topic", "of-bus"} {
		out, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
		must(out, err)
		urls[name] = *out.QueueUrl
	}
	must(topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("topic")}))
	must(topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: aws.String(arn("sns", "topic")), Protocol: aws.String("sqs"), Endpoint: aws.String(arn("sqs", "of-topic"))}))
	must(buses.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: aws.String("bus")}))
	must(buses.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("all"), EventBusName: aws.String("bus"), EventPattern: aws.String(`{"source":["lambda"]}`)}))
	must(buses.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("all"), EventBusName: aws.String("bus"), Targets: []bridge.Target{{Id: aws.String("q"), Arn: aws.String(arn("sqs", "of-bus"))}}}))
	must(buckets.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("failures"), CreateBucketConfiguration: &objects.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}))

	s := openServer(t, "process", t.TempDir())
	defer s.node.Close(context.Background())
	f := s.js(`exports.handler = async (e) => { if (e.fail) throw new Error('no'); return { got: e.n } }`, func(in *lambda.CreateFunctionInput) {
		in.DeadLetterConfig = &types.DeadLetterConfig{TargetArn: aws.String(arn("sqs", "dead"))}
	})
	g := s.js(`exports.handler = async (e) => console.log('told of', e.requestContext.condition, JSON.stringify(e.responsePayload))`)
	received := func(queue string) sqsMessage {
		t.Helper()
		var m sqsMessage
		until(t, time.Minute, "the queue "+queue+" has a message", func() bool {
			out, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(urls[queue]), MessageAttributeNames: []string{"All"}})
			if err != nil || len(out.Messages) == 0 {
				return false
			}
			m.body, m.attributes = *out.Messages[0].Body, map[string]string{}
			for k, v := range out.Messages[0].MessageAttributes {
				m.attributes[k] = *v.DataType + " " + *v.StringValue
			}
			must(queues.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String(urls[queue]), ReceiptHandle: out.Messages[0].ReceiptHandle}))
			return true
		})
		return m
	}
	sent := func(event, onSuccess, onFailure string) {
		t.Helper()
		must(s.client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &f.name, MaximumRetryAttempts: aws.Int32(0), DestinationConfig: &types.DestinationConfig{
			OnSuccess: &types.OnSuccess{Destination: &onSuccess}, OnFailure: &types.OnFailure{Destination: &onFailure}}}))
		must(nil, f.send(event))
	}

	sent(`{"n":1}`, arn("sqs", "told"), "")
	e := readEnvelope(t, received("told").body)
	if e.RequestContext.Condition != "Success" || string(e.RequestPayload) != `{"n":1}` || string(e.ResponsePayload) != `{"got":1}` || e.ResponseContext["executedVersion"] != "$LATEST" {
		t.Errorf("a queue got %+v", e)
	}
	sent(`{"n":2}`, arn("sns", "topic"), "")
	var notice struct{ Message string }
	must(nil, json.Unmarshal([]byte(received("of-topic").body), &notice))
	if e := readEnvelope(t, notice.Message); string(e.RequestPayload) != `{"n":2}` {
		t.Errorf("a topic got %+v", e)
	}
	sent(`{"n":3}`, arn("events", "event-bus/bus"), "")
	var event struct {
		Source, Account string
		DetailType      string `json:"detail-type"`
		Detail          envelopeSeen
		Resources       []string
	}
	must(nil, json.Unmarshal([]byte(received("of-bus").body), &event))
	if event.Source != "lambda" || event.DetailType != "Lambda Function Invocation Result - Success" || strings.ReplaceAll(string(event.Detail.RequestPayload), " ", "") != `{"n":3}` || len(event.Resources) != 2 ||
		event.Resources[0] != arn("events", "event-bus/bus") || !strings.HasSuffix(event.Resources[1], f.name+":$LATEST") {
		t.Errorf("a bus got %+v", event)
	}
	sent(`{"n":4}`, "arn:aws:lambda:eu-west-1:000000000000:function:"+g.name, "")
	g.logs(`told of Success {"got":4}`)
	sent(`{"fail":true}`, "", "arn:aws:s3:::failures")
	m := received("dead")
	if m.body != `{"fail":true}` || m.attributes["ErrorCode"] != "Number 200" || m.attributes["ErrorMessage"] != "String no" || len(m.attributes["RequestID"]) != len("String ")+36 {
		t.Errorf("a dead-letter queue got %+v", m)
	}
	var key string
	until(t, time.Minute, "the bucket has an object", func() bool {
		list, err := buckets.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("failures")})
		if err == nil && len(list.Contents) == 1 {
			key = *list.Contents[0].Key
		}
		return key != ""
	})
	object, err := buckets.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("failures"), Key: &key})
	must(object, err)
	text, err := io.ReadAll(object.Body)
	must(text, err)
	if e := readEnvelope(t, string(text)); e.RequestContext.Condition != "RetriesExhausted" || "String "+e.RequestContext.RequestID != m.attributes["RequestID"] ||
		!regexp.MustCompile(`^aws/lambda/async/`+f.name+`/\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}$`).MatchString(key) {
		t.Errorf("the bucket got %s: %s", key, text)
	}
	until(t, time.Minute, "nothing is left", func() bool { b, err := s.node.events.Backlog(ctx); return err == nil && len(b) == 0 })
}

type sqsMessage struct {
	body       string
	attributes map[string]string
}

type envelopeSeen struct {
	Version        string
	RequestContext struct {
		RequestID   string `json:"requestId"`
		FunctionARN string `json:"functionArn"`
		Condition   string
		Invokes     int `json:"approximateInvokeCount"`
	}
	RequestPayload, ResponsePayload json.RawMessage
	ResponseContext                 map[string]any
}

func readEnvelope(t *testing.T, text string) envelopeSeen {
	t.Helper()
	var e envelopeSeen
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("an envelope %q: %v", text, err)
	}
	return e
}
