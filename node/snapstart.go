package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sync"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/internal/faultfs"
	"thaw/pool"
	"thaw/runtimes"
	"thaw/sandbox"
	"thaw/snapshot"
)

// snapstart makes, keeps, refreshes and lends the snapshots of versions. It owns their store and cache, and the environments that make and verify
// them. What is true of a version's snapshots is its snapshot.Record; the copy in memory is as good, because one server writes.
type snapstart struct {
	dir     string
	store   *snapshot.Store
	cache   *snapshot.Cache
	records snapshot.Records
	// complete answers an error while records may be missing, of functions or of snapshots (function.Store): nothing is swept then.
	complete func() error
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
	stop   context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	versions map[snapshot.Version]*versionSnapshots
	idle     func(ctx context.Context, v *function.Version) error // makes a version Inactive; nil until the API is there
}

// versionSnapshots is what is known of one version.
type versionSnapshots struct {
	record  snapshot.Record
	version *function.Version // nil until somebody had it: nothing is made before
	tags    snapshot.Policy   // of the function
	busy    bool              // something is being made
	used    time.Time         // last invoke that is known of
	later   later
	changed chan struct{} // closed, and replaced, when record changes
}

// policy is what counts: the one that our own API set, or else the tags'.
func (vs *versionSnapshots) policy() snapshot.Policy {
	if vs.record.Policy != nil {
		return *vs.record.Policy
	}
	return vs.tags
}

// usedRecord is the record with the last use that is known of: what is stored is older.
func (vs *versionSnapshots) usedRecord() snapshot.Record {
	r := vs.record
	if vs.used.After(r.LastUsed) {
		r.LastUsed = vs.used
	}
	return r
}

func newVersionSnapshots(r snapshot.Record) *versionSnapshots {
	return &versionSnapshots{record: r, changed: make(chan struct{})}
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
}

func openSnapstart(ctx context.Context, o snapstartOptions) (_ *snapstart, err error) {
	s := &snapstart{dir: o.dir, records: o.records, complete: o.complete, starter: o.starter, pool: o.pool, metrics: o.metrics, log: o.log, limit: o.diskBytes,
		now: o.now, all: o.all, strict: o.strict, makers: make(chan struct{}, goruntime.GOMAXPROCS(0)), versions: map[snapshot.Version]*versionSnapshots{}}
	if s.now == nil {
		s.now = time.Now
	}
	for _, d := range []string{s.dir, s.making()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("snapshot folder: %w", err)
		}
	}
	if err := emptyFolder(s.making()); err != nil { // what a killed server was making
		return nil, fmt.Errorf("snapshot folder: %w", err)
	}
	if s.key, err = snapshot.LoadKey(faultfs.Disk{}, filepath.Join(s.dir, "key")); err != nil {
		return nil, err
	}
	blobs, err := snapshot.OpenFolder(faultfs.Disk{}, filepath.Join(s.dir, "store"))
	if err != nil {
		return nil, err
	}
	if s.store, err = snapshot.Open(ctx, snapshot.Options{Blobs: blobs, Key: s.key, Log: o.log}); err != nil {
		return nil, err
	}
	if s.cache, err = snapshot.OpenCache(filepath.Join(s.dir, "cache"), o.cacheBytes, s.store, o.log); err != nil {
		s.store.Close()
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, errors.Join(err, s.cache.Close(), s.store.Close())
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.work.Go(s.watch)
	return s, nil
}

func (s *snapstart) making() string { return filepath.Join(s.dir, "making") }

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
		if r.State.Busy() {
			if r, err = s.update(ctx, r.Version, snapshot.MakeFailed, "the server ended meanwhile"); err != nil {
				return err
			}
		}
		s.versions[r.Version] = newVersionSnapshots(r)
	}
	return nil
}

// Close ends what is being made and closes store and cache. The pool must be closed before: its environments read from the cache.
func (s *snapstart) Close() error {
	s.stop()
	s.work.Wait()
	s.keepUses(context.Background(), 0)
	return errors.Join(s.cache.Close(), s.store.Close())
}

