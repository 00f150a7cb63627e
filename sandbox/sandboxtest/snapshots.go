package sandboxtest

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

// RunSnapshots runs the part of the suite that is for backends with Capabilities.Snapshots.
//
// Its functions (snapshotfn) exist in Go, Node and Python; the last two where the host has an interpreter. Each makes in Init a value in memory, a file in /tmp, a
// timer and a connection to itself, and draws from OpenSSL; each invocation says whether these still work, both clocks, and something from every random generator
// that the kernel alone can make unique.
func RunSnapshots(t *testing.T, open func(t testing.TB) sandbox.Backend) {
	s := &suite{open: open}
	if caps := s.backend(t).Capabilities(); !caps.Snapshots || caps.SnapshotKey == "" {
		t.Fatalf("a backend with these capabilities takes no snapshots: %+v", caps)
	}
	asleep := s.sleepingCopies(t)
	for _, f := range functions(t) {
		t.Run(f.name, func(t *testing.T) {
			for _, c := range []struct {
				name string
				run  func(*testing.T, *suite, *function)
			}{
				{"a copy goes on where the snapshot was taken", goesOn},
				{"copies of copies go on, too", generations},
				{"fifty copies draw no random bytes twice", unique},
			} {
				t.Run(c.name, func(t *testing.T) { c.run(t, s, f) })
			}
		})
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite, *function)
	}{
		{"the original goes on, or ends with the checkpoint", originals},
		{"a prepared restore waits for its claim", prepared},
		{"parts may come from readers", readers},
		{"a source may be removed while it is restored", evicted},
		{"a sink that fails fails the checkpoint", badSinks},
		{"damaged snapshots give an error and leave nothing", damaged},
		{"a source that stalls is given up", stalled},
		{"many restores at once", many},
		{"snapshots leave nothing behind", snapshotLeaks},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s, functions(t)[0]) })
	}
	t.Run("a copy answers after 12, 45 and 130 s of being frozen", func(t *testing.T) {
		for _, c := range asleep {
			t.Run(c.name, c.wake)
		}
	})
}

// function is one whose snapshots are taken.
type function struct {
	name   string
	mounts []sandbox.Mount
	argv   []string
	vars   []string
}

//go:embed snapshotfn/function.js
var functionJS []byte

//go:embed snapshotfn/function.py
var functionPy []byte

var builtFunctions struct {
	once sync.Once
	list []*function
	err  error
}

// functions are those that this host can run.
func functions(t testing.TB) []*function {
	t.Helper()
	programs(t)
	f := &builtFunctions
	f.once.Do(func() { f.list, f.err = buildFunctions(filepath.Join(built.dir, "snapshotfn")) })
	if f.err != nil {
		t.Fatal(f.err)
	}
	return f.list
}

func buildFunctions(dir string) ([]*function, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{"function.js": functionJS, "function.py": functionPy} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "snapshotfn"), "thaw/sandbox/sandboxtest/snapshotfn")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd, err, text)
	}
	task := []sandbox.Mount{{Source: dir, Target: "/var/task"}}
	list := []*function{{name: "Go", mounts: task, argv: []string{"/var/task/snapshotfn"}}}
	libraries := append([]sandbox.Mount(nil), task...)
	for _, d := range []string{"/usr", "/lib", "/lib64"} {
		if real, err := filepath.EvalSymlinks(d); err == nil {
			libraries = append(libraries, sandbox.Mount{Source: real, Target: d})
		}
	}
	if node, err := exec.Command("node", "-p", "process.execPath").Output(); err == nil {
		list = append(list, &function{
			name: "Node", argv: []string{"/var/lang/bin/node", "/var/task/function.js"},
			mounts: append(libraries[:len(libraries):len(libraries)], sandbox.Mount{Source: strings.TrimSpace(string(node)), Target: "/var/lang/bin/node"}),
		})
	}
	if out, err := exec.Command("python3", "-c", "import sys, os, ssl; print(os.path.realpath(sys.executable)); print(sys.base_prefix)").Output(); err == nil {
		exe, prefix, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		inside := strings.Replace(exe, prefix, "/var/lang", 1)
		list = append(list, &function{
			name: "Python", argv: []string{inside, "-B", "/var/task/function.py"},
			mounts: append(libraries[:len(libraries):len(libraries)], sandbox.Mount{Source: prefix, Target: "/var/lang"}),
			vars:   []string{"LD_LIBRARY_PATH=/var/lang/lib", "PYTHONHOME=/var/lang"},
		})
	}
	return list, nil
}

