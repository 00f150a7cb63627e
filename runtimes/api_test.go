package runtimes_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thaw/runtimes"
	"thaw/sandbox"
)

// patience bounds every wait of these tests. It is generous: a busy machine takes seconds to start a JVM.
const patience = 60 * time.Second

// event is what the next call of the runtime gets.
type event struct {
	Body   string
	Header map[string]string // further headers
	ID     string            // request id; empty: one is made
	Limit  time.Duration     // until the deadline; 0: a minute
}

// post is what a runtime sent to the API.
type post struct {
	Path    string // behind /2018-06-01/runtime/
	Header  http.Header
	Trailer http.Header
	Body    string
}

// api is a Runtime API as a client sees it: one at a time, it hands out events and takes what is posted.
type api struct {
	t       testing.TB
	server  *httptest.Server
	events  chan event
	restore chan struct{}
	posts   chan post
	notes   chan string // bodies of what was told of the snapshot
	parked  chan string // a next call came: "invocation/next", "restore/next"
	status  int         // what posts are answered with; 0: 202

	refuseNotes bool // what is told of the snapshot gets 404

	mu    sync.Mutex
	count int
}

const (
	apiPrefix  = "/2018-06-01/runtime/"
	snapshotAt = "/2026-01-01/thaw/snapshot"
)

func newAPI(t testing.TB) *api {
	a := &api{t: t, events: make(chan event, 64), restore: make(chan struct{}), posts: make(chan post, 1024), notes: make(chan string, 64), parked: make(chan string, 1024)}
	a.server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.server.Close)
	return a
}

func (a *api) address() string { return strings.TrimPrefix(a.server.URL, "http://") }

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, apiPrefix)
	switch {
	case r.Method == http.MethodPut && r.URL.Path == snapshotAt:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if a.refuseNotes {
			http.NotFound(w, r)
			return
		}
		a.notes <- string(body)
		w.WriteHeader(http.StatusAccepted)
	case !ok:
		http.NotFound(w, r)
	case r.Method == http.MethodGet && path == "invocation/next":
		a.parked <- path
		select {
		case e := <-a.events:
			a.answerNext(w, e)
		case <-r.Context().Done():
		}
	case r.Method == http.MethodGet && path == "restore/next":
		a.parked <- path
		select {
		case <-a.restore:
		case <-r.Context().Done():
		}
	case r.Method == http.MethodPost:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		a.posts <- post{path, r.Header, r.Trailer, string(body)}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(max(a.status, http.StatusAccepted))
		io.WriteString(w, `{"status":"OK"}`)
	default:
		http.Error(w, "method", http.StatusMethodNotAllowed)
	}
}

func (a *api) answerNext(w http.ResponseWriter, e event) {
	a.mu.Lock()
	a.count++
	id := "00000000-0000-4000-8000-" + strconv.FormatInt(int64(100000000000+a.count), 10)
	a.mu.Unlock()
	if e.ID != "" {
		id = e.ID
	}
	limit := e.Limit
	if limit == 0 {
		limit = time.Minute
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(limit).UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:000000000000:function:f:live")
	for k, v := range e.Header {
		h.Set(k, v)
	}
	h.Set("Content-Length", strconv.Itoa(len(e.Body)))
	io.WriteString(w, e.Body)
}

// arrival returns what comes next, or fails with what did not happen.
func arrival[T any](t testing.TB, from <-chan T, failure string) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatal(failure)
	}
	return v
}

// next returns the next thing that the runtime posted.
func (a *api) next() post {
	a.t.Helper()
	return arrival(a.t, a.posts, "the runtime posted nothing")
}

// note returns the next thing that the runtime told of the snapshot.
func (a *api) note() string {
	a.t.Helper()
	return arrival(a.t, a.notes, "the runtime told nothing of the snapshot")
}

// waitParked waits until the runtime calls next of this kind.
func (a *api) waitParked(want string) {
	a.t.Helper()
	select {
	case got := <-a.parked:
		if got != want {
			a.t.Fatalf("the runtime called %s, want %s", got, want)
		}
	case p := <-a.posts:
		a.t.Fatalf("the runtime posted %s %s, want it to call %s", p.Path, p.Body, want)
	case <-time.After(patience):
		a.t.Fatalf("the runtime did not call %s", want)
	}
}

// invoke hands out one event and returns what came back.
func (a *api) invoke(e event) post {
	a.t.Helper()
	a.events <- e
	return a.next()
}