// update applies an event to a version's record, and remembers and follows the result. Making and verifying are the caller's.
func (s *snapstart) update(ctx context.Context, v snapshot.Version, e snapshot.Event, failure string) (snapshot.Record, error) {
	r, err := s.change(ctx, v, func(r *snapshot.Record) ([]snapshot.Step, error) {
		steps, err := r.Move(e, s.now())
		if failure != "" {
			r.LastError = failure
		}
		return steps, err
	})
	if err == nil {
		s.log.Debug("snapshot moved", "fn", v.Function, "qualifier", v.Number, "event", e, "to", r.State)
	}
	return r, err
}

// change rewrites a version's record by f, remembers it, and lets go of what no longer counts: environments of a generation without a successor finish
// and go, and the files of a retired one are deleted. Environments that are being restored from them go on reading.
func (s *snapstart) change(ctx context.Context, v snapshot.Version, f func(*snapshot.Record) ([]snapshot.Step, error)) (snapshot.Record, error) {
	return s.changeThen(ctx, v, f, func() {})
}

// changeThen is change with something to do once the record is as it shall be and before anything is let go.
func (s *snapstart) changeThen(ctx context.Context, v snapshot.Version, f func(*snapshot.Record) ([]snapshot.Step, error), then func()) (snapshot.Record, error) {
	ctx = context.WithoutCancel(ctx)
	var steps []snapshot.Step
	r, err := snapshot.Update(ctx, s.records, v, func(r *snapshot.Record) (err error) {
		steps, err = f(r)
		return err
	})
	if err != nil {
		return r, err
	}
	s.know(v, r)
	defer s.tell(v) // who waits for the change finds nothing of before
	then()
	for _, step := range steps {
		if p := s.pool(); p != nil && step.Action == snapshot.Swap && r.Current != nil && s.promised(v) { // who ran Init meanwhile goes, too
			p.Outdate(v.Function, v.Number, string(r.Current.ID))
		}
		if step.ID == "" || step.Action != snapshot.RetireCurrent && step.Action != snapshot.DropNext {
			continue
		}
		if p := s.pool(); p != nil && step.Action == snapshot.RetireCurrent {
			keep := ""
			if r.Current != nil {
				keep = string(r.Current.ID)
			}
			p.Outdate(v.Function, v.Number, keep)
		}
		if err := s.store.Delete(ctx, step.ID); err != nil { // the next sweep finds it
			s.log.Warn("old snapshot stays for now", "fn", v.Function, "qualifier", v.Number, "error", err)
		}
		s.cache.Drop(step.ID)
	}
	return r, nil
}

// promised says whether a version's own SnapStart setting gives it snapshots. What has one only because it helps keeps its environments that ran Init.
func (s *snapstart) promised(v snapshot.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs := s.versions[v]
	return vs != nil && vs.version != nil && s.asked(vs.version)
}

func (s *snapstart) remember(v snapshot.Version, r snapshot.Record) {
	s.know(v, r)
	s.tell(v)
}

func (s *snapstart) know(v snapshot.Version, r snapshot.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if vs := s.versions[v]; vs != nil {
		vs.record = r
	}
}

// tell wakes those who wait for a change.
func (s *snapstart) tell(v snapshot.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if vs := s.versions[v]; vs != nil {
		close(vs.changed)
		vs.changed = make(chan struct{})
	}
}

func (s *snapstart) entry(v snapshot.Version) *versionSnapshots {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs := s.versions[v]
	if vs == nil {
		vs = newVersionSnapshots(snapshot.Record{Version: v})
		s.versions[v] = vs
	}
	return vs
}

// attempts is how often the platform's own failures are tried again before a version is Failed for them.
const attempts = 3

