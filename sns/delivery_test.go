package sns

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"thaw/async"
	"thaw/push"
	"thaw/trigger"
)

const topicARN = "arn:aws:sns:eu-west-1:000000000000:orders"

// What each kind of subscription gets of one message.
func TestFanOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	topic := b.topic("orders", nil)
	fn := b.subscribe(topic, "lambda", worker, nil)
	b.subscribe(topic, "sqs", queueARN("all"), nil)
	b.subscribe(topic, "sqs", queueARN("raw"), map[string]string{rawDelivery: "true"})
	b.subscribe(topic, "sqs", queueARN("none"), map[string]string{filterPolicy: `{"kind":["other"]}`})
	b.subscribe(topic, "lambda", worker+":live", map[string]string{filterPolicy: `{"kind":["other"]}`})
	_, err := b.client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Subject: aws.String("s"), MessageStructure: aws.String("json"),
		Message: aws.String(`{"default":"all","lambda":"for functions","sqs":"for queues","http":7}`),
		MessageAttributes: map[string]types.MessageAttributeValue{"kind": {DataType: aws.String("String"), StringValue: aws.String("new")},
			"bytes": {DataType: aws.String("Binary"), BinaryValue: []byte{1, 2}}}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the message in two queues", func() bool { return len(b.to.sent()) == 2 })
	events := b.to.taken()
	var event struct {
		Records []struct {
			EventSubscriptionArn string
			Sns                  struct {
				Subject, Message  string
				MessageAttributes map[string]trigger.SNSAttribute
			}
		}
	}
	if len(events) != 1 || json.Unmarshal(events[0].Payload, &event) != nil || event.Records[0].Sns.Message != "for functions" || event.Records[0].Sns.Subject != "s" ||
		event.Records[0].EventSubscriptionArn != fn || event.Records[0].Sns.MessageAttributes["bytes"].Value != "AQI=" {
		t.Errorf("events %+v", events)
	}
	for _, m := range b.to.sent() {
		if m.Queue == queueARN("raw") {
			if m.Body != "for queues" || len(m.Attributes) != 2 {
				t.Errorf("raw: %+v", m)
			}
			continue
		}
		n, err := trigger.ParseSNS([]byte(m.Body))
		if err != nil || n.Message != "for queues" || len(m.Attributes) > 0 || n.Attributes["kind"].Value != "new" {
			t.Errorf("%+v, %v", m, err)
		}
	}
	until(t, "an empty mailbox", func() bool { return b.box.len() == 0 })
}

// A message is tried again as the service does, and what was sent is not sent again by a restart in between.
func TestRetriesOverRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := makeBench(t, true)
		var attempts []time.Duration
		began := time.Now()
		broken := true
		b.to.fail = func(m *push.QueueMessage) error {
			if m.Queue != queueARN("broken") || !broken {
				return nil
			}
			attempts = append(attempts, time.Since(began).Round(time.Second))
			return errors.New("nobody listens")
		}
		b.do("CreateTopic", "Name", "orders")
		for _, q := range []string{"fine", "broken"} {
			b.do("Subscribe", "TopicArn", topicARN, "Protocol", "sqs", "Endpoint", queueARN(q))
		}
		b.do("Publish", "TopicArn", topicARN, "Message", "m")
		time.Sleep(8 * time.Second)
		b.again()
		time.Sleep(time.Minute)
		synctest.Wait()
		b.to.mu.Lock()
		got := fmt.Sprint(attempts[:9])
		b.to.mu.Unlock()
		if got != "[0s 0s 0s 0s 1s 2s 3s 5s 9s]" {
			t.Errorf("attempts after %s", got)
		}
		b.to.mu.Lock()
		broken = false
		b.to.mu.Unlock()
		time.Sleep(time.Minute)
		var sent []string
		for _, m := range b.to.sent() {
			sent = append(sent, m.Queue)
		}
		if want := []string{queueARN("fine"), queueARN("broken")}; !slices.Equal(sent, want) || b.box.len() > 0 {
			t.Errorf("sent to %v, %d letters left", sent, b.box.len())
		}
	})
}