// state is what a function says.
type state struct {
	Value, Kept string
	Loop, Fired bool
	Calls, PID  int
	Mono, Wall  float64
	Random      map[string]string
}

// begin runs a function through its Init.
func (f *function) begin(t testing.TB, s *suite, b sandbox.Backend) *box {
	t.Helper()
	spec := s.spec(t)
	spec.Mounts = f.mounts
	x := s.create(t, b, spec)
	x.Hello()
	start := x.start(1, f.vars...)
	start.Argv, start.Candidates = f.argv, nil
	x.Start(start)
	x.Ready()
	return x
}

// ask invokes a function.
func (x *box) ask(t testing.TB, id string) state {
	t.Helper()
	var st state
	if err := json.Unmarshal(x.Invoke(id, []byte("{}")), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// checkpoint quiesces a sandbox and saves it.
func (x *box) checkpoint(t testing.TB, leaveRunning bool) folder {
	t.Helper()
	x.Send(wire.KindQuiesce, nil, nil)
	x.Take(wire.KindQuiesced, nil)
	d := folder(t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.Checkpoint(ctx, d, leaveRunning); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	return d
}

// restore makes a copy and tells its guest.
func (s *suite) restore(t testing.TB, f *function, b sandbox.Backend, src sandbox.SnapshotSource) *box {
	t.Helper()
	spec := s.spec(t)
	spec.Mounts = f.mounts
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sb, err := b.Restore(ctx, spec, src)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return s.adopt(t, b, spec, sb)
}

func (s *suite) adopt(t testing.TB, b sandbox.Backend, spec sandbox.Spec, sb sandbox.Sandbox) *box {
	t.Helper()
	x := &box{Sandbox: sb, Host: NewHost(t, sb), backend: b, spec: spec}
	t.Cleanup(func() { x.end(t) })
	x.restored()
	return x
}

func (x *box) end(t testing.TB) {
	t.Helper()
	if err := x.Sandbox.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	x.AwaitEnd()
}

func (x *box) restored() {
	entropy := make([]byte, 64)
	rand.Read(entropy)
	x.Send(wire.KindRestored, wire.Restored{UnixNanos: time.Now().UnixNano(), Entropy: entropy, EnvID: string(x.spec.ID)}, nil)
	x.Ready() // ends the restore
}

// folder is a snapshot in a folder: sink and source.
type folder string

// Create implements sandbox.SnapshotSink.
func (d folder) Create(part string) (io.WriteCloser, error) { return os.Create(d.path(part)) }

// Note implements sandbox.SnapshotSink.
func (d folder) Note(text string) { os.WriteFile(d.path("note"), []byte(text), 0o600) }

func (d folder) path(part string) string { return filepath.Join(string(d), part) }

// Open implements sandbox.SnapshotSource.
func (d folder) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := os.Open(d.path(part))
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	fi, err := f.Stat()
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	return sandbox.SnapshotPart{File: f, Size: fi.Size()}, nil
}

// same checks what must survive a snapshot.
func same(t testing.TB, before, after state) {
	t.Helper()
	if after.Value != before.Value || after.Kept != before.Kept || after.Kept == "" || after.PID != before.PID {
		t.Errorf("the copy has another memory or /tmp: %+v, before %+v", after, before)
	}
	if after.Calls != before.Calls+1 {
		t.Errorf("call %d follows call %d", after.Calls, before.Calls)
	}
	if !after.Loop {
		t.Error("the connection to itself is broken")
	}
	if after.Fired {
		t.Error("a timer fired long before its time")
	}
	for name, v := range after.Random {
		if v == before.Random[name] {
			t.Errorf("%s gave %s twice", name, v)
		}
	}
}

func goesOn(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	asked := time.Now()
	before := x.ask(t, "before")
	d := x.checkpoint(t, false)
	saved := time.Since(asked)
	// The snapshot's age: the monotonic clock must not show it.
	const age = 2 * time.Second
	time.Sleep(age)
	began := time.Now()
	c := s.restore(t, f, b, d)
	after := c.ask(t, "after")
	answered := time.Now()
	same(t, before, after)
	if passed := after.Mono - before.Mono; passed < 0 || passed > (saved+answered.Sub(began)).Seconds() {
		t.Errorf("monotonic clock went on by %.3f s; it ran for %v before the snapshot and %v after", passed, saved, answered.Sub(began))
	}
	wall := time.UnixMicro(int64(after.Wall * 1e6))
	if wall.Before(began.Add(-50*time.Millisecond)) || wall.After(answered.Add(50*time.Millisecond)) {
		t.Errorf("wall clock says %v, which is not between %v and %v", wall, began, answered)
	}
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := c.Thaw(); err != nil {
		t.Fatal(err)
	}
	same(t, after, c.ask(t, "thawed"))
	used, err := c.MemoryUsed()
	t.Logf("stages %v; memory %d MB, %v", c.Stages(), used>>20, err)
}

func generations(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	last := x.ask(t, "first")
	drawn := newDraws(t)
	drawn.add("original", last)
	for g := 1; g <= 3; g++ {
		d := x.checkpoint(t, true)
		// Two of each generation; the second goes on.
		twin := s.restore(t, f, b, d)
		st := twin.ask(t, "twin")
		same(t, last, st)
		drawn.add(fmt.Sprint("twin of generation ", g), st)
		x = s.restore(t, f, b, d)
		st = x.ask(t, "next")
		same(t, last, st)
		drawn.add(fmt.Sprint("generation ", g), st)
		last = st
	}
}

// draws finds random values that came twice.
type draws struct {
	t    testing.TB
	mu   sync.Mutex
	seen map[string]string
}

func newDraws(t testing.TB) *draws { return &draws{t: t, seen: make(map[string]string)} }

func (d *draws) add(who string, st state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, v := range st.Random {
		who := who + " by " + name
		if other, ok := d.seen[v]; ok || v == "" {
			d.t.Errorf("%s drew %s, which %s had drawn", who, v, other)
		}
		d.seen[v] = who
	}
}

func unique(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	drawn := newDraws(t)
	before := x.ask(t, "before")
	drawn.add("original", before)
	d := x.checkpoint(t, true)
	x.restored()
	drawn.add("original again", x.ask(t, "again"))
	s.copies(t, f, b, d, 50, func(c *box, i int) {
		for j := range 2 {
			st := c.ask(t, fmt.Sprint(j))
			if st.PID != before.PID {
				t.Errorf("the function sees the pid %d, before it was %d", st.PID, before.PID)
			}
			drawn.add(fmt.Sprint("copy ", i), st)
		}
	})
}

// copies restores n at once and has each do something.
func (s *suite) copies(t testing.TB, f *function, b sandbox.Backend, src sandbox.SnapshotSource, n int, do func(c *box, i int)) {
	t.Helper()
	specs := make([]sandbox.Spec, n)
	for i := range specs {
		specs[i] = s.spec(t)
		specs[i].Mounts = f.mounts
	}
	began := time.Now()
	var wg sync.WaitGroup
	for i, spec := range specs {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			sb, err := b.Restore(ctx, spec, src)
			if err != nil {
				t.Errorf("restore %d: %v", i, err)
				return
			}
			c := &box{Sandbox: sb, Host: NewHost(t, sb), backend: b, spec: spec}
			defer c.end(t)
			c.restored()
			do(c, i)
		})
	}
	wg.Wait()
	t.Logf("%d restores, answered and closed, in %v", n, time.Since(began))
}