// Make implements api.Snapshots.
func (s *snapstart) Make(ctx context.Context, v *function.Version, tags map[string]string) (reason, code string, err error) {
	policy, err := snapshot.ParseTags(tags)
	if err != nil {
		return err.Error(), "InvalidConfiguration", nil
	}
	id := snapshot.VersionOf(v)
	vs := s.entry(id)
	s.mu.Lock()
	vs.version, vs.tags = v, policy
	old := vs.record
	s.mu.Unlock()
	if old.State.HasCurrent() { // it was made before the server ended, and only its version does not know yet
		s.used(v)
		return "", "", nil
	}
	makeOne := s.first
	if old.State == snapshot.Inactive {
		makeOne = s.wake
	}
	for n := 1; ; n++ {
		if err = makeOne(ctx, v); err == nil {
			return "", "", nil
		}
		var init *execenv.InitFailedError
		var restore *execenv.RestoreError
		var priming *execenv.PrimingError
		switch {
		case errors.As(err, &priming):
			return priming.Error(), "FunctionError", nil
		case errors.As(err, &init) && init.Timeout:
			return init.Error(), "FunctionError.InitTimeout", nil
		case errors.As(err, &init) && (init.ErrorType == "Runtime.InvalidEntrypoint"):
			return init.Error(), "FunctionError.InvalidEntryPoint", nil
		case errors.As(err, &init) && init.ErrorType == "Runtime.InvalidWorkingDir":
			return init.Error(), "FunctionError.InvalidWorkingDirectory", nil
		case errors.As(err, &init):
			return init.Error(), "FunctionError", nil
		case errors.As(err, &restore):
			return restore.Error(), "FunctionError", nil
		case ctx.Err() != nil || s.ctx.Err() != nil:
			return "", "", err
		case n == attempts:
			return "The snapshot could not be made: " + err.Error(), "InternalError", nil
		}
		s.log.Warn("snapshot not made, will try again", "fn", v.Name, "qualifier", v.Number, "error", err)
	}
}

// first makes the first generation of a version from whatever an earlier attempt has left.
func (s *snapstart) first(ctx context.Context, v *function.Version) error {
	id := snapshot.VersionOf(v)
	_, rev, err := s.records.Get(ctx, id)
	if err == nil {
		err = s.records.Delete(ctx, id, rev)
	}
	if err != nil && !errors.Is(err, snapshot.ErrNotFound) {
		return err
	}
	r, err := s.update(ctx, id, snapshot.Asked, "")
	if err != nil {
		return err
	}
	return s.generation(ctx, v, r.Next)
}

// wake makes a generation of a version that was Inactive. A failure makes it that again.
func (s *snapstart) wake(ctx context.Context, v *function.Version) error {
	r, err := s.update(ctx, snapshot.VersionOf(v), snapshot.Invoked, "")
	if err != nil {
		return err
	}
	return s.generation(ctx, v, r.Next)
}

// generation makes, verifies and makes current what next names. A failure is in the record when it returns.
func (s *snapstart) generation(ctx context.Context, v *function.Version, next *snapshot.Meta) (err error) {
	id := snapshot.VersionOf(v)
	defer func() {
		if err != nil {
			if _, e := s.update(ctx, id, snapshot.MakeFailed, err.Error()); e != nil {
				err = errors.Join(err, e)
			}
			s.tidy(ctx)
		}
	}()
	select {
	case s.makers <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return pool.ErrClosed
	}
	defer func() { <-s.makers }()
	began := time.Now()
	meta, err := s.save(ctx, v, next)
	if err != nil {
		return err
	}
	s.mu.Lock()
	var record snapshot.Record
	if vs := s.versions[id]; vs != nil {
		record = vs.record
	}
	s.mu.Unlock()
	meta.Expires = s.policyOf(id, &record).Expiry(meta.Born, meta.StatedExpiry)
	copied, err := s.verify(ctx, v, meta)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer copied.letGo()
	meta.MakeSeconds = time.Since(began).Seconds()
	now := time.Now()
	_, err = s.changeThen(ctx, id, func(r *snapshot.Record) ([]snapshot.Step, error) {
		if !r.Concerns(meta.ID) {
			return nil, errors.New("it was given up meanwhile")
		}
		meta.Expires = s.policyOf(id, r).Expiry(meta.Born, meta.StatedExpiry) // the policy may be another than when the making began
		r.Next = meta
		return r.Move(snapshot.Verified, now)
	}, func() { copied.adopt(v, meta) })
	if err != nil {
		return err
	}
	s.log.Info("snapshot is current", "fn", v.Name, "qualifier", v.Number, "snapshot", meta.ID, "generation", meta.Generation, "duration", time.Since(began))
	s.tidy(ctx)
	return nil
}

