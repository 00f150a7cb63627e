package rabbitmq_test

import (
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"thaw/eventsource/eventsourcetest"
)

// S-097: AWS's own types and tools find every member of an event.
func TestPublishedTypes(t *testing.T) {
	t.Parallel()
	b := start(t)
	m := b.mapping(t, "/", "published-"+uuid.NewString())
	queue := m.Source.Queues[0]
	publish(t, b.channel(t, "/"), queue, amqp.Publishing{
		ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: 1, Priority: 34, CorrelationId: "c", ReplyTo: "answers", Expiration: "60000", MessageId: "m",
		Type: "t", UserId: "lambda", AppId: "app", Timestamp: time.Unix(2021, 0),
		Headers: amqp.Table{"header1": "value1", "numberInHeader": int32(10)}, Body: []byte(`{"a":1}`),
	})
	src := open(t, b, m)
	event := src.Envelope.Event(eventsourcetest.Receive(t, src.Queue, 1))
	eventsourcetest.Typed[events.RabbitMQEvent](t, event)
	eventsourcetest.LikeSample(t, event, "rabbitmq-event.json", "rmqMessagesByQueue", "headers")
	eventsourcetest.Powertools(t, "rabbitmq", event, `{"event":["aws:rmq","`+arn+`"],"queue":"`+queue+`::/","json":{"a":1},"redelivered":false,
		"headers":{"header1":{"bytes":[118,97,108,117,101,49]},"numberInHeader":10},
		"texts":["text/plain","utf-8","c","answers","60000","m","Jan 1, 1970, 12:33:41 AM","t","lambda","app",null],"numbers":[1,34,7]}`)
}
