package execenv

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"thaw/function"
	"thaw/guest/platform"
	"thaw/guest/wire"
	"thaw/sandbox"
)

// Make is what an environment needs that makes a snapshot. Its Init has the long limit, runs the before-checkpoint hooks, and ends in the checkpoint.
type Make struct {
	Sink sandbox.SnapshotSink
	// Layout is wire.Start's: environments that are given the same one place their memory alike.
	Layout []byte
	// Primes are invoked, in order, when Init is done and before the before-checkpoint hooks run.
	Primes []Prime
	// Done is called once, from the driver's goroutine, before Owner.Gone: err is nil when the sink has the whole snapshot.
	Done func(Made, error)
}

// Made is what was learnt while a snapshot was made.
type Made struct {
	Init       time.Duration // of the runtime and the function, hooks included, priming not
	Priming    time.Duration // of all priming events
	Checkpoint time.Duration
	Next       wire.NextKind // the call that the runtime is parked in
	// StatedExpiry is when what the function cached is no longer good, by its own word; zero when it said nothing.
	StatedExpiry time.Time
	Hooks        []string // before-checkpoint hooks that ran, in order, as far as the client tells
}

// Restore is what an environment begins from.
type Restore struct {
	ID      string
	Expires time.Time // zero: never
	Source  sandbox.SnapshotSource
	// CheckpointAt is when the snapshot's last instruction ran. A copy must not run sooner than thawPause after it.
	CheckpointAt time.Time
}

// thawPause keeps a copy from running while what the original drew from the kernel's generator is still in a buffer that Java's NativePRNG trusts for
// 100 ms of its own clock.
const thawPause = 110 * time.Millisecond

func (r *Restore) open(ctx context.Context, b sandbox.Backend, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if wait := thawPause - time.Since(r.CheckpointAt); wait > 0 && wait <= thawPause {
		time.Sleep(wait)
	}
	return b.Restore(ctx, spec, r.Source)
}

// InitFailedError says why a snapshot could not be made: Init or a before-checkpoint hook failed.
type InitFailedError struct {
	Timeout   bool
	ErrorType string // Runtime.BeforeCheckpointError ...
	Message   string // the function's own, where it gave one
	Output    string // what a runtime that ended without a word of its own printed last; for the function's owner, not for our log
}

func (e *InitFailedError) Error() string {
	if e.Timeout {
		return "Init did not finish in time"
	}
	if e.Message == "" {
		return e.ErrorType
	}
	return e.ErrorType + ": " + e.Message
}

// RestoreError says why a restore that had begun did not reach the function: the function's own doing, not the platform's.
type RestoreError struct {
	Timeout   bool
	ErrorType string // Runtime.AfterRestoreError, Runtime.ExitError
	Message   string
	Output    string // as in InitFailedError
}

func (e *RestoreError) Error() string {
	if e.Timeout {
		return fmt.Sprintf("restore did not finish within %v", restoreLimit)
	}
	if e.Message == "" {
		return e.ErrorType
	}
	return e.ErrorType + ": " + e.Message
}

// Reason is for the function's owner: the error, and what the runtime printed last.
func (e *InitFailedError) Reason() string { return withOutput(e.Error(), e.Output) }

// Reason is as that of InitFailedError.
func (e *RestoreError) Reason() string { return withOutput(e.Error(), e.Output) }

func withOutput(reason, output string) string {
	if output == "" {
		return reason
	}
	return reason + ". Its last output: " + output
}

func (o *Options) credentials() wire.Credentials {
	return wire.Credentials{AccessKeyID: o.AccessKeyID, SecretAccessKey: o.SecretAccessKey, SessionToken: o.SessionToken, ExpirationUnix: time.Now().Add(CredentialsLife).Unix()}
}

func (d *driver) initType() string {
	if d.o.Make != nil || d.o.Restore != nil {
		return platform.SnapStart
	}
	if d.o.Provisioned {
		return platform.Provisioned
	}
	return platform.OnDemand
}

// noteMakeFailure notes why an environment ends whose Init was to be saved.
func (d *driver) noteMakeFailure(ev Event) {
	x := d.gen.exit
	if d.state == Priming {
		switch {
		case ev == LimitReached:
			d.primingFailed(errTimedOut, fmt.Sprintf("Task timed out after %.2f seconds", d.o.Version.Timeout.Seconds()))
		case x != nil && x.OutOfMemory:
			d.primingFailed("Runtime.OutOfMemory", x.Reason())
		default:
			d.primingFailed(exitType(x), x.Reason())
		}
		return
	}
	if ev == ProcessExited && x != nil && x.Starved { // ours, and worth another try
		d.failure = fmt.Errorf("the runtime cannot be started: %s", x.Reason())
		return
	}
	e := &InitFailedError{Timeout: ev == LimitReached, ErrorType: "Runtime.Unknown"}
	switch {
	case e.Timeout:
	case d.gen.initError != nil:
		e.ErrorType, e.Message = d.gen.initError.errType, d.gen.initError.message()
	case x != nil:
		e.ErrorType, e.Message, e.Output = exitType(x), x.Reason(), d.lastOutput()
	}
	d.failure = e
}