// folderSink writes the parts of a snapshot as files.
type folderSink string

func (f folderSink) Create(part string) (io.WriteCloser, error) {
	return os.OpenFile(filepath.Join(string(f), part), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

// lone is the owner of an environment that serves nobody, until another one takes it.
type lone struct {
	offered chan *execenv.Environment // buffered
	gone    chan error                // buffered

	mu    sync.Mutex
	ended bool          // it was withdrawn, or is gone
	next  execenv.Owner // who hears the rest
}

func newLone() *lone {
	return &lone{offered: make(chan *execenv.Environment, 1), gone: make(chan error, 1)}
}

// Offered implements execenv.Owner.
func (l *lone) Offered(e *execenv.Environment) {
	if next := l.after(false); next != nil {
		next.Offered(e)
		return
	}
	select {
	case l.offered <- e:
	default: // after a reset once more
	}
}

// Withdrawn implements execenv.Owner.
func (l *lone) Withdrawn(e *execenv.Environment) {
	if next := l.after(true); next != nil {
		next.Withdrawn(e)
	}
}

// Gone implements execenv.Owner.
func (l *lone) Gone(e *execenv.Environment, err error) {
	if next := l.after(true); next != nil {
		next.Gone(e, err)
	}
	l.gone <- err
}

func (l *lone) after(ended bool) execenv.Owner {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = l.ended || ended
	return l.next
}

// give makes what to returns the owner, if the environment is as it was offered. It says whether it did.
func (l *lone) give(to func() execenv.Owner) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.next != nil {
		return false
	}
	l.next = to()
	return l.next != nil
}

// save runs Init and stores what it leaves behind.
func (s *snapstart) save(ctx context.Context, v *function.Version, next *snapshot.Meta) (*snapshot.Meta, error) {
	born := time.Now()
	plan, err := s.starter.runtimes.Plan(v.Runtime, v.Architecture)
	if err != nil {
		return nil, err
	}
	primes, err := s.primes(ctx, v)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.making(), string(next.ID))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("snapshot folder: %w", err)
	}
	defer os.RemoveAll(dir)
	var made execenv.Made
	failed := errors.New("the environment ended")
	owner := newLone()
	env, err := s.starter.open(ctx, v, owner, func(o *execenv.Options) {
		o.Make = &execenv.Make{Sink: folderSink(dir), Layout: s.key.Seed(v.UnqualifiedARN(), "layout"), Primes: primes, Done: func(m execenv.Made, err error) { made, failed = m, err }}
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-owner.gone:
	case <-ctx.Done():
		env.Stop("given up")
		<-owner.gone
	case <-s.ctx.Done():
		env.Stop("drain")
		<-owner.gone
	}
	if failed != nil {
		return nil, failed
	}
	saved := time.Now()
	meta := *next
	meta.Key, meta.Born, meta.Created = s.keyOf(v, plan), born, saved
	meta.StatedExpiry, meta.Hooks, meta.Primed = made.StatedExpiry, made.Hooks, len(primes)
	meta.Expires = s.policyOf(snapshot.VersionOf(v), &snapshot.Record{}).Expiry(born, meta.StatedExpiry)
	w, err := s.store.Begin(ctx, meta)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	paths := map[string]string{}
	for _, part := range sandbox.Parts {
		path := filepath.Join(dir, part)
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("part of a snapshot: %w", err)
		}
		err = w.Add(part, f)
		f.Close()
		if err != nil {
			return nil, err
		}
		paths[part] = path
	}
	stored := time.Now()
	m, err := w.Commit(func(m *snapshot.Meta) {
		m.Attributes = map[string]string{"next": string(made.Next)}
		m.Stages = []snapshot.Stage{{Name: "place and start", Seconds: (saved.Sub(born) - made.Init - made.Priming - made.Checkpoint).Seconds()},
			{Name: "init and hooks", Seconds: made.Init.Seconds()}, {Name: "checkpoint", Seconds: made.Checkpoint.Seconds()},
			{Name: "store", Seconds: stored.Sub(saved).Seconds()}, {Name: "commit", Seconds: time.Since(stored).Seconds()}}
		if len(primes) > 0 {
			m.Stages = slices.Insert(m.Stages, 2, snapshot.Stage{Name: "priming", Seconds: made.Priming.Seconds()})
		}
	})
	if err != nil {
		return nil, err
	}
	if err := s.cache.Adopt(ctx, meta.ID, paths); err != nil {
		return nil, err
	}
	if _, err := s.update(ctx, snapshot.VersionOf(v), snapshot.Made, ""); err != nil {
		return nil, err
	}
	out := m.Meta
	return &out, nil
}