func originals(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	x.checkpoint(t, true)
	x.restored() // as after a restore: what was held back is said now
	same(t, before, x.ask(t, "after"))
	x.checkpoint(t, false)
	select {
	case <-x.Exited():
	case <-time.After(patience):
		t.Fatal("a sandbox that ends with its checkpoint goes on")
	}
	if e := x.Exit(); !e.Asked || e.Err != nil || e.OutOfMemory {
		t.Errorf("it ended with %+v, want as asked", e)
	}
}

func prepared(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	d := x.checkpoint(t, false)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var parked []sandbox.Parked
	for range 3 {
		p, err := b.Prepare(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		parked = append(parked, p)
	}
	for _, p := range parked[:2] {
		spec := s.spec(t)
		spec.Mounts = f.mounts
		sb, err := p.Claim(ctx, spec)
		if err != nil {
			t.Fatal(err)
		}
		same(t, before, s.adopt(t, b, spec, sb).ask(t, "after"))
	}
	if err := parked[2].Close(); err != nil {
		t.Error(err)
	}
	if _, err := parked[2].Claim(ctx, s.spec(t)); err == nil {
		t.Error("a closed one was claimed")
	}
}

// readerSource serves a folder's parts through readers.
type readerSource struct {
	folder
	wrap func(part string, r io.ReaderAt) io.ReaderAt
}

// Open implements sandbox.SnapshotSource.
func (r readerSource) Open(part string) (sandbox.SnapshotPart, error) {
	b, err := os.ReadFile(r.path(part))
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	p := sandbox.SnapshotPart{Size: int64(len(b)), Reader: bytes.NewReader(b)}
	if r.wrap != nil {
		p.Reader = r.wrap(part, p.Reader)
	}
	return p, nil
}

type readerFunc func([]byte, int64) (int, error)

// ReadAt implements io.ReaderAt.
func (f readerFunc) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }

