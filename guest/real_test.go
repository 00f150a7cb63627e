package guest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
	"thaw/sandbox/process"
	"thaw/sandbox/sandboxtest"
)

// The functions of these tests: built once, in one folder.
var functions struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	sandboxtest.RemovePrograms()
	if functions.dir != "" {
		os.RemoveAll(functions.dir)
	}
	os.Exit(code)
}

// echoDir is a folder with a function on aws-lambda-go as bootstrap.
func echoDir(t testing.TB) string {
	t.Helper()
	functions.once.Do(func() {
		if functions.dir, functions.err = os.MkdirTemp("", "guest-"); functions.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-tags", "lambda.norpc", "-o", filepath.Join(functions.dir, "bootstrap"), "./testdata/echo")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			functions.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if functions.err != nil {
		t.Fatal(functions.err)
	}
	return functions.dir
}

type running struct {
	*sandboxtest.Host
	sandbox.Sandbox
	task string
}

// create makes a process sandbox whose /var/task is the folder.
func create(t testing.TB, task string) *running {
	t.Helper()
	b, err := process.Open(process.Options{Dir: t.TempDir(), GuestExe: sandboxtest.GuestExe(t)})
	if err != nil {
		t.Fatal(err)
	}
	sb, err := b.Create(t.Context(), sandbox.Spec{ID: "guest-test", Mounts: []sandbox.Mount{{Source: task, Target: "/var/task"}}})
	if err != nil {
		t.Fatal(err)
	}
	h := sandboxtest.NewHost(t, sb)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		h.AwaitEnd()
	})
	h.Hello()
	return &running{h, sb, task}
}

func (r *running) start(generation uint64, vars ...string) wire.Start {
	return wire.Start{
		Generation: generation, Candidates: []string{r.task + "/bootstrap", "/opt/bootstrap"}, Dir: r.task, UID: -1, GID: -1,
		Vars: append([]string{"PATH=" + os.Getenv("PATH"), "AWS_LAMBDA_FUNCTION_NAME=echo", "_HANDLER=echo"}, vars...),
	}
}

func TestGoFunction(t *testing.T) {
	r := create(t, echoDir(t))
	r.Start(r.start(1))
	if ready := r.Ready(); !strings.HasPrefix(ready.UserAgent, "aws-lambda-go/") {
		t.Errorf("runtime release %q, want that of aws-lambda-go", ready.UserAgent)
	}
	if got := string(r.Invoke("1", []byte(`{"x":1}`))); got != `{"x":1}` {
		t.Errorf("echo: %s", got)
	}

	r.Send(wire.KindInvoke, wire.Invoke{RequestID: "2", InvocationID: "n", DeadlineUnixMs: 4102444800123, FunctionARN: "arn:aws:lambda:x:1:function:f:alias",
		ClientContext: `{"custom":{"k":"värde"}}`, CognitoIdentity: `{"cognitoIdentityId":"id","cognitoIdentityPoolId":"pool"}`}, []byte(`{"Do":"context"}`))
	f := r.Take(wire.KindResponse, nil)
	if got, want := string(f.Body), `["2","arn:aws:lambda:x:1:function:f:alias",{"k":"värde"},4102444800123,"id"]`; got != want {
		t.Errorf("context: got %s, want %s", got, want)
	}
	r.Ready()

	r.SendInvoke("3", []byte(`{"Do":"error"}`))
	var e wire.ErrorHead
	f = r.Take(wire.KindError, &e)
	if got := string(f.Body); got != `{"errorMessage":"it went wrong","errorType":"errorString"}` || e.ErrorType != "Runtime.Unknown" || e.Refused {
		t.Errorf("error: %+v %s", e, got)
	}
	r.Ready()

	big := wire.MaxPayload - 2 // two quotes
	if got := r.Invoke("4", fmt.Appendf(nil, `{"Do":"big","Big":%d}`, big)); len(got) != wire.MaxPayload {
		t.Errorf("the largest response has %d bytes, want %d", len(got), wire.MaxPayload)
	}
	event := append(append([]byte(`"`), bytes.Repeat([]byte("e"), wire.MaxPayload-2)...), '"')
	if got := r.Invoke("5", event); !bytes.Equal(got, event) {
		t.Errorf("the largest event came back as %d bytes", len(got))
	}

	r.SendInvoke("6", fmt.Appendf(nil, `{"Do":"big","Big":%d}`, big+1)) // E-031
	f = r.Take(wire.KindError, &e)
	if want := `{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}`; string(f.Body) != want || !e.Refused {
		t.Errorf("response over the limit: %+v %s", e, f.Body)
	}
	// Go's client panics when a post is answered 413, so the next thing is either its return or its end.
	if f := r.TakeAny(); f.Kind == wire.KindExited {
		r.Kill(1, 0)
		r.Start(r.start(2))
		r.Ready()
	}
	if got := string(r.Invoke("7", []byte(`{"Do":"stream"}`))); got != "first second" {
		t.Errorf("a reader as result: %q", got)
	}
	r.SendInvoke("8", []byte(`{"Do":"broken stream"}`))
	f = r.Take(wire.KindError, &e)
	if e.ErrorType != "Runtime.Unknown" || !strings.Contains(string(f.Body), "broken in the middle") {
		t.Errorf("a reader that fails: %+v %s", e, f.Body)
	}
	r.Ready()

	r.SendInvoke("9", []byte(`{"Do":"panic"}`))
	f = r.Take(wire.KindError, &e)
	var body struct{ ErrorMessage, ErrorType string }
	if err := json.Unmarshal(f.Body, &body); err != nil || body.ErrorMessage != "it went very wrong" {
		t.Errorf("panic: %s", f.Body)
	}
	var exited wire.Exited
	if r.Take(wire.KindExited, &exited); exited.Code == 0 || exited.Signal != 0 {
		t.Errorf("exit after a panic: %+v", exited)
	}
}

