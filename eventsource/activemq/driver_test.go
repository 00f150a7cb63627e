package activemq_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/uuid"

	"thaw/eventsource"
	"thaw/eventsource/activemq"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/poller"
)

const password = `{"username":"lambda","password":"secret"}`

var login = eventsourcetest.NewSecrets(map[string]string{"login": password})

func open(t *testing.T, b *broker, queue string) *eventsource.Source {
	t.Helper()
	src, err := activemq.New(login, eventsourcetest.Endpoints{arn: b.url}).Open(t.Context(), mapping(queue), eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSource(t, src) })
	return src
}

func closeSource(t *testing.T, src *eventsource.Source) {
	t.Helper()
	if err := src.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func receive(t *testing.T, src *eventsource.Source, n int) []*eventsource.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []*eventsource.Record
	for len(all) < n {
		some, err := src.Queue.Receive(ctx, n-len(all))
		if err != nil {
			t.Fatalf("after %d messages: %v", len(all), err)
		}
		all = append(all, some...)
	}
	return all
}

var variable = regexp.MustCompile(`"ID:[^"]*"|\d{13}`)

// same makes an event the same in each run.
func same(event []byte) string {
	return variable.ReplaceAllStringFunc(string(event), func(s string) string {
		if s[0] == '"' {
			return `"ID:..."`
		}
		return "1700000000000"
	})
}

// S-096: the shape of text and bytes messages. Those of other types are not delivered.
func TestEvent(t *testing.T) {
	b := start(t)
	queue := "orders " + uuid.NewString()
	b.get(t, "/send", queue) // by JMS: a map, a stream, an object, bytes, a text
	sent := time.UnixMilli(1763629000123)
	b.put(t, queue, &amqp.Message{
		Header:     &amqp.MessageHeader{Durable: true, Priority: 9},
		Properties: &amqp.MessageProperties{MessageID: "mine", CorrelationID: amqp.UUID{1}, CreationTime: &sent},
		Data:       [][]byte{[]byte("x")}, Annotations: amqp.Annotations{"x-opt-jms-msg-type": int8(3)},
	})
	src := open(t, b, queue)
	all := receive(t, src, 6)
	// The broker keeps messages that need not be stored by themselves, and promises no order between them and others.
	slices.SortStableFunc(all[3:], func(a, b *eventsource.Record) int {
		return strings.Compare(a.ID, b.ID) // those of the broker's begin with ID:, in the order in which they were sent
	})
	for i, r := range all[:3] {
		if r.Unreadable == "" {
			t.Errorf("message %d is delivered: %s", i, r.Event)
		}
	}
	const times = `"timestamp":1700000000000,"brokerInTime":1700000000000,"brokerOutTime":1700000000000,`
	to := `"destination":{"physicalName":"` + queue + `"},`
	for i, want := range []string{
		`{"messageID":"ID:...","messageType":"jms/bytes-message","deliveryMode":2,"replyTo":null,"type":null,"expiration":0,"priority":4,"correlationID":null,` +
			`"redelivered":false,` + to + `"data":"AP8=",` + times + `"properties":{}}`,
		`{"messageID":"ID:...","messageType":"jms/text-message","deliveryMode":1,"replyTo":"queue://answers","type":"t","expiration":1700000000000,"priority":1,` +
			`"correlationID":"c","redelivered":false,` + to + `"data":"QUJD",` + times + `"properties":{"b":"true","k":"v","n":"7"}}`,
		`{"messageID":"mine","messageType":"jms/bytes-message","deliveryMode":2,"replyTo":null,"type":null,"expiration":0,"priority":9,` +
			`"correlationID":"01000000-0000-0000-0000-000000000000","redelivered":false,` + to + `"data":"eA==",` + times + `"properties":{}}`,
	} {
		if got := same(all[3+i].Event); got != want {
			t.Errorf("message %d\n got %s\nwant %s", i, got, want)
		}
	}
	eventsourcetest.AsTaken(t, eventsource.ActiveMQ, all...)
	if f := all[4].Filtered(); strings.Contains(string(f.Meta), `"data"`) || len(f.Data) != 1 || string(f.Data[0].Bytes) != "ABC" {
		t.Errorf("filters see %s %s", f.Meta, f.Data)
	}
	if at := all[5].Arrived; !at.Equal(sent) {
		t.Errorf("arrived %v, want %v", at, sent)
	}
	if e := src.Envelope; e.Head != `{"eventSource":"aws:mq","eventSourceArn":"`+arn+`","messages":` || e.Tail != "}" || e.Groups {
		t.Errorf("envelope %+v", e)
	}
	dead := b.left(t, "ActiveMQ.DLQ")
	if err := src.Queue.Acknowledge(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "what is not delivered is with the dead letters", func() bool { return b.left(t, queue) == 0 && b.left(t, "ActiveMQ.DLQ") == dead+3 })
}

