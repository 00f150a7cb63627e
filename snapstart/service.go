package snapstart

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"time"

	"thaw/function"
	"thaw/snapshot"
)

// Service makes, keeps, refreshes and lends the snapshots of versions. What is true of a version's snapshots is its
// snapshot.Record; the copy in memory is as good, because one server writes.
type Service struct {
	o     Options
	disk  *disk
	store *snapshot.Store // disk's
	cache *snapshot.Cache // disk's

	uses sync.Map // *function.Version -> nothing: what was invoked since the last tick

	makers chan struct{} // places for environments that make or verify
	ctx    context.Context
	stop   context.CancelCauseFunc
	work   sync.WaitGroup

	mu          sync.Mutex
	lives       map[snapshot.Version]*life                           // one that ended stays until it has left, or another takes its name
	incarnation func(function.ARN, function.VersionNumber) uint64    // of the function that has a version, 0: none; nil until the functions are known
	deactivate  func(ctx context.Context, v *function.Version) error // makes a version Inactive; nil until the API is there
}

// keepRecent protects the snapshots of versions that were used within it from eviction for want of disk.
const keepRecent = time.Hour

// Tick is the interval at which due refreshes and expiries are checked.
const Tick = time.Second

// ErrClosed is why nothing is made any more: the server ends.
var ErrClosed = errors.New("the server is closing")

// Open reads what the folder and the records hold, and starts to watch. Close ends it.
func Open(ctx context.Context, o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FellBack == nil {
		o.FellBack = func() {}
	}
	d, err := openDisk(ctx, &o)
	if err != nil {
		return nil, err
	}
	s := &Service{o: o, disk: d, store: d.store, cache: d.cache, makers: make(chan struct{}, goruntime.GOMAXPROCS(0)), lives: map[snapshot.Version]*life{}}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	if err := s.load(ctx); err != nil {
		s.stop(err)
		return nil, errors.Join(err, d.Close())
	}
	s.work.Go(s.watch)
	return s, nil
}

// wall is the time that a snapshot's life is counted by: the wall clock's alone. Go's monotonic clock, which a
// time.Time carries and compares by, stands still while the host sleeps.
func (s *Service) wall() time.Time { return s.o.Now().Round(0) }

// load reads all records. One that says that something is being made was interrupted.
func (s *Service) load(ctx context.Context) error {
	list, err := s.o.Records.List(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		s.mu.Lock()
		l := s.addLocked(r.Version, r.Incarnation)
		l.record = r
		s.mu.Unlock()
		if r.State.Busy() {
			if _, err = s.write(ctx, l, moves("the server ended meanwhile", snapshot.MakeFailed)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close ends what is being made and closes store and cache. The pool must be closed before: its environments read from
// the cache.
func (s *Service) Close() error {
	s.mu.Lock() // nothing begins after it: goLocked
	s.stop(ErrClosed)
	s.mu.Unlock()
	s.work.Wait()
	s.keepUses(context.Background(), 0)
	return s.disk.Close()
}

// goLocked runs f by a goroutine that Close waits for, unless the server ends. It says whether it does.
func (s *Service) goLocked(f func()) bool {
	if s.ctx.Err() != nil {
		return false
	}
	s.work.Go(f)
	return true
}

func (s *Service) background(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goLocked(f)
}

// watch does what time brings: generations that are due, ones that end, and versions that nobody uses any more.
func (s *Service) watch() {
	t := time.NewTicker(Tick)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
			s.Look(s.o.Now())
		}
	}
}

// Look does what time has brought by now. The watch calls it each Tick.
func (s *Service) Look(now time.Time) {
	s.noteUses(now)
	s.keepUses(s.ctx, keepUseEvery)
	s.mu.Lock()
	due := map[*life]snapshot.Event{}
	var idle []*life
	for _, l := range s.lives {
		if l.version == nil || l.ended {
			continue // nobody has used it since the start: it is looked at when somebody does
		}
		r := l.usedRecord()
		e, at, ok := r.Due(l.policy(), now)
		switch asked := s.asked(l.version); {
		case !ok || at.After(now):
		case asked && e == snapshot.Idle:
			if l.idling == nil {
				l.idling = make(chan struct{})
				idle = append(idle, l)
			}
		case e == snapshot.Idle:
			if r.State.HasCurrent() { // it is ready for the next invoke as ever, which runs Init
				due[l] = snapshot.Evicted
			}
		case !asked && e == snapshot.RefreshDue && r.Current == nil: // made when it is used again: makeLater
		default:
			due[l] = e
		}
	}
	s.mu.Unlock()
	for l, e := range due {
		s.writeSoon(l, moves("", e))
	}
	for _, l := range idle {
		s.background(func() { s.inactive(l) })
	}
	s.makeLater(now)
}

// tidy deletes what no record names.
func (s *Service) tidy(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if s.o.Complete() != nil { // the start said so
		return
	}
	done, err := snapshot.Tidy(ctx, snapshot.Tidying{Store: s.store, Records: s.o.Records, Complete: s.o.Complete, Cache: s.cache, Limit: s.o.DiskBytes,
		Keep: keepRecent, Evict: s.evict, Now: s.o.Now()})
	if err != nil {
		s.o.Log.Error("snapshots not tidied", "error", err)
	}
	for _, id := range done.Evicted {
		s.o.Log.Warn("snapshot went for want of disk: the next invoke runs Init and has one made", "fn", id.Function, "qualifier", id.Number)
	}
}

// evict lets the snapshot of a version go for want of disk. Its environments finish and go, because they keep the files
// open.
func (s *Service) evict(ctx context.Context, v snapshot.Version, id snapshot.ID) (bool, error) {
	s.mu.Lock()
	l := s.atLocked(v)
	s.mu.Unlock()
	if l == nil {
		return false, nil
	}
	select {
	case <-l.before:
	default: // what has left this waits for the life before, which may wait for who asks
		return false, nil
	}
	_, err := s.write(ctx, l, func(r *snapshot.Record, now time.Time) ([]snapshot.Step, error) { return r.Evict(id, now) })
	if errors.Is(err, snapshot.ErrNotCurrent) || errors.Is(err, errDeleted) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("evict a snapshot: %w", err)
	}
	return true, nil
}
