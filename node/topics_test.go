package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	queues "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"thaw/eventsource/eventsourcetest"
	"thaw/internal/childtest"
	"thaw/internal/wholebody"
)

func topicsAt(addr string) *sns.Client {
	return sns.New(sns.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://" + addr), RetryMaxAttempts: 1, HTTPClient: wholebody.Client(nil),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// writesMessages notes each message in a file of the function's name, whichever way it came.
const writesMessages = `exports.handler = async (e, c) => { for (const r of e.Records) {
	let text = r.Sns ? r.Sns.Message : r.body
	if (text.startsWith('{')) text = JSON.parse(text).Message
	require('fs').appendFileSync(process.env.SEEN + '/' + c.functionName, text + '\n')
} }`

// stack is a server in a process of its own with topics in front of functions and queues: a real SQS has the queues.
type stack struct {
	*child
	t      *testing.T
	seen   string // folder of what functions saw
	queues *sqs.Client
	topics *sns.Client
	start  func() *child
}

func newStack(t *testing.T) *stack {
	t.Helper()
	endpoint, broker := eventsourcetest.ElasticMQ(t)
	t.Cleanup(broker.Kill)
	s := &stack{t: t, seen: t.TempDir(), queues: sqs.New(sqs.Options{Region: "eu-west-1", BaseEndpoint: &endpoint, HTTPClient: wholebody.Client(nil),
		Credentials: credentials.NewStaticCredentialsProvider("k", "s", "")})}
	dir := t.TempDir()
	for d := s.seen; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777) //nolint:errcheck // the function's user must get there
	}
	s.start = func() *child {
		p := childtest.Start(t, "TestServeUntilKilled", "process "+dir, "AWS_ENDPOINT_URL_SQS="+endpoint, "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s")
		addr := p.Line()
		s.topics = topicsAt(addr)
		return &child{&server{t: t, client: clientOf(addr), kind: "process"}, p}
	}
	s.child = s.start()
	return s
}

// function makes one, and returns its ARN.
func (s *stack) function(name string) string {
	s.t.Helper()
	out, err := s.client.CreateFunction(s.t.Context(), &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.Runtime(nodeRuntime(s.t)), Handler: aws.String("index.handler"), Publish: true,
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Environment: &types.Environment{Variables: map[string]string{"SEEN": s.seen}},
		Code: &types.FunctionCode{ZipFile: zipOf(s.t, map[string]string{"index.js": writesMessages})}})
	if err != nil {
		s.t.Fatal(err)
	}
	(&deployed{s.server, name}).wait()
	return strings.TrimSuffix(*out.FunctionArn, ":1")
}

// queue makes one, which a function reads unless that is empty.
func (s *stack) queue(name, function string) string {
	s.t.Helper()
	attributes := map[string]string{"VisibilityTimeout": "5"}
	if strings.HasSuffix(name, ".fifo") {
		attributes["FifoQueue"] = "true"
	}
	if _, err := s.queues.CreateQueue(s.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}); err != nil {
		s.t.Fatal(err)
	}
	arn := "arn:aws:sqs:eu-west-1:123456789012:" + name
	if function != "" {
		if _, err := s.client.CreateEventSourceMapping(s.t.Context(), &lambda.CreateEventSourceMappingInput{FunctionName: &function, EventSourceArn: &arn}); err != nil {
			s.t.Fatal(err)
		}
	}
	return arn
}

func (s *stack) subscribe(topic, protocol, endpoint string, attributes map[string]string) {
	s.t.Helper()
	if _, err := s.topics.Subscribe(s.t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint, Attributes: attributes}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stack) topic(name string, attributes map[string]string) string {
	s.t.Helper()
	out, err := s.topics.CreateTopic(s.t.Context(), &sns.CreateTopicInput{Name: &name, Attributes: attributes})
	if err != nil {
		s.t.Fatal(err)
	}
	return *out.TopicArn
}

// saw is what a function has seen, each message once, in the order of the first time.
func (s *stack) saw(name string) (first []string, times int) {
	b, _ := os.ReadFile(filepath.Join(s.seen, name)) //nolint:errcheck // nothing yet
	all := strings.Fields(string(b))
	for _, m := range all {
		if !slices.Contains(first, m) {
			first = append(first, m)
		}
	}
	return first, len(all)
}

