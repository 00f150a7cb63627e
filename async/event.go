// Package async has functions run for events whose senders do not wait. An event is accepted when it is on disk, and
// stays there until it is known what became of it: a process that is killed loses none.
//
//	Accept -> disk -> its lane -> invoke -> Next says what follows -> gone
//	                    ^                       |
//	                    +---- wait <------------+----> destinations and dead-letter queue -> gone
//
// Every qualifier of every function has a lane of its own. Lanes share nothing but the disk and the pool, so a function
// that is throttled, slow or broken holds up no other one, and neither does a destination that is. A lane takes its
// events in the order in which they were accepted and has at most Options.Concurrency of them run at a time, so they may
// end in another order. One that waits for another attempt lets those behind it pass; when its wait is over it goes
// first. When concurrency or the platform is lacking, the whole lane waits: one event then finds out for all of them.
//
// What happens after each attempt is decided by Next. Its waits are in memory, except that an attempt which reached the
// function is written down, with its outcome, before anything follows from it. So after a kill an event is tried again
// when it was in flight, as on the service, and not because of anything that was already known.
//
// Payloads are written to disk once, read when they are needed, and never logged.
//
// Owner: a Queue owns one goroutine for each lane that has events, and one for each event in flight. Lock order:
// Queue.mu, then lane.mu.
package async

import (
	"context"
	"errors"
	"time"

	"thaw/function"
)

// ErrFull refuses an event because the disk has no room for it. The sender may try again.
var ErrFull = errors.New("the disk has no room for asynchronous events")

// ErrStopping refuses an event because the server is going.
var ErrStopping = errors.New("the server is stopping")

// ErrNone says that a store has no such event.
var ErrNone = errors.New("no such event")

// Lane names a queue: what its events were sent to.
type Lane struct {
	function.Key
	Qualifier function.Qualifier // $LATEST, a version's number or an alias; never empty
}

// Event is an accepted event as a Store keeps it.
type Event struct {
	Seq        uint64 // the store's, growing; 0 before it was put
	Lane       Lane
	RequestID  string       // UUID; the same for all attempts
	InvokedARN function.ARN // as the sender named the function
	TraceID    string       // trace header: the sender's, with what Accept's tracer added to it
	TraceState string       // the sender's
	TenantID   string       // of functions that tell tenants apart
	Accepted   time.Time
	// Incarnation of the function that it was accepted for: another one of the same name never gets it.
	Incarnation uint64
	Payload     []byte // JSON
}

// Progress is what is known of an event that was tried, or is to be told to somebody. It is stored: members may be
// added, never renamed.
type Progress struct {
	Attempts int
	Due      time.Time // not before; zero: now
	Ended    *Ending   `json:",omitempty"` // it will not be tried again: only Targets are left to do
	Answer   Answer
	Tries    []Try    `json:",omitempty"` // attempts that reached the function, where somebody records them
	Targets  []Target `json:",omitempty"` // that were not told yet
	Response []byte   `json:"-"`          // of the last attempt that reached the function
}

// Answer is how the last attempt ended, without its payload.
type Answer struct {
	Version function.VersionNumber `json:",omitempty"` // that ran; empty: none did
	Error   string                 `json:",omitempty"` // Unhandled
	Refused string                 `json:",omitempty"` // why nothing ran, for people
	Code    int                    `json:",omitempty"` // HTTP status that a synchronous caller would have seen
}

// Try is one attempt.
type Try struct {
	From, To time.Time
	Answer   Answer
}

// Ending is how an event ended.
type Ending struct {
	Condition Condition
	At        time.Time
}

// Target is somebody who is told how an event ended.
type Target struct {
	ARN string
	// DeadLetter: it gets the event as it came; else the envelope of a destination.
	DeadLetter bool `json:",omitempty"`
}

// Store keeps events. What Put has acknowledged is on disk; what the others have acknowledged survives the death of the
// process, and soon afterwards that of the machine.
type Store interface {
	// Put stores an event and sets its Seq. ErrFull: there is no room, and nothing was stored.
	Put(ctx context.Context, e *Event) error
	// Next returns the first event of a lane whose Seq is at least from; ErrNone.
	Next(ctx context.Context, l Lane, from uint64) (*Event, error)
	// Progress stores what is known of an event. ErrFull.
	Progress(ctx context.Context, seq uint64, p *Progress) error
	// Known returns what Progress stored last; nil: nothing.
	Known(ctx context.Context, seq uint64) (*Progress, error)
	// Remove forgets an event and its progress; one that is not there is no error.
	Remove(ctx context.Context, seq uint64) error
	// Purge forgets all events of a lane, and returns how many they were.
	Purge(ctx context.Context, l Lane) (int, error)
	// Lanes returns how many events each lane has.
	Lanes(ctx context.Context) (map[Lane]int, error)
	// Tried calls f with every event that has a progress, without its Response, and forgets those whose event is gone.
	Tried(ctx context.Context, f func(seq uint64, p *Progress)) error
}
