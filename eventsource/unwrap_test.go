package eventsource_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"thaw/eventsource"
)

type oneBatch []*eventsource.Record

func (b oneBatch) Receive(context.Context, int) ([]*eventsource.Record, error) { return b, nil }
func (oneBatch) Acknowledge(context.Context, []*eventsource.Record) error      { return nil }
func (oneBatch) GiveBack(context.Context, []*eventsource.Record, eventsource.Why) error {
	return nil
}

// A mapping that unwraps gives its function the notifications of S3 in its messages, several to a message too; a test
// event is for no function, and what is no notification cannot be read.
func TestUnwrapped(t *testing.T) {
	t.Parallel()
	note := func(keys ...string) string {
		var records []string
		for _, k := range keys {
			records = append(records, `{"eventName":"s3:ObjectCreated:Put","eventSource":"minio:s3","s3":{"bucket":{"name":"b"},"object":{"key":"`+k+`","size":1}}}`)
		}
		return `{"EventName":"s3:ObjectCreated:Put","Records":[` + strings.Join(records, ",") + `]}`
	}
	bodies := []string{note("a%2Fb"), note("c", "d"), `{"Event":"s3:TestEvent"}`, `hello`}
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for kind, record := range map[eventsource.Kind]func(body string) string{
		eventsource.SQS:      func(s string) string { return `{"messageId":"m","body":` + quoted(s) + `}` },
		eventsource.RabbitMQ: func(s string) string { return `{"basicProperties":{},"redelivered":false,"data":"` + encoded(s) + `"}` },
		eventsource.ActiveMQ: func(s string) string { return `{"messageID":"m","data":"` + encoded(s) + `"}` },
		eventsource.SelfManagedKafka: func(s string) string {
			return `{"topic":"t","key":"` + encoded("k") + `","value":"` + encoded(s) + `"}`
		},
		eventsource.Kinesis: func(s string) string { return `{"eventID":"e","kinesis":{"data":"` + encoded(s) + `"}}` },
	} {
		var batch oneBatch
		for _, b := range bodies {
			batch = append(batch, &eventsource.Record{ID: "m", Event: []byte(record(b)), Group: "g"})
		}
		src := eventsource.Unwrapped(&eventsource.Source{Queue: batch, Envelope: eventsource.Envelope{Head: `{"rmqMessagesByQueue":`, Tail: `}`, Groups: true}}, kind)
		all, err := src.Queue.Receive(t.Context(), 10)
		if err != nil || len(all) != 4 {
			t.Fatal(all, err)
		}
		var e struct {
			Records []struct {
				EventSource string
				S3          struct{ Object struct{ Key string } }
			}
		}
		if err := json.Unmarshal(src.Envelope.Event(all[:2]), &e); err != nil {
			t.Fatal(kind, err)
		}
		if len(e.Records) != 3 || e.Records[0].S3.Object.Key != "a/b" || e.Records[2].S3.Object.Key != "d" || e.Records[0].EventSource != "aws:s3" {
			t.Errorf("%s: %+v", kind, e)
		}
		if !all[2].Unwanted || all[2].Unreadable != "" || all[3].Unreadable != eventsource.NoNotification || batch[0].Group != "g" {
			t.Errorf("%s: %+v, %+v", kind, all[2], all[3])
		}
	}
	m := eventsource.Mapping{Tags: map[string]string{eventsource.UnwrapTag: "sns"}}
	if err := m.CheckTags(); err == nil {
		t.Error("another value passes")
	}
}
