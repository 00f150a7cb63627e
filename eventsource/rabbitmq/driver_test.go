package rabbitmq_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/poller"
	"thaw/eventsource/rabbitmq"
)

const password = `{"username":"lambda","password":"secret"}`

var login = eventsourcetest.NewSecrets(map[string]string{"login": password})

func open(t *testing.T, b *broker, m *eventsource.Mapping) *eventsource.Source {
	t.Helper()
	src, err := rabbitmq.New(login, eventsourcetest.Endpoints{arn: b.url}).Open(t.Context(), m, eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return src
}

func publish(t testing.TB, ch *amqp.Channel, queue string, messages ...amqp.Publishing) {
	t.Helper()
	returned := ch.NotifyReturn(make(chan amqp.Return, len(messages)))
	var all []*amqp.DeferredConfirmation
	for _, m := range messages {
		c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", queue, true, false, m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		if ok, err := c.WaitContext(t.Context()); !ok || err != nil {
			t.Fatalf("the broker has not taken a message: %v", err)
		}
	}
	select {
	case r := <-returned: // it comes before the confirmation
		t.Fatalf("the broker has no queue for a message: %s", r.ReplyText)
	default:
	}
}

// S-097: the shape of the event, header bytes; S-098: a virtual host that is not the default.
func TestEvent(t *testing.T) {
	b := start(t)
	m := b.mapping(t, "shop", "orders "+uuid.NewString())
	queue := m.Source.Queues[0]
	publish(t, b.channel(t, "shop"), queue, amqp.Publishing{
		ContentType: "text/plain", DeliveryMode: 2, Priority: 34, Expiration: "60000", UserId: "lambda", Timestamp: time.Unix(2021, 0),
		Headers: amqp.Table{"h": "v\x80", "n": int32(10), "f": 0.5, "t": amqp.Table{"x": true}, "l": []any{"a", nil}, "b": []byte{1}, "d": amqp.Decimal{Scale: 2, Value: 314}},
		Body:    []byte(`{"a":1}`),
	}, amqp.Publishing{})
	src := open(t, b, m)
	all := eventsourcetest.Receive(t, src.Queue, 2)
	for i, want := range []string{
		`{"basicProperties":{"contentType":"text/plain","contentEncoding":null,"headers":{"b":{"bytes":[1]},"d":314e-2,"f":0.5,"h":{"bytes":[118,-128]},` +
			`"l":[{"bytes":[97]},null],"n":10,"t":{"x":true}},"deliveryMode":2,"priority":34,"correlationId":null,"replyTo":null,"expiration":"60000",` +
			`"messageId":null,"timestamp":"Jan 1, 1970, 12:33:41 AM","type":null,"userId":"lambda","appId":null,"clusterId":null,"bodySize":7},` +
			`"redelivered":false,"data":"eyJhIjoxfQ=="}`,
		`{"basicProperties":{"contentType":null,"contentEncoding":null,"headers":null,"deliveryMode":null,"priority":null,"correlationId":null,"replyTo":null,` +
			`"expiration":null,"messageId":null,"timestamp":null,"type":null,"userId":null,"appId":null,"clusterId":null,"bodySize":0},"redelivered":false,"data":""}`,
	} {
		if got := string(all[i].Event); got != want {
			t.Errorf("message %d\n got %s\nwant %s", i, got, want)
		}
		if all[i].Group != queue+"::shop" {
			t.Errorf("group %q", all[i].Group)
		}
	}
	eventsourcetest.AsTaken(t, eventsource.RabbitMQ, all[0])
	if f := all[0].Filtered(); strings.Contains(string(f.Meta), "data") || len(f.Data) != 1 || string(f.Data[0].Bytes) != `{"a":1}` {
		t.Errorf("filters see %s %s", f.Meta, f.Data)
	}
	if head := src.Envelope.Head; head != `{"eventSource":"aws:rmq","eventSourceArn":"`+arn+`","rmqMessagesByQueue":` || !src.Envelope.Groups {
		t.Errorf("envelope %+v", src.Envelope)
	}
	if err := src.Queue.GiveBack(t.Context(), all[:1], eventsource.Failed); err != nil {
		t.Fatal(err)
	}
	if got := string(eventsourcetest.Receive(t, src.Queue, 1)[0].Event); !strings.Contains(got, `"redelivered":true`) {
		t.Errorf("again: %s", got)
	}
}

// What is ready in the queue is told: the broker has sent a hundred ahead.
func TestDepth(t *testing.T) {
	t.Parallel()
	b := start(t)
	m := b.mapping(t, "/", "depth-"+uuid.NewString())
	publish(t, b.channel(t, "/"), m.Source.Queues[0], make([]amqp.Publishing, 150)...)
	src := open(t, b, m)
	eventsourcetest.Until(t, "fifty are ready", func() bool {
		n, err := src.Queue.(poller.Depth).Depth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n == 50
	})
	if err := src.Queue.Acknowledge(t.Context(), eventsourcetest.Receive(t, src.Queue, 1)); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "one less is", func() bool { n, err := src.Queue.(poller.Depth).Depth(t.Context()); return err == nil && n == 49 })
}

