package rabbitmq_test

import (
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
)

func TestMain(m *testing.M) { eventsourcetest.Main(m) }

const arn = "arn:aws:mq:eu-north-1:123456789012:broker:b:b-1"

// broker is RabbitMQ, with a user and two virtual hosts.
type broker struct {
	process *eventsourcetest.Process
	url     string
}

var theBroker struct {
	once sync.Once
	*broker
}

// start starts the broker that all tests share.
func start(t *testing.T) *broker {
	t.Helper()
	theBroker.once.Do(func() {
		url, process := eventsourcetest.RabbitMQ(t)
		theBroker.broker = &broker{process, url}
	})
	if theBroker.broker == nil {
		t.Skip("RabbitMQ cannot be had, as the first test of it says")
	}
	return theBroker.broker
}

func plain(user, password string) []amqp.Authentication {
	return []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
}

// channel is a client's, for as long as the test runs.
func (b *broker) channel(t testing.TB, vhost string) *amqp.Channel {
	t.Helper()
	c, err := amqp.DialConfig(b.url, amqp.Config{SASL: plain("lambda", "secret"), Vhost: vhost})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	return ch
}

// mapping is one of a queue of its own, which is declared in the virtual host.
func (b *broker) mapping(t testing.TB, vhost, queue string) *eventsource.Mapping {
	t.Helper()
	if _, err := b.channel(t, vhost).QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	return &eventsource.Mapping{Kind: eventsource.RabbitMQ, Source: eventsource.Origin{
		ARN: arn, Queues: []string{queue}, Access: []eventsource.Access{{Type: "BASIC_AUTH", URI: "login"}, {Type: "VIRTUAL_HOST", URI: vhost}},
	}}
}
