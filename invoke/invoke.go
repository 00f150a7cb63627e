// Package invoke is the one way to have a function run. The API calls it, and so will whoever else has events for
// functions: queues, pollers, triggers. It knows no HTTP.
//
//	Invoke -> the version that the qualifier names -> wait while it is Pending, wake it when it is Inactive
//	       -> its tenant, or none -> no loop -> the limits of this moment -> pool -> again, when the version was replaced before it could run
//
// Nothing of an invocation has run when one of this package's errors comes back: *NotFoundError, *StateError,
// *NotReadyError, *TenantError, *RecursionError, ErrStopping. Errors of the pool come as the pool gives them.
package invoke

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"thaw/function"
	"thaw/pool"
)

// Request is one invocation of what the sender named. An empty Event is {}.
type Request struct {
	function.Invocation
	Function  function.Key
	Qualifier function.Qualifier // as the sender wrote it; empty: $LATEST
	// Chosen, when set, is told which version runs, before anything of it does. It is told again when another one has
	// to be chosen.
	Chosen func(*function.Version)
	// Attempt, from 1 on, is that of an event whose sender does not wait; 0: somebody waits. Arrived is when it was
	// accepted; zero: now.
	Attempt int
	Arrived time.Time
}

// Tracer decides about the trace of each invocation.
type Tracer interface {
	// Begin is called before anything of an invocation runs. It may change its trace and what is recorded of it. ended,
	// unless it is nil, is told how it ended, once.
	Begin(v *function.Version, r *Request, i *function.Invocation) (ended func(*function.Outcome, error))
}

// Result is how an invocation ended that reached the function.
type Result struct {
	*function.Outcome
	Version *function.Version // that ran
}

// Pool hands invocations to environments.
type Pool interface {
	// Invoke runs one invocation. Errors: *pool.ThrottledError, *pool.UnavailableError, *pool.RestoreFailedError,
	// pool.ErrSuperseded, or the context's.
	Invoke(ctx context.Context, r *pool.Request) (*function.Outcome, error)
}

// Options are what an Invoker works with.
type Options struct {
	View        *function.View
	Pool        Pool
	Concurrency int // of the account
	// Pending is how long an invocation waits for a version that is Pending, and Fetch for one whose runtime is being fetched.
	Pending, Fetch time.Duration
	// Wake has an Inactive version made ready again, and returns when everybody can see that it is under way.
	Wake func(context.Context, *function.Entry, *function.VersionRecord) error
	// Fetching says what of a runtime is being fetched, for people; empty: nothing.
	Fetching func(runtime string) string
	// Provide waits for what an invocation lacked that failed with err, and says whether it is there now.
	Provide func(ctx context.Context, v *function.Version, err error) bool
	// Stopping is closed when nothing is waited for any more.
	Stopping <-chan struct{}
	// Looped, when set, is told of an invocation that the guard against loops stopped. It must not block.
	Looped func(function.Resource)
	Tracer Tracer // nil: there is none
}

// Invoker has functions run. It holds nothing but its Options, and needs no end.
type Invoker struct{ o Options }

// New makes an Invoker.
func New(o Options) *Invoker { return &Invoker{o} }

// Find returns the version to which an invocation goes now, whether or not that can serve. dice decides between the
// versions of an alias: see function.Entry.Route. *NotFoundError.
func (i *Invoker) Find(k function.Key, qualifier function.Qualifier, invokedARN function.ARN, dice float64) (*function.Entry, *function.VersionRecord, error) {
	e := i.o.View.Get(k)
	if e == nil {
		return nil, nil, notFound(qualifier, invokedARN)
	}
	v := e.Route(qualifier, dice)
	if v == nil {
		return nil, nil, notFound(qualifier, invokedARN)
	}
	return e, v, nil
}

// Invoke runs one invocation and returns how it ended. When ctx ends, an invocation that has reached the function goes
// on without its sender.
func (i *Invoker) Invoke(ctx context.Context, r *Request) (*Result, error) {
	var t traced
	result, err := i.invoke(ctx, r, &t)
	if t.ended != nil {
		if err != nil {
			t.ended(nil, err)
		} else {
			t.ended(result.Outcome, nil)
		}
	}
	return result, err
}