func TestProblems(t *testing.T) {
	b := start(t)
	m := b.mapping(t, "/", "problems")
	for name, c := range map[string]struct {
		login, queue, vhost, url, code, text string
	}{
		"password": {`{"username":"lambda","password":"wrong"}`, "problems", "/", b.url, "EVENT_SOURCE_AUTHN_ERROR", "refuses the user name or the password"},
		"vhost":    {password, "problems", "none", b.url, "EVENT_SOURCE_AUTHZ_ERROR", "virtual host"},
		"rights":   {`{"username":"guard","password":"secret"}`, "problems", "/", b.url, "EVENT_SOURCE_AUTHZ_ERROR", "may not read the queue"},
		"queue":    {password, "none", "/", b.url, "ESM_CONFIG_NOT_VALID", "no queue 'none'"},
		"address":  {password, "problems", "/", "amqp://127.0.0.1:1", "", "cannot be reached"},
		"scheme":   {password, "problems", "/", "http://127.0.0.1:1", "ESM_CONFIG_NOT_VALID", "amqps://HOST:PORT"},
		"nowhere":  {password, "problems", "/", "", "ESM_CONFIG_NOT_VALID", "--sources " + arn + "=amqps://"},
	} {
		t.Run(name, func(t *testing.T) {
			at := eventsourcetest.Endpoints{arn: c.url}
			if c.url == "" {
				at = nil
			}
			m := *m
			m.Source.Queues = []string{c.queue}
			m.Source.Access = []eventsource.Access{{Type: "BASIC_AUTH", URI: "login"}, {Type: "VIRTUAL_HOST", URI: c.vhost}}
			_, err := rabbitmq.New(eventsourcetest.NewSecrets(map[string]string{"login": c.login}), at).Open(t.Context(), &m, eventsource.Facts{})
			var p *eventsource.ProblemError
			if !errors.As(err, &p) || p.Code != c.code || !strings.Contains(p.Text, c.text) {
				t.Errorf("error %#v, want %s %q", err, c.code, c.text)
			}
		})
	}
}

// A queue that is deleted ends the consumer, and not the connection.
func TestQueueThatIsDeleted(t *testing.T) {
	b := start(t)
	m := b.mapping(t, "/", "deleted")
	src := open(t, b, m)
	if _, err := b.channel(t, "/").QueueDelete("deleted", false, false, false); err != nil {
		t.Fatal(err)
	}
	_, err := src.Queue.Receive(t.Context(), 1)
	var p *eventsource.ProblemError
	if !errors.Is(err, eventsource.ErrBroken) || !errors.As(err, &p) || !strings.Contains(p.Text, "The queue does not exist") {
		t.Errorf("error %v", err)
	}
}

// What a function has failed for does not come back at once, without an end.
func TestFailuresAreHeldBack(t *testing.T) {
	b := start(t)
	m := b.mapping(t, "/", "held")
	publish(t, b.channel(t, "/"), "held", amqp.Publishing{Body: []byte("x")})
	src := open(t, b, m)
	began := time.Now()
	for range 4 {
		if err := src.Queue.GiveBack(t.Context(), eventsourcetest.Receive(t, src.Queue, 1), eventsource.Failed); err != nil {
			t.Fatal(err)
		}
	}
	eventsourcetest.Receive(t, src.Queue, 1)
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("four failures took %v, want at least 0.1, 0.2, 0.4 and 0.8 s", took)
	}
}

func TestConformance(t *testing.T) {
	b := start(t)
	var last *eventsource.Mapping // of a case that is alone
	eventsourcetest.Run(t, eventsourcetest.Fixture{
		Driver: rabbitmq.New(login, eventsourcetest.Endpoints{arn: b.url}),
		New: func(t testing.TB) *eventsource.Mapping {
			m := b.mapping(t, "/", "q"+uuid.NewString())
			if strings.Contains(t.Name(), "/alone/") {
				last = m
			}
			return m
		},
		Pattern: `{"data":{"pass":[true]}}`,
		Put: func(t testing.TB, m *eventsource.Mapping, _ string, bodies ...string) {
			var all []amqp.Publishing
			for _, text := range bodies {
				all = append(all, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(text)})
			}
			publish(t, b.channel(t, "/"), m.Source.Queues[0], all...)
		},
		Seen: func(t testing.TB, event []byte) (all []eventsourcetest.Seen) {
			var e struct {
				RmqMessagesByQueue map[string][]struct{ Data []byte }
			}
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			for _, messages := range e.RmqMessagesByQueue {
				for _, m := range messages {
					all = append(all, eventsourcetest.Seen{Body: string(m.Data)})
				}
			}
			return all
		},
		Left: func(t testing.TB, m *eventsource.Mapping) int {
			q, err := b.channel(t, "/").QueueDeclarePassive(m.Source.Queues[0], true, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			return q.Messages
		},
		Stop: func(testing.TB) { b.process.Kill() },
		// A broker that is killed within moments of a queue's declaration may not have it any more.
		Start: func(t testing.TB) {
			b.process.Start(t)
			b.mapping(t, "/", last.Source.Queues[0])
		},
	})
}
