package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/internal/wholebody"
	"thaw/samples"
)

// failingRuntime answers every event with an error.
var failingRuntime = strings.ReplaceAll(shellRuntime, "/response HTTP", "/error HTTP")

// The commands of event sources, with their examples as the help has them, against a queue of moto and a topic of Kafka:
// made, listed, looked at while records wait for a function that fails, tested, and removed.
func TestSourceCommands(t *testing.T) {
	endpoint := eventsourcetest.Moto(t)
	t.Setenv("AWS_ENDPOINT_URL_SQS", endpoint)
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	queues := sqs.New(sqs.Options{BaseEndpoint: &endpoint, Region: "us-east-1", HTTPClient: wholebody.Client(nil), Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "k", SecretAccessKey: "s"}, nil
	})})
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	dir := serving(t)
	deploy(t, dir, "hello")
	t.Chdir(t.TempDir())
	written(t, "event.json", `{"Records":[{"messageId":"1","body":"{\"n\":1}"},{"messageId":"2","body":"{\"n\":2}"},{"messageId":"3","body":"plain"}]}`)
	examples := map[string][]string{}
	for _, c := range everyCommand(sourceCommand(&app{})) {
		examples[c.Name()] = shellWords(t, c.Example)[1:]
	}

	var made shownSource
	ran(t, &made, append(examples["add"], "--filter", `{"body":{"n":[2]}}`, "--window", "0")...)
	if made.State != "Enabled" || made.Function != "hello" || made.Kind != "sqs" || made.Batch != 5 || made.Server == nil {
		t.Errorf("made: %+v", made)
	}
	for _, body := range []string{`{"n":1}`, `{"n":2}`} {
		if _, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	var s shownSource
	eventsourcetest.Until(t, "the message that passes was seen", func() bool {
		s = shownSource{}
		ran(t, &s, examples["show"]...)
		return s.Server != nil && s.Server.Last != nil && s.Server.Lag != nil && *s.Server.Lag == 0
	})
	if s.ID != made.ID || s.Server.Last.Done != 1 || s.Server.Pollers == 0 || s.last() != "OK" || s.Next != "" {
		t.Errorf("%+v %+v", s, s.Server)
	}
	var list []shownSource
	if ran(t, &list, examples["ls"]...); len(list) != 1 || list[0].Server == nil || list[0].Filters[0] != `{"body":{"n":[2]}}` {
		t.Errorf("%+v", list)
	}
	if text := ran(t, nil, examples["ls"]...); !strings.HasPrefix(text, "MAPPING ") || !strings.Contains(text, made.ID[:8]+"  hello     sqs orders  Enabled  0") {
		t.Errorf("%s", text)
	}
	var all []judged
	if ran(t, &all, examples["test"]...); len(all) != 3 || all[0].Passes || !all[1].Passes || all[2].Passes || all[1].Pattern != `{"body":{"n":[2]}}` {
		t.Errorf("%+v", all)
	}
	if text := ran(t, nil, examples["test"]...); text != "record 1 does not pass\nrecord 2 passes: {\"body\":{\"n\":[2]}}\nrecord 3 does not pass\n" {
		t.Errorf("%q", text)
	}
	abroad(t, queues)
	unwrapping(t, queues)
	failingKafka(t, made.ID)
	if text := ran(t, nil, examples["rm"]...); text != "deleted "+made.ID+", which read sqs orders for hello\n" {
		t.Errorf("%q", text)
	}
	if r := thaw(t.Context(), examples["show"]...); r.code != exitFailed || !strings.Contains(r.words, "there is no event source mapping hello; type: thaw source ls") {
		t.Errorf("after rm: exit %d, %s", r.code, r.words)
	}
}