// traced is what is known of an invocation's trace.
type traced struct {
	begun bool
	ended func(*function.Outcome, error)
}

func (i *Invoker) invoke(ctx context.Context, r *Request, t *traced) (*Result, error) {
	q := &pool.Request{Invocation: r.Invocation}
	if i.o.Tracer != nil && r.Arrived.IsZero() {
		r.Arrived = time.Now()
	}
	if len(q.Event) == 0 {
		q.Event = []byte("{}")
	}
	dice := rand.Float64() // once: an invocation that begins anew stays with its share
	for provided := false; ; {
		e, v, err := i.serving(ctx, r, dice)
		if err != nil {
			return nil, err
		}
		if q.Version == nil {
			if err := i.guard(e, v, &q.Invocation); err != nil {
				return nil, err
			}
		}
		if q.Version != nil && v.Epoch == q.Version.Epoch && !provided { // the pool knows of the change a moment before the view
			select {
			case <-e.Replaced():
			case <-time.After(viewBehind):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		q.Version, q.Limits = v, i.limits(e, v.Number)
		if r.Chosen != nil {
			r.Chosen(v)
		}
		if i.o.Tracer != nil && !t.begun {
			t.begun, t.ended = true, i.o.Tracer.Begin(v, r, &q.Invocation)
		}
		result, err := i.o.Pool.Invoke(ctx, q)
		if err == nil {
			return &Result{result, v}, nil
		}
		switch {
		case errors.Is(err, pool.ErrSuperseded):
			provided = false
		case !provided && i.o.Provide(ctx, v, err):
			provided = true
		default:
			return nil, err
		}
	}
}

// viewBehind bounds the wait for a change that the pool has heard of and the view has not.
const viewBehind = 10 * time.Millisecond

// serving returns what an invocation runs. One of a version that is Pending waits for it, in bounds.
func (i *Invoker) serving(ctx context.Context, r *Request, dice float64) (*function.Entry, *function.Version, error) {
	var began time.Time // the wait, if there is one
	var timer *time.Timer
	fetched := false // it has waited for a fetch, and the end of that gives the function time of its own
	for {
		e, record, err := i.Find(r.Function, r.Qualifier, r.InvokedARN, dice)
		if err != nil {
			return nil, nil, err
		}
		if err := CheckTenant(&record.Config, r.TenantID); err != nil {
			return nil, nil, err
		}
		if v := e.Serving(record.Number); v != nil {
			return e, v, nil
		}
		switch record.Life {
		case function.Failed:
			return nil, nil, &StateError{State: "Failed", Because: record.Reason}
		case function.Inactive:
			if err := i.o.Wake(ctx, e, record); err != nil {
				return nil, nil, err
			}
			return nil, nil, &NotReadyError{Failed: record.ReasonCode != "", Reason: record.Reason}
		}
		if timer == nil {
			began, timer = time.Now(), time.NewTimer(i.o.Pending)
			defer timer.Stop()
		}
		select {
		case <-e.Replaced():
		case <-timer.C:
			fetching := i.o.Fetching(record.Config.Runtime)
			switch {
			case time.Since(began) >= i.o.Fetch, fetching == "" && !fetched:
				return nil, nil, &StateError{State: "Pending", Because: fetching}
			case fetching == "":
				fetched = false
				timer.Reset(i.o.Pending)
			default:
				fetched = true
				timer.Reset(fetchLook)
			}
		case <-i.o.Stopping:
			return nil, nil, ErrStopping
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// fetchLook is the interval at which an invocation that waits for a fetch looks whether it goes on.
const fetchLook = 200 * time.Millisecond

// limits are what an invocation of a version may use at this moment.
func (i *Invoker) limits(e *function.Entry, number function.VersionNumber) pool.Limits {
	view := i.o.View
	l := pool.Limits{Reserved: -1, Unreserved: i.o.Concurrency - view.Reserved() - view.Provisioned()}
	if n := e.Record.Reserved; n != nil {
		l.Reserved = *n
	}
	if len(e.Record.Provisioned) > 0 {
		l.Provisioned, l.ProvisionedAll = e.ProvisionedOf(number), e.Record.ProvisionedTotal()
	}
	return l
}
