package snapstart

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"thaw/function"
	"thaw/snapshot"
)

// life is what is known of the snapshots of one version, from its publish to its deletion. A function that is deleted
// and created again under the same name is another incarnation, and its version 1 has another life.
//
// Whatever makes, copies or writes something for a version does so between begin and done of its life. A life that
// ended lets nothing begin, cancels what is under way, waits for it, and then removes the record and the snapshots.
// Nothing of the next life under the same name begins before that.
type life struct {
	id     snapshot.Version
	ctx    context.Context // ends with the life, by errDeleted, and with the server
	cancel context.CancelCauseFunc
	work   sync.WaitGroup  // between begin and done
	before <-chan struct{} // closed when the life before this one has left
	left   chan struct{}   // closed when nothing of this one is left

	writing sync.Mutex // held while the record is changed: record follows the stored one in order. Before Service.mu

	// Guarded by Service.mu:
	incarnation uint64 // of the function. 0 until the functions are known, when the record is of a release that did not write it
	ended       bool
	record      snapshot.Record
	version     *function.Version // nil until somebody had it: nothing is made before
	tags        snapshot.Policy   // of the function
	making      *making           // what is under way; nil: nothing
	idling      chan struct{}     // closed when it has been made Inactive; nil: it is not being made that
	used        time.Time         // last invoke that is known of
	later       later
	changed     chan struct{} // closed, and replaced, when record changes; closed for good when the life ends
}

// errDeleted is why nothing is made or written for a version any more.
var errDeleted = fmt.Errorf("the version was deleted: %w", function.ErrNotFound)

// deleted says that the life has ended, and not for the server's end.
func (l *life) deleted() bool { return errors.Is(context.Cause(l.ctx), errDeleted) }

// policy is what counts: the one that our own API set, or else the tags'.
func (l *life) policy() snapshot.Policy {
	if l.record.Policy != nil {
		return *l.record.Policy
	}
	return l.tags
}

// usedRecord is the record with the last use that is known of: what is stored is older.
func (l *life) usedRecord() snapshot.Record {
	r := l.record
	if l.used.After(r.LastUsed) {
		r.LastUsed = l.used
	}
	return r
}

// closedChan stands for a life before that left nothing.
var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// addLocked begins a life. The one before it under the same name ends, if it has not.
func (s *Service) addLocked(id snapshot.Version, incarnation uint64) *life {
	l := &life{id: id, incarnation: incarnation, before: closedChan, left: make(chan struct{}), changed: make(chan struct{}),
		record: snapshot.Record{Version: id, Incarnation: incarnation}}
	l.ctx, l.cancel = context.WithCancelCause(s.ctx)
	if old := s.lives[id]; old != nil {
		s.endLocked(old)
		l.before = old.left
	}
	s.lives[id] = l
	return l
}

// atLocked finds a life that has not ended; nil when there is none.
func (s *Service) atLocked(id snapshot.Version) *life {
	if l := s.lives[id]; l != nil && !l.ended {
		return l
	}
	return nil
}

// ofLocked finds the life of a version; nil when there is none, or when v is of another incarnation.
func (s *Service) ofLocked(v *function.Version) *life {
	l := s.atLocked(snapshot.VersionOf(v))
	if l != nil && l.incarnation == 0 {
		l.incarnation = v.Incarnation
	}
	if l == nil || l.incarnation != v.Incarnation {
		return nil
	}
	return l
}

// enterLocked finds the life of a version or begins it; nil when the version is not there any more: its function says
// so, or a younger life.
func (s *Service) enterLocked(v *function.Version) *life {
	if l := s.ofLocked(v); l != nil {
		return l
	}
	if s.incarnation == nil || s.incarnation(v.UnqualifiedARN(), v.Number) != v.Incarnation {
		return nil
	}
	return s.addLocked(snapshot.VersionOf(v), v.Incarnation)
}

// begin lets something be done for a life. Until done is called the life cannot leave. The context ends with ctx and
// with the life. The error is errDeleted when the life has ended.
func (s *Service) begin(ctx context.Context, l *life) (_ context.Context, done func(), err error) {
	s.mu.Lock()
	if l.ended {
		s.mu.Unlock()
		return nil, nil, errDeleted
	}
	l.work.Add(1)
	s.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	done = sync.OnceFunc(func() {
		unlink()
		cancel(nil)
		l.work.Done()
	})
	select {
	case <-l.before:
		return ctx, done, nil
	default:
	}
	select {
	case <-l.before:
		return ctx, done, nil
	case <-ctx.Done():
		done()
		return nil, nil, context.Cause(ctx)
	}
}

