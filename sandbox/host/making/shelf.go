package making

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"thaw/sandbox"
)

// Kept is what a shelf holds: a sandbox that is nobody's yet.
type Kept interface {
	comparable
	Exited() <-chan struct{}
	Exit() sandbox.Exit
	Close() error
}

const (
	// Limit bounds the making of one, which takes some 60 ms on an idle machine and seconds on a drowning one.
	Limit = time.Minute
	// retryPause is how long a shelf rests after one could not be made.
	retryPause = 2 * time.Second
)

// A Shelf keeps sandboxes of one kind ready. What it shares with the backend is the backend's own: the shelf changes its
// list under the lock under which that closes. All fields of Shelf but Pause are required.
type Shelf[S Kept] struct {
	What  string          // it holds, for messages: blank sandbox
	Stage string          // that was taken from it
	Size  int             // 0: it holds none, and each is made when it is asked for
	Pause time.Duration   // how long a place stays empty: whoever took one needs the processors more
	Ctx   context.Context // of the backend: ends with its Close
	Log   *slog.Logger
	Turns *semaphore.Weighted // how many are made at once for those who wait
	Group *sync.WaitGroup     // of the backend: who keeps the shelf, and those being made
	Make  func(ctx context.Context, clock *Clock, patient bool) (S, error)
	Name  func(S) string

	Mu     *sync.Mutex // of the backend, guards what follows
	Closed *bool       // of the backend: no more is wanted
	Ready  []S
	kept   bool // keep runs

	taken chan struct{} // capacity 1: look again; made by WantLocked
}

// WantLocked has the shelf kept full from now on. Mu is held.
func (sh *Shelf[S]) WantLocked() {
	if sh.Size > 0 && !sh.kept && !*sh.Closed {
		sh.kept, sh.taken = true, make(chan struct{}, 1)
		sh.Group.Go(sh.keep)
	}
}

// keep makes one at a time, so that it leaves the processors to those who are waiting for theirs.
func (sh *Shelf[S]) keep() {
	for {
		sh.Mu.Lock()
		full := len(sh.Ready) >= sh.Size
		sh.Mu.Unlock()
		if full {
			select {
			case <-sh.Ctx.Done():
				return
			case <-sh.taken:
			}
			if !sh.rest(sh.Pause) {
				return
			}
			continue
		}
		if sh.Ctx.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeoutCause(sh.Ctx, Limit, fmt.Errorf("a %s took too long", sh.What))
		s, err := sh.Make(ctx, NewClock(), true)
		cancel()
		if err != nil {
			if sh.Ctx.Err() == nil {
				sh.Log.Warn("no "+sh.What+" is kept ready", "err", err)
			}
			if !sh.rest(retryPause) {
				return
			}
			continue
		}
		sh.Mu.Lock()
		sh.Ready = append(sh.Ready, s) // also after Close, which has it among the living
		sh.Mu.Unlock()
	}
}

// rest waits, and says whether the backend is still open then.
func (sh *Shelf[S]) rest(pause time.Duration) bool {
	select {
	case <-sh.Ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// Take returns one that is ready, or makes one.
func (sh *Shelf[S]) Take(ctx context.Context, clock *Clock) (none S, err error) {
	for {
		s, found, err := sh.first()
		if err != nil {
			return none, err
		}
		if !found {
			defer sh.Group.Done()
			if err := sh.Turns.Acquire(ctx, 1); err != nil {
				return none, fmt.Errorf("sandbox: %w", context.Cause(ctx))
			}
			defer sh.Turns.Release(1)
			clock.Mark("wait for a core")
			return sh.Make(ctx, clock, false)
		}
		sh.LookAgain()
		select {
		case <-s.Exited(): // one that died while it waited is nobody's loss
			sh.Log.Warn(sh.What+" ended by itself", "sandbox", sh.Name(s), "err", s.Exit().Err)
			s.Close() //nolint:errcheck // what it leaves is swept
			continue
		default:
		}
		clock.Mark(sh.Stage)
		return s, nil
	}
}

// first takes what has waited longest; not found: the shelf is empty, and the caller is counted in Group.
func (sh *Shelf[S]) first() (s S, found bool, err error) {
	sh.Mu.Lock()
	defer sh.Mu.Unlock()
	if *sh.Closed {
		return s, false, sandbox.ErrClosed
	}
	sh.WantLocked()
	if len(sh.Ready) == 0 {
		sh.Group.Add(1)
		return s, false, nil
	}
	s = sh.Ready[0]
	sh.Ready = slices.Delete(sh.Ready, 0, 1)
	return s, true, nil
}

// LookAgain has the shelf see that a place is empty.
func (sh *Shelf[S]) LookAgain() {
	select {
	case sh.taken <- struct{}{}:
	default:
	}
}

// DropLocked takes one that ends from the shelf, if it is there. Mu is held.
func (sh *Shelf[S]) DropLocked(s S) {
	sh.Ready = slices.DeleteFunc(sh.Ready, func(o S) bool { return o == s })
}
