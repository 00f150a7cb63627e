package snapstart

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

// noEnvironments are for tests in which nothing is made.
type noEnvironments struct{ Environments }

// fakePool notes what it is told.
type fakePool struct {
	mu          sync.Mutex
	outdated    []string // the snapshots that stayed; "" for none
	provisioned bool
}

func (p *fakePool) Outdate(_ function.ARN, _ function.VersionNumber, keep string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outdated = append(p.outdated, keep)
}
func (p *fakePool) Restored() map[string]int           { return nil }
func (p *fakePool) Provisioned(*function.Version) bool { return p.provisioned }
func (p *fakePool) told() (kept []string, last string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept, p.outdated = p.outdated, nil
	if len(kept) > 0 {
		last = kept[len(kept)-1]
	}
	return kept, last
}

// fakeEnvironments save 8 pages of memory and restore at once. What a test sets happens instead.
type fakeEnvironments struct {
	mu       sync.Mutex
	identity string
	inits    int           // that were begun
	copies   int           // that live, adopted ones among them
	restores int           // that were begun
	saveErr  error         // of Save
	copyErr  error         // of Copy
	takes    time.Duration // how long Init takes
	stated   time.Duration // the life that the hook states; 0: none
	wants    bool          // the pool takes a copy as a spare
	adopted  int
}

func (f *fakeEnvironments) set(change func(*fakeEnvironments)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeEnvironments) get() (inits, restores, copies, adopted int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inits, f.restores, f.copies, f.adopted
}

func (f *fakeEnvironments) Identity(*function.Version) (runtime, sandbox string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return "runtime " + f.identity, "fake", nil
}

func (f *fakeEnvironments) Code(context.Context, *function.Version) (string, func(), error) {
	return "", nil, errors.New("there is no code")
}

func (f *fakeEnvironments) Save(ctx context.Context, v *function.Version, m execenv.Make, secret []byte) (execenv.Made, error) {
	f.mu.Lock()
	f.inits++
	takes, err, stated, seed := f.takes, f.saveErr, f.stated, f.inits
	f.mu.Unlock()
	if len(secret) == 0 || len(m.Layout) == 0 {
		return execenv.Made{}, errors.New("neither a secret nor a layout")
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return execenv.Made{}, context.Cause(ctx)
	}
	if err != nil {
		return execenv.Made{}, err
	}
	for _, part := range fakeParts {
		w, err := m.Sink.Create(part)
		if err != nil {
			return execenv.Made{}, err
		}
		if _, err := bytes.NewReader(snapshottest.Memory(uint64(seed), 8)).WriteTo(w); err != nil {
			return execenv.Made{}, err
		}
		w.Close()
	}
	made := execenv.Made{Init: takes, Next: "restore"}
	if stated > 0 {
		made.StatedExpiry = time.Now().Add(stated).Round(0)
	}
	return made, nil
}

// fakeParts are those of the fake snapshots.
var fakeParts = []string{"memory", "registers"}

func (f *fakeEnvironments) Copy(_ context.Context, v *function.Version, r *execenv.Restore, release func()) (Copy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restores++
	if f.copyErr != nil {
		release()
		return nil, f.copyErr
	}
	f.copies++
	return &fakeCopy{f: f, expires: r.Expires, release: release}, nil
}

type fakeCopy struct {
	f       *fakeEnvironments
	expires time.Time
	release func()
}

func (c *fakeCopy) ID() string         { return "env" }
func (c *fakeCopy) LogStream() string  { return "stream" }
func (c *fakeCopy) Expires() time.Time { return c.expires }

func (c *fakeCopy) Invoke(context.Context, *function.Invocation) (function.Outcome, error) {
	return function.Outcome{Payload: []byte(`{"id":"0f8fad5b-d9cb-469f-a165-70867728950e"}`)}, nil
}

func (c *fakeCopy) Adopt() bool {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if c.f.wants {
		c.f.adopted++
	}
	return c.f.wants
}

func (c *fakeCopy) End(string) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.f.copies--
	c.release()
}

// bench is a Service with fakes around it.
type bench struct {
	*Service
	t       *testing.T
	envs    *fakeEnvironments
	pool    *fakePool
	records *snapshottest.MemRecords
}

// start opens a Service whose functions all have incarnation 1. It is called inside a synctest bubble, which ends when
// the Service does.
func start(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, envs: &fakeEnvironments{takes: time.Second}, pool: &fakePool{}, records: snapshottest.NewRecords()}
	o := Options{Dir: t.TempDir(), CacheBytes: 1 << 20, Records: b.records, Complete: allThere, Environments: b.envs, Pool: b.pool,
		Lines: func(context.Context, string, string) ([]string, error) {
			return []string{"START RequestId: x", "mine"}, nil
		},
		Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.Service = s
	s.Begin(func(function.ARN, function.VersionNumber) uint64 { return 1 })
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// make makes the first snapshot of a version and fails the test when there is none.
func (b *bench) make(v *function.Version, tags map[string]string) {
	b.t.Helper()
	if reason, code, err := b.Make(b.t.Context(), v, tags); err != nil || code != "" {
		b.t.Fatalf("no snapshot: %s %s, %v", code, reason, err)
	}
}

func (b *bench) record(v *function.Version) snapshot.Record {
	b.t.Helper()
	r, _, err := b.records.Get(b.t.Context(), snapshot.VersionOf(v))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// holds fails the test unless the store has exactly the snapshots that the record names.
func (b *bench) holds(v *function.Version) {
	b.t.Helper()
	named := map[snapshot.ID]bool{}
	if r, _, err := b.records.Get(b.t.Context(), snapshot.VersionOf(v)); err == nil && r.Current != nil {
		named[r.Current.ID] = true
	}
	list := b.store.List()
	for _, m := range list {
		if !named[m.ID] {
			b.t.Errorf("snapshot %s, generation %d, is named by nobody", m.ID, m.Generation)
		}
	}
	if len(list) != len(named) {
		b.t.Errorf("%d snapshots are stored, %d named", len(list), len(named))
	}
}