// What no attempt helps goes to the dead-letter queue, with what went wrong; so does what a function does not take.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := makeBench(t, true)
		down := 3
		b.to.fail = func(m *push.QueueMessage) error {
			switch {
			case m.Queue == queueARN("gone"):
				return &async.PermanentError{Err: errors.New("QueueDoesNotExist")}
			case m.Queue == queueARN("dead") && down > 0:
				down--
				return errors.New("nobody listens")
			}
			return nil
		}
		b.do("CreateTopic", "Name", "orders")
		redrive := []string{"Attributes.entry.1.key", redrivePolicy, "Attributes.entry.1.value", `{"deadLetterTargetArn":"` + queueARN("dead") + `"}`}
		subscribe := func(protocol, endpoint string, more ...string) {
			b.do("Subscribe", append([]string{"TopicArn", topicARN, "Protocol", protocol, "Endpoint", endpoint}, more...)...)
		}
		subscribe("sqs", queueARN("gone"), redrive...)
		subscribe("lambda", worker+"-deleted", redrive...)
		subscribe("lambda", worker+"-forgotten") // nobody gets this one
		subscribe("lambda", worker)
		b.do("Publish", "TopicArn", topicARN, "Message", "m", "MessageAttributes.entry.1.Name", "a", "MessageAttributes.entry.1.Value.DataType", "String", "MessageAttributes.entry.1.Value.StringValue", "v")
		time.Sleep(time.Hour)
		got := b.to.sent()
		if len(got) != 2 || b.box.len() > 0 || len(b.to.taken()) != 1 {
			t.Fatalf("%d dead letters, %d letters left", len(got), b.box.len())
		}
		for _, m := range got {
			n, err := trigger.ParseSNS([]byte(m.Body))
			names := ""
			for _, a := range m.Attributes {
				names += a.Name + " "
			}
			if err != nil || m.Queue != queueARN("dead") || n.Message != "m" || n.Attributes["a"].Value != "v" || names != "RequestID ErrorCode ErrorMessage " {
				t.Errorf("%+v, %v", m, err)
			}
		}
	})
}

// Where signatures are verified, a function's policy decides whether it gets what a topic has for it: point 7 of the issue's
// rule that AddPermission is what lets a source invoke.
func TestFunctionsPolicy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enforced = true
	topic := b.topic("orders", nil)
	b.subscribe(topic, "lambda", worker, map[string]string{redrivePolicy: `{"deadLetterTargetArn":"` + queueARN("dead") + `"}`})
	b.publish(topic, "m")
	until(t, "the dead letter", func() bool { return len(b.to.sent()) == 1 })
	a := b.to.sent()[0].Attributes
	if len(b.to.taken()) > 0 || !strings.Contains(a[len(a)-1].Value, "aws lambda add-permission --function-name "+worker) || !strings.Contains(a[len(a)-1].Value, "--principal sns.amazonaws.com --source-arn "+topic) {
		t.Errorf("%+v", a)
	}
}

