package activemq

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"thaw/eventsource"
)

// message is a message as the handler gets it. Source: section 7.1.
type message struct {
	MessageID     string            `json:"messageID"`
	MessageType   string            `json:"messageType"`
	DeliveryMode  int               `json:"deliveryMode"`
	ReplyTo       *string           `json:"replyTo"`
	Type          *string           `json:"type"`
	Expiration    int64             `json:"expiration"` // ms since 1970; 0: never
	Priority      uint8             `json:"priority"`
	CorrelationID *string           `json:"correlationID"`
	Redelivered   bool              `json:"redelivered"`
	Destination   destination       `json:"destination"`
	Data          *string           `json:"data,omitempty"` // nil for filters, which have it decoded
	Timestamp     int64             `json:"timestamp"`      // ms since 1970, as the sender says
	BrokerInTime  int64             `json:"brokerInTime"`
	BrokerOutTime int64             `json:"brokerOutTime"`
	Properties    map[string]string `json:"properties"`
}

type destination struct {
	PhysicalName string `json:"physicalName"`
}

// The delivery modes and the priority of messages that say nothing else. Source: JMS.
const (
	fleeting        = 1
	persistent      = 2
	defaultPriority = 4
)

// record makes the record of a message that has just come. AMQP does not carry the times of the broker: it took the message
// when it was sent, as far as can be known, and sent it now.
func (q *queue) record(a *amqp.Message) *eventsource.Record {
	d := delivery{Message: a}
	kind, body, ok := content(a)
	if !ok {
		d.unfit = true
		return &eventsource.Record{Event: []byte("{}"), Unreadable: "neither a text nor a bytes message", Handle: d}
	}
	m := message{
		MessageType: kind, DeliveryMode: fleeting, Priority: defaultPriority, Redelivered: d.count() > 0,
		Destination: destination{q.name}, BrokerOutTime: time.Now().UnixMilli(), Properties: texts(a.ApplicationProperties),
	}
	if h := a.Header; h != nil {
		m.Priority = h.Priority
		if h.Durable {
			m.DeliveryMode = persistent
		}
	}
	var sent time.Time
	if p := a.Properties; p != nil {
		m.ReplyTo, m.Type = p.ReplyTo, p.Subject
		if id := text(p.MessageID); id != nil {
			m.MessageID = *id
		}
		m.CorrelationID = text(p.CorrelationID)
		if p.AbsoluteExpiryTime != nil {
			m.Expiration = p.AbsoluteExpiryTime.UnixMilli()
		}
		if p.CreationTime != nil {
			sent = *p.CreationTime
			m.Timestamp, m.BrokerInTime = sent.UnixMilli(), sent.UnixMilli()
		}
	}
	meta := marshal(m)
	data := base64.StdEncoding.EncodeToString(body)
	m.Data = &data
	return &eventsource.Record{
		ID:    m.MessageID,
		Event: marshal(m),
		Filtered: func() eventsource.Filtered {
			return eventsource.Filtered{Meta: meta, Data: []eventsource.Datum{{Name: "data", Bytes: body}}}
		},
		Arrived: sent,
		Handle:  d,
	}
}

const (
	textMessage  = "jms/text-message"
	bytesMessage = "jms/bytes-message"
)

// The annotation by which clients of JMS say what a message is, and its values. The broker passes it on, and says nothing by
// itself. Source: AMQP JMS mapping, x-opt-jms-msg-type.
const (
	annotation     = "x-opt-jms-msg-type"
	annotatedBytes = int8(3)
	annotatedText  = int8(5)
)

// object is the content type by which the broker tells an object of Java from bytes.
const object = "application/x-java-serialized-object"

// content says what a message is, and what is in it. Maps, lists and objects are not ok. A text message without a text looks
// like a message without a body, so both are texts.
func content(a *amqp.Message) (kind string, body []byte, ok bool) {
	said, _ := a.Annotations[annotation].(int8)
	mimeType := ""
	if a.Properties != nil && a.Properties.ContentType != nil {
		mimeType = *a.Properties.ContentType
	}
	if _, has := a.Annotations[annotation]; has && said != annotatedBytes && said != annotatedText || mimeType == object {
		return "", nil, false
	}
	switch v := a.Value.(type) {
	case string:
		return textMessage, []byte(v), true
	case []byte:
		return bytesMessage, v, true
	case nil:
	default:
		return "", nil, false
	}
	if len(a.Sequence) > 0 {
		return "", nil, false
	}
	kind = bytesMessage
	if said == annotatedText || said != annotatedBytes && (len(a.Data) == 0 || textual(mimeType)) {
		kind = textMessage
	}
	return kind, bytes.Join(a.Data, nil), true
}

// textual says whether bytes of a type become a text message in the broker.
func textual(mimeType string) bool {
	t, _, err := mime.ParseMediaType(mimeType)
	return err == nil && (strings.HasPrefix(t, "text/") || t == "application/json" || t == "application/xml" ||
		strings.HasSuffix(t, "+json") || strings.HasSuffix(t, "+xml"))
}

// text is an ID, or the value of a property, as JMS has it as text; nil: there is none.
func text(v any) *string {
	var s string
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		s = v
	case []byte:
		s = hex.EncodeToString(v)
	case time.Time:
		s = v.UTC().Format(time.RFC3339Nano)
	default:
		s = fmt.Sprint(v) // numbers, booleans, UUIDs
	}
	return &s
}

// texts are the properties of a message. Typed handlers have a map of texts.
func texts(properties map[string]any) map[string]string {
	all := make(map[string]string, len(properties))
	for k, v := range properties {
		if s := text(v); s != nil {
			all[k] = *s
		}
	}
	return all
}

func marshal(m message) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // texts and numbers
	}
	return b
}
