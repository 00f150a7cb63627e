package eventsource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Driver knows one protocol. It has no state of its own but clients that mappings share; any number of goroutines use it.
type Driver interface {
	// Check looks at the source of a mapping that is to be made, or whose Access was changed, as far as the service
	// does: whether a queue or a stream is there. facts are of the function. *InvalidError: its text is the client's
	// answer. Other errors say that nothing could be found out, which refuses nothing.
	Check(ctx context.Context, m *Mapping, facts Facts) error

	// Open reaches the source, and returns as soon as records could be read. ctx bounds the opening alone. The errors
	// of a source that cannot be reached, refuses or is gone are *ProblemError.
	Open(ctx context.Context, m *Mapping, facts Facts) (*Source, error)
}

// Facts are of the function of a mapping.
type Facts struct {
	Timeout time.Duration
	Role    string // ARN of its role
}

// Source is the open source of one mapping: Queue or Stream, never both.
type Source struct {
	Queue  Queue
	Stream Stream

	Envelope Envelope
	// Info says what a failure record tells of a batch: the name of the member, as KinesisBatchInfo, and its value. nil
	// for kinds without failure destinations.
	Info func(batch []*Record) (member string, value json.RawMessage)
	// Deliver sends a failure to a destination that only the source can reach (kafka://TOPIC). nil: there is none.
	Deliver func(ctx context.Context, f *Failure) error
	// Retention is how long a stream keeps its records; 0: for ever, or nobody knows.
	Retention time.Duration
	// Close ends everything of the source. Nothing else of it is in use then. ctx bounds a friendly farewell.
	Close func(ctx context.Context) error
}

// Queue has messages that are received, and later acknowledged or given back. It is used by several goroutines.
type Queue interface {
	// Receive waits for messages as long as the queue likes (a long poll of 20 seconds, say) and returns at most max.
	// No messages and no error: there are none now. The deadline of ctx is when an open batch goes out: the wait is
	// chosen by it, and its end is no error. When ctx is cancelled, Receive returns soon, with what it has already got:
	// the caller gives that back. Errors are *ProblemError, ErrBroken, or the context's.
	Receive(ctx context.Context, max int) ([]*Record, error)

	// Acknowledge says that messages are done with: processed, or not wanted by any filter. What the queue does not take
	// comes again: an error is told, and nothing follows from it.
	Acknowledge(ctx context.Context, messages []*Record) error

	// GiveBack says that messages will not be acknowledged.
	GiveBack(ctx context.Context, messages []*Record, why Why) error
}

// Why messages are given back.
type Why uint8

// The reasons.
const (
	Failed   Why = iota // the function was given them and failed
	Late                // the function could not be run before the queue takes them back
	Released            // no function has seen them: the mapping ends or rests
	Lost                // they are given up, and the destination was told: nobody gets them again. Of kinds with Traits.Oversized
)

// Stream has shards, and each of them records in an order. Whoever reads a shard reads it alone: the caller holds a lease
// for it, or the source's own broker has assigned it (Traits.Assigns).
type Stream interface {
	// Shards are those that can be read now, or whose parents have to be read first. A source that assigns lists those
	// that this server has been assigned.
	Shards(ctx context.Context) ([]Shard, error)

	// Changed has a value as soon as Shards would say something else; it may have one too often. nil: nobody knows,
	// and Shards is asked now and then, and whenever a shard has ended.
	Changed() <-chan struct{}

	// Read opens a shard. ErrPositionLost when the position is no more there.
	Read(ctx context.Context, shard string, from Start) (Reader, error)
}

// Shard is one sequence of records.
type Shard struct {
	ID      string
	Parents []string // have to be read to their end first, as far as they are still listed
}

// Reader reads one shard. One goroutine calls Next, others the rest.
type Reader interface {
	// Next waits for records and returns at least one and at most max, in the order of the shard, or the context's error.
	// It keeps the pace that the protocol wants. io.EOF: the shard is closed, and all of it has been returned.
	// Other errors are ErrPositionLost, ErrRevoked, ErrBroken, and *ProblemError, after which Next is called again.
	Next(ctx context.Context, max int) ([]*Record, error)

	// Commit stores, with the broker, that the shard is done with up to the record at that position. Only sources that
	// assign do something here: for all others the caller stores positions.
	Commit(ctx context.Context, position string) error

	// Revoked is closed when the shard has been assigned to somebody else. Commit then tells ErrRevoked. nil: never.
	Revoked() <-chan struct{}

	// Lag is how many records are behind the last one that Next returned; -1: nobody knows.
	Lag() int64

	// Close ends the reader; a Next that waits returns.
	Close()
}

// StartAt says where the first read of a shard begins.
type StartAt string

// The places.
const (
	TrimHorizon StartAt = "TRIM_HORIZON" // with the oldest record
	Latest      StartAt = "LATEST"       // behind the newest
	AtTimestamp StartAt = "AT_TIMESTAMP"
	After       StartAt = "AFTER" // behind the record at Position
)

// Idler is a Reader whose position moves while nothing comes, as that of a change stream does with changes that it does not
// show. Its Next may return no records and no error. A position that nobody has stored for long may be lost.
type Idler interface {
	// Idle is where reading goes on behind all that Next has returned; false: nothing is known. It is asked when Next has
	// returned no records.
	Idle() (position string, ok bool)
}

// Start is a place in a shard.
type Start struct {
	At StartAt
	// Time is that of AtTimestamp. Of Latest it is when the mapping began to read: a reader that is opened later, after a
	// death before the first record, must not leave out what came since, and begins at that time if the protocol can.
	Time     time.Time
	Position string // of After: what Record.Position was
}

