package sqs

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"thaw/eventsource"
	"thaw/internal/plainjson"
)

// message is a message as handlers get it. Source: section 3.1.
type message struct {
	ID              string                `json:"messageId"`
	Receipt         string                `json:"receiptHandle"`
	Body            *string               `json:"body,omitempty"` // filters see it apart
	Attributes      ordered               `json:"attributes"`
	MessageAttrs    map[string]*attribute `json:"messageAttributes"`
	MD5OfAttributes string                `json:"md5OfMessageAttributes,omitempty"`
	MD5OfBody       string                `json:"md5OfBody"`
	EventSource     string                `json:"eventSource"`
	EventSourceARN  string                `json:"eventSourceARN"`
	AWSRegion       string                `json:"awsRegion"`
}

type attribute struct {
	String     *string  `json:"stringValue,omitempty"`
	Binary     []byte   `json:"binaryValue,omitempty"`
	StringList []string `json:"stringListValues"`
	BinaryList []string `json:"binaryListValues"`
	Type       string   `json:"dataType"`
}

// ordered is a map that is written in the order in which the service writes it.
type ordered map[string]string

var order = []string{"ApproximateReceiveCount", "AWSTraceHeader", "SentTimestamp", "SequenceNumber", "MessageGroupId", "SenderId", "MessageDeduplicationId",
	"ApproximateFirstReceiveTimestamp", "DeadLetterQueueSourceArn"}

// MarshalJSON implements json.Marshaler.
func (o ordered) MarshalJSON() ([]byte, error) {
	names := slices.Sorted(maps.Keys(o))
	slices.SortStableFunc(names, func(a, b string) int { return place(a) - place(b) })
	b := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, plainjson.Value(name)...), ':'), plainjson.Value(o[name])...)
	}
	return append(b, '}'), nil
}

func place(name string) int {
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}

// record is a message for the caller; until is when the queue gives it to somebody else.
func (q *queue) record(m *types.Message, until time.Time) *eventsource.Record {
	e := message{ID: aws.ToString(m.MessageId), Receipt: aws.ToString(m.ReceiptHandle), Body: aws.String(aws.ToString(m.Body)), Attributes: m.Attributes,
		MessageAttrs: map[string]*attribute{}, MD5OfBody: aws.ToString(m.MD5OfBody), EventSource: "aws:sqs", EventSourceARN: q.arn.String(), AWSRegion: q.arn.Region}
	if e.Attributes == nil {
		e.Attributes = ordered{}
	}
	for name, v := range m.MessageAttributes {
		a := &attribute{String: v.StringValue, Binary: v.BinaryValue, StringList: []string{}, BinaryList: []string{}, Type: aws.ToString(v.DataType)}
		e.MessageAttrs[name] = a
	}
	if len(e.MessageAttrs) > 0 {
		e.MD5OfAttributes = aws.ToString(m.MD5OfMessageAttributes)
	}
	r := &eventsource.Record{ID: e.ID, Event: plainjson.Value(e), Until: until, Handle: e.Receipt, Trace: m.Attributes["AWSTraceHeader"],
		Filtered: func() eventsource.Filtered {
			meta := e
			meta.Body = nil
			return eventsource.Filtered{Meta: plainjson.Value(meta), Data: []eventsource.Datum{{Name: "body", Bytes: []byte(*e.Body)}}}
		}}
	if strings.HasSuffix(q.arn.Resource, ".fifo") {
		r.Key = m.Attributes["MessageGroupId"]
	}
	if ms, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64); err == nil {
		r.Arrived = time.UnixMilli(ms)
	}
	return r
}
