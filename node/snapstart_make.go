package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/sandbox"
	"thaw/snapshot"
)

// attempts is how often the platform's own failures are tried again before a version is Failed for them.
const attempts = 3

// Make implements api.Snapshots.
func (s *snapstart) Make(ctx context.Context, v *function.Version, tags map[string]string) (reason, code string, err error) {
	policy, err := snapshot.ParseTags(tags)
	if err != nil {
		return err.Error(), "InvalidConfiguration", nil
	}
	s.mu.Lock()
	l := s.enterLocked(v)
	if l == nil {
		s.mu.Unlock()
		return "", "", errDeleted
	}
	l.version, l.tags = v, policy
	old := l.record
	s.mu.Unlock()
	if old.State.HasCurrent() { // it was made before the server ended, and only its version does not know yet
		s.used(v)
		return "", "", nil
	}
	makeOne := s.first
	if old.State == snapshot.Inactive {
		makeOne = s.wake
	}
	ctx, done, err := s.begin(ctx, l) // of all attempts: nothing of it may be left when the life has left
	if err != nil {
		return "", "", err
	}
	defer done()
	for n := 1; ; n++ {
		if err = makeOne(ctx, l, v); err == nil {
			return "", "", nil
		}
		if ctx.Err() != nil {
			return "", "", context.Cause(ctx)
		}
		if reason, code := functionsFault(err); code != "" {
			return reason, code, nil
		}
		if n == attempts {
			return "The snapshot could not be made: " + err.Error(), "InternalError", nil
		}
		s.log.Warn("snapshot not made, will try again", "fn", v.Name, "qualifier", v.Number, "error", err)
	}
}

// functionsFault says why a snapshot could not be made when that is the function's own doing, and with which code of
// AWS's. code is empty when it is ours.
func functionsFault(err error) (reason, code string) {
	var init *execenv.InitFailedError
	var restore *execenv.RestoreError
	var priming *execenv.PrimingError
	var box *sandbox.SnapshotError
	switch {
	case errors.As(err, &box) && box.Stage == sandbox.StageMemory:
		return "The snapshot could not be made: " + box.Err.Error(), "FunctionError.InitResourceExhausted"
	case errors.As(err, &priming):
		return priming.Error(), "FunctionError"
	case errors.As(err, &init) && init.Timeout:
		return init.Error(), "FunctionError.InitTimeout"
	case errors.As(err, &init) && (init.ErrorType == "Runtime.InvalidEntrypoint"):
		return init.Error(), "FunctionError.InvalidEntryPoint"
	case errors.As(err, &init) && init.ErrorType == "Runtime.InvalidWorkingDir":
		return init.Error(), "FunctionError.InvalidWorkingDirectory"
	case errors.As(err, &init):
		return init.Reason(), "FunctionError"
	case errors.As(err, &restore):
		return restore.Reason(), "FunctionError"
	}
	return "", ""
}

// first makes the first generation of a version from whatever an earlier attempt has left.
func (s *snapstart) first(ctx context.Context, l *life, v *function.Version) error {
	if err := s.discard(ctx, l); err != nil {
		return err
	}
	r, err := s.update(ctx, l, snapshot.Asked, "")
	if err != nil {
		return err
	}
	return s.generation(ctx, l, v, r.Next)
}

// wake makes a generation of a version that was Inactive. A failure makes it that again.
func (s *snapstart) wake(ctx context.Context, l *life, v *function.Version) error {
	r, err := s.update(ctx, l, snapshot.Invoked, "")
	if err != nil {
		return err
	}
	return s.generation(ctx, l, v, r.Next)
}

