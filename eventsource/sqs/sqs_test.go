package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
)

func TestMain(m *testing.M) { eventsourcetest.Main(m) }

// service is a server of SQS, and a client of it.
type service struct {
	process *eventsourcetest.Process
	client  *sqs.Client
	driver  *Driver
}

var elastic struct {
	sync.Mutex
	s *service
}

// elasticMQ starts ElasticMQ, once for all tests. Queues survive its end, messages too.
func elasticMQ(t testing.TB) *service {
	t.Helper()
	elastic.Lock()
	defer elastic.Unlock()
	if elastic.s == nil {
		endpoint, process := eventsourcetest.ElasticMQ(t)
		elastic.s = at(endpoint)
		elastic.s.process = process
	}
	return elastic.s
}

var moto struct {
	sync.Mutex
	s *service
}

// motoServer starts moto, once for all tests.
func motoServer(t testing.TB) *service {
	t.Helper()
	moto.Lock()
	defer moto.Unlock()
	if moto.s == nil {
		port := strconv.Itoa(eventsourcetest.Port(t))
		moto.s = at("http://127.0.0.1:" + port)
		moto.s.process = eventsourcetest.Launch(t, eventsourcetest.Program{Ready: eventsourcetest.Listens("127.0.0.1:" + port),
			Args: []string{filepath.Join(eventsourcetest.Python(t, "moto[server]==5.2.5"), "bin", "moto_server"), "-H", "127.0.0.1", "-p", port}})
	}
	return moto.s
}

// at makes a client and a driver that go to this server, whatever the environment says.
func at(endpoint string) *service {
	s := &service{driver: New()}
	s.client = sqs.New(sqs.Options{BaseEndpoint: &endpoint, Region: "eu-west-1", HTTPClient: connections(nil),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "k", SecretAccessKey: "s"}, nil
		})})
	s.driver.clients.Put("eu-west-1", s.client)
	return s
}

// queue makes a queue and returns its ARN.
func (s *service) queue(t testing.TB, fifo bool, attributes map[string]string) string {
	t.Helper()
	name := "q" + uuid.NewString()[:8]
	all := map[string]string{"VisibilityTimeout": "30"}
	for k, v := range attributes {
		all[k] = v
	}
	if fifo {
		name += ".fifo"
		all["FifoQueue"] = "true"
	}
	if _, err := s.client.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &name, Attributes: all}); err != nil {
		t.Fatal(err)
	}
	return "arn:aws:sqs:eu-west-1:123456789012:" + name
}

func (s *service) url(t testing.TB, arn string) *string {
	t.Helper()
	out, err := s.client.GetQueueUrl(context.Background(), &sqs.GetQueueUrlInput{QueueName: aws.String(arn[strings.LastIndex(arn, ":")+1:])})
	if err != nil {
		t.Fatal(err)
	}
	return out.QueueUrl
}

// put sends messages, in that order.
func (s *service) put(t testing.TB, arn, key string, bodies ...string) {
	t.Helper()
	url := s.url(t, arn)
	for _, b := range bodies {
		in := &sqs.SendMessageInput{QueueUrl: url, MessageBody: &b}
		if strings.HasSuffix(arn, ".fifo") {
			in.MessageGroupId, in.MessageDeduplicationId = &key, aws.String(uuid.NewString())
		}
		if _, err := s.client.SendMessage(context.Background(), in); err != nil {
			t.Fatal(err)
		}
	}
}

// left is how many messages a queue has.
func (s *service) left(t testing.TB, arn string) (n int) {
	t.Helper()
	out, err := s.client.GetQueueAttributes(context.Background(), &sqs.GetQueueAttributesInput{QueueUrl: s.url(t, arn), AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"} {
		one, err := strconv.Atoi(out.Attributes[name])
		if err != nil {
			t.Fatal(err)
		}
		n += one
	}
	return n
}

func seen(t testing.TB, event []byte) (all []eventsourcetest.Seen) {
	t.Helper()
	var e struct {
		Records []struct {
			MessageID json.RawMessage `json:"messageId"`
			Body      string
		}
	}
	if err := json.Unmarshal(event, &e); err != nil {
		t.Fatal(err)
	}
	for _, r := range e.Records {
		all = append(all, eventsourcetest.Seen{Body: r.Body, ID: r.MessageID})
	}
	return all
}

func (s *service) fixture(fifo bool) eventsourcetest.Fixture {
	f := eventsourcetest.Fixture{Driver: s.driver, Seen: seen, Pattern: `{"body":{"pass":[true]}}`, Unordered: !fifo,
		New: func(t testing.TB) *eventsource.Mapping {
			return &eventsource.Mapping{Kind: eventsource.SQS, Source: eventsource.Origin{ARN: s.queue(t, fifo, nil)}}
		},
		Again: func(t testing.TB, m *eventsource.Mapping, after time.Duration) {
			all := map[string]string{"VisibilityTimeout": strconv.Itoa(int(after.Seconds()))}
			_, err := s.client.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: s.url(t, m.Source.ARN), Attributes: all})
			if err != nil {
				t.Fatal(err)
			}
		},
		Put: func(t testing.TB, m *eventsource.Mapping, key string, bodies ...string) {
			s.put(t, m.Source.ARN, key, bodies...)
		},
		Left: func(t testing.TB, m *eventsource.Mapping) int { return s.left(t, m.Source.ARN) }}
	return f
}

