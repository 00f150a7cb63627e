// Package sns is Amazon SNS in front of functions: topics of this server with their subscriptions (Server, Service), and
// messages of topics elsewhere that come by HTTP (Front).
//
//	Publish -> validate -> who is to get it (filter) -> functions: the asynchronous queue  -> acknowledged
//	                                                 -> the others: the mailbox, on disk    -> acknowledged
//	mailbox  -> attempt -> Next says what follows -> gone | later | dead-letter queue
//
// A message is acknowledged when each of its deliveries is on disk: in the queue of its function, or in the mailbox. What
// the mailbox holds is one letter a message, however many subscriptions it is for.
//
// Lock order: Server.mu alone is held for a moment. fifo locks of a topic come before the mailbox's.
//
// Owner: Open starts the goroutine of the mailbox, and Close ends it with all attempts.
//
// Source: SNS API Reference, version 2010-03-31; SNS Developer Guide; docs/spec/event-sources.md, 11.
package sns

import (
	"strings"
	"time"
)

// Record is one document of the bucket: exactly one of its members is set. Members may be added, never renamed.
type Record struct {
	Topic        *Topic        `json:",omitempty"`
	Subscription *Subscription `json:",omitempty"`
	Subscriber   *Subscriber   `json:",omitempty"`
}

// Topic is a topic of this server.
type Topic struct {
	ARN, Owner string // Owner is an account
	Created    time.Time
	// Attributes are those that were set, by their names in the API; Policy and DeliveryPolicy are JSON.
	Attributes map[string]string `json:",omitempty"`
	Tags       []Tag             `json:",omitempty"`
	Deleted    int               `json:",omitempty"` // subscriptions that were
}

// Tag is a pair.
type Tag struct{ Key, Value string }

// FIFO says whether the topic keeps the order of groups.
func (t *Topic) FIFO() bool { return strings.HasSuffix(t.ARN, ".fifo") }

// Subscription is who gets a topic's messages.
type Subscription struct {
	ARN, Topic, Owner  string
	Protocol, Endpoint string
	Principal          string // ARN of who subscribed
	Created            time.Time
	Attributes         map[string]string `json:",omitempty"`
	// Pending: nobody has confirmed it with Token, which is good for tokenLife since Asked.
	Pending       bool      `json:",omitempty"`
	Token         string    `json:",omitempty"`
	Asked         time.Time `json:",omitzero"`
	Authenticated bool      `json:",omitempty"` // whoever confirmed it had signed
	// SignedEnd: only the owner may end it, not everybody who has its UnsubscribeURL.
	SignedEnd bool `json:",omitempty"`
	// Ended: whoever has Token may bring it back. It is not shown.
	Ended bool `json:",omitempty"`
}

// tokenLife is how long a token confirms. Source: API Reference, Subscribe: "valid for two days".
const tokenLife = 48 * time.Hour

// Raw says whether the endpoint gets the message alone, without the notification around it.
func (s *Subscription) Raw() bool { return s.Attributes[rawDelivery] == "true" }

// arnOf are the parts of arn:aws:sns:REGION:ACCOUNT:NAME[:ID].
type arnOf struct{ partition, service, region, account, resource string }

func splitARN(arn string) (a arnOf, ok bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) < 6 || p[0] != "arn" {
		return a, false
	}
	return arnOf{p[1], p[2], p[3], p[4], p[5]}, true
}
