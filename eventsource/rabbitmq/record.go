package rabbitmq

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"thaw/eventsource"
)

// message is a message as the handler gets it.
type message struct {
	BasicProperties properties `json:"basicProperties"`
	Redelivered     bool       `json:"redelivered"`
	Data            *string    `json:"data,omitempty"`
}

// properties are those of AMQP, null where the sender set none.
type properties struct {
	ContentType     *string        `json:"contentType"`
	ContentEncoding *string        `json:"contentEncoding"`
	Headers         map[string]any `json:"headers"`
	DeliveryMode    *uint8         `json:"deliveryMode"`
	Priority        *uint8         `json:"priority"`
	CorrelationID   *string        `json:"correlationId"`
	ReplyTo         *string        `json:"replyTo"`
	Expiration      *string        `json:"expiration"`
	MessageID       *string        `json:"messageId"`
	Timestamp       *string        `json:"timestamp"`
	Type            *string        `json:"type"`
	UserID          *string        `json:"userId"`
	AppID           *string        `json:"appId"`
	ClusterID       *string        `json:"clusterId"`
	BodySize        int            `json:"bodySize"`
}

// usMedium is how timestamps are written: Jan 1, 1970, 12:33:41 AM.
const usMedium = "Jan 2, 2006, 3:04:05 PM"

func (q *queue) record(d amqp.Delivery) *eventsource.Record {
	m := message{
		BasicProperties: properties{
			ContentType: set(d.ContentType), ContentEncoding: set(d.ContentEncoding), Headers: table(d.Headers), DeliveryMode: set(d.DeliveryMode),
			Priority: set(d.Priority), CorrelationID: set(d.CorrelationId), ReplyTo: set(d.ReplyTo), Expiration: set(d.Expiration),
			MessageID: set(d.MessageId), Type: set(d.Type), UserID: set(d.UserId), AppID: set(d.AppId), BodySize: len(d.Body),
		},
		Redelivered: d.Redelivered,
	}
	if !d.Timestamp.IsZero() {
		m.BasicProperties.Timestamp = set(d.Timestamp.UTC().Format(usMedium))
	}
	meta := marshal(m)
	m.Data = set(base64.StdEncoding.EncodeToString(d.Body))
	if m.Data == nil {
		m.Data = new(string) // an empty message
	}
	return &eventsource.Record{
		Event: marshal(m),
		Filtered: func() eventsource.Filtered {
			return eventsource.Filtered{Meta: meta, Data: []eventsource.Datum{{Name: "data", Bytes: d.Body}}}
		},
		Group:   q.group,
		Arrived: d.Timestamp,
		Handle:  d.DeliveryTag,
	}
}

// set is nil for what AMQP does not tell from a property that is not there.
func set[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}

func marshal(m message) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // texts, numbers and what header makes
	}
	return b
}

func table(t amqp.Table) map[string]any {
	if t == nil {
		return nil
	}
	all := make(map[string]any, len(t))
	for k, v := range t {
		all[k] = header(v)
	}
	return all
}

// header is the value of a header: text and bytes as a list of Java's bytes, numbers as they are.
func header(v any) any {
	switch v := v.(type) {
	case string:
		return map[string][]int8{"bytes": eventsource.JavaBytes([]byte(v))}
	case []byte:
		return map[string][]int8{"bytes": eventsource.JavaBytes(v)}
	case amqp.Table:
		return table(v)
	case []any:
		all := make([]any, 0, len(v))
		for _, e := range v {
			all = append(all, header(e))
		}
		return all
	case time.Time:
		return v.UTC().Format(usMedium)
	case amqp.Decimal:
		return decimal(v)
	case float32:
		return number(float64(v))
	case float64:
		return number(v)
	}
	return v // nil, bool, whole numbers
}

// number is null where JSON has no such number.
func number(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}

func decimal(d amqp.Decimal) json.Number {
	return json.Number(fmt.Sprintf("%de-%d", d.Value, d.Scale))
}