// generation makes, verifies and makes current what next names. A failure is in the record when it returns, unless the
// version was deleted: then nothing is written any more.
func (s *snapstart) generation(ctx context.Context, l *life, v *function.Version, next *snapshot.Meta) (err error) {
	ctx, done, err := s.begin(ctx, l)
	if err != nil {
		return err
	}
	defer done()
	defer func() {
		switch {
		case err == nil:
		case l.deleted():
			err = errDeleted
		default:
			if _, e := s.report(ctx, l, next.ID, snapshot.MakeFailed, err.Error()); e != nil && !errors.Is(e, errGivenUp) {
				err = errors.Join(err, e)
			}
			s.tidy(ctx)
		}
	}()
	select {
	case s.makers <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.makers }()
	began := time.Now()
	meta, err := s.save(ctx, l, v, next)
	if err != nil {
		return err
	}
	s.mu.Lock()
	record := l.record
	s.mu.Unlock()
	meta.Expires = s.policyOf(l, &record).Expiry(meta.Born, meta.StatedExpiry)
	copied, err := s.verify(ctx, v, meta)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer copied.letGo()
	meta.MakeSeconds = time.Since(began).Seconds()
	now := s.now()
	_, err = s.changeThen(ctx, l, func(r *snapshot.Record) ([]snapshot.Step, error) {
		if !r.Concerns(meta.ID) {
			return nil, errGivenUp
		}
		meta.Expires = s.policyOf(l, r).Expiry(meta.Born, meta.StatedExpiry) // the policy may be another than when the making began
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

// errGivenUp is why the report of a making changes nothing: another snapshot is being made by now.
var errGivenUp = errors.New("the making was given up meanwhile")

// report is update for an event about the making of one snapshot.
func (s *snapstart) report(ctx context.Context, l *life, id snapshot.ID, e snapshot.Event, failure string) (snapshot.Record, error) {
	return s.change(ctx, l, func(r *snapshot.Record) ([]snapshot.Step, error) {
		if !r.Concerns(id) {
			return nil, errGivenUp
		}
		steps, err := r.Move(e, s.now())
		if failure != "" {
			r.LastError = failure
		}
		return steps, err
	})
}

// folderSink writes the parts of a snapshot as files.
type folderSink struct {
	dir  string
	note string // empty: nothing was to be said
}

func (f *folderSink) Create(part string) (io.WriteCloser, error) {
	return os.OpenFile(filepath.Join(f.dir, part), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

func (f *folderSink) Note(text string) { f.note = text }

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

// Opened implements execenv.Owner.
func (l *lone) Opened(*execenv.Environment) {}

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
func (s *snapstart) save(ctx context.Context, l *life, v *function.Version, next *snapshot.Meta) (*snapshot.Meta, error) {
	began, born := time.Now(), s.wall()
	plan, err := s.starter.runtimes.Plan(v.Runtime, v.Architecture)
	if err != nil {
		return nil, err
	}
	primes, err := s.primes(ctx, l, v)
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
	sink := &folderSink{dir: dir}
	env, err := s.starter.open(ctx, v, owner, func(o *execenv.Options) {
		o.Make = &execenv.Make{Sink: sink, Layout: s.key.Seed(v.UnqualifiedARN(), "layout"), Primes: primes, Done: func(m execenv.Made, err error) { made, failed = m, err }}
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-owner.gone:
	case <-ctx.Done():
		env.Stop("given up")
		<-owner.gone
		return nil, context.Cause(ctx)
	}
	if failed != nil {
		return nil, failed
	}
	saved := time.Now()
	if sink.note != "" {
		s.log.Warn("snapshot is larger than it need be", "fn", v.Name, "qualifier", v.Number, "snapshot", next.ID, "note", sink.note)
	}
	meta := *next
	meta.Key, meta.Born, meta.Created = s.keyOf(v, plan), born, s.wall()
	meta.StatedExpiry, meta.Hooks, meta.Primed = made.StatedExpiry, made.Hooks, len(primes)
	meta.Expires = s.policyOf(l, &snapshot.Record{}).Expiry(born, meta.StatedExpiry)
	defer tidyHeap()()
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
		if sink.note != "" {
			m.Attributes["note"] = sink.note
		}
		m.Stages = []snapshot.Stage{{Name: "place and start", Seconds: (saved.Sub(began) - made.Init - made.Priming - made.Checkpoint).Seconds()},
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
	if _, err := s.report(ctx, l, meta.ID, snapshot.Made, ""); err != nil {
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

// proceed makes what a record asks for by its state: one generation, and those that were asked for while it was busy with that.
func (s *snapstart) proceed(l *life) {
	var last snapshot.ID
	for l.ctx.Err() == nil {
		s.mu.Lock()
		r, v := l.record, l.version
		free := v != nil && !l.busy && r.Next != nil && r.Next.ID != last && r.State.Busy() && !r.State.Pending()
		if free {
			l.busy = true
		}
		s.mu.Unlock()
		if !free {
			return
		}
		last = r.Next.ID
		err := s.generation(s.ctx, l, v, r.Next)
		s.mu.Lock()
		l.busy = false
		s.mu.Unlock()
		if err != nil && l.ctx.Err() == nil {
			s.log.Warn("snapshot not refreshed: the old one stays until its end", "fn", v.Name, "qualifier", v.Number, "error", err)
		}
	}
}