// endLocked ends lives: from now on nothing begins for them. A goroutine waits for what is under way and removes what
// they have.
func (s *Service) endLocked(lives ...*life) {
	var leaving []*life
	for _, l := range lives {
		if l.ended {
			continue
		}
		l.ended = true
		l.cancel(errDeleted)
		close(l.changed) // who waits for it looks again
		leaving = append(leaving, l)
	}
	if len(leaving) == 0 {
		return
	}
	if s.goLocked(func() {
		for _, l := range leaving {
			s.leave(l)
		}
		s.tidy(s.ctx)
	}) {
		return
	}
	for _, l := range leaving { // the next start removes them
		close(l.left)
	}
}

// leave removes all that an ended life has, when nothing is under way for it any more.
func (s *Service) leave(l *life) {
	l.work.Wait()
	<-l.before
	if err := s.discard(context.WithoutCancel(s.ctx), l); err != nil {
		s.o.Log.Error("snapshots of a deleted version stay until the next start", "fn", l.id.Function, "qualifier", l.id.Number, "error", err)
	}
	s.mu.Lock()
	if s.lives[l.id] == l {
		delete(s.lives, l.id)
	}
	s.mu.Unlock()
	close(l.left)
}

// discard removes the record and the snapshots of a version. What lives of older incarnations have left under its name
// goes, too.
func (s *Service) discard(ctx context.Context, l *life) error {
	_, rev, err := s.o.Records.Get(ctx, l.id)
	if err == nil {
		err = s.o.Records.Delete(ctx, l.id, rev)
	}
	if errors.Is(err, snapshot.ErrNotFound) {
		err = nil
	}
	return errors.Join(err, s.dropAll(ctx, l.id))
}

// dropAll removes all snapshots of a version.
func (s *Service) dropAll(ctx context.Context, v snapshot.Version) (err error) {
	for _, m := range s.store.List() {
		if m.Key.Version == v {
			err = errors.Join(err, s.store.Delete(ctx, m.ID))
			s.cache.Drop(m.ID)
		}
	}
	return err
}

// forgetLimit bounds how long a deletion waits. What is under way is stopped within a second or two; a host that hangs
// must not keep the caller.
const forgetLimit = 20 * time.Second

// Forget implements controlplane.Snapshots.
func (s *Service) Forget(ctx context.Context, unqualifiedARN function.ARN, incarnation uint64, number function.VersionNumber) {
	s.mu.Lock()
	var gone []*life
	left := map[*life]<-chan struct{}{}
	for id, l := range s.lives {
		switch {
		case id.Function != unqualifiedARN || number != "" && id.Number != number:
		case l.incarnation <= incarnation:
			gone = append(gone, l)
			left[l] = l.left
		default: // one that was created since has ended it already
			left[l] = l.before
		}
	}
	s.endLocked(gone...)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, forgetLimit)
	defer cancel()
	for l, c := range left {
		select {
		case <-c:
		case <-ctx.Done():
			s.o.Log.Warn("snapshots of a deleted version are still being removed", "fn", l.id.Function, "qualifier", l.id.Number)
			return
		}
	}
}

// Begin implements controlplane.Snapshots.
func (s *Service) Begin(incarnation func(function.ARN, function.VersionNumber) uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incarnation = incarnation
	for id, l := range s.lives {
		if l.incarnation == 0 {
			l.incarnation = incarnation(id.Function, id.Number)
		}
	}
}

// Sweep implements controlplane.Snapshots. Nothing is being made yet, so a snapshot that no record names will never have one.
func (s *Service) Sweep(ctx context.Context) error {
	if s.o.Complete() != nil {
		return nil
	}
	s.mu.Lock()
	var gone []*life
	named := map[snapshot.ID]bool{}
	for id, l := range s.lives {
		if n := s.incarnation(id.Function, id.Number); n == 0 || n != l.incarnation {
			s.o.Log.Warn("snapshots of a function that is not there are removed", "fn", id.Function, "qualifier", id.Number)
			gone = append(gone, l)
			continue
		}
		for _, m := range []*snapshot.Meta{l.record.Current, l.record.Next} {
			if m != nil {
				named[m.ID] = true
			}
		}
	}
	s.endLocked(gone...)
	s.mu.Unlock()
	for _, l := range gone {
		<-l.left
	}
	nameless := 0
	for _, m := range s.store.List() {
		if named[m.ID] {
			continue
		}
		if err := s.store.Delete(ctx, m.ID); err != nil {
			return fmt.Errorf("sweep of snapshots: %w", err)
		}
		s.cache.Drop(m.ID)
		nameless++
	}
	if nameless > 0 {
		s.o.Log.Info("snapshots that no version has were removed", "count", nameless)
		s.background(func() { s.tidy(s.ctx) })
	}
	return nil
}
