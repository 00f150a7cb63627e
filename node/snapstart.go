package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"time"

	"thaw/function"
	"thaw/pool"
	"thaw/snapshot"
)

// snapstart makes, keeps, refreshes and lends the snapshots of versions. It owns their store and cache, and the environments that make and verify
// them. What is true of a version's snapshots is its snapshot.Record; the copy in memory is as good, because one server writes.
type snapstart struct {
	dir     string
	store   *snapshot.Store
	cache   *snapshot.Cache
	records snapshot.Records
	// complete answers an error while records may be missing, of functions or of snapshots (function.Store): nothing is
	// swept then.
	complete func() error
	plain    string        // where files lie that are not encrypted: dir, or memory
	memory   *memoryFolder // nil: they are on the disk
	key      *snapshot.InstallationKey
	starter  *starter
	pool     func() *pool.Pool
	metrics  *metrics
	log      *slog.Logger
	limit    int64 // bytes of the store
	now      func() time.Time
	all      bool // versions and $LATEST of functions that do not ask for it, too
	strict   bool

	uses sync.Map // *function.Version -> nothing: what was invoked since the last tick

	makers chan struct{} // places for environments that make or verify
	ctx    context.Context
	stop   context.CancelCauseFunc
	work   sync.WaitGroup

	mu          sync.Mutex
	lives       map[snapshot.Version]*life                           // one that ended stays until it has left, or another takes its name
	incarnation func(function.ARN, function.VersionNumber) uint64    // of the function that has a version, 0: none; nil until the functions are known
	idle        func(ctx context.Context, v *function.Version) error // makes a version Inactive; nil until the API is there
}

// keepRecent protects the snapshots of versions that were used within it from eviction for want of disk.
const keepRecent = time.Hour

// tick is how often is looked what time has brought.
const tick = time.Second

type snapstartOptions struct {
	dir                   string
	diskBytes, cacheBytes int64
	records               snapshot.Records
	complete              func() error
	starter               *starter
	pool                  func() *pool.Pool
	metrics               *metrics
	log                   *slog.Logger
	now                   func() time.Time // nil: time.Now
	all, strict           bool
	inMemory              bool // the plain files of snapshots are never on a disk
}

func openSnapstart(ctx context.Context, o snapstartOptions) (_ *snapstart, err error) {
	s := &snapstart{dir: o.dir, records: o.records, complete: o.complete, starter: o.starter, pool: o.pool, metrics: o.metrics, log: o.log, limit: o.diskBytes,
		now: o.now, all: o.all, strict: o.strict, makers: make(chan struct{}, goruntime.GOMAXPROCS(0)), lives: map[snapshot.Version]*life{}}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.openPlain(&o); err != nil {
		return nil, fmt.Errorf("snapshot folder: %w", err)
	}
	defer func() {
		if err != nil && s.memory != nil {
			s.memory.Close()
		}
	}()
	if err := s.openStore(ctx); err != nil {
		return nil, err
	}
	if s.cache, err = snapshot.OpenCache(s.cacheDir(), o.cacheBytes, s.store, o.log); err != nil {
		s.store.Close()
		return nil, err
	}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	if err := s.load(ctx); err != nil {
		s.stop(err)
		return nil, errors.Join(err, s.cache.Close(), s.store.Close())
	}
	s.work.Go(s.watch)
	return s, nil
}

// wall is the time that a snapshot's life is counted by: the wall clock's alone. Go's monotonic clock, which a
// time.Time carries and compares by, stands still while the host sleeps.
func (s *snapstart) wall() time.Time { return s.now().Round(0) }

func emptyFolder(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// load reads all records. One that says that something is being made was interrupted.
func (s *snapstart) load(ctx context.Context) error {
	list, err := s.records.List(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		s.mu.Lock()
		l := s.addLocked(r.Version, r.Incarnation)
		l.record = r
		s.mu.Unlock()
		if r.State.Busy() {
			if _, err = s.update(ctx, l, snapshot.MakeFailed, "the server ended meanwhile"); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close ends what is being made and closes store and cache. The pool must be closed before: its environments read from the cache.
func (s *snapstart) Close() error {
	s.stop(pool.ErrClosed)
	s.work.Wait()
	s.keepUses(context.Background(), 0)
	err := errors.Join(s.cache.Close(), s.store.Close())
	if s.memory != nil {
		err = errors.Join(err, s.memory.Close())
	}
	return err
}

// watch does what time brings: generations that are due, ones that end, and versions that nobody uses any more.
func (s *snapstart) watch() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
			s.look(s.now())
		}
	}
}

func (s *snapstart) look(now time.Time) {
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
			if !l.busy {
				l.busy = true
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
		s.move(l, e, "")
	}
	for _, l := range idle {
		s.work.Go(func() { s.inactive(l) })
	}
	s.makeLater(now)
}

// tidy deletes what no record names.
func (s *snapstart) tidy(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if s.complete() != nil { // the start said so
		return
	}
	done, err := snapshot.Tidy(ctx, snapshot.Tidying{Store: s.store, Records: s.records, Complete: s.complete, Cache: s.cache, Limit: s.limit, Keep: keepRecent, Now: time.Now()})
	if err != nil {
		s.log.Error("snapshots not tidied", "error", err)
	}
	for _, id := range done.Evicted {
		s.log.Warn("snapshot went for want of disk: the next invoke runs Init and has one made", "fn", id.Function, "qualifier", id.Number)
		s.reread(ctx, id)
	}
}

// reread takes over what Tidy has written.
func (s *snapstart) reread(ctx context.Context, id snapshot.Version) {
	s.mu.Lock()
	l := s.atLocked(id)
	s.mu.Unlock()
	if l == nil {
		return
	}
	l.writing.Lock()
	if r, _, err := s.records.Get(ctx, id); err == nil {
		s.know(l, r)
	}
	l.writing.Unlock()
	s.tell(l)
}