var (
	// ErrPositionLost is the fact that the records from a position on are no more there. The caller begins with the
	// oldest there is, and says so.
	ErrPositionLost = errors.New("the position is no longer in the source")
	// ErrBroken is the fact that the source has to be closed and opened anew, as after the loss of a connection that does
	// not come back by itself. What is in flight meanwhile ends; its acknowledgements are lost.
	ErrBroken = errors.New("the source has to be opened anew")
	// ErrRevoked is the fact that a shard is somebody else's now.
	ErrRevoked = errors.New("the shard was assigned to somebody else")
)

// InvalidError refuses a mapping, with the text that the client is told: InvalidParameterValueException.
type InvalidError struct{ Message string }

func (e *InvalidError) Error() string { return e.Message }

// ProblemError says why a source cannot be read now. Everything is tried again.
type ProblemError struct {
	Code string // StateTransitionReason, for the kinds that have one (ESM_CONFIG_NOT_VALID, EVENT_SOURCE_AUTHN_ERROR ...); empty: none
	Text string // LastProcessingResult without "PROBLEM: "; no secrets. What to do about it, if the text can say
	Err  error  // for the log
}

func (e *ProblemError) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return fmt.Sprintf("%s: %v", e.Text, e.Err)
}

func (e *ProblemError) Unwrap() error { return e.Err }

// Record is one record or message. Nobody changes it, nor the bytes that it refers to, once it was returned.
type Record struct {
	// ID is what a partial answer names it by: a message id, a sequence number. Kafka's is made by its Traits.Identify.
	ID string
	// Event is the record as the handler gets it: JSON, in the member order of the service.
	Event []byte
	// Filtered makes what filters are held against. It is called at most once, and only where there are filters.
	Filtered func() Filtered

	// Shard and Position are of streams: which one, and where reading goes on behind this record. Positions are the
	// source's own text; the caller compares none.
	Shard, Position string
	// Key has to be processed in order: a partition key, a message group. Empty: no order but the shard's.
	Key string
	// Group is the member of the event's map in which the record stands, for envelopes with Groups: orders-0.
	Group string

	// Arrived is when the source got it: ages count from here. Zero: nobody knows.
	Arrived time.Time
	// Until is when the queue gives the message to somebody else. Zero: never by itself.
	Until time.Time

	// Deliveries is how often the queue has given the message to somebody, and Last says that it will not do so again: when
	// its function fails, it is given up. 0: nobody counts.
	Deliveries int
	Last       bool

	// Trace is the trace header that the sender gave along; empty: none. The loop guard goes by it, too.
	Trace string
	// Unreadable is the condition under which the record is given up without an invoke: data that do not fit the schema
	// that they name. No filter sees it. Empty: it can be read.
	Unreadable string
	// Unwanted: it is for no function, whatever the filters say.
	Unwanted bool

	// Handle is the source's own: a receipt handle, a delivery tag.
	Handle any
}

// Size is what a record takes in an event, with the comma before it.
func (r *Record) Size() int { return len(r.Event) + 1 }

// Envelope is the event around its records.
//
//	Head [RECORD,RECORD] Tail                        {"Records":[...]}
//	Head {"GROUP":[RECORD],"GROUP":[RECORD]} Tail    {...,"records":{"orders-0":[...]}}
type Envelope struct {
	Head, Tail string
	Groups     bool
}

// Filtered is a record as filters see it.
type Filtered struct {
	// Meta is a JSON object without the data: {"topic":"orders","partition":0}.
	Meta []byte
	// Data are the members that may be plain text or JSON: body, data, key and value. Bytes are as the sender wrote
	// them, decoded from base64. Absent members are left out.
	Data []Datum
}

// Datum is a data member. Absent ones are not listed.
type Datum struct {
	Name  string
	Bytes []byte
}

// Traits are what is true of a kind of source, whatever the mapping says.
type Traits struct {
	Window   time.Duration // where a mapping has none
	MaxBatch int

	// Assigns: the source's own broker decides who reads which shard, and keeps positions. No leases, no checkpoints.
	Assigns bool
	// Mixes: one batch may have records of several shards.
	Mixes bool
	// FilteredWait: what no filter wants is committed with the next batch that succeeds, not by itself (S-030).
	FilteredWait bool
	// Pollers is how many goroutines receive from a queue at most; 0: as SQS scales.
	Pollers int
	// Exact: a partial answer has exactly the named records tried again or given back; otherwise all from the lowest on.
	Exact bool
	// Oversized names the condition of a record that fits into no event; empty: such a record is dropped.
	Oversized string

	// Data are the members of Filtered.Data, and Mismatch is what becomes of a record whose data are not what a pattern
	// asks for.
	Data     []string
	Mismatch Mismatch

	// Reason is StateTransitionReason after what users do; Result says whether there is a LastProcessingResult.
	Reason string
	Result bool

	// Identify reads an itemIdentifier of a partial answer; nil: it is a string.
	Identify func(json.RawMessage) (id string, ok bool)
}

// Mismatch says what becomes of a record whose data are plain text where a pattern asks for JSON, or the reverse.
type Mismatch uint8

// What can become of it. Source: section 2.4.
const (
	Drop         Mismatch = iota // it does not pass: SQS
	DropOrRefuse                 // the same, and patterns that ask for plain text are refused: Kinesis, DynamoDB
	MetadataOnly                 // the data are not looked at: Kafka, MQ
)

// JavaBytes writes bytes as the service's own programs have them, in headers: -128 to 127.
func JavaBytes(b []byte) []int8 {
	all := make([]int8, len(b))
	for i, c := range b {
		all[i] = int8(c)
	}
	return all
}
