package sns

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"thaw/trigger"
)

// Message is what was published, as the mailbox keeps it: members may be added, never renamed.
type Message struct {
	Type      string // of trigger
	ID, Topic string
	Subject   *string           `json:",omitempty"`
	Text      string            // for protocols that Texts has nothing for
	Texts     map[string]string `json:",omitempty"` // by protocol, of MessageStructure json
	Structure string            `json:",omitempty"` // json
	At        time.Time
	// Attributes keep the order in which they were sent.
	Attributes       []Attribute `json:",omitempty"`
	Group, Dedup     string      `json:",omitempty"`
	FIFO             bool        `json:",omitempty"`
	Sequence         string      `json:"-"`          // of FIFO topics: made of the letter's number
	Trace            string      `json:",omitempty"` // header X-Amzn-Trace-Id
	SignatureVersion string      // 1, 2
	Token            string      `json:",omitempty"` // of confirmations
}

// Attribute is one of a message. The Value of a Binary one is base64.
type Attribute struct {
	Name, Type, Value string
	has, isBinary     bool // as it was sent
}

func (a *Attribute) binary() bool { return a.Type == "Binary" || strings.HasPrefix(a.Type, "Binary.") }

// size is what counts for the limit of a message. Source: SNS Developer Guide, "Message attribute items and validation".
func (a *Attribute) size() int {
	value := len(a.Value)
	if a.binary() {
		value = base64.StdEncoding.DecodedLen(len(a.Value))
	}
	return len(a.Name) + len(a.Type) + value
}

const maxMessage = 256 << 10 // of one message, and of all of a batch, with attributes

func (m *Message) size() int {
	n := len(m.Text)
	if m.Structure == "json" {
		n = 0
		for _, text := range m.Texts {
			n = max(n, len(text))
		}
	}
	for i := range m.Attributes {
		n += m.Attributes[i].size()
	}
	return n
}

// textFor is the message for a protocol.
func (m *Message) textFor(protocol string) string {
	if text, ok := m.Texts[protocol]; ok {
		return text
	}
	return m.Text
}

// structure reads a message that has one text for each protocol. Values that are no texts are left out.
func (m *Message) structure(kind string) error {
	if kind != "json" {
		return nil // what else it may be is not documented, and changes nothing
	}
	var all map[string]json.RawMessage
	if json.Unmarshal([]byte(m.Text), &all) != nil {
		return invalid("Message Structure - JSON message body failed to parse")
	}
	m.Structure, m.Texts = kind, map[string]string{}
	for protocol, raw := range all {
		var text string
		if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
			m.Texts[protocol] = text
		}
	}
	text, ok := m.Texts["default"]
	if !ok {
		return invalid("Message Structure - No default entry in JSON message body")
	}
	m.Text = text
	return nil
}

// Rules of a Subject. Source: API Reference, Publish: "must be ASCII text that begins with a letter, number, or punctuation
// mark; must not include line breaks or control characters; and must be less than 100 characters long."
func checkSubject(s string) error {
	if s == "" || len(s) > 100 || s[0] == ' ' {
		return invalid("Subject")
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return invalid("Subject")
		}
	}
	return nil
}

var (
	nameRE = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	typeRE = regexp.MustCompile(`^(String|Number|Binary)(\.[^\x00-\x1f]+)?$`)
	// keyRE is what MessageGroupId and MessageDeduplicationId may be: 1 to 128 of these. Source: API Reference, Publish.
	keyRE = regexp.MustCompile(`^[a-zA-Z0-9!-/:-@\[-` + "`" + `{-~]{1,128}$`)
)

// check says what is wrong with an attribute, in the service's words.
func (a *Attribute) check() error {
	switch {
	case len(a.Name) > 256:
		return invalidValue("Length of message attribute name must be less than 256 bytes.")
	case a.Name == "":
		return invalidValue("The request must contain non-empty message attribute name.")
	case a.Name[0] == '.':
		return invalidValue("Invalid message attribute name starting with character '.' was found.")
	case strings.HasSuffix(a.Name, "."):
		return invalidValue("Invalid message attribute name ending with character '.' was found.")
	case strings.Contains(a.Name, ".."):
		return invalidValue("Message attribute name can not have successive '.' character.")
	case !nameRE.MatchString(a.Name):
		i := strings.IndexFunc(a.Name, func(r rune) bool { return !nameRE.MatchString(string(r)) })
		r, _ := utf8.DecodeRuneInString(a.Name[i:])
		return invalidValue("Invalid non-alphanumeric character '#x%X' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots.", r)
	case !typeRE.MatchString(a.Type) || len(a.Type) > 256:
		return invalidValue("The message attribute '%s' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", a.Name)
	case a.has && a.isBinary != a.binary():
		field := "String"
		if a.binary() {
			field = "Binary"
		}
		return invalidValue("The message attribute '%s' with type '%s' must use field '%s'.", a.Name, a.Type, field)
	case a.Value == "":
		return invalidValue("The message attribute '%s' must contain non-empty message attribute value for message attribute type '%s'.", a.Name, a.Type)
	case (a.Type == "Number" || strings.HasPrefix(a.Type, "Number.")) && !isNumber(a.Value):
		return invalidValue("Could not cast message attribute '%s' value to number.", a.Name)
	}
	return nil
}

func isNumber(s string) bool {
	_, err := json.Number(strings.TrimPrefix(s, "+")).Float64()
	return err == nil && !strings.ContainsAny(s, "xXnNiI_pP")
}

// contentID is what a message without a deduplication ID of its own is told by. Source: SNS Developer Guide, "Message
// deduplication for FIFO topics": SHA-256 of the body, not of the attributes.
func contentID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sequence is a number of 20 digits that grows. n is the number of the message's letter.
func sequence(n uint64) string { return fmt.Sprintf("%d", 10_000_000_000_000_000_000+n) }

// notification is the message as a subscription gets it, without its signature.
func (m *Message) notification(sub *Subscription, base string) *trigger.SNSMessage {
	n := &trigger.SNSMessage{Type: m.Type, MessageID: m.ID, SequenceNumber: m.Sequence, TopicARN: m.Topic, Subject: m.Subject, Message: m.textFor(sub.Protocol),
		Timestamp: trigger.SNSTime(m.At), SignatureVersion: m.SignatureVersion}
	if m.Type != trigger.SNSNotification {
		n.Token, n.SubscribeURL = m.Token, confirmURL(base, m.Topic, m.Token)
		return n
	}
	n.UnsubscribeURL = unsubscribeURL(base, sub.ARN)
	if len(m.Attributes) > 0 {
		n.Attributes = map[string]trigger.SNSAttribute{}
	}
	for _, a := range m.Attributes {
		n.Attributes[a.Name] = trigger.SNSAttribute{Type: a.Type, Value: a.Value}
	}
	return n
}