// memorySink keeps a snapshot in memory, so that nothing is a file.
type memorySink map[string]*bytes.Buffer

// Create implements sandbox.SnapshotSink.
func (m memorySink) Create(part string) (io.WriteCloser, error) {
	m[part] = new(bytes.Buffer)
	return struct {
		io.Writer
		io.Closer
	}{m[part], io.NopCloser(nil)}, nil
}

// Note implements sandbox.SnapshotSink.
func (m memorySink) Note(string) {}

// Open implements sandbox.SnapshotSource.
func (m memorySink) Open(part string) (sandbox.SnapshotPart, error) {
	return sandbox.SnapshotPart{Size: int64(m[part].Len()), Reader: bytes.NewReader(m[part].Bytes())}, nil
}

func readers(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	x.Send(wire.KindQuiesce, nil, nil)
	x.Take(wire.KindQuiesced, nil)
	m := make(memorySink)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.Checkpoint(ctx, m, false); err != nil {
		t.Fatal(err)
	}
	same(t, before, s.restore(t, f, b, m).ask(t, "after"))
}

func evicted(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	d := x.checkpoint(t, false)
	same(t, before, s.restore(t, f, b, removing{d}).ask(t, "after"))
	if _, err := os.Stat(d.path(sandbox.PartPages)); err == nil {
		t.Fatal("the test did not remove its source")
	}
}

// removing removes each part once it is open.
type removing struct{ folder }

// Open implements sandbox.SnapshotSource.
func (r removing) Open(part string) (sandbox.SnapshotPart, error) {
	p, err := r.folder.Open(part)
	os.Remove(r.path(part))
	return p, err
}

// brokenSink fails at one part.
type brokenSink struct {
	folder
	part  string
	where string // create, write, close
}

var errBroken = errors.New("the disk is full")

// Create implements sandbox.SnapshotSink.
func (s brokenSink) Create(part string) (io.WriteCloser, error) {
	if part != s.part {
		return s.folder.Create(part)
	}
	if s.where == "create" {
		return nil, errBroken
	}
	return s, nil
}

