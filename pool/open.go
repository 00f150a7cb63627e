package pool

import (
	"context"
	"errors"
	"sync"
	"time"

	"thaw/execenv"
	"thaw/function"
)

// way is how the environments of one purpose come to be: what callers' starts, spares and provisioned ones differ in.
// Everything else is in open, the same for all.
type way struct {
	// enter gives a place among the cold starts; leave gives it back and is called once. errUnwanted: there is none,
	// and none is waited for.
	enter func(ctx context.Context) (leave func(), err error)
	// wanted says whether the member is still needed, with the lock held.
	wanted func(m *member) bool
	// fits says whether there is room for the member, with the lock held. available is what the host has, in bytes;
	// negative: not known.
	fits func(m *member, available int64) bool
	// insists: where there is no room, idle environments go, and it is waited for. Otherwise the member is not made.
	insists bool
	make    func(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error)
}

func (p *Pool) way(of purpose) way {
	switch of {
	case asSpare:
		return way{enter: p.admission.spare, wanted: p.spareWantedLocked, fits: p.spareFitsLocked, make: p.o.Spares.Restorer.Restore}
	case asProvisioned:
		w := way{enter: p.admission.enter, wanted: p.provisionedWantedLocked, fits: p.fitsLocked, insists: true, make: p.o.Starter.Open}
		if p.o.Provider != nil {
			w.make = p.o.Provider.Provision
		}
		return w
	}
	return way{enter: p.admission.enter, wanted: p.callerWantedLocked, fits: p.fitsLocked, insists: true, make: p.o.Starter.Open}
}

// errUnwanted is why a member is dropped before it is placed.
var errUnwanted = errors.New("the environment is not wanted any more")

// open makes the environment of a member that is wanted: a place among the cold starts, room in memory, and then the
// starter's work. Every environment of the pool begins here, but for those that are adopted.
func (p *Pool) open(m *member) {
	w := p.way(m.purpose)
	leave, err := w.enter(p.tasks.ctx)
	if err != nil {
		p.notPlaced(m, err)
		return
	}
	if err := p.makeRoom(m, w); err != nil {
		leave()
		p.notPlaced(m, err)
		return
	}
	o := &owner{p: p, m: m, admitted: sync.OnceFunc(leave)}
	if _, err := w.make(p.tasks.ctx, m.set.version, o); err != nil {
		o.Gone(nil, err)
	}
}

func (p *Pool) notPlaced(m *member, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, errUnwanted):
		p.moveLocked(m, Unwanted, nil)
	case p.tasks.ctx.Err() != nil:
		p.moveLocked(m, Unplaced, ErrClosed)
	default:
		p.moveLocked(m, Unplaced, err)
	}
}

// callerWantedLocked: a start that is no longer needed when its turn comes, because the queue was served by
// environments that came back, is not made.
func (p *Pool) callerWantedLocked(m *member) bool {
	return m.set.wanted() <= len(m.set.waiters) && !m.set.retired && !p.closed
}

// reclaimWait is how long makeRoom waits for reclaimed environments to give their memory back.
const reclaimWait = 3 * time.Second

// makeRoom places a member: of several that look for room at once each finds the others. One that insists has idle
// environments end, spares before the least recently used, until it fits. A *ThrottledError when it cannot; errUnwanted
// when nobody needs it.
func (p *Pool) makeRoom(m *member, w way) error {
	deadline := time.Now().Add(reclaimWait)
	for {
		available := p.lockWithAvailable()
		if !w.wanted(m) {
			p.mu.Unlock()
			return errUnwanted
		}
		if w.fits(m, available) {
			p.moveLocked(m, Placed, nil)
			p.mu.Unlock()
			return nil
		}
		if !w.insists {
			p.mu.Unlock()
			return errUnwanted
		}
		hope, environments := p.reclaimLocked(), p.in.environments()
		p.mu.Unlock()
		if !hope || time.Now().After(deadline) {
			p.o.Log.Warn("no room for another environment", "fn", m.set.version.Name, "available_bytes", available, "environments", environments)
			return &ThrottledError{Reason: AccountConcurrency, Message: "Rate Exceeded."}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-p.tasks.ctx.Done():
			return ErrClosed
		}
	}
}

// owner hears of the environment of a member until it is gone. Its driver may speak before Open has returned.
type owner struct {
	p        *Pool
	m        *member
	admitted func() // gives the place among the cold starts back
}

// Opened makes e the environment of the member: the first one, or the Init that a failed restore has become. A stop
// that was asked for before it was there reaches it now.
func (o *owner) Opened(e *execenv.Environment) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.m.env = e
	o.p.moveLocked(o.m, Opened, reason("nobody wants the environment any more"))
}

func (o *owner) Offered(*execenv.Environment) {
	o.admitted()
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.offeredLocked(o.m)
}

// offeredLocked puts an environment where the next invocation finds it, or lets it go when nothing may run in it any more.
func (p *Pool) offeredLocked(m *member) {
	now := p.o.Now()
	m.knowEnd(now)
	e, because := p.verdictLocked(m, now)
	p.moveLocked(m, e, because)
	p.handOverLocked(m)
}

func (o *owner) Withdrawn(*execenv.Environment) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.moveLocked(o.m, Withdrawn, nil)
}

// Gone forgets an environment; one that never became ready answers the invocation that it was meant for.
func (o *owner) Gone(_ *execenv.Environment, err error) {
	o.admitted()
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.moveLocked(o.m, Ended, err)
}
