// Package outbox sends what was accepted for somebody outside: messages for queues, topics and log groups that rules and
// schedules have as targets. A letter is on disk before it is acknowledged; it is sent again until that works, until its
// retry policy ends, or until sending again cannot help, and then goes to its dead-letter queue.
//
//	Accept -> on disk -> attempt -> Next -> gone | tried again later | dead: another letter, for the queue
//
// After a restart everything that is on disk is sent, with attempts counted anew: at least once.
//
// Owner: an Outbox owns one goroutine for each target that has letters, and one for each attempt in flight; Close ends
// them and waits.
package outbox

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"
)

// Letter is one message on its way. It is stored: members may be added, never renamed.
type Letter struct {
	Seq      uint64 `json:"-"` // the store's; 0 before it was put
	To       string // ARN
	Body     []byte `json:"-"`
	Group    string `json:",omitempty"` // of a message for a FIFO queue
	Trace    string `json:",omitempty"`
	Accepted time.Time
	// Attributes go with the message: of dead letters.
	Attributes map[string]string `json:",omitempty"`

	// MaxAttempts and MaxAge are the retry policy: how often it is sent again, and until when.
	MaxAttempts int
	MaxAge      time.Duration
	// DeadLetter is the ARN of the queue that gets what cannot be delivered, with About and what went wrong as
	// attributes; empty: nobody does. Original is what it gets if that is not Body.
	DeadLetter string            `json:",omitempty"`
	About      map[string]string `json:",omitempty"`
	Original   []byte            `json:",omitempty"`
}

// Store keeps letters. What Put has acknowledged is on disk.
type Store interface {
	Put(ctx context.Context, l *Letter) error // sets Seq
	Get(ctx context.Context, seq uint64) (*Letter, error)
	Remove(ctx context.Context, seq uint64) error
	// All calls f with every letter, without its Body.
	All(ctx context.Context, f func(*Letter)) error
}

// ErrNone says that a store has no such letter.
var ErrNone = errors.New("no such letter")

// Codes of failures, as dead letters have them. Source: EventBridge User Guide, "Using dead-letter queues".
const (
	NoPermissions     = "NO_PERMISSIONS"
	NoResource        = "NO_RESOURCE"
	InvalidParameter  = "INVALID_PARAMETER"
	Throttling        = "THROTTLING"
	ConnectionFailure = "CONNECTION_FAILURE"
	ClientError       = "SDK_CLIENT_ERROR"
)

// Failure is why a letter was not delivered. Permanent: sending it again does not help.
type Failure struct {
	Code      string
	Permanent bool
	Err       error
}

func (f *Failure) Error() string { return f.Code + ": " + f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Step is what follows an attempt.
type Step struct {
	Again time.Duration // send it again after that; 0: do not
	// Condition of the retry policy that has ended; empty: sending again does not help.
	Condition string
}

// Waits between attempts; ours, the service says "exponential back off".
const firstWait, longestWait = time.Second, 10 * time.Minute

// Next says what follows when attempt number n, from 1 on, has failed. A failure is sent again at once after a jitter
// between half and all of the wait, which dice in [0,1) decides.
func Next(l *Letter, n int, now time.Time, failed error, dice float64) Step {
	var f *Failure
	if errors.As(failed, &f) && f.Permanent {
		return Step{}
	}
	if n > l.MaxAttempts {
		return Step{Condition: "MaximumRetryAttempts"}
	}
	wait := longestWait
	if n < 20 {
		wait = min(wait, firstWait<<(n-1))
	}
	wait -= time.Duration(dice * float64(wait) / 2)
	if now.Add(wait).Sub(l.Accepted) > l.MaxAge {
		return Step{Condition: "MaximumEventAgeInSeconds"}
	}
	return Step{Again: wait}
}

func dice() float64 { return rand.Float64() } //nolint:gosec // jitter

// Dead is the letter for the dead-letter queue; nil: nobody wants one. condition is Step's.
func Dead(l *Letter, failed error, attempts int, condition string, now time.Time) *Letter {
	if l.DeadLetter == "" {
		return nil
	}
	code := ClientError
	var f *Failure
	if errors.As(failed, &f) {
		code, failed = f.Code, f.Err
	}
	d := &Letter{To: l.DeadLetter, Body: l.Body, Trace: l.Trace, Accepted: now, MaxAttempts: 185, MaxAge: 24 * time.Hour,
		Attributes: map[string]string{}}
	if l.Original != nil {
		d.Body = l.Original
	}
	maps.Copy(d.Attributes, l.About)
	d.Attributes["ERROR_CODE"], d.Attributes["ERROR_MESSAGE"] = code, failed.Error()
	if condition != "" {
		d.Attributes["EXHAUSTED_RETRY_CONDITION"] = condition
		d.Attributes["RETRY_ATTEMPTS"] = strconv.Itoa(max(0, attempts-1))
	}
	return d
}