// process is a running runtime.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    *lockedBuffer // stdout and stderr
	frames *lockedBuffer // the framed log descriptor
	done   chan struct{}
	err    error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// launch is how a test starts a runtime, without any sandbox: paths are translated as the process sandbox does it.
type launch struct {
	plan    runtimes.Plan
	task    string // folder of the function
	handler string
	vars    map[string]string // win over everything else
	frames  bool
	wrapper string
	argv    []string // instead of the plan's
}

func start(t testing.TB, a *api, l launch) *process {
	t.Helper()
	tmp := t.TempDir()
	mounts := append([]sandbox.Mount{{Source: l.task, Target: "/var/task"}}, l.plan.Mounts...)
	at := func(p string) string {
		if strings.HasPrefix(p, "/") {
			return sandbox.Translate(mounts, p)
		}
		return p
	}
	argv := l.argv
	if argv == nil {
		for _, arg := range l.plan.Command(512, l.handler, l.wrapper) {
			argv = append(argv, at(arg))
		}
	}
	if len(argv) == 0 {
		for _, c := range l.plan.Candidates {
			if path := at(c); fileExists(path) {
				argv = []string{path}
				break
			}
		}
	}
	if len(argv) == 0 {
		t.Fatal("nothing to run")
	}
	vars := map[string]string{"TMPDIR": tmp}
	for k, v := range l.plan.Vars {
		parts := strings.Split(v, ":")
		for i := range parts {
			parts[i] = at(parts[i])
		}
		vars[k] = strings.Join(parts, ":")
	}
	for k, v := range l.plan.Reserved {
		vars[k] = v
	}
	for k, v := range map[string]string{
		"AWS_LAMBDA_RUNTIME_API": a.address(), "_HANDLER": l.handler, "LAMBDA_TASK_ROOT": l.task, "LAMBDA_RUNTIME_DIR": at("/var/runtime"),
		"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f", "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef",
		"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
	} {
		vars[k] = v
	}
	p := &process{t: t, out: &lockedBuffer{}, frames: &lockedBuffer{}, done: make(chan struct{})}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = l.task
	cmd.Stdout, cmd.Stderr = p.out, p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var frameEnd sync.WaitGroup
	if l.frames {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{w}
		vars["_LAMBDA_TELEMETRY_LOG_FD"] = "3"
		frameEnd.Go(func() { io.Copy(p.frames, r); r.Close() })
		defer w.Close()
	}
	for k, v := range l.vars {
		vars[k] = v
	}
	for k, v := range vars {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.cmd = cmd
	go func() {
		p.err = cmd.Wait()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		frameEnd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		if t.Failed() && p.out.String() != "" {
			t.Logf("output of the runtime:\n%s", p.out.String())
		}
	})
	return p
}

// exitStatus waits for the end of the process.
func (p *process) exitStatus() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("the runtime does not end")
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return exit.ExitCode()
	}
	if p.err != nil {
		p.t.Fatal(p.err)
	}
	return 0
}

// waitOutput waits until the output (or the frames) contain a text.
func waitFor(t testing.TB, b *lockedBuffer, want string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if got := b.String(); strings.Contains(got, want) {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in %q", want, b.String())
		}
	}
}

func fileExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// write makes a folder of files.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(body, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(body), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// cache is a registry that keeps what it installs from run to run, below THAW_TEST_CACHE or the user's cache folder.
var cache = sync.OnceValues(func() (*runtimes.Registry, error) {
	dir := os.Getenv("THAW_TEST_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			base = os.TempDir()
		}
		dir = filepath.Join(base, "thaw-test")
	}
	return runtimes.Open(runtimes.Options{Dir: filepath.Join(dir, "runtimes")})
})

// ready returns the plan of a runtime, installing what a registry has for it. It skips the test with the reason when the host has no
// such interpreter or the registry cannot be reached.
func ready(t testing.TB, identifier string) runtimes.Plan {
	t.Helper()
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := r.Plan(identifier, "")
	if err != nil {
		install(t, r, identifier)
		if plan, err = r.Plan(identifier, ""); err != nil {
			t.Skip(err)
		}
	}
	return plan
}

func install(t testing.TB, r *runtimes.Registry, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := r.Install(ctx, name, func(s string) { t.Log(s) }); err != nil {
		t.Skipf("install %s: %v", name, err)
	}
}

// serverAt stands for a server that the test serves by hand.
func serverAt(address string) *httptest.Server { return &httptest.Server{URL: "http://" + address} }