// Write implements io.Writer.
func (s brokenSink) Write(b []byte) (int, error) {
	if s.where == "write" {
		return 0, errBroken
	}
	return len(b), nil
}

// Close implements io.Closer.
func (s brokenSink) Close() error {
	if s.where == "close" {
		return errBroken
	}
	return nil
}

func badSinks(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	for _, part := range sandbox.Parts {
		for _, where := range []string{"create", "write", "close"} {
			x.Send(wire.KindQuiesce, nil, nil)
			x.Take(wire.KindQuiesced, nil)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			err := x.Checkpoint(ctx, brokenSink{folder(t.TempDir()), part, where}, true)
			cancel()
			wantStage(t, err, sandbox.StageSink)
			if !errors.Is(err, errBroken) {
				t.Errorf("%s at %s: error %v does not wrap the sink's", where, part, err)
			}
			x.restored()
			after := x.ask(t, part+where)
			same(t, before, after)
			before = after
		}
	}
}

func wantStage(t testing.TB, err error, stages ...string) {
	t.Helper()
	var se *sandbox.SnapshotError
	if !errors.As(err, &se) {
		t.Errorf("error %v is no SnapshotError", err)
		return
	}
	for _, s := range stages {
		if se.Stage == s {
			return
		}
	}
	t.Errorf("error %v is of stage %s, want %v", err, se.Stage, stages)
}