// verifiedCopy is the environment that a verification has restored. It ran its after-restore hooks and would serve.
type verifiedCopy struct {
	s     *snapstart
	owner *lone
	env   *execenv.Environment
	kept  bool
}

// adopt makes it a spare of the pool, if the pool wants one, so that nobody waits for a restore after the swap.
func (c *verifiedCopy) adopt(v *function.Version, meta *snapshot.Meta) {
	p := c.s.pool()
	if _, expires := c.env.Snapshot(); p == nil || !expires.Equal(meta.Expires) { // the policy was changed while it was verified
		return
	}
	c.kept = c.owner.give(func() execenv.Owner { return p.Adopt(v, c.env) })
	if c.kept {
		c.s.metrics.restores.Inc()
	}
}

// letGo ends it unless it was adopted.
func (c *verifiedCopy) letGo() {
	if !c.kept {
		c.env.Stop("verified")
		<-c.owner.gone
	}
}

// verify restores once.
func (s *snapstart) verify(ctx context.Context, v *function.Version, meta *snapshot.Meta) (*verifiedCopy, error) {
	restore, release, err := s.open(ctx, meta)
	if err != nil {
		return nil, err
	}
	owner := newLone()
	env, err := s.starter.open(ctx, v, owner, func(o *execenv.Options) {
		o.Restore = restore
		exit := o.OnExit
		o.OnExit = func() { exit(); release() }
	})
	if err != nil {
		release()
		return nil, err
	}
	select {
	case <-owner.offered:
		return &verifiedCopy{s: s, owner: owner, env: env}, nil
	case err := <-owner.gone:
		if err == nil {
			err = errors.New("the restored environment ended")
		}
		return nil, err
	case <-ctx.Done():
		env.Stop("given up")
		<-owner.gone
		return nil, context.Cause(ctx)
	}
}

func (s *snapstart) keyOf(v *function.Version, plan runtimes.Plan) snapshot.Key {
	return snapshot.Key{Version: snapshot.VersionOf(v), CodeSHA256: v.CodeSHA256, ConfigHash: s.key.ConfigHash(v), Runtime: plan.Identity,
		Sandbox: s.starter.backend.Name() + " " + s.starter.backend.Capabilities().SnapshotKey, Architecture: goruntime.GOARCH}
}

// handleSource gives a sandbox the files of a snapshot, each with a descriptor of its own: descriptors have offsets.
type handleSource struct{ h *snapshot.Handle }

// Open implements sandbox.SnapshotSource.
func (s handleSource) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := s.h.Open(part, os.O_RDONLY)
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	return sandbox.SnapshotPart{Size: s.h.Size(part), File: f}, nil
}