// S-001, S-002, S-012, S-026, S-034 to S-037, S-041, S-045, S-050: the story, and what goes wrong in it.
func TestStandardQueuesOfElasticMQ(t *testing.T) {
	s := elasticMQ(t)
	f := s.fixture(false)
	f.Stop, f.Start = func(testing.TB) { s.process.Kill() }, s.process.Start
	eventsourcetest.Run(t, f)
}

func TestFIFOQueuesOfElasticMQ(t *testing.T) { eventsourcetest.Run(t, elasticMQ(t).fixture(true)) }

// A second opinion. moto hands messages of one group of a FIFO queue out side by side when several polls wait, so it has
// none about those.
func TestStandardQueuesOfMoto(t *testing.T) { eventsourcetest.Run(t, motoServer(t).fixture(false)) }

// S-048, and what is said of a queue that is not there.
func TestCheck(t *testing.T) {
	s := elasticMQ(t)
	of := func(arn string) *eventsource.Mapping {
		return &eventsource.Mapping{Kind: eventsource.SQS, Source: eventsource.Origin{ARN: arn}}
	}
	there := s.queue(t, false, map[string]string{"VisibilityTimeout": "30"})
	if err := s.driver.Check(t.Context(), of(there), eventsource.Facts{Timeout: 30 * time.Second}); err != nil {
		t.Error(err)
	}
	for want, err := range map[string]error{
		"Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds": s.driver.Check(t.Context(), of(there), eventsource.Facts{Timeout: time.Minute}),
		"Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist.": s.driver.Check(t.Context(),
			of("arn:aws:sqs:eu-west-1:123456789012:none"), eventsource.Facts{}),
	} {
		if !errors.As(err, new(*eventsource.InvalidError)) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// S-032, S-033: members, order and types of a record; the receipt and what counts are made equal.
func TestRecords(t *testing.T) {
	s := elasticMQ(t)
	for _, fifo := range []bool{false, true} {
		arn := s.queue(t, fifo, nil)
		in := &sqs.SendMessageInput{QueueUrl: s.url(t, arn), MessageBody: aws.String(`{"k":"<&>"}`), MessageAttributes: map[string]types.MessageAttributeValue{
			"n": {DataType: aws.String("Number"), StringValue: aws.String("6")}, "b": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}}}}
		trace := ""
		if fifo {
			in.MessageGroupId, in.MessageDeduplicationId = aws.String("g"), aws.String("d")
			trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
			in.MessageSystemAttributes = map[string]types.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: &trace}}
		}
		if _, err := s.client.SendMessage(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		src, err := s.driver.Open(t.Context(), &eventsource.Mapping{Kind: eventsource.SQS, Source: eventsource.Origin{ARN: arn}}, eventsource.Facts{})
		if err != nil {
			t.Fatal(err)
		}
		all, err := src.Queue.Receive(t.Context(), 10)
		if err != nil || len(all) != 1 {
			t.Fatalf("%d records, %v", len(all), err)
		}
		eventsourcetest.AsTaken(t, eventsource.SQS, all...)
		if all[0].Trace != trace {
			t.Errorf("the trace is %q, want %q", all[0].Trace, trace)
		}
		got := string(all[0].Event)
		for _, r := range []struct{ what, with string }{
			{`"messageId":"[^"]+"`, `"messageId":"M"`}, {`"receiptHandle":"[^"]+"`, `"receiptHandle":"R"`}, {`Timestamp":"\d{13}"`, `Timestamp":"T"`},
			{`"SenderId":"[^"]+"`, `"SenderId":"S"`}, {`"SequenceNumber":"\d+"`, `"SequenceNumber":"N"`}, {`"md5Of([A-Za-z]+)":"[0-9a-f]{32}"`, `"md5Of$1":"X"`}, {arn, "ARN"},
		} {
			got = regexp.MustCompile(r.what).ReplaceAllString(got, r.with)
		}
		attributes := `"ApproximateReceiveCount":"1","SentTimestamp":"T","SenderId":"S","ApproximateFirstReceiveTimestamp":"T"`
		if fifo {
			attributes = `"ApproximateReceiveCount":"1","AWSTraceHeader":"` + trace + `","SentTimestamp":"T","SequenceNumber":"N","MessageGroupId":"g","SenderId":"S","MessageDeduplicationId":"d","ApproximateFirstReceiveTimestamp":"T"`
		}
		want := `{"messageId":"M","receiptHandle":"R","body":"{\"k\":\"<&>\"}","attributes":{` + attributes + `},"messageAttributes":{` +
			`"b":{"binaryValue":"AP8=","stringListValues":[],"binaryListValues":[],"dataType":"Binary"},"n":{"stringValue":"6","stringListValues":[],"binaryListValues":[],"dataType":"Number"}},` +
			`"md5OfMessageAttributes":"X","md5OfBody":"X","eventSource":"aws:sqs","eventSourceARN":"ARN","awsRegion":"eu-west-1"}`
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// S-035, S-036: what fails comes again when its visibility ends, counted, and after maxReceiveCount it is in the
// dead-letter queue as it was sent.
func TestRedriveIsLeftToTheQueue(t *testing.T) {
	s := elasticMQ(t)
	dead := s.queue(t, false, nil)
	arn := s.queue(t, false, map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": `{"deadLetterTargetArn":"` + dead + `","maxReceiveCount":"2"}`})
	src, err := s.driver.Open(t.Context(), &eventsource.Mapping{Kind: eventsource.SQS, Source: eventsource.Origin{ARN: arn}}, eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, arn, "", "the body")
	for want := 1; want <= 2; want++ {
		began := time.Now()
		all, err := src.Queue.Receive(t.Context(), 10)
		if err != nil || len(all) != 1 || !strings.Contains(string(all[0].Event), fmt.Sprintf(`"ApproximateReceiveCount":"%d"`, want)) {
			t.Fatalf("receive %d: %d messages, %v", want, len(all), err)
		}
		if took := time.Since(began); want > 1 && took < 500*time.Millisecond {
			t.Errorf("it was hidden for %v", took)
		}
		if err := src.Queue.GiveBack(t.Context(), all, eventsource.Failed); err != nil {
			t.Fatal(err)
		}
	}
	go src.Queue.Receive(t.Context(), 10) //nolint:errcheck // it makes the queue look
	eventsourcetest.Until(t, "the message is in the dead-letter queue", func() bool { return s.left(t, dead) == 1 })
	of, err := s.driver.Open(t.Context(), &eventsource.Mapping{Kind: eventsource.SQS, Source: eventsource.Origin{ARN: dead}}, eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := of.Queue.Receive(t.Context(), 10)
	if err != nil || len(all) != 1 || !strings.Contains(string(all[0].Event), `"body":"the body"`) {
		t.Errorf("in the dead-letter queue: %d messages, %v", len(all), err)
	}
}

// S-049: where window and function take longer than the queue hides messages, a receive hides them as long and half a
// minute more. S-044: while messages of one group are out, those of another are received, and none of the first.
func TestVisibilityAndGroups(t *testing.T) {
	s := elasticMQ(t)
	window := 5
	arn := s.queue(t, true, map[string]string{"VisibilityTimeout": "10"})
	src, err := s.driver.Open(t.Context(), &eventsource.Mapping{Kind: eventsource.SQS, Source: eventsource.Origin{ARN: arn}, Options: eventsource.Options{Window: &window}},
		eventsource.Facts{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, arn, "a", "a1", "a2", "a3")
	first, err := src.Queue.Receive(t.Context(), 2)
	if err != nil || len(first) != 2 {
		t.Fatalf("%d messages, %v", len(first), err)
	}
	if hidden := time.Until(first[0].Until); hidden < 40*time.Second || hidden > 45*time.Second {
		t.Errorf("hidden for %v, want 45 s", hidden)
	}
	s.put(t, arn, "b", "b1")
	second, err := src.Queue.Receive(t.Context(), 10)
	if err != nil || len(second) != 1 || second[0].Key != "b" || first[0].Key != "a" {
		t.Errorf("beside group a: %d messages, %v", len(second), err)
	}
	if err := src.Queue.GiveBack(t.Context(), first, eventsource.Released); err != nil {
		t.Fatal(err)
	}
	again, err := src.Queue.Receive(t.Context(), 10)
	if err != nil || len(again) < 2 || !strings.Contains(string(again[0].Event), `"body":"a1"`) {
		t.Errorf("what was released: %d messages, %v", len(again), err)
	}
}