func damaged(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	x.ask(t, "before")
	good := x.checkpoint(t, true)
	other := func() folder { // a second snapshot, of the same sandbox a moment later
		x.restored()
		x.ask(t, "later")
		return x.checkpoint(t, true)
	}()
	edit := func(change func([]byte) []byte) func(string) error {
		return func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, change(data), 0o600)
		}
	}
	for i, c := range []struct {
		name   string
		damage func(path string) error
	}{
		{"empty", func(p string) error { return os.Truncate(p, 0) }},
		{"cut in half", edit(func(d []byte) []byte { return d[:len(d)/2] })},
		{"cut by a page", edit(func(d []byte) []byte { return d[:max(len(d)-4096, 0)] })},
		{"longer by a page", edit(func(d []byte) []byte { return append(d, make([]byte, 4096)...) })},
		{"a bit turned in the middle", edit(func(d []byte) []byte { d[len(d)/2] ^= 1; return d })},
		{"a bit turned at the end", edit(func(d []byte) []byte { d[len(d)-1] ^= 1; return d })},
		{"zeroed", edit(func(d []byte) []byte { clear(d); return d })},
		{"that of another snapshot", nil},
		{"missing", os.Remove},
	} {
		for _, part := range sandbox.Parts {
			if c.name == "that of another snapshot" && part == sandbox.PartPagesMeta {
				continue // it may well be the same
			}
			t.Run(part+" "+c.name, func(t *testing.T) {
				d := folder(t.TempDir())
				for _, p := range sandbox.Parts {
					data, err := os.ReadFile(good.path(p))
					if err != nil {
						t.Fatal(err)
					}
					if c.damage == nil && p == part {
						if data, err = os.ReadFile(other.path(p)); err != nil {
							t.Fatal(err)
						}
					}
					if err := os.WriteFile(d.path(p), data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if c.damage != nil {
					if err := c.damage(d.path(part)); err != nil {
						t.Fatal(err)
					}
				}
				spec := s.spec(t)
				spec.Mounts = f.mounts
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				var src sandbox.SnapshotSource = d
				if i%2 == 1 {
					src = readerSource{folder: d}
				}
				sb, err := b.Restore(ctx, spec, src)
				if err == nil {
					sb.Close()
					t.Fatal("it was restored")
				}
				wantStage(t, err, sandbox.StageSource, sandbox.StageHeader, sandbox.StageLoad)
			})
		}
	}
	x.restored()
	x.ask(t, "end")
	// The backend is none the worse.
	s.restore(t, f, b, good).ask(t, "after")
}

func stalled(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	x.ask(t, "before")
	d := x.checkpoint(t, false)
	spec := s.spec(t)
	spec.Mounts = f.mounts
	fail := func(part string, r io.ReaderAt) io.ReaderAt {
		return readerFunc(func(p []byte, off int64) (int, error) {
			if part == sandbox.PartPages && off > 0 {
				return 0, errBroken
			}
			return r.ReadAt(p[:min(len(p), 64<<10)], off)
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := b.Restore(ctx, spec, readerSource{d, fail}); err == nil {
		t.Error("a failing source was restored")
	} else {
		wantStage(t, err, sandbox.StageLoad, sandbox.StageSource)
	}
	for _, stuck := range sandbox.Parts {
		release := make(chan struct{})
		stall := func(part string, r io.ReaderAt) io.ReaderAt {
			return readerFunc(func(p []byte, off int64) (int, error) {
				if part == stuck {
					<-release
				}
				return r.ReadAt(p, off)
			})
		}
		short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, err := b.Restore(short, spec, readerSource{d, stall}) // returns although the source does not
		cancel()
		close(release)
		if err == nil {
			t.Errorf("stalled %s were restored", stuck)
			continue
		}
		wantStage(t, err, sandbox.StageLoad, sandbox.StageMake, sandbox.StageSource, sandbox.StageHeader)
	}
	late := &lateSource{folder: d, release: make(chan struct{})}
	short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := b.Restore(short, spec, late)
	wantStage(t, err, sandbox.StageMake, sandbox.StageSource)
	close(late.release)
	for _, f := range late.files(t) {
		await(t, "a file that nobody waits for is closed", func() bool {
			_, err := f.Stat()
			return errors.Is(err, os.ErrClosed)
		})
	}
}

// lateSource opens its files when everybody has given up, all but the last.
type lateSource struct {
	folder
	release chan struct{}
	mu      sync.Mutex
	opened  []*os.File
	failed  bool
}

// Open implements sandbox.SnapshotSource.
func (l *lateSource) Open(part string) (sandbox.SnapshotPart, error) {
	<-l.release
	l.mu.Lock()
	defer l.mu.Unlock()
	if part == sandbox.Parts[len(sandbox.Parts)-1] {
		l.failed = true
		return sandbox.SnapshotPart{}, os.ErrClosed
	}
	p, err := l.folder.Open(part)
	l.opened = append(l.opened, p.File)
	return p, err
}

func (l *lateSource) files(t *testing.T) (opened []*os.File) {
	await(t, "the source is asked", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		opened = l.opened
		return l.failed
	})
	return opened
}

func many(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	d := x.checkpoint(t, false)
	n := 24
	if v := os.Getenv("THAW_TEST_RESTORES"); v != "" {
		fmt.Sscan(v, &n)
	}
	drawn := newDraws(t)
	s.copies(t, f, b, d, n, func(c *box, i int) {
		st := c.ask(t, "after")
		same(t, before, st)
		drawn.add(fmt.Sprint("copy ", i), st)
	})
}

func snapshotLeaks(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	x.ask(t, "before")
	d := x.checkpoint(t, true)
	x.restored()
	round := func() {
		for range 3 {
			c := s.restore(t, f, b, readerSource{folder: d})
			c.ask(t, "after")
			pids := c.PIDs()
			c.end(t)
			awaitGone(t, pids)
		}
		s.restore(t, f, b, d).end(t)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		p, err := b.Prepare(ctx, readerSource{folder: d})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		spec := s.spec(t)
		spec.Mounts = []sandbox.Mount{{Source: "/there/is/no/such/folder", Target: "/var/task"}}
		if _, err := b.Restore(ctx, spec, readerSource{folder: d}); err == nil {
			t.Error("a mount of nothing was restored")
		} else {
			wantStage(t, err, sandbox.StageBind)
		}
		x.checkpoint(t, true)
		x.restored()
	}
	round()
	// Blank sandboxes come and go beside the test: it waits for the number to come back.
	before := openFiles(t)
	for range 3 {
		round()
	}
	await(t, fmt.Sprintf("%d descriptors, as before", before), func() bool { return openFiles(t) <= before+4 })
}
