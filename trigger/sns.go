package trigger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"thaw/internal/plainjson"
)

// Types of what SNS sends over HTTP.
const (
	SNSNotification             = "Notification"
	SNSSubscriptionConfirmation = "SubscriptionConfirmation"
	SNSUnsubscribeConfirmation  = "UnsubscribeConfirmation"
)

// SNSMessage is what SNS sends: to endpoints over HTTP and to queues as it is, and to functions inside of an event. The
// order of the members is that of AWS's samples.
type SNSMessage struct {
	Type             string
	MessageID        string `json:"MessageId"`
	SequenceNumber   string `json:",omitempty"` // of FIFO topics
	Token            string `json:",omitempty"` // of confirmations
	TopicARN         string `json:"TopicArn"`
	Subject          *string
	Message          string
	SubscribeURL     string `json:",omitempty"` // of confirmations
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
	UnsubscribeURL   string                  `json:",omitempty"`
	Attributes       map[string]SNSAttribute `json:"MessageAttributes,omitempty"`
}

// SNSAttribute is an attribute of a message. The Value of a Binary one is base64.
type SNSAttribute struct{ Type, Value string }

// SNSTime is a time as SNS writes it.
func SNSTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// snsEvent is what a function gets. Source: docs/spec/event-sources.md, 11; S-103.
type snsEvent struct{ Records []snsRecord }

type snsRecord struct {
	EventSource          string
	EventVersion         string
	EventSubscriptionArn string
	SNS                  snsOfEvent `json:"Sns"`
}

// snsOfEvent spells two members in another way than SNSMessage, and has those that are empty.
type snsOfEvent struct {
	Type             string
	MessageID        string `json:"MessageId"`
	TopicARN         string `json:"TopicArn"`
	Subject          *string
	Message          string
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string                  `json:"SigningCertUrl"`
	UnsubscribeURL   string                  `json:"UnsubscribeUrl"`
	Attributes       map[string]SNSAttribute `json:"MessageAttributes"`
}

// Event is what a function gets of a notification: always one record.
func (m *SNSMessage) Event(subscription string) ([]byte, error) {
	attributes := m.Attributes
	if attributes == nil {
		attributes = map[string]SNSAttribute{}
	}
	return plainjson.Marshal(snsEvent{Records: []snsRecord{{EventSource: "aws:sns", EventVersion: "1.0", EventSubscriptionArn: subscription, SNS: snsOfEvent{
		Type: m.Type, MessageID: m.MessageID, TopicARN: m.TopicARN, Subject: m.Subject, Message: m.Message, Timestamp: m.Timestamp,
		SignatureVersion: m.SignatureVersion, Signature: m.Signature, SigningCertURL: m.SigningCertURL, UnsubscribeURL: m.UnsubscribeURL,
		Attributes: attributes}}}})
}

// Body is what an endpoint or a queue gets. A Subject that is not there is left out here.
func (m *SNSMessage) Body() ([]byte, error) {
	whole, err := plainjson.Marshal(m)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(whole))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString("{")
	for first := true; d.More(); {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if string(value) == "null" {
			continue
		}
		if !first {
			out.WriteString(",")
		}
		first = false
		fmt.Fprintf(&out, "\n  %q : %s", name, value)
	}
	out.WriteString("\n}")
	return out.Bytes(), nil
}

// ParseSNS reads what came over HTTP. It says nothing of who sent it.
func ParseSNS(body []byte) (*SNSMessage, error) {
	m := new(SNSMessage)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("the body is not a message of SNS: %w", err)
	}
	switch m.Type {
	case SNSNotification:
	case SNSSubscriptionConfirmation, SNSUnsubscribeConfirmation:
		if m.Token == "" || m.SubscribeURL == "" {
			return nil, errors.New("the confirmation has no Token, or no SubscribeURL")
		}
	default:
		return nil, fmt.Errorf("the Type is %q, which SNS does not send", m.Type)
	}
	if m.MessageID == "" || m.TopicARN == "" || m.Timestamp == "" {
		return nil, errors.New("the message has no MessageId, TopicArn or Timestamp")
	}
	return m, nil
}

// SignedText is what a signature is made of: names and values in the order of the names, each on a line. Source: SNS
// Developer Guide, "Verifying the signatures of Amazon SNS messages".
func (m *SNSMessage) SignedText() []byte {
	var b bytes.Buffer
	add := func(name, value string) { fmt.Fprintf(&b, "%s\n%s\n", name, value) }
	add("Message", m.Message)
	add("MessageId", m.MessageID)
	if m.Type == SNSNotification {
		if m.Subject != nil {
			add("Subject", *m.Subject)
		}
	} else {
		add("SubscribeURL", m.SubscribeURL)
	}
	add("Timestamp", m.Timestamp)
	if m.Type != SNSNotification {
		add("Token", m.Token)
	}
	add("TopicArn", m.TopicARN)
	add("Type", m.Type)
	return b.Bytes()
}
