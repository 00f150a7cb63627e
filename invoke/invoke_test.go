package invoke_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
)

const arn = "arn:aws:lambda:r:1:function:f"

// scene is an invoker over a view that the test changes, and a pool that answers as the test says. The pool stands for
// what decides about environments, which is tested elsewhere: what counts here is what reaches it.
type scene struct {
	t        *testing.T
	view     *function.View
	revision uint64
	got      []*pool.Request
	answer   func(*pool.Request) error
	woken    int
	looped   []function.Resource
	wakeErr  error
	stopping chan struct{}
	fetching atomic.Value // a string
	provides error        // that Provide does something about
	invoker  *invoke.Invoker
}

func open(t *testing.T) *scene {
	s := &scene{t: t, view: function.NewView(), stopping: make(chan struct{})}
	s.view.Loaded()
	s.invoker = invoke.New(invoke.Options{View: s.view, Pool: s, Concurrency: 100, Pending: time.Minute, Fetch: 10 * time.Minute, Stopping: s.stopping,
		Looped:   func(r function.Resource) { s.looped = append(s.looped, r) },
		Wake:     func(context.Context, *function.Entry, *function.VersionRecord) error { s.woken++; return s.wakeErr },
		Fetching: func(string) string { text, _ := s.fetching.Load().(string); return text },
		Provide:  func(_ context.Context, _ *function.Version, err error) bool { return errors.Is(err, s.provides) }})
	return s
}

func (s *scene) Invoke(_ context.Context, r *pool.Request) (*function.Outcome, error) {
	copied := *r
	s.got = append(s.got, &copied)
	if s.answer != nil {
		if err := s.answer(r); err != nil {
			return nil, err
		}
	}
	return &function.Outcome{Payload: []byte("answer")}, nil
}

// is puts the function into the view as it is now.
func (s *scene) is(edit func(*function.Record)) {
	s.revision++
	r := &function.Record{Key: key, Partition: "aws", Incarnation: 1, Epoch: 1, Revision: s.revision,
		Latest: function.VersionRecord{Number: function.Latest, Life: function.Live, Config: function.Config{Runtime: "nodejs22.x", Package: function.Package{CodeSHA256: "code"}}}}
	if edit != nil {
		edit(r)
	}
	s.view.Apply(function.Change{Revision: s.revision, Key: key, Function: r})
}

// version puts a published version into the view; the function's record must list it.
func (s *scene) version(number int, life function.Life, reasonCode string) {
	s.revision++
	s.view.Apply(function.Change{Revision: s.revision, Key: key, Incarnation: 1, Number: number,
		Version: &function.VersionRecord{Number: "1", Life: life, ReasonCode: reasonCode, Reason: "why", Revision: s.revision}})
}

var key = function.Key{Account: "1", Region: "r", Name: "f"}

func (s *scene) invoke(qualifier function.Qualifier) (*invoke.Result, error) {
	named := function.ARN(arn).Qualified(qualifier)
	return s.invoker.Invoke(s.t.Context(), &invoke.Request{Function: key, Qualifier: qualifier,
		Invocation: function.Invocation{InvokedARN: named, RequestID: "id"}})
}

func life(l function.Life) func(*function.Record) {
	return func(r *function.Record) { r.Latest.Life, r.Latest.Reason = l, "why" }
}

func TestWhatIsNotThere(t *testing.T) {
	s := open(t)
	var absent *invoke.NotFoundError
	if _, err := s.invoke(""); !errors.As(err, &absent) || absent.ARN != arn+":$LATEST" {
		t.Errorf("no function: %v", err)
	}
	s.is(nil)
	if _, err := s.invoke("7"); !errors.As(err, &absent) || absent.ARN != arn+":7" {
		t.Errorf("no such version: %v", err)
	}
	if _, err := s.invoke("an-alias"); !errors.As(err, &absent) {
		t.Errorf("no such alias: %v", err)
	}
	if len(s.got) > 0 {
		t.Errorf("the pool was asked for it: %+v", s.got[0])
	}
}

func TestWhatServesReachesThePoolWithItsLimits(t *testing.T) {
	s := open(t)
	three := 3
	s.is(func(r *function.Record) {
		r.Numbers, r.Reserved = []int{1}, &three
		r.Provisioned = map[function.Qualifier]function.Provision{"1": {Requested: 2}}
	})
	s.version(1, function.Live, "")
	var chosen []function.VersionNumber
	result, err := s.invoker.Invoke(t.Context(), &invoke.Request{Function: key, Qualifier: "1", Invocation: function.Invocation{InvokedARN: arn + ":1"},
		Chosen: func(v *function.Version) { chosen = append(chosen, v.Number) }})
	if err != nil || result.Version.Number != "1" || string(result.Payload) != "answer" || len(chosen) != 1 || chosen[0] != "1" {
		t.Fatalf("%+v, %v, chosen %q", result, err, chosen)
	}
	q := s.got[0]
	if want := (pool.Limits{Reserved: 3, Unreserved: 97, Provisioned: 2, ProvisionedAll: 2}); q.Limits != want || string(q.Event) != "{}" || q.InvokedARN != arn+":1" {
		t.Errorf("the pool got %+v", q)
	}
}