// TestMemory: what large payloads took is given back when they are done, for a frozen sandbox collects no garbage.
func TestMemory(t *testing.T) {
	r := create(t, echoDir(t))
	r.Start(r.start(1))
	r.Ready()
	event := append(append([]byte(`"`), bytes.Repeat([]byte("e"), wire.MaxPayload-2)...), '"')
	for range 3 {
		r.Invoke("large", event)
	}
	const limit = 12 << 20 // one event more than what an idle guest has
	var held int64
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if held = rss(t, r.PIDs()[0]); held < limit {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guest holds %d bytes after large invocations, want less than %d", held, limit)
		}
	}
}

// TestAPISocket: a runtime that wants one has a connection to the API from the start, under the number and the inode that it is told.
func TestAPISocket(t *testing.T) {
	if _, err := os.Stat("/bin/bash"); err != nil {
		t.Skip("the function of this test is a bash script")
	}
	task := t.TempDir()
	script := `#!/bin/bash
set -eu
test "$_THAW_RUNTIME_API_FD" = "15:$(stat -L -c %i /proc/self/fd/15)"
printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nUser-Agent: over-the-socket\r\n\r\n' >&15
exec cat <&15 >/dev/null
`
	if err := os.WriteFile(task+"/bootstrap", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r := create(t, task)
	start := r.start(1)
	start.APISocket = true
	r.Start(start)
	if ready := r.Ready(); ready.UserAgent != "over-the-socket" {
		t.Errorf("ready: %+v", ready)
	}
	r.Kill(1, 0)
}

const shellRuntime = `#!/bin/sh
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while :; do
  head=$(mktemp)
  event=$(curl -sS -D "$head" "$api/invocation/next")
  id=$(tr -d '\r' <"$head" | sed -n 's/^Lambda-Runtime-Aws-Request-Id: //p')
  rm -f "$head"
  echo "got $event"
  curl -sS -o /dev/null -d "shell says $event in $(pwd) $EXTRA" "$api/invocation/$id/response"
done
`

func TestShellFunction(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed: apt-get install curl")
	}
	task := t.TempDir()
	if err := os.WriteFile(task+"/bootstrap", []byte(shellRuntime), 0o755); err != nil {
		t.Fatal(err)
	}
	r := create(t, task)
	r.Start(r.start(1, "EXTRA=x", "TMPDIR="+r.HostPath("/tmp")))
	r.Ready()
	for range 3 {
		if got, want := string(r.Invoke("id-1", []byte("hello"))), "shell says hello in "+task+" x"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := r.Output(wire.LogStdout); got != "got hello\ngot hello\ngot hello\n" {
		t.Errorf("output %q", got)
	}
}

// TestWrapper holds E-142 and E-016: for a runtime that the host resolved, not for a bootstrap that was searched.
func TestWrapper(t *testing.T) {
	task := t.TempDir()
	for name, text := range map[string]string{
		"wrapper":    "#!/bin/sh\nexport WRAPPED=\"yes $#\"\nexec \"$@\"\n",
		"plain":      "export WRAPPED=\"plain $#\"\nexec \"$@\"\n",
		"unreadable": "#!/bin/sh\n",
		"bootstrap":  "#!/bin/sh\necho \"[${WRAPPED-}] $*\"\n",
	} {
		mode := os.FileMode(0o755)
		if name == "unreadable" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(task, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	r := create(t, task)
	for i, c := range []struct {
		name, wrapper string
		resolved      bool
		code          int
		output        string
	}{
		{"a script gets the runtime and its arguments", task + "/wrapper", true, 0, "[yes 3] one two\n"},
		{"one without interpreter is the shell's", task + "/plain", true, 0, "[plain 3] one two\n"},
		{"a missing one is what the shell makes of it", task + "/missing", true, 127, task + "/missing: No such file or directory\n"},
		{"one that is not executable too", task + "/unreadable", true, 126, task + "/unreadable: permission denied\n"},
		{"an OS-only runtime gets the variable and no more", task + "/wrapper", false, 0, "[] \n"},
	} {
		before := len(r.Logs())
		s := r.start(uint64(i+1), "AWS_LAMBDA_EXEC_WRAPPER="+c.wrapper)
		if c.resolved {
			s.Argv = []string{task + "/bootstrap", "one", "two"}
		}
		r.Send(wire.KindStart, s, nil)
		if c.code == 0 {
			r.Take(wire.KindStarted, nil)
		}
		var exited wire.Exited
		r.Take(wire.KindExited, &exited)
		var output strings.Builder
		for _, l := range r.Logs()[before:] {
			output.WriteString(l.Text)
		}
		if exited.Code != c.code || exited.LaunchError != "" || output.String() != c.output {
			t.Errorf("%s: %+v, output %q; want code %d, output %q", c.name, exited, output.String(), c.code, c.output)
		}
		r.Kill(s.Generation, 0)
	}
}

// BenchmarkRoundTrip is server -> guest -> function on aws-lambda-go -> guest -> server, natively, to the response and to Ready.
func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{100, 100_000, 5_000_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			r := create(b, echoDir(b))
			r.Start(r.start(1))
			r.Ready()
			event := append(append([]byte(`"`), bytes.Repeat([]byte("e"), size-2)...), '"')
			b.SetBytes(int64(2 * size))
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				r.SendInvoke("r", event)
				r.Take(wire.KindResponse, nil)
				took = append(took, time.Since(began))
				r.Ready()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(rss(b, r.PIDs()[0]))/1024, "guest-RSS-KiB")
		})
	}
}

func rss(t testing.TB, pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