// open lends the files of a snapshot; release gives them back.
func (s *snapstart) open(ctx context.Context, meta *snapshot.Meta) (r *execenv.Restore, release func(), err error) {
	h, err := s.cache.Open(ctx, meta.ID)
	if err != nil {
		return nil, nil, err
	}
	return &execenv.Restore{ID: string(meta.ID), Expires: meta.Expires, Source: handleSource{h}, CheckpointAt: meta.Created}, func() { h.Close() }, nil
}

// lend returns what a new environment of a version may begin from; nil when it must run Init. It never fails: whatever is wrong with a snapshot costs its
// user a slower answer, and us a new snapshot.
func (s *snapstart) lend(ctx context.Context, v *function.Version, plan runtimes.Plan) (*execenv.Restore, func()) {
	id := snapshot.VersionOf(v)
	key := s.keyOf(v, plan)
	for {
		s.mu.Lock()
		vs := s.versions[id]
		var r snapshot.Record
		asked := s.asked(v)
		wanted := asked || s.wantedLocked(v, vs)
		if vs != nil {
			if asked {
				vs.version = v
			}
			r = vs.record
		}
		s.mu.Unlock()
		if vs == nil || !wanted {
			return nil, nil
		}
		meta := r.ForRestore(time.Now(), key.Hash())
		if meta == nil {
			switch {
			case !asked: // the next tick sees to it
			case r.Current != nil && r.Current.KeyHash() != key.Hash():
				s.log.Warn("what made the snapshot has changed: Init runs, and a new one is made", "fn", v.Name, "qualifier", v.Number, "differs", r.Current.Key.Differs(key))
				s.move(id, snapshot.KeyChanged, "")
			case r.State == snapshot.Shelved:
				s.move(id, snapshot.Invoked, "")
			}
			return nil, nil
		}
		restore, release, err := s.open(ctx, meta)
		if err == nil {
			return restore, release
		}
		if s.isCurrent(id, meta.ID) {
			s.metrics.fallbacks.Inc()
			s.lost(v, string(meta.ID), err)
			return nil, nil
		}
		// It was replaced in this moment, and its files went: take the other one.
	}
}

// ready says, for a look each second, whether a new environment of a version would be restored.
func (s *snapstart) ready(v *function.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs := s.versions[snapshot.VersionOf(v)]
	if vs == nil || !vs.record.State.HasCurrent() || vs.record.Current == nil {
		return false
	}
	end := vs.record.Current.Expires
	return end.IsZero() || time.Now().Before(end)
}

func (s *snapstart) isCurrent(v snapshot.Version, id snapshot.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs := s.versions[v]
	return vs != nil && vs.record.Current != nil && vs.record.Current.ID == id
}