func TestStatesThatDoNotServe(t *testing.T) {
	s := open(t)
	s.is(life(function.Failed))
	var state *invoke.StateError
	if _, err := s.invoke(""); !errors.As(err, &state) || *state != (invoke.StateError{State: "Failed", Because: "why"}) {
		t.Errorf("failed: %v", err)
	}
	s.is(func(r *function.Record) { r.Numbers = []int{1} })
	s.version(1, function.Inactive, "")
	var notReady *invoke.NotReadyError
	if _, err := s.invoke("1"); !errors.As(err, &notReady) || notReady.Failed || s.woken != 1 {
		t.Errorf("inactive: %v, woken %d times", err, s.woken)
	}
	s.version(1, function.Inactive, "InternalError")
	if _, err := s.invoke("1"); !errors.As(err, &notReady) || !notReady.Failed || notReady.Reason != "why" || s.woken != 2 {
		t.Errorf("inactive, after a wake that failed: %v, woken %d times", err, s.woken)
	}
	s.wakeErr = errors.New("the store is full")
	if _, err := s.invoke("1"); !errors.Is(err, s.wakeErr) {
		t.Errorf("a wake that fails: %v", err)
	}
	if len(s.got) > 0 {
		t.Error("the pool was asked for what does not serve")
	}
}

// An invocation waits for a version that is Pending, on both sides of the bound.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.is(life(function.Creating))
		begun := time.Now()
		time.AfterFunc(59*time.Second, func() { s.is(nil) })
		if _, err := s.invoke(""); err != nil || time.Since(begun) != 59*time.Second {
			t.Errorf("it answers %v after %v", err, time.Since(begun))
		}
		s.is(life(function.Creating))
		begun = time.Now()
		late := time.AfterFunc(61*time.Second, func() { s.is(nil) })
		var state *invoke.StateError
		if _, err := s.invoke(""); !errors.As(err, &state) || state.State != "Pending" || time.Since(begun) != time.Minute {
			t.Errorf("it answers %v after %v", err, time.Since(begun))
		}
		late.Stop()
		s.fetching.Store("fetching Node.js")
		begun = time.Now()
		if _, err := s.invoke(""); !errors.As(err, &state) || state.Because != "fetching Node.js" || time.Since(begun).Round(time.Second) != 10*time.Minute {
			t.Errorf("while its runtime is fetched for too long it answers %v after %v", err, time.Since(begun))
		}
		time.AfterFunc(9*time.Minute, func() { s.is(nil) })
		if _, err := s.invoke(""); err != nil {
			t.Errorf("its runtime is there after nine minutes, and it answers %v", err)
		}
		// The end of a fetch gives the function as long as any other has.
		for after, ok := range map[time.Duration]bool{58 * time.Second: true, 62 * time.Second: false} {
			s.is(life(function.Creating))
			s.fetching.Store("fetching Node.js")
			time.AfterFunc(5*time.Minute, func() { s.fetching.Store("") })
			late := time.AfterFunc(5*time.Minute+after, func() { s.is(nil) })
			if _, err := s.invoke(""); (err == nil) != ok || err != nil && !errors.As(err, &state) {
				t.Errorf("Active %v after its runtime was there: %v", after, err)
			}
			late.Stop()
		}
		s.is(life(function.Creating))
		time.AfterFunc(time.Second, func() { s.is(life(function.Failed)) })
		if _, err := s.invoke(""); !errors.As(err, &state) || state.State != "Failed" {
			t.Errorf("one that fails meanwhile: %v", err)
		}
		s.is(life(function.Creating))
		time.AfterFunc(time.Second, func() {
			s.revision++
			s.view.Apply(function.Change{Revision: s.revision, Key: key})
		})
		if _, err := s.invoke(""); !errors.As(err, new(*invoke.NotFoundError)) {
			t.Errorf("one that is deleted meanwhile: %v", err)
		}
		s.is(life(function.Creating))
		ctx, leave := context.WithCancelCause(t.Context())
		gone := errors.New("the caller went")
		time.AfterFunc(time.Second, func() { leave(gone) })
		if _, err := s.invoker.Invoke(ctx, &invoke.Request{Function: key, Invocation: function.Invocation{InvokedARN: arn}}); !errors.Is(err, gone) {
			t.Errorf("a caller who goes: %v", err)
		}
		time.AfterFunc(time.Second, func() { close(s.stopping) })
		if _, err := s.invoke(""); !errors.Is(err, invoke.ErrStopping) {
			t.Errorf("a server that stops: %v", err)
		}
	})
}

// What is replaced before it could run is resolved again, however far the view is behind the pool.
func TestSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.is(nil)
		s.answer = func(r *pool.Request) error {
			if r.Version.Epoch >= 3 {
				return nil
			}
			switch next := r.Version.Epoch + 1; next {
			case 2: // the view knows already
				s.is(func(r *function.Record) { r.Epoch = next })
			default: // it will know in a moment
				time.AfterFunc(5*time.Millisecond, func() { s.is(func(r *function.Record) { r.Epoch = next }) })
			}
			return pool.ErrSuperseded
		}
		result, err := s.invoke("")
		if err != nil || result.Version.Epoch != 3 {
			t.Fatalf("%+v, %v", result, err)
		}
		last := s.got[len(s.got)-1]
		if len(s.got) > 4 || last.Version.Epoch != 3 || last.RequestID != "id" {
			t.Errorf("the pool was asked %d times, at last for %+v", len(s.got), last)
		}
		s.provides = errors.New("its runtime is gone")
		tries := 0
		s.answer = func(*pool.Request) error {
			if tries++; tries == 1 {
				return s.provides
			}
			return nil
		}
		if _, err := s.invoke(""); err != nil || tries != 2 {
			t.Errorf("a runtime that is provided: %v after %d tries", err, tries)
		}
		s.answer = func(*pool.Request) error { tries++; return s.provides }
		if _, err := s.invoke(""); !errors.Is(err, s.provides) || tries != 4 {
			t.Errorf("one that is gone again: %v after %d tries", err, tries)
		}
		refused := &pool.ThrottledError{Reason: pool.AccountConcurrency}
		s.answer = func(*pool.Request) error { return refused }
		if _, err := s.invoke(""); !errors.Is(err, refused) {
			t.Errorf("the pool's own errors: %v", err)
		}
	})
}
