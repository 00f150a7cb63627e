package eventsourcetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// Stage is what programs start servers for: the starts of tests are theirs, too. Methods of testing.TB that are not below
// are not called.
type Stage struct {
	testing.TB
	ctx  context.Context
	err  error
	undo []func()
}

// NewStage makes one. End ends what is started on it.
func NewStage(ctx context.Context) *Stage { return &Stage{ctx: ctx} }

// Do runs f until it ends or fails. Servers that it starts go on.
func (t *Stage) Do(f func(*Stage)) error {
	t.err = nil
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(t)
	}()
	<-done
	return t.err
}

// End ends what was started, the last first, and all servers of this package.
func (t *Stage) End() {
	for i := len(t.undo) - 1; i >= 0; i-- {
		t.undo[i]()
	}
	t.undo = nil
	End()
}

// Helper implements testing.TB.
func (t *Stage) Helper() {}

// Context implements testing.TB.
func (t *Stage) Context() context.Context { return t.ctx }

// Cleanup has f called by End.
func (t *Stage) Cleanup(f func()) { t.undo = append(t.undo, f) }

// Fatal ends Do, and so do the others.
func (t *Stage) Fatal(args ...any) { t.end(fmt.Sprint(args...)) }

// Fatalf implements testing.TB.
func (t *Stage) Fatalf(format string, args ...any) { t.end(fmt.Sprintf(format, args...)) }

// MissingError is why a server cannot be had here.
type MissingError struct{ Why string }

func (e *MissingError) Error() string { return e.Why }

// Skipf ends Do with a *MissingError.
func (t *Stage) Skipf(format string, args ...any) {
	t.err = &MissingError{fmt.Sprintf(format, args...)}
	runtime.Goexit()
}

func (t *Stage) end(why string) {
	t.err = errors.New(why)
	runtime.Goexit()
}

// Logf tells who waits.
func (t *Stage) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Must ends Do with an error; nil: it does not.
func (t *Stage) Must(err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// Until waits for a condition, for two minutes.
func (t *Stage) Until(what string, met func() bool) {
	for began := time.Now(); !met(); {
		switch {
		case t.ctx.Err() != nil:
			t.Fatal("interrupted")
		case time.Since(began) > 2*patience:
			t.Fatalf("after %v it is not so that %s", 2*patience, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
