package activemq_test

import (
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"

	"thaw/eventsource/eventsourcetest"
)

// S-096: AWS's own types and tools find every member of an event, but for the connectionId of Powertools, which no sample of
// AWS has.
func TestPublishedTypes(t *testing.T) {
	t.Parallel()
	b := start(t)
	queue := "published-" + uuid.NewString()
	sent, until := time.Now(), time.Now().Add(time.Hour)
	to, kind := "queue://answers", "t"
	b.put(t, queue, &amqp.Message{
		Header:                &amqp.MessageHeader{Durable: true, Priority: 9, TTL: time.Hour},
		Properties:            &amqp.MessageProperties{MessageID: "mine", CorrelationID: "c", CreationTime: &sent, AbsoluteExpiryTime: &until, ReplyTo: &to, Subject: &kind},
		ApplicationProperties: map[string]any{"testKey": "testValue"}, Value: `{"a":1}`,
	})
	src := open(t, b, queue)
	defer closeSource(t, src)
	event := src.Envelope.Event(receive(t, src, 1))
	eventsourcetest.Typed[events.ActiveMQEvent](t, event)
	eventsourcetest.LikeSample(t, event, "activemq-event.json", "properties")
	eventsourcetest.Powertools(t, "activemq", event, `{"event":["aws:mq","`+arn+`"],"id":"mine","type":"jms/text-message","json":{"a":1},"destination":"`+queue+`",
		"redelivered":false,"properties":{"testKey":"testValue"},"times":[true,true,true,true],"jms":[2,"c","queue://answers","t",9]}`)
}
