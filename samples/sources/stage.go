package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"thaw/eventsource/eventsourcetest"
)

// stage is what eventsourcetest starts servers for: the tests' own starts are these here, too. Methods of testing.TB that
// are not below are not called.
type stage struct {
	testing.TB
	ctx  context.Context
	err  error
	undo []func()
}

// attempt runs f until it ends or fails, and then ends what it has started.
func attempt(ctx context.Context, f func(*stage)) error {
	t := &stage{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(t.undo) - 1; i >= 0; i-- {
				t.undo[i]()
			}
			eventsourcetest.End()
		}()
		f(t)
	}()
	<-done
	return t.err
}

func (t *stage) Helper() {}

func (t *stage) Context() context.Context { return t.ctx }

func (t *stage) Cleanup(f func()) { t.undo = append(t.undo, f) }

// Fatal ends the demonstration, and so do the others.
func (t *stage) Fatal(args ...any) { t.end(fmt.Sprint(args...)) }

func (t *stage) Fatalf(format string, args ...any) { t.end(fmt.Sprintf(format, args...)) }

func (t *stage) Skipf(format string, args ...any) { t.end(fmt.Sprintf(format, args...)) }

func (t *stage) end(why string) {
	t.err = errors.New(why)
	runtime.Goexit()
}

func (t *stage) must(err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition.
func (t *stage) until(what string, met func() bool) {
	for end := time.Now().Add(patience); !met(); {
		switch {
		case t.ctx.Err() != nil:
			t.Fatal("interrupted")
		case time.Now().After(end):
			t.Fatalf("after %v it is not so that %s", patience, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