// S-096: five redeliveries, then the dead-letter queue; each later than the one before.
func TestRedeliveries(t *testing.T) {
	b := start(t)
	queue := "failing " + uuid.NewString()
	b.put(t, queue, durable("poison"), durable("good"))
	src := open(t, b, queue)
	dead := b.left(t, "ActiveMQ.DLQ")
	all := receive(t, src, 2)
	if err := src.Queue.Acknowledge(t.Context(), all[1:]); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for n := range 6 {
		if n > 0 {
			all = receive(t, src, 1)
		}
		if again := strings.Contains(string(all[0].Event), `"redelivered":true`); again != (n > 0) {
			t.Errorf("delivery %d: %s", n, all[0].Event)
		}
		if err := src.Queue.GiveBack(t.Context(), all[:1], eventsource.Failed); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 3100*time.Millisecond {
		t.Errorf("five redeliveries took %v, want at least 0.1, 0.2, 0.4, 0.8 and 1.6 s", took)
	}
	eventsourcetest.Until(t, "the message is with the dead letters", func() bool { return b.left(t, queue) == 0 && b.left(t, "ActiveMQ.DLQ") == dead+1 })
}

// What no function has seen comes again as if for the first time: given back, or sent ahead to a receiver that ends.
func TestReleased(t *testing.T) {
	b := start(t)
	queue := "released " + uuid.NewString()
	b.put(t, queue, durable("a"), durable("b"), durable("c"))
	src := open(t, b, queue)
	if err := src.Queue.GiveBack(t.Context(), receive(t, src, 2), eventsource.Released); err != nil {
		t.Fatal(err)
	}
	closeSource(t, src)
	for _, r := range receive(t, open(t, b, queue), 3) {
		if !strings.Contains(string(r.Event), `"redelivered":false`) {
			t.Errorf("event %s", r.Event)
		}
	}
}

// The statistics plugin tells how many messages wait; those that a function has do not.
func TestDepth(t *testing.T) {
	t.Parallel()
	b := start(t)
	queue := "depth-" + uuid.NewString()
	b.put(t, queue, durable("1"), durable("2"), durable("3"), durable("4"), durable("5"))
	src := open(t, b, queue)
	defer closeSource(t, src)
	depth := func() int64 {
		n, err := src.Queue.(poller.Depth).Depth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := depth(); n != 5 {
		t.Errorf("%d wait, want 5", n)
	}
	got := receive(t, src, 2)
	if n := depth(); n != 3 {
		t.Errorf("%d wait, want 3", n)
	}
	if err := src.Queue.Acknowledge(t.Context(), got[:1]); err != nil {
		t.Fatal(err)
	}
	if err := src.Queue.GiveBack(t.Context(), got[1:], eventsource.Released); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "four wait", func() bool { return depth() == 4 })
}

func TestProblems(t *testing.T) {
	b := start(t)
	for name, c := range map[string]struct {
		login, url, code, text string
	}{
		"password": {`{"username":"lambda","password":"wrong"}`, b.url, "EVENT_SOURCE_AUTHN_ERROR", "refuses the user name or the password"},
		"rights":   {`{"username":"guard","password":"secret"}`, b.url, "EVENT_SOURCE_AUTHZ_ERROR", "may not read the queue"},
		"address":  {password, "activemq://127.0.0.1:1", "", "cannot be reached"},
		"no TLS":   {password, strings.Replace(b.url, "activemq", "amqp+ssl", 1), "", "cannot be reached"},
		"scheme":   {password, "stomp://127.0.0.1:1", "ESM_CONFIG_NOT_VALID", "amqp+ssl://HOST:PORT"},
		"nowhere":  {password, "", "ESM_CONFIG_NOT_VALID", "--sources " + arn + "=amqp+ssl://"},
	} {
		t.Run(name, func(t *testing.T) {
			at := eventsourcetest.Endpoints{arn: c.url}
			if c.url == "" {
				at = nil
			}
			_, err := activemq.New(eventsourcetest.NewSecrets(map[string]string{"login": c.login}), at).Open(t.Context(), mapping("problems"), eventsource.Facts{})
			var p *eventsource.ProblemError
			if !errors.As(err, &p) || p.Code != c.code || !strings.Contains(p.Text, c.text) || strings.Contains(err.Error(), "wrong") {
				t.Errorf("error %v: %#v, want %s %q", err, p, c.code, c.text)
			}
		})
	}
}

// A broker is known by the certificate that the mapping names, and by no other.
func TestTLS(t *testing.T) {
	b := start(t)
	address, root := b.secure(t)
	ca, err := json.Marshal(map[string]string{"certificate": root})
	if err != nil {
		t.Fatal(err)
	}
	d := activemq.New(eventsourcetest.NewSecrets(map[string]string{"login": password, "ca": string(ca)}), eventsourcetest.Endpoints{arn: address})
	m := mapping("secure " + uuid.NewString())
	if _, err := d.Open(t.Context(), m, eventsource.Facts{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a broker whose certificate nobody knows: %v", err)
	}
	m.Source.Access = append(m.Source.Access, eventsource.Access{Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"})
	src, err := d.Open(t.Context(), m, eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSource(t, src)
	b.put(t, m.Source.Queues[0], durable("secret"))
	if err := src.Queue.Acknowledge(t.Context(), receive(t, src, 1)); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "the message is done with", func() bool { return b.left(t, m.Source.Queues[0]) == 0 })
}

func TestConformance(t *testing.T) {
	b := start(t)
	eventsourcetest.Run(t, eventsourcetest.Fixture{
		Driver:  activemq.New(login, eventsourcetest.Endpoints{arn: b.url}),
		New:     func(testing.TB) *eventsource.Mapping { return mapping("q" + uuid.NewString()) },
		Pattern: `{"data":{"pass":[true]}}`,
		Put: func(t testing.TB, m *eventsource.Mapping, _ string, bodies ...string) {
			var all []*amqp.Message
			for _, text := range bodies {
				all = append(all, durable(text))
			}
			b.put(t, m.Source.Queues[0], all...)
		},
		Seen: func(t testing.TB, event []byte) (all []eventsourcetest.Seen) {
			var e struct{ Messages []struct{ Data []byte } }
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			for _, m := range e.Messages {
				all = append(all, eventsourcetest.Seen{Body: string(m.Data)})
			}
			return all
		},
		Left:  func(t testing.TB, m *eventsource.Mapping) int { return b.left(t, m.Source.Queues[0]) },
		Stop:  func(testing.TB) { b.process.Kill() },
		Start: b.process.Start,
	})
}
