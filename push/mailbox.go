package push

import (
	"context"
	"fmt"
	"time"
)

// Letter is something on its way out of a source, as an Mailbox keeps it.
type Letter struct {
	Seq  uint64 // the store's, growing
	Body []byte // as it was put
	Left []byte // what is left to do, as it was noted last; nil: nothing was
}

// Mailbox keeps what a source has accepted and not sent yet.
type Mailbox interface {
	// Put stores letters in this order, and returns their numbers when all are on disk. async.ErrFull: the disk has no
	// room. After an error some of them may be there.
	Put(ctx context.Context, bodies ...[]byte) ([]uint64, error)
	// Note stores what is left to do for a letter. It survives the death of the process.
	Note(ctx context.Context, seq uint64, left []byte) error
	// Remove forgets a letter and what was noted; one that is not there is no error.
	Remove(ctx context.Context, seq uint64) error
	// Get reads one; ErrNone.
	Get(ctx context.Context, seq uint64) ([]byte, error)
	// Each calls f with every letter, in their order.
	Each(ctx context.Context, f func(Letter) error) error
	// See notes that a key was seen, with a value, and returns when that is on disk.
	See(ctx context.Context, key string, value []byte) error
	// Seen calls f with each key that was seen within the last five minutes, the oldest first.
	Seen(ctx context.Context, f func(key string, value []byte, at time.Time)) error
}

// QueueMessage is a message for a queue of SQS.
type QueueMessage struct {
	Queue        string // ARN
	Body         string
	Attributes   []QueueAttribute
	Group, Dedup string // of FIFO queues
	Trace        string // header
}

// QueueAttribute is an attribute of a message. The Value of a Binary one is base64.
type QueueAttribute struct{ Name, Type, Value string }

// Queues sends messages to queues.
type Queues interface {
	// ToQueue sends one. *async.PermanentError: sending again does not help.
	ToQueue(ctx context.Context, m *QueueMessage) error
}

// Topics are topics of this server, for those who have something for one.
type Topics interface {
	// ToTopic publishes a message; ours is false when there is no such topic here. *TopicNotAllowedError,
	// *async.PermanentError.
	ToTopic(ctx context.Context, m *TopicMessage) (ours bool, err error)
}

// TopicMessage is a message for a topic.
type TopicMessage struct {
	Topic, Subject, Message string // Topic is an ARN
	Attributes              []QueueAttribute
	Group, Dedup            string // of FIFO topics
	Trace                   string // header
	// Service is who publishes, events.amazonaws.com, and Source the ARN of what it does so for: the topic's policy must
	// allow it where signatures are verified. Empty: somebody who has the permission of a role.
	Service, Source string
}

// TopicNotAllowedError says that a topic's policy does not let a service publish.
type TopicNotAllowedError struct{ Topic, Service, Source string }

// Error says what is missing, and the next thing to type.
func (e *TopicNotAllowedError) Error() string {
	return fmt.Sprintf("%s may not publish to %s for %s: the topic's policy does not allow it; aws sns set-topic-attributes --topic-arn %s --attribute-name Policy --attribute-value "+
		`'{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":%q},"Action":"sns:Publish","Resource":%q,"Condition":{"ArnEquals":{"aws:SourceArn":%q}}}}'`,
		e.Service, e.Topic, e.Source, e.Topic, e.Service, e.Topic, e.Source)
}