// collectors are the exceptions in which AWS's client for Java gathers what hooks threw: the message names those, and
// they themselves say nothing.
var collectors = []string{"com.amazonaws.services.lambda.crac.CheckpointException", "com.amazonaws.services.lambda.crac.RestoreException"}

// message is the function's own: the type of the error, where the platform's does not say it, and its text.
func (e *initError) message() string {
	text := messageOf(e.body)
	var b struct {
		Type string `json:"errorType"`
	}
	if json.Unmarshal(e.body, &b) != nil || b.Type == "" || b.Type == e.errType || strings.HasPrefix(text, b.Type) || slices.Contains(collectors, b.Type) {
		return text
	}
	return b.Type + ": " + text
}

// messageOf reads errorMessage of an error body, or takes a short body as it is.
func messageOf(body []byte) string {
	var b struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}
	if json.Unmarshal(body, &b) == nil {
		if b.Message == "" {
			return b.Type
		}
		return b.Message
	}
	return string(body[:min(len(body), 200)])
}

// quiesced: the guest has said its last word before the snapshot.
func (d *driver) quiesced() {
	if d.state != Checkpointing {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkpointLimit)
	box, sink, done, ended := d.box, d.o.Make.Sink, d.making.checkpointed, make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		done <- box.Checkpoint(ctx, sink)
	}()
	d.making.endSaving = func() { cancel(); <-ended }
}

func (d *driver) checkpointEnded(err error) {
	if d.state != Checkpointing {
		return
	}
	took := time.Since(d.since)
	if err != nil {
		d.failure = err
		d.handle(CheckpointFailed)
		return
	}
	m := d.making
	m.draft.Init, m.draft.Priming, m.draft.Checkpoint, m.draft.Next = d.first.init, m.primingTook, took, m.next
	m.made = &m.draft
	d.handle(CheckpointDone)
}

// tellMade ends the story of an environment that makes a snapshot.
func (d *driver) tellMade() {
	if d.making == nil || d.o.Make.Done == nil {
		return
	}
	if d.making.made != nil {
		d.o.Make.Done(*d.making.made, nil)
		return
	}
	err := d.failure
	if err == nil {
		err = errors.New(d.stopWhy)
	}
	d.o.Make.Done(d.making.draft, err)
}

func (d *driver) sendRestored() {
	entropy := make([]byte, 64)
	rand.Read(entropy) // never fails: crypto/rand
	d.restoring.released = time.Now()
	d.limit.Reset(restoreLimit - d.restoring.released.Sub(d.restoring.from))
	first, body := news(d.restoring.from, platform.RestoreStart{Place: d.place()})
	d.send(wire.KindRestored, wire.Restored{UnixNanos: d.restoring.released.UnixNano(), Entropy: entropy, EnvID: string(d.id), Segments: d.o.Segments != nil,
		First: first, Credentials: d.o.credentials()}, body)
	if d.o.Observe != nil {
		d.o.Observe("load snapshot", d.restoring.released.Sub(d.restoring.from))
	}
}

func (d *driver) endRestore() {
	now := time.Now()
	d.first.restore, d.first.restoreBilled = now.Sub(d.restoring.from), now.Sub(d.restoring.released)
	d.first.restored = function.Period{From: d.restoring.from, To: now}
	if d.o.Observe != nil {
		d.o.Observe("hooks", d.first.restoreBilled)
	}
	d.restoreDone(d.first.restore, statusSuccess, "")
}

func (d *driver) reportRestore(ev Event) {
	e := &RestoreError{Timeout: ev == LimitReached, ErrorType: "Runtime.Unknown"}
	status := statusError
	switch {
	case e.Timeout:
		status = statusTimeout
	case d.gen.initError != nil:
		e.ErrorType, e.Message = d.gen.initError.errType, d.gen.initError.message()
	case d.gen.exit != nil:
		e.ErrorType, e.Message, e.Output = exitType(d.gen.exit), d.gen.exit.Reason(), d.lastOutput()
	}
	d.failure = e
	d.restoreDone(time.Since(d.restoring.from), status, e.ErrorType)
}

func (d *driver) beginRestore() {
	d.restoring.from = time.Now()
	d.record(d.restoring.from, platform.RestoreStart{Place: d.place()})
}

func (d *driver) restoreDone(took time.Duration, status, errType string) {
	d.emit(platform.RestoreRuntimeDone{Status: status, ErrorType: errType})
	d.emit(platform.RestoreReport{Status: status, ErrorType: errType, Metrics: platform.Duration{Duration: platform.Millis(took)}})
}
