package uniquetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/guest/wire"
	"thaw/runtimes"
	"thaw/sandbox"
	"thaw/sandbox/gvisor"
	"thaw/sandbox/sandboxtest"
)

// patience bounds every wait: a JVM on a busy machine takes its time, and one that is emulated more.
const patience = 8 * time.Minute

// clones is how many copies of a snapshot are compared: as many as a quick run can have, or THAW_CLONES.
func clones(t *testing.T, quick int) int {
	v := os.Getenv("THAW_CLONES")
	if v == "" {
		return quick
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 2 {
		t.Fatalf("THAW_CLONES is %q", v)
	}
	return n
}

var backend struct {
	once sync.Once
	b    *gvisor.Backend
	dir  string
	log  bytes.Buffer
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if backend.b != nil {
		if err := backend.b.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the backend:", err)
			code = 1
		}
	}
	if backend.dir != "" {
		os.RemoveAll(backend.dir)
	}
	sandboxtest.RemovePrograms()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code != 0 {
		os.Stderr.Write(backend.log.Bytes())
	}
	os.Exit(code)
}

// open is the one backend of these tests.
func open(t *testing.T) *gvisor.Backend {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("gVisor sandboxes need root")
	}
	guest := sandboxtest.GuestExe(t)
	backend.once.Do(func() {
		if backend.dir, backend.err = os.MkdirTemp("", "uniquetest-"); backend.err != nil {
			return
		}
		exe := filepath.Join(backend.dir, "thaw-sandbox")
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, "thaw/cmd/thaw-sandbox")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			backend.err = fmt.Errorf("%s: %w\n%s", cmd, err, out)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		backend.b, backend.err = gvisor.Open(ctx, gvisor.Options{Dir: filepath.Join(backend.dir, "gvisor"), SandboxExe: exe, GuestExe: guest, Blank: 2,
			Log: slog.New(slog.NewTextHandler(&backend.log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	})
	if backend.err != nil {
		t.Fatal(backend.err)
	}
	return backend.b
}

// plan finds a runtime, installing what a registry has for it.
func plan(t *testing.T, identifier string) runtimes.Plan {
	t.Helper()
	dir := os.Getenv("THAW_TEST_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		dir = filepath.Join(base, "thaw-test")
	}
	r, err := runtimes.Open(runtimes.Options{Dir: filepath.Join(dir, "runtimes")})
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan(identifier, "")
	if err == nil {
		return p
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := r.Install(ctx, identifier, func(s string) { t.Log(s) }); err != nil {
		t.Skip(err)
	}
	if p, err = r.Plan(identifier, ""); err != nil {
		t.Skip(err)
	}
	return p
}

// function is one whose draws are compared.
type function struct {
	plan    runtimes.Plan
	task    string
	handler string
}

// TestClonesDrawDifferentValues takes snapshots of functions that draw from every generator of their language, and compares what the copies draw: in
// the function's first after-restore hook, and in the first event. Before the checkpoint the function has drawn from all of them, or from none. E-130
func TestClonesDrawDifferentValues(t *testing.T) {
	for _, r := range []struct {
		identifier, handler string
		file                string
		used, unused        int // copies in a quick run: what is drawn twice, two of them draw
	}{
		{"nodejs22.x", "index.handler", "index.js", 10, 4},
		{"nodejs24.x", "index.handler", "index.js", 4, 4},
		{"python3.12", "app.handler", "app.py", 10, 4},
		{"java17", "example.Draws::handle", "example/Draws.java", 10, 4},
		{"java25", "example.Draws::handle", "example/Draws.java", 4, 4},
		{"provided.al2023", "bootstrap", "bootstrap", 10, 2},
	} {
		t.Run(r.identifier, func(t *testing.T) {
			b := open(t)
			f := function{plan: plan(t, r.identifier), handler: r.handler, task: taskOf(t, r.file)}
			if strings.HasPrefix(r.identifier, "java") {
				compile(t, f)
			}
			t.Run("drawn from before", func(t *testing.T) { compare(t, b, f, clones(t, r.used), "DRAW_BEFORE=1") })
			t.Run("not drawn from before", func(t *testing.T) { compare(t, b, f, clones(t, r.unused)) })
		})
	}
}

func taskOf(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	// The sandbox's user reads it.
	for at := dir; at != filepath.Dir(os.TempDir()) && at != "/"; at = filepath.Dir(at) {
		if at != os.TempDir() {
			os.Chmod(at, 0o755)
		}
	}
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func compile(t *testing.T, f function) {
	t.Helper()
	lib := filepath.Join(sandbox.Translate(f.plan.Mounts, "/var/runtime"), "lib", "*")
	out, err := exec.Command("javac", "--release", "17", "-cp", lib, "-d", f.task, filepath.Join(f.task, "example", "Draws.java")).CombinedOutput()
	if err != nil {
		t.Skipf("javac: %v\n%s", err, out)
	}
}

// drawn is what a copy answers: what the original drew before the checkpoint, what the copy drew in its hook and in its first event.
type drawn struct{ Before, Hook, Event map[string]any }

func compare(t *testing.T, b sandbox.Backend, f function, n int, vars ...string) {
	began := time.Now()
	snap := save(t, b, f, vars)
	made := time.Since(began)
	seen := map[string]string{} // value -> who drew it
	generators := map[string]bool{}
	repeated := map[string]int{}
	note := func(who string, values map[string]any) {
		for name, v := range values {
			value := fmt.Sprint(v)
			if value == "" || value == "0" || value == "<nil>" {
				t.Errorf("%s drew %q from %s", who, value, name)
			}
			generators[name] = true
			if other, ok := seen[value]; ok {
				if repeated[name]++; repeated[name] == 1 {
					t.Errorf("%s drew %.80s from %s, as did %s", who, value, name, other)
				}
			}
			seen[value] = who + " from " + name
		}
	}
	answers := make([]drawn, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 3)
	began = time.Now()
	for i := range answers {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			var err error
			if answers[i], err = draw(b, f, snap); err != nil {
				t.Errorf("copy %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	note("the original", answers[0].Before)
	for i, a := range answers {
		if len(a.Event) < 2 || len(vars) > 0 != (len(a.Before) > 0) {
			t.Fatalf("copy %d answers %+v", i, a)
		}
		note(fmt.Sprintf("copy %d's hook", i), a.Hook)
		note(fmt.Sprintf("copy %d", i), a.Event)
	}
	for _, name := range slices.Sorted(maps.Keys(repeated)) {
		t.Errorf("%s gave %d values that were there already", name, repeated[name])
	}
	t.Logf("%d copies, %d generators, %d values; snapshot made in %v, copies answered in %v", n, len(generators), len(seen),
		made.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// folder is a snapshot in a folder.
type folder string

func (d folder) Create(part string) (io.WriteCloser, error) {
	return os.Create(filepath.Join(string(d), part))
}

func (d folder) Note(string) {}

func (d folder) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := os.Open(filepath.Join(string(d), part))
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	fi, err := f.Stat()
	return sandbox.SnapshotPart{File: f, Size: fi.Size()}, err
}

func (f function) spec() sandbox.Spec {
	var id [8]byte
	rand.Read(id[:])
	return sandbox.Spec{ID: sandbox.ID(fmt.Sprintf("unique-%x", id)), MemoryMiB: 512, TmpMiB: 128,
		Mounts: append([]sandbox.Mount{{Source: f.task, Target: "/var/task"}}, f.plan.Mounts...)}
}

// save runs a function through its Init and saves it.
func save(t *testing.T, b sandbox.Backend, f function, vars []string) folder {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	spec := f.spec()
	sb, err := b.Create(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	h := sandboxtest.NewHost(t, sb)
	h.Patience = patience
	defer func() {
		if err := sb.Close(); err != nil {
			t.Error(err)
		}
		h.AwaitEnd()
	}()
	h.Hello()
	caps := b.Capabilities()
	secret := bytes.Repeat([]byte{7}, wire.LayoutBytes) // one layout and one seed, as all snapshots of a function have
	start := wire.Start{Generation: 1, Layout: secret, Argv: f.plan.CommandSnapStart(spec.MemoryMiB, f.handler, "", secret), Candidates: f.plan.Candidates, Dir: "/var/task",
		UID: caps.UID, GID: caps.GID, SnapStart: true, NoFile: 1024, TmpBytes: int64(spec.TmpMiB) << 20, APIHost: "127.0.0.1:9001"}
	all := map[string]string{"_HANDLER": f.handler, "LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "AWS_REGION": "eu-west-1",
		"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
	maps.Copy(all, f.plan.VarsSnapStart(secret))
	maps.Copy(all, f.plan.Reserved)
	for k, v := range all {
		start.Vars = append(start.Vars, k+"="+v)
	}
	start.Vars = append(start.Vars, vars...)
	h.Start(start)
	want := wire.NextInvocation
	if f.plan.ParksInRestore {
		want = wire.NextRestore
	}
	frame := h.TakeAny()
	for frame.Kind == wire.KindSnapshotNote { // which hooks ran
		frame = h.TakeAny()
	}
	var ready wire.Ready
	if err := frame.Decode(&ready); err != nil || frame.Kind != wire.KindReady || ready.Next != want {
		t.Fatalf("frame of kind %d, %v: the runtime is parked in %q, want %q", frame.Kind, err, ready.Next, want)
	}
	h.Send(wire.KindQuiesce, nil, nil)
	h.Take(wire.KindQuiesced, nil)
	d := folder(t.TempDir())
	if err := sb.Checkpoint(ctx, d); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	return d
}

// draw makes a copy and asks it once. It may be called from any goroutine.
func draw(b sandbox.Backend, f function, snap folder) (d drawn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	spec := f.spec()
	sb, err := b.Restore(ctx, spec, snap)
	if err != nil {
		return d, err
	}
	stop := context.AfterFunc(ctx, func() { sb.Close() }) // ends a wait for what does not come
	defer func() {
		stop()
		if closeErr := sb.Close(); err == nil {
			err = closeErr
		}
	}()
	r, w := wire.NewReader(sb.Conn()), wire.NewWriter(sb.Conn())
	entropy := make([]byte, 64)
	rand.Read(entropy)
	if err := w.Send(wire.KindRestored, wire.Restored{UnixNanos: time.Now().UnixNano(), Entropy: entropy, EnvID: string(spec.ID)}, nil); err != nil {
		return d, err
	}
	var logs strings.Builder
	for {
		frame, err := r.Next()
		if err != nil {
			return d, fmt.Errorf("%w; the function said: %s", err, logs.String())
		}
		switch frame.Kind {
		case wire.KindLog:
			logs.Write(frame.Body)
		case wire.KindReady:
			err = w.Send(wire.KindInvoke, wire.Invoke{RequestID: "request", InvocationID: "attempt", DeadlineUnixMs: time.Now().Add(time.Minute).UnixMilli()}, []byte("{}"))
			if err != nil {
				return d, err
			}
		case wire.KindResponse:
			return d, json.Unmarshal(frame.Body, &d)
		default:
			return d, fmt.Errorf("the guest said %d %s %s; the function said: %s", frame.Kind, frame.Head, frame.Body, logs.String())
		}
	}
}