// FIFO: the order of a group is kept while the queue does not answer, another group goes on, and duplicates are known for
// five minutes, also by another server.
func TestFIFO(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := makeBench(t, true)
		down := true
		b.to.fail = func(m *push.QueueMessage) error {
			if down && m.Group == "a" {
				return errors.New("nobody listens")
			}
			return nil
		}
		fifo := topicARN + ".fifo"
		b.do("CreateTopic", "Name", "orders.fifo", "Attributes.entry.1.key", "FifoTopic", "Attributes.entry.1.value", "true", "Attributes.entry.2.key", contentDedup, "Attributes.entry.2.value", "true")
		b.do("Subscribe", "TopicArn", fifo, "Protocol", "sqs", "Endpoint", queueARN("q.fifo"), "Attributes.entry.1.key", rawDelivery, "Attributes.entry.1.value", "true")
		publish := func(group, text string) publishResult {
			return b.do("Publish", "TopicArn", fifo, "Message", text, "MessageGroupId", group).(publishResult)
		}
		var last publishResult
		for i := range 5 {
			r := publish("a", fmt.Sprint("a", i))
			if r.SequenceNumber <= last.SequenceNumber || len(r.SequenceNumber) != 20 {
				t.Errorf("after %s comes %s", last.SequenceNumber, r.SequenceNumber)
			}
			last = r
		}
		publish("b", "b0")
		time.Sleep(time.Minute)
		b.again()
		if r := publish("a", "a4"); r != last {
			t.Errorf("a duplicate is %v, the message was %v", r, last)
		}
		batch := b.do("PublishBatch", "TopicArn", fifo, "PublishBatchRequestEntries.member.1.Id", "1", "PublishBatchRequestEntries.member.1.Message", "a5", "PublishBatchRequestEntries.member.1.MessageGroupId", "a",
			"PublishBatchRequestEntries.member.2.Id", "2", "PublishBatchRequestEntries.member.2.Message", "a5", "PublishBatchRequestEntries.member.2.MessageGroupId", "a",
			"PublishBatchRequestEntries.member.3.Id", "3", "PublishBatchRequestEntries.member.3.Message", "a3", "PublishBatchRequestEntries.member.3.MessageGroupId", "a").(batchResult)
		if m := batch.Successful.Member; len(m) != 3 || m[0].MessageID != m[1].MessageID || m[0].SequenceNumber != m[1].SequenceNumber || m[2].SequenceNumber >= m[0].SequenceNumber {
			t.Errorf("%+v", batch)
		}
		b.to.mu.Lock()
		down = false
		b.to.mu.Unlock()
		time.Sleep(5 * time.Minute)
		publish("a", "a4") // no duplicate any more
		time.Sleep(time.Minute)
		var got []string
		for _, m := range b.to.sent() {
			got = append(got, m.Body)
			if m.Dedup != contentID(m.Body) {
				t.Errorf("%+v", m)
			}
		}
		if want := []string{"b0", "a0", "a1", "a2", "a3", "a4", "a5", "a4"}; !slices.Equal(got, want) {
			t.Errorf("came %v, want %v", got, want)
		}
		if b.box.len() > 0 {
			t.Errorf("%d letters are left", b.box.len())
		}
	})
}

// Nothing is acknowledged that is not on disk.
func TestFull(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	topic := b.topic("orders", nil)
	b.subscribe(topic, "sqs", queueARN("q"), nil)
	b.box.full = true
	_, err := b.client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Message: aws.String("m")})
	if err == nil || !strings.Contains(err.Error(), "InternalError") || !strings.Contains(err.Error(), "no room") {
		t.Errorf("%v", err)
	}
	b.subscribe(topic, "lambda", worker, nil)
	b.box.full, b.to.full = false, async.ErrFull
	if _, err := b.client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Message: aws.String("m")}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("%v", err)
	}
	if len(b.to.sent()) > 0 {
		t.Error("what was not accepted was sent")
	}
}

// The trace header of who publishes goes on: the guard against loops counts by it.
func TestTraceGoesOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	topic := b.topic("orders", nil)
	b.subscribe(topic, "sqs", queueARN("q"), nil)
	b.subscribe(topic, "lambda", worker, nil)
	const trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:fe460cdd:3"
	ours, err := b.server.ToTopic(t.Context(), &push.TopicMessage{Topic: topic, Message: "m", Trace: trace})
	if !ours || err != nil {
		t.Fatal(ours, err)
	}
	until(t, "the message", func() bool { return len(b.to.sent()) == 1 })
	if b.to.sent()[0].Trace != trace || b.to.taken()[0].TraceID != trace {
		t.Errorf("%+v %+v", b.to.sent()[0], b.to.taken()[0])
	}
	if ours, err := b.server.ToTopic(t.Context(), &push.TopicMessage{Topic: topic + "2", Message: "m"}); ours || err != nil {
		t.Error(ours, err)
	}
}

// What is remembered is bounded, the newest longest; without a bound nothing is forgotten before its time.
func TestRecent(t *testing.T) {
	t.Parallel()
	bounded, whole, at := recent{life: time.Hour, most: 1000}, recent{life: time.Hour}, time.Now()
	for i := range 5000 {
		at = at.Add(10 * time.Millisecond)
		bounded.add(fmt.Sprint(i), nil, at)
		whole.add(fmt.Sprint(i), nil, at)
	}
	if _, ok := bounded.get("4999", at); !ok || len(bounded.all) > 1001 || len(whole.all) != 5000 {
		t.Errorf("%v, %d and %d are remembered", ok, len(bounded.all), len(whole.all))
	}
	if _, ok := whole.get("0", at.Add(time.Hour)); ok {
		t.Error("something is remembered too long")
	}
}
