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
	// Parked, when set, is a sandbox that is half-way through this restore; it is used up.
	Parked sandbox.Parked
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
	if r.Parked != nil {
		box, err := r.Parked.Claim(ctx, spec)
		if err == nil {
			return box, nil
		}
		// It can have ended while it waited; the snapshot itself may be sound.
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
		return "snap-start"
	}
	if d.o.Provisioned {
		return "provisioned-concurrency"
	}
	return "on-demand"
}

// parked takes a Ready of the runtime.
func (d *driver) parked(m wire.Ready) {
	if !d.making() {
		d.handle(RuntimeParked)
		return
	}
	if d.primed < len(d.o.Make.Primes) {
		if m.Next == wire.NextRestore {
			d.primingRefused()
			return
		}
		d.handle(PrimingPoint)
		return
	}
	d.snapshotNext = m.Next
	d.handle(SnapshotPoint)
}

// making says whether what the runtime does now is on the way to a snapshot.
func (d *driver) making() bool {
	return d.o.Make != nil && (d.state == Initializing || d.state == Priming || d.state == Primed)
}

// makeFailed ends an environment whose Init was to be saved.
func (d *driver) makeFailed(ev Event) {
	if d.state == Priming {
		switch {
		case ev == LimitReached:
			d.primingFailed(errTimedOut, fmt.Sprintf("Task timed out after %.2f seconds", d.o.Version.Timeout.Seconds()))
		case d.exit != nil && d.exit.OutOfMemory:
			d.primingFailed("Runtime.OutOfMemory", d.exit.Reason())
		default:
			d.primingFailed("Runtime.ExitError", d.exit.Reason())
		}
		return
	}
	if ev == RuntimeExited && d.exit != nil && d.exit.Starved { // ours, and worth another try
		d.failure = fmt.Errorf("the runtime cannot be started: %s", d.exit.Reason())
		d.handle(MakeFailed)
		return
	}
	e := &InitFailedError{Timeout: ev == LimitReached, ErrorType: "Runtime.Unknown"}
	switch {
	case e.Timeout:
	case d.initError != nil:
		e.ErrorType, e.Message = d.initError.errType, d.initError.message()
	case d.exit != nil:
		e.ErrorType, e.Message, e.Output = "Runtime.ExitError", d.exit.Reason(), d.lastOutput()
		if d.exit.LaunchError != "" {
			e.ErrorType = d.exit.LaunchError
		}
	}
	d.failure = e
	d.handle(MakeFailed)
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
	box, sink, done, ended := d.box, d.o.Make.Sink, d.checkpointed, make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		done <- box.Checkpoint(ctx, sink, false)
	}()
	d.endSaving = func() { cancel(); <-ended }
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
	d.snapshot.Init, d.snapshot.Priming, d.snapshot.Checkpoint, d.snapshot.Next = d.initTook, d.primingTook, took, d.snapshotNext
	d.saved = true
	d.handle(CheckpointDone)
}

// tellMade ends the story of an environment that makes a snapshot.
func (d *driver) tellMade() {
	if d.o.Make == nil || d.o.Make.Done == nil {
		return
	}
	err := d.failure
	if !d.saved && err == nil {
		err = errors.New(d.stopWhy)
	}
	if d.saved {
		err = nil
	}
	d.o.Make.Done(d.snapshot, err)
}

func (d *driver) sendRestored() {
	entropy := make([]byte, 64)
	rand.Read(entropy) // never fails: crypto/rand
	d.released = time.Now()
	d.limit.Reset(restoreLimit - d.released.Sub(d.restoreFrom))
	d.send(wire.KindRestored, wire.Restored{UnixNanos: d.released.UnixNano(), Entropy: entropy, EnvID: string(d.id), Credentials: d.o.credentials()}, nil)
	if d.o.Observe != nil {
		d.o.Observe("load snapshot", d.released.Sub(d.restoreFrom))
	}
}

func (d *driver) endRestore() {
	now := time.Now()
	d.restoreTook, d.restoreBilled = now.Sub(d.restoreFrom), now.Sub(d.released)
	if d.o.Observe != nil {
		d.o.Observe("hooks", d.restoreBilled)
	}
	d.lineRestoreReport(d.restoreTook, statusSuccess, "")
}

func (d *driver) reportRestore(ev Event) {
	e := &RestoreError{Timeout: ev == LimitReached, ErrorType: "Runtime.Unknown"}
	status := statusError
	switch {
	case e.Timeout:
		status = statusTimeout
	case d.initError != nil:
		e.ErrorType, e.Message = d.initError.errType, d.initError.message()
	case d.exit != nil:
		e.ErrorType, e.Message, e.Output = "Runtime.ExitError", d.exit.Reason(), d.lastOutput()
	}
	d.failure = e
	d.lineRestoreReport(time.Since(d.restoreFrom), status, e.ErrorType)
}

// Lines of the restore phase. Source: spec 4.7, 5.11.
func (d *driver) lineRestoreStart() {
	d.restoreFrom = time.Now()
	rec := map[string]any{"functionName": d.o.Version.Name, "functionVersion": d.o.Version.Number, "instanceId": string(d.id), "instanceMaxMemory": int64(d.o.Version.MemoryMiB) << 20}
	level, text := "DEBUG", ""
	if d.o.Launch.Release != "" {
		level = "INFO"
		rec["runtimeVersion"], rec["runtimeVersionArn"] = d.o.Launch.Release, d.runtimeVersionARN()
		text = fmt.Sprintf("RESTORE_START Runtime Version: %s\tRuntime Version ARN: %s\n", d.o.Launch.Release, d.runtimeVersionARN())
	}
	d.line(text, "platform.restoreStart", level, rec)
}

func (d *driver) lineRestoreReport(took time.Duration, status, errType string) {
	text := fmt.Sprintf("RESTORE_REPORT Restore Duration: %.2f ms", ms(took))
	rec := map[string]any{"status": status}
	doneLevel, level := "DEBUG", "INFO"
	if status != statusSuccess {
		doneLevel, level = "WARN", "WARN"
		text += "\tStatus: " + status
		rec["errorType"] = errType
		if status == statusError {
			text += "\tError Type: " + errType
		}
	}
	d.line("", "platform.restoreRuntimeDone", doneLevel, rec)
	rec["metrics"] = map[string]any{"durationMs": ms3(took)}
	d.line(text+"\n", "platform.restoreReport", level, rec)
}