// policyOf is the policy that counts for a record that is about to be written.
func (s *snapstart) policyOf(v snapshot.Version, r *snapshot.Record) snapshot.Policy {
	if r.Policy != nil {
		return *r.Policy
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if vs := s.versions[v]; vs != nil {
		return vs.tags
	}
	return snapshot.Policy{}
}

// lost notes that a snapshot is no good: a new one is made, and environments run Init meanwhile.
func (s *snapstart) lost(v *function.Version, id string, err error) {
	s.log.Warn("restore failed", "fn", v.Name, "qualifier", v.Number, "snapshot", id, "error", err)
	var corrupt *snapshot.CorruptError
	var broken *sandbox.SnapshotError
	if !s.isCurrent(snapshot.VersionOf(v), snapshot.ID(id)) {
		return // another took its place already
	}
	if errors.As(err, &corrupt) || errors.As(err, &broken) && (broken.Stage == sandbox.StageLoad || broken.Stage == sandbox.StageHeader || broken.Stage == sandbox.StageSource) {
		s.cache.Drop(snapshot.ID(id))
		s.move(snapshot.VersionOf(v), snapshot.Lost, err.Error())
	}
}

// offered looks whether an environment that has just been restored is of the current generation still: it may have been replaced meanwhile.
func (s *snapstart) offered(v *function.Version, id string) {
	if version := snapshot.VersionOf(v); !s.isCurrent(version, snapshot.ID(id)) {
		s.mu.Lock()
		keep := ""
		if vs := s.versions[version]; vs != nil && vs.record.Current != nil {
			keep = string(vs.record.Current.ID)
		}
		s.mu.Unlock()
		s.pool().Outdate(version.Function, version.Number, keep)
	}
}

// move applies an event by a goroutine of its own: the caller has an invocation to run.
func (s *snapstart) move(id snapshot.Version, e snapshot.Event, failure string) {
	if s.ctx.Err() != nil {
		return
	}
	s.work.Go(func() {
		if _, err := s.update(s.ctx, id, e, failure); err != nil && !errors.As(err, new(*snapshot.BadMoveError)) {
			s.log.Error("snapshot record", "fn", id.Function, "qualifier", id.Number, "error", err)
			return
		}
		s.proceed(id)
	})
}

// proceed makes what a record asks for by its state: one generation, and those that were asked for while it was busy with that.
func (s *snapstart) proceed(id snapshot.Version) {
	var last snapshot.ID
	for s.ctx.Err() == nil {
		s.mu.Lock()
		vs := s.versions[id]
		var v *function.Version
		var r snapshot.Record
		if vs != nil && vs.version != nil && !vs.busy && vs.record.Next != nil && vs.record.Next.ID != last && vs.record.State.Busy() && !vs.record.State.Pending() {
			vs.busy = true
			v, r = vs.version, vs.record
		}
		s.mu.Unlock()
		if v == nil {
			return
		}
		last = r.Next.ID
		err := s.generation(s.ctx, v, r.Next)
		s.mu.Lock()
		vs.busy = false
		s.mu.Unlock()
		if err != nil && s.ctx.Err() == nil {
			s.log.Warn("snapshot not refreshed: the old one stays until its end", "fn", v.Name, "qualifier", v.Number, "error", err)
		}
	}
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
	due := map[snapshot.Version]snapshot.Event{}
	var idle []*function.Version
	for id, vs := range s.versions {
		if vs.version == nil {
			continue // nobody has used it since the start: it is looked at when somebody does
		}
		r := vs.usedRecord()
		e, at, ok := r.Due(vs.policy(), now)
		switch asked := s.asked(vs.version); {
		case !ok || at.After(now):
		case asked && e == snapshot.Idle:
			if !vs.busy {
				vs.busy = true
				idle = append(idle, vs.version)
			}
		case e == snapshot.Idle:
			if r.State.HasCurrent() { // it is ready for the next invoke as ever, which runs Init
				due[id] = snapshot.Evicted
			}
		case !asked && e == snapshot.RefreshDue && r.Current == nil: // made when it is used again: makeLater
		default:
			due[id] = e
		}
	}
	s.mu.Unlock()
	for id, e := range due {
		s.move(id, e, "")
	}
	for _, v := range idle {
		s.work.Go(func() { s.inactive(v) })
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
		if r, _, err := s.records.Get(ctx, id); err == nil {
			s.remember(id, r)
		}
	}
}

// Forget implements api.Snapshots.
func (s *snapstart) Forget(unqualifiedARN, number string) {
	s.mu.Lock()
	var gone []snapshot.Version
	for id := range s.versions {
		if id.Function == unqualifiedARN && (number == "" || id.Number == number) {
			gone = append(gone, id)
			delete(s.versions, id)
		}
	}
	s.mu.Unlock()
	if len(gone) == 0 || s.ctx.Err() != nil {
		return
	}
	s.work.Go(func() {
		for _, id := range gone {
			_, rev, err := s.records.Get(s.ctx, id)
			if err == nil {
				err = s.records.Delete(s.ctx, id, rev)
			}
			if err != nil && !errors.Is(err, snapshot.ErrNotFound) {
				s.log.Error("snapshot record stays", "fn", id.Function, "qualifier", id.Number, "error", err)
			}
		}
		s.tidy(s.ctx)
	})
}