// dead counts the messages of a queue that nobody reads.
func (s *stack) dead(queue string) int {
	s.t.Helper()
	url, err := s.queues.GetQueueUrl(s.t.Context(), &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := s.queues.GetQueueAttributes(s.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: url.QueueUrl, AttributeNames: []queues.QueueAttributeName{"ApproximateNumberOfMessages"}})
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := strconv.Atoi(out.Attributes["ApproximateNumberOfMessages"])
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// publishing sends messages until the server is killed, and returns those that were accepted.
func (s *stack) publishing(topic, prefix string, enough chan<- struct{}, after int) (accepted []string) {
	in := &sns.PublishInput{TopicArn: &topic}
	if strings.HasSuffix(topic, ".fifo") {
		in.MessageGroupId = aws.String("g")
	}
	topics := s.topics
	for i := 0; ; i++ {
		text := fmt.Sprintf("%s-%d", prefix, i)
		in.Message = &text
		if _, err := topics.Publish(context.Background(), in); err != nil {
			if i <= after {
				s.t.Errorf("message %s: %v", text, err)
				close(enough)
			}
			return accepted
		}
		if accepted = append(accepted, text); i == after {
			close(enough)
		}
	}
}

// With kill -9 in the middle of publishing, what was accepted reaches every function of the topic, one of them by an alias,
// the functions behind its queues, raw and not, and the dead-letter queue of a function that is gone. FIFO topics keep
// their order through queue and mapping. (THAW_TEST_KILLS is how many kills there are.)
func TestKillsLoseNoNotification(t *testing.T) {
	t.Parallel()
	kills := 2
	if n, err := strconv.Atoi(os.Getenv("THAW_TEST_KILLS")); err == nil {
		kills = n
	}
	s := newStack(t)
	topic, fifo := s.topic("orders", nil), s.topic("orders.fifo", map[string]string{"FifoTopic": "true", "ContentBasedDeduplication": "true"})
	arn := s.function("one")
	if _, err := s.client.CreateAlias(t.Context(), &lambda.CreateAliasInput{FunctionName: aws.String("one"), Name: aws.String("live"), FunctionVersion: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	s.subscribe(topic, "lambda", arn+":live", nil)
	for _, name := range []string{"two", "three"} {
		s.subscribe(topic, "lambda", s.function(name), nil)
	}
	raw := map[string]string{"RawMessageDelivery": "true"}
	for _, name := range []string{"fromraw", "fromwrapped", "fromfifo"} {
		s.function(name)
	}
	s.subscribe(topic, "sqs", s.queue("raw", "fromraw"), raw)
	s.subscribe(topic, "sqs", s.queue("wrapped", "fromwrapped"), nil)
	s.subscribe(topic, "lambda", arn+"-deleted", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + s.queue("dead", "") + `"}`})
	s.subscribe(fifo, "sqs", s.queue("ordered.fifo", "fromfifo"), raw)

	accepted := map[string][]string{}
	for round := range kills {
		plain, ordered := make(chan struct{}), make(chan struct{})
		got := make(chan []string)
		go func() { got <- s.publishing(topic, fmt.Sprint("p", round), plain, 20) }()
		gotOrdered := make(chan []string)
		go func() { gotOrdered <- s.publishing(fifo, fmt.Sprint("o", round), ordered, 5) }()
		<-plain
		<-ordered
		s.Kill()
		accepted[topic] = append(accepted[topic], <-got...)
		accepted[fifo] = append(accepted[fifo], <-gotOrdered...)
		s.child = s.start()
	}
	for name, want := range map[string][]string{"one": accepted[topic], "two": accepted[topic], "three": accepted[topic], "fromraw": accepted[topic], "fromwrapped": accepted[topic], "fromfifo": accepted[fifo]} {
		lost := ""
		until(t, 2*time.Minute, "every message at "+name, func() bool {
			first, _ := s.saw(name)
			i := slices.IndexFunc(want, func(m string) bool { return !slices.Contains(first, m) })
			if i >= 0 {
				lost = want[i]
			}
			return i < 0
		})
		first, times := s.saw(name)
		t.Logf("%s: %d kills, %d accepted, 0 lost (last %q), %d seen again", name, kills, len(want), lost, times-len(first))
		known := slices.DeleteFunc(first, func(m string) bool { return !slices.Contains(want, m) })
		if name == "fromfifo" && !slices.Equal(known, want) {
			t.Errorf("in order it is %v\nwant %v", known, want)
		}
	}
	until(t, time.Minute, "every message in the dead-letter queue", func() bool { return s.dead("dead") >= len(accepted[topic]) })
	if list, err := s.topics.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic}); err != nil || len(list.Subscriptions) != 6 {
		t.Errorf("%v, %v", list, err)
	}
}
