package activemq_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
)

func TestMain(m *testing.M) { eventsourcetest.Main(m) }

const arn = "arn:aws:mq:eu-north-1:123456789012:broker:b:b-1"

// broker is ActiveMQ in a program of eventsourcetest's, with two users.
type broker struct {
	process *eventsourcetest.Process
	url     string // as --sources has it
	amqp    string // as the client library has it
	ask     string // what the program answers by HTTP
	client  client
}

// client is the one that puts messages. It is connected anew after the broker has died.
type client struct {
	mu   sync.Mutex
	conn *amqp.Conn
}

var theBroker struct {
	once sync.Once
	*broker
}

// start starts the broker that all tests share.
func start(t *testing.T) *broker {
	t.Helper()
	theBroker.once.Do(func() {
		at, ask, process := eventsourcetest.ActiveMQ(t)
		theBroker.broker = &broker{process: process, url: "activemq://" + at, amqp: "amqp://" + at, ask: ask}
	})
	if theBroker.broker == nil {
		t.Skip("ActiveMQ cannot be had, as the first test of it says")
	}
	return theBroker.broker
}

// get asks the broker's program.
func (b *broker) get(t testing.TB, path, queue string) string {
	t.Helper()
	resp, err := http.Get(b.ask + path + "?" + url.PathEscape(queue))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %v", resp.Status, text, err)
	}
	return string(text)
}

// left is how many messages a queue has, those that were sent to somebody too.
func (b *broker) left(t testing.TB, queue string) int {
	t.Helper()
	n, err := strconv.Atoi(b.get(t, "/left", queue))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// session is one of the client's.
func (b *broker) session(t testing.TB) *amqp.Session {
	t.Helper()
	b.client.mu.Lock()
	defer b.client.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if b.client.conn != nil {
		if s, err := b.client.conn.NewSession(ctx, nil); err == nil {
			return s
		}
	}
	conn, err := amqp.Dial(ctx, b.amqp, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("lambda", "secret")})
	if err != nil {
		t.Fatal(err)
	}
	b.client.conn = conn
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put has the broker store messages, one after another.
func (b *broker) put(t testing.TB, queue string, messages ...*amqp.Message) {
	t.Helper()
	session := b.session(t)
	defer session.Close(context.Background()) //nolint:errcheck // of this call alone
	sender, err := session.NewSender(t.Context(), "queue://"+queue, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := sender.Send(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// durable is a text message that survives the broker, and that its dead-letter queue takes.
func durable(text string) *amqp.Message {
	return &amqp.Message{Header: &amqp.MessageHeader{Durable: true, Priority: 4}, Value: text}
}

// secure is the broker behind TLS, for as long as the test runs.
func (b *broker) secure(t *testing.T) (address, root string) {
	t.Helper()
	pair, root := eventsourcetest.Certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	var ends sync.WaitGroup
	t.Cleanup(ends.Wait)
	t.Cleanup(func() { l.Close() })
	ends.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			ends.Go(func() {
				defer c.Close()
				to, err := net.Dial("tcp", strings.TrimPrefix(b.amqp, "amqp://"))
				if err != nil {
					return
				}
				ends.Go(func() {
					defer c.Close()
					io.Copy(c, to) //nolint:errcheck // until one of them ends
				})
				defer to.Close()
				io.Copy(to, c) //nolint:errcheck // until one of them ends
			})
		}
	})
	return "amqp+ssl://" + l.Addr().String(), root
}

func mapping(queue string) *eventsource.Mapping {
	return &eventsource.Mapping{Kind: eventsource.ActiveMQ, Source: eventsource.Origin{
		ARN: arn, Queues: []string{queue}, Access: []eventsource.Access{{Type: "BASIC_AUTH", URI: "login"}},
	}}
}