// abroad has an alias of another region's function read a queue. Whoever names no region finds its mapping as any other, and
// hears that the alias is gone, which is not to say that the function is.
func abroad(t *testing.T, queues *sqs.Client) {
	t.Helper()
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("abroad")})
	if err != nil {
		t.Fatal(err)
	}
	written(t, "abroad/bootstrap", shellRuntime)
	ran(t, nil, "deploy", "abroad", "--runtime", "provided.al2023", "--handler", "bootstrap", "--region", "eu-north-1", "--alias", "live")
	ran(t, nil, "source", "add", "--function", "abroad:live", "--source", "arn:aws:sqs:us-east-1:123456789012:abroad")
	var list []shownSource
	if ran(t, &list, "source", "ls"); len(list) != 2 {
		t.Errorf("without a region: %d mappings", len(list))
	}
	list = nil
	if ran(t, &list, "source", "ls", "--region", "us-east-1"); len(list) != 1 || list[0].Function != "hello" {
		t.Errorf("in one region: %+v", list)
	}
	ran(t, nil, "alias", "rm", "abroad:live")
	if _, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("x")}); err != nil {
		t.Fatal(err)
	}
	var s shownSource
	eventsourcetest.Until(t, "the alias is missed", func() bool {
		s = shownSource{}
		ran(t, &s, "source", "show", "abroad")
		return s.Server != nil && s.Server.Trouble != nil
	})
	if s.last() != "The function has no version or alias live." || s.Next != "thaw alias set abroad:live VERSION, or: thaw source rm "+s.ID {
		t.Errorf("%s; next %q", s.last(), s.Next)
	}
	if text := ran(t, nil, "source", "rm", s.ID[:8]); !strings.HasPrefix(text, "deleted "+s.ID) {
		t.Errorf("%q", text)
	}
}

// failingKafka has a function that fails read a topic, beside the mapping other.
func failingKafka(t *testing.T, other string) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	broker := cluster.ListenAddrs()[0]
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	written(t, "fails/bootstrap", failingRuntime)
	ran(t, nil, "deploy", "fails", "--name", "fails", "--runtime", "provided.al2023", "--handler", "bootstrap")
	written(t, "filters.json", `{"Filters":[{"Pattern":"{\"value\":{\"n\":[{\"numeric\":[\">\",1]}]}}"}]}`)
	var s shownSource
	ran(t, &s, "source", "add", "--function", "fails", "--broker", broker, "--topic", "orders", "--start", "trim-horizon", "--batch", "1", "--filter", "filters.json")
	if s.Kind != "kafka" || s.Source != broker || s.Of != "orders" || s.Start != "TRIM_HORIZON" || s.State != "Enabled" {
		t.Errorf("%+v", s)
	}
	for _, value := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`, `{"n":5}`, `{"n":6}`, `{"n":7}`} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	eventsourcetest.Until(t, "the failure is told", func() bool {
		s = shownSource{}
		ran(t, &s, "source", "show", "fails")
		return s.Server != nil && s.Server.Trouble != nil && s.Server.Held > 0 && s.Server.Lag != nil && s.Result != "No records processed" // which is written later
	})
	v := s.Server
	if v.Trouble.Cause != "function" || v.Oldest.IsZero() || v.Pollers != 1 || len(v.Shards) != 1 || v.Shards[0].ID != "orders-0" || v.Last.Done != 0 || v.Last.Records != 1 ||
		s.Result != "PROBLEM: Function call failed" {
		t.Errorf("%+v %+v %+v", s, v, v.Trouble)
	}
	eventsourcetest.Until(t, "what is to be typed shows that request", func() bool {
		r := thaw(t.Context(), shellWords(t, s.Next)[1:]...)
		return r.code == exitOK && strings.Contains(r.out, v.Last.RequestID)
	})
	if text := ran(t, nil, "source", "show", s.ID[:8]); !strings.Contains(text, "last error   ") || !strings.Contains(text, "now type     thaw logs fails --since 1h") || !strings.Contains(text, "\norders-0  ") {
		t.Errorf("%s", text)
	}
	for typed, want := range map[string]string{"source show ": other, "source rm " + s.ID[:6]: s.ID, "source add --start ": "trim-horizon", "source add --function f": "fails",
		"source add --secret sasl-scram-5": "sasl-scram-512-auth="} {
		if r := thaw(t.Context(), append([]string{"__complete"}, strings.Split(typed, " ")...)...); !strings.Contains(r.out, want) {
			t.Errorf("%s completes to %q", typed, r.out)
		}
	}
	unreachable(t, cluster, s.ID)
	ran(t, &s, "source", "rm", s.ID)
}

// unwrapping has a function get the notifications of S3 that a queue's messages hold.
func unwrapping(t *testing.T, queues *sqs.Client) {
	t.Helper()
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("notifications")})
	if err != nil {
		t.Fatal(err)
	}
	written(t, "prints/hello.sh", "handler() { printf '%s\\n' \"got $1\" >&2; printf '{}'; }\n")
	zipped, err := samples.Zip("shell-hello")
	if err != nil {
		t.Fatal(err)
	}
	files, err := zip.NewReader(bytes.NewReader(zipped), int64(len(zipped)))
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := fs.ReadFile(files, "bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	written(t, "prints/bootstrap", string(runtime))
	ran(t, nil, "deploy", "prints", "--name", "prints", "--runtime", "provided.al2023", "--handler", "hello.handler")
	var s shownSource
	ran(t, &s, "source", "add", "--function", "prints", "--source", "arn:aws:sqs:us-east-1:123456789012:notifications", "--unwrap", "s3")
	for _, body := range []string{`{"Event":"s3:TestEvent"}`, `{"Records":[{"eventName":"s3:ObjectCreated:Put","eventSource":"minio:s3","s3":{"bucket":{"name":"b"},"object":{"key":"a%2Fb"}}}]}`} {
		if _, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	eventsourcetest.Until(t, "the function has got S3's event", func() bool {
		out := thaw(t.Context(), "logs", "prints", "--since", "1h").out
		return strings.Contains(out, `got {"Records":[{"eventVersion":"2.1","eventSource":"aws:s3"`) && strings.Contains(out, `"key":"a/b"`)
	})
	ran(t, nil, "source", "rm", s.ID)
}

// unreachable ends the cluster: the mapping says so, and one that is made now says it to whoever waits.
func unreachable(t *testing.T, cluster *kfake.Cluster, id string) {
	t.Helper()
	broker := cluster.ListenAddrs()[0]
	cluster.Close()
	r := thaw(t.Context(), "source", "add", "--function", "hello", "--broker", broker, "--topic", "orders")
	if r.code != exitFailed || !strings.Contains(r.words, "goes on trying: PROBLEM: Connection error.") || !strings.Contains(r.words, "; type: thaw source show ") {
		t.Errorf("exit %d, %s", r.code, r.words)
	}
	_, made, _ := strings.Cut(strings.TrimSpace(r.words), "type: thaw source show ")
	var s shownSource
	if ran(t, &s, "source", "show", made); s.Server.Trouble == nil || s.Server.Trouble.Cause != "source" || s.Next != "nc -vz "+strings.Replace(broker, ":", " ", 1) {
		t.Errorf("%+v %+v", s, s.Server)
	}
	if r := thaw(t.Context(), "source", "show", "hello"); r.code != exitMisuse || !strings.Contains(r.words, "hello names several event source mappings") {
		t.Errorf("exit %d, %s", r.code, r.words)
	}
	ran(t, nil, "source", "rm", made)
}

// ran runs a command that must succeed, with -o json where v is to be filled.
func ran(t *testing.T, v any, words ...string) string {
	t.Helper()
	if v != nil {
		words = append(words[:len(words):len(words)], "-o", "json")
	}
	r := thaw(t.Context(), words...)
	if r.code != exitOK || r.out == "" {
		t.Fatalf("%q: exit %d, %s", words, r.code, r.words)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(r.out), v); err != nil {
			t.Fatalf("%q: %v in %s", words, err, r.out)
		}
	}
	return r.out
}

func written(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What makes no sense is said before a server is looked for.
func TestMisuseOfSources(t *testing.T) {
	t.Setenv("THAW_DATA_DIR", t.TempDir())
	for words, want := range map[string]string{
		"source add":              "--function says",
		"source add --function f": "one of --source ARN and --broker",
		"source add --function f --source arn:aws:sqs:a:1:q --broker h:1":              "one of --source ARN and --broker",
		"source add --function f --broker h:1 --topic t --share --start latest":        "--share is of a topic",
		"source add --function f --source arn:aws:kafka:a:1:c --topic t --share":       "--share is of a topic",
		"source add --function f --broker h:1":                                         "--topic says",
		"source add --function f --source arn:aws:sqs:a:1:q --start yesterday":         "neither trim-horizon nor latest",
		"source add --function f --source arn:aws:sqs:a:1:q --secret password=x":       "not of the form TYPE=NAME",
		"source add --function f --source arn:aws:sqs:a:1:q --filter nowhere.json":     "neither JSON nor a file",
		"source add --function f --source arn:aws:sqs:a:1:q --secret basic-auth=x y z": "unknown command",
		"source test f": "--event FILE says",
	} {
		r := thaw(t.Context(), strings.Split(words, " ")...)
		if r.code != exitMisuse || !strings.Contains(r.words, want) {
			t.Errorf("%s: exit %d, %s", words, r.code, r.words)
		}
	}
}

// Filters see data as the source decodes them, whatever form of event they are in. S-027 to S-029.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind           eventsource.Kind
		pattern, event string
		want           string
	}{
		{eventsource.SQS, `{"body":{"n":[1]}}`, `{"body":"{\"n\":1}","messageId":"m"}`, "yes"},
		{eventsource.SQS, `{"messageId":["m"]}`, `{"Records":[{"body":"x","messageId":"m"},{"body":"x","messageId":"o"}]}`, "yes no"},
		{eventsource.SQS, `{"body":["x"]}`, `{"body":"{}"}`, "no"},
		{eventsource.Kinesis, `{"data":{"n":[1]}}`, `{"Records":[{"kinesis":{"data":"eyJuIjoxfQ==","partitionKey":"a"}},{"kinesis":{"data":"bm8="}}]}`, "yes no"},
		{eventsource.Kinesis, `{"partitionKey":["a"],"eventName":["e"]}`, `{"eventName":"e","kinesis":{"data":"bm8=","partitionKey":"a"}}`, "yes"},
		{eventsource.DynamoDB, `{"dynamodb":{"NewImage":{"n":{"N":["1"]}}}}`, `{"eventName":"INSERT","dynamodb":{"NewImage":{"n":{"N":"1"}}}}`, "yes"},
		{eventsource.DocumentDB, `{"event":{"operationType":["insert"]}}`, `{"events":[{"event":{"operationType":"insert"}},{"event":{"operationType":"drop"}}]}`, "yes no"},
		{eventsource.SelfManagedKafka, `{"key":["k"],"value":{"n":[1]}}`, `{"records":{"b-0":[{"topic":"b","key":"bm8=","value":"eyJuIjoxfQ=="}],"a-0":[{"topic":"a","key":"aw==","value":"eyJuIjoxfQ=="}]}}`, "yes no"},
		{eventsource.MSK, `{"headers":[{"exists":true}]}`, `{"topic":"a","headers":[{"h":[1]}]}`, "no"},
		{eventsource.RabbitMQ, `{"data":{"n":[1]}}`, `{"rmqMessagesByQueue":{"q::/":[{"data":"eyJuIjoxfQ==","redelivered":false}]}}`, "yes"},
		{eventsource.ActiveMQ, `{"data":{"n":[1]}}`, `{"messages":[{"data":"eyJuIjoyfQ=="}]}`, "no"},
		{eventsource.Kinesis, `{"data":{"n":[1]}}`, `{"body":"{}"}`, "record 1: it has no member kinesis, which a record of kinesis has in an event of its function"},
		{eventsource.Kinesis, `{"data":{"n":[1]}}`, `{"kinesis":{"data":"{}"}}`, "record 1: data is not in base64, as handlers get it; encode it by: base64 -w0"},
		{eventsource.SQS, `{"body":{"n":[1]}}`, `[]`, "it is no JSON object"},
	} {
		list, err := judge(c.kind, []string{c.pattern}, []byte(c.event))
		var got []string
		for _, j := range list {
			got = append(got, map[bool]string{true: "yes", false: "no"}[j.Passes])
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s of %s: %s, want %s", c.pattern, c.event, text, c.want)
		}
	}
}
