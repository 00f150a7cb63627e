package node

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/runtimes"
)

func decode64(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "not base64: " + s
	}
	return string(b)
}

// nodeRuntime is the identifier that the host's own Node.js serves.
func nodeRuntime(t testing.TB) string {
	t.Helper()
	if id := hostNode(); id != "" {
		return id
	}
	t.Skip("Node.js is not installed")
	return ""
}

// hostNode asks once: two hundred functions are of it.
var hostNode = sync.OnceValue(func() string {
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		return ""
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".")
	return "nodejs" + major + ".x"
})

// js deploys index.js.
func (s *server) js(code string, opts ...option) *deployed {
	s.t.Helper()
	return s.deploy(nodeRuntime(s.t), map[string]string{"index.js": code}, opts...)
}

// C-069, C-072, E-011, E-113: a cold and a warm invoke, and what they leave in the log.
func TestColdAndWarm(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`let n = 0; console.log('loaded'); exports.handler = async (e) => ({ n: ++n, e })`)
		if got := f.invoke(`{"a":1}`).ok(t); got != `{"n":1,"e":{"a":1}}` {
			t.Fatalf("cold: %s", got)
		}
		a := f.tail(`{}`)
		if got := a.ok(t); got != `{"n":2,"e":{}}` {
			t.Fatalf("warm, in the same environment: %s", got)
		}
		if a.version != "$LATEST" || a.status != 200 {
			t.Errorf("version %q status %d", a.version, a.status)
		}
		for _, want := range []string{"START RequestId: ", "END RequestId: ", "REPORT RequestId: ", "Memory Size: 256 MB", "Billed Duration: "} {
			if !strings.Contains(a.log, want) {
				t.Errorf("tail has no %q:\n%s", want, a.log)
			}
		}
		if strings.Contains(a.log, "Init Duration") {
			t.Errorf("a warm REPORT has an Init Duration:\n%s", a.log)
		}
		log := f.logs("INIT_START", "loaded", "Init Duration")
		if !strings.HasPrefix(log[0], "INIT_START Runtime Version: nodejs:") {
			t.Errorf("the first line is %q", log[0])
		}
		if all := strings.Join(log, "\n"); strings.Contains(all, "INIT_REPORT") {
			t.Errorf("a successful init on demand has an INIT_REPORT:\n%s", all)
		}
	})
}

// The tail of the invoke that was the cold one begins with what its Init said.
func TestTailOfAColdInvoke(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`console.log('loaded'); exports.handler = async (e) => e`)
		order(t, []string{f.tail(`{}`).log}, "INIT_START ", "loaded", "START RequestId", "REPORT RequestId", "Init Duration")
		if log := f.tail(`{}`).log; !strings.HasPrefix(log, "START RequestId") {
			t.Errorf("the tail of a warm invoke is\n%s", log)
		}
	})
}

// C-073, E-045: an error of the handler leaves the environment as it is.
func TestHandlerError(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`let n = 0; exports.handler = async (e) => { n++; if (e.fail) throw new RangeError('too ' + n); return n }`)
		f.invoke(`{"fail":true}`).failed(t, "RangeError", "too 1")
		if got := f.invoke(`{}`).ok(t); got != "2" {
			t.Errorf("the next invoke has n = %s; want 2, in the same environment", got)
		}
	})
}

// Our own Node client talks over the socket that the guest leaves it, and over TCP when a wrapper put something else there.
func TestNodeConnection(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		code := `const fs = require('node:fs')
			const link = (fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd) } catch { return '' } }
			exports.handler = async () => [link(15).split(':')[0], fs.readdirSync('/proc/self/fd').filter((fd) => link(fd).startsWith('socket:')).length,
				Object.keys(process.env).filter((k) => k.startsWith('_THAW_RUNTIME'))]`
		if got := s.js(code).invoke(`{}`).ok(t); got != `["socket",1,[]]` {
			t.Errorf("descriptor 15, sockets, variables: %s", got)
		}
		if _, err := os.Stat("/bin/bash"); err != nil || s.kind != "process" { // whose functions see the host's files, and its bash: sh knows no descriptor above 9
			return
		}
		wrapper := filepath.Join(t.TempDir(), "wrap")
		if err := os.WriteFile(wrapper, []byte("#!/bin/bash\nexec 15</dev/null \"$@\""), 0o755); err != nil {
			t.Fatal(err)
		}
		wrapped := s.js(code, vars(map[string]string{"AWS_LAMBDA_EXEC_WRAPPER": wrapper}))
		if got := wrapped.invoke(`{}`).ok(t); got != `["/dev/null",1,[]]` {
			t.Errorf("under a wrapper: descriptor 15, sockets, variables: %s", got)
		}
	})
}

// E-064, E-065, C-075: the runtime exits, or is killed, in an invoke; the next invoke finds a fresh one.
func TestRuntimeExit(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`let n = 0; exports.handler = async (e) => { n++; if ('exit' in e) process.exit(e.exit); if (e.kill) process.kill(process.pid, e.kill); return n }`)
		f.invoke(`{}`).ok(t)
		f.invoke(`{"exit":0}`).failed(t, "Runtime.ExitError", "Error: Runtime exited without providing a reason")
		a := f.tail(`{"exit":7}`)
		a.failed(t, "Runtime.ExitError", "Error: Runtime exited with error: exit status 7")
		if !strings.Contains(a.log, "Status: error\tError Type: Runtime.ExitError") {
			t.Errorf("REPORT:\n%s", a.log)
		}
		f.invoke(`{"kill":"SIGKILL"}`).failed(t, "Runtime.ExitError", "Error: Runtime exited with error: signal: killed")
		f.invoke(`{"kill":"SIGSEGV"}`).failed(t, "Runtime.ExitError", "signal: segmentation fault")
		if got := f.invoke(`{}`).ok(t); got != "1" {
			t.Errorf("memory survived the exit: n = %s", got)
		}
	})
}

// E-062, E-063, C-074: a timeout resets: memory is fresh, /tmp is not.
func TestTimeout(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`const fs = require('fs'), os = require('os'), path = require('path'); let n = 0
			const file = path.join(os.tmpdir(), 'kept')
			exports.handler = async (e) => { n++
				if (e.hang) { fs.writeFileSync(file, 'here'); await new Promise(() => setInterval(() => {}, 1000)) }
				return { n, kept: fs.existsSync(file) && fs.readFileSync(file, 'utf8') } }`, timeout(3))
		f.invoke(`{}`).ok(t)
		a := f.tail(`{"hang":true}`)
		a.failed(t, "Sandbox.Timedout", "Error: Task timed out after 3.00 seconds")
		for _, want := range []string{"Task timed out after 3.00 seconds", "Status: timeout", "Duration: 3000.00 ms\tBilled Duration: 3000 ms"} {
			if !strings.Contains(a.log, want) {
				t.Errorf("tail has no %q:\n%s", want, a.log)
			}
		}
		f.reset()
		if got := f.invoke(`{}`).ok(t); got != `{"n":1,"kept":"here"}` {
			t.Errorf("after the reset: %s", got)
		}
	})
}

// E-009, E-010, E-014: an init that fails is repeated inside the invoke and answers it.
func TestInitError(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`throw new TypeError('no good')`)
		f.invoke(`{}`).failed(t, "TypeError", "no good")
		log := strings.Join(f.logs("REPORT RequestId"), "\n")
		for _, want := range []string{"Phase: init\tStatus: error", "Phase: invoke\tStatus: error"} {
			if !strings.Contains(log, want) {
				t.Errorf("log has no %q:\n%s", want, log)
			}
		}
		if strings.Index(log, "Phase: invoke") > strings.Index(log, "START RequestId") {
			t.Errorf("INIT_REPORT of the repetition comes after START:\n%s", log)
		}
	})
}

// E-015: exit during init.
func TestInitExit(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		s.js(`process.exit(0)`).invoke(`{}`).failed(t, "Runtime.ExitError", "Error: Runtime exited without providing a reason")
		s.js(`process.exit(9)`).invoke(`{}`).failed(t, "Runtime.ExitError", "Error: Runtime exited with error: exit status 9")
	})
}

// E-008, E-009: an init of more than ten seconds is cut off and runs again inside the invoke, under the function's timeout.
func TestInitTimeout(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`const fs = require('fs'), os = require('os'), path = require('path'); const mark = path.join(os.tmpdir(), 'second')
			if (!fs.existsSync(mark)) { fs.writeFileSync(mark, ''); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60000) }
			exports.handler = async () => 'in the end'`, timeout(20))
		if got := f.invoke(`{}`).ok(t); got != `"in the end"` {
			t.Errorf("answer %s", got)
		}
		log := strings.Join(f.logs("REPORT RequestId"), "\n")
		if !strings.Contains(log, "INIT_REPORT Init Duration: 10") || !strings.Contains(log, "Phase: init\tStatus: timeout") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// E-145: what the handler left running stands still between invokes and goes on in the next; the monotonic clock goes on.
func TestFreeze(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`let ticks = 0; setInterval(() => ticks++, 5); let fired = 0
			exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false
				if (e.timer) setTimeout(() => fired++, e.timer)
				setTimeout(() => cb(null, { ticks, fired, mono: performance.now(), wall: Date.now() }), e.wait || 0) }`)
		type state struct {
			Ticks, Fired int
			Mono, Wall   float64
		}
		get := func(event string) (v state) {
			t.Helper()
			if err := json.Unmarshal([]byte(f.invoke(event).ok(t)), &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
		first := get(`{"wait":200,"timer":400}`)
		if first.Ticks < 5 {
			t.Errorf("%d ticks in 200 ms of work", first.Ticks)
		}
		time.Sleep(1500 * time.Millisecond)
		second := get(`{}`)
		if grown := second.Ticks - first.Ticks; grown > 150 { // 300 if it were not frozen; some, until the freeze and in the second invoke
			t.Errorf("%d ticks while frozen for 1.5 s", grown)
		}
		if d := (second.Mono - first.Mono) - (second.Wall - first.Wall); d < -50 || d > 50 {
			t.Errorf("the monotonic clock lost %.1f ms against the wall clock", -d)
		}
		third := get(`{"wait":100}`)
		if third.Fired != 1 {
			t.Errorf("the timer that ran out while frozen fired %d times", third.Fired)
		}
	})
}

// Each of many callers at once gets its own answer, and each environment one invoke at a time. It uses the whole machine,
// so it runs alone.
func TestOverlappingInvokes(t *testing.T) {
	for _, kind := range sandboxes {
		t.Run(kind, func(t *testing.T) {
			f := shared(t, kind).js(`let inside = 0; exports.handler = async (e) => { if (++inside > 1) throw new Error('two at once')
			await new Promise(r => setTimeout(r, e.ms)); inside--; return e.id }`, memory(128))
			for _, n := range []int{4, 32, 200} {
				ms := 300
				if n == 200 {
					ms = 20 // so that few environments serve many
				}
				f.callers(n, ms)
			}
		})
	}
}

// callers invokes n times at once.
func (f *deployed) callers(n, ms int) {
	f.t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			a := f.invoke(fmt.Sprintf(`{"id":%d,"ms":%d}`, i, ms))
			if a.err != nil || a.functionError != "" || a.body != strconv.Itoa(i) {
				f.t.Errorf("%d of %d: got %q %s %v", i, n, a.body, a.functionError, a.err)
			}
		})
	}
	wg.Wait()
}

// Payload borders. C-076, C-078, E-030, E-031.
func TestPayloads(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`exports.handler = async (e) => e && e.size !== undefined ? 'x'.repeat(e.size) : (typeof e === 'string' ? e.length : e)`, memory(512))
		if got := f.invoke(``).ok(t); got != "{}" {
			t.Errorf("no payload arrives as %s", got)
		}
		const limit = 6291556
		big := `"` + strings.Repeat("a", 6291456-2) + `"`
		if got := f.invoke(big).ok(t); got != strconv.Itoa(6291456-2) {
			t.Errorf("an event of 6 MB: %s", got)
		}
		var tooLarge *types.RequestTooLargeException
		if a := f.invoke(`"` + strings.Repeat("a", limit) + `"`); !errors.As(a.err, &tooLarge) {
			t.Errorf("an event over the limit: %v", a.err)
		}
		if got := f.invoke(fmt.Sprintf(`{"size":%d}`, limit-2)).ok(t); len(got) != limit {
			t.Errorf("the largest response has %d bytes", len(got))
		}
		f.invoke(fmt.Sprintf(`{"size":%d}`, limit-1)).failed(t, "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6291556 bytes).")
		f.invoke(`{"size":1}`).ok(t)
		var bad *types.InvalidRequestContentException
		for name, event := range map[string]string{"broken JSON": `{"a":`, "invalid UTF-8": "\"\xff\xfe\""} {
			if a := f.invoke(event); a.err != nil && !errors.As(a.err, &bad) {
				t.Errorf("%s: %v", name, a.err)
			} else if a.err == nil && name == "broken JSON" {
				t.Errorf("%s was accepted: %s", name, a.body)
			}
		}
		deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
		if a := f.invoke(deep); a.err != nil || a.functionError != "" || a.body != deep {
			t.Errorf("deeply nested: %v %s %.300s", a.err, a.functionError, a.body)
		}
	})
}

// An update under load: whoever is answered after the update went live is answered by the new code.
func TestUpdateNeverRunsOldCode(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`exports.handler = async () => 1`)
		f.invoke(`{}`).ok(t)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if a := f.invoke(`{}`); a.err != nil || a.functionError != "" {
						t.Errorf("during the update: %v %s %s", a.err, a.functionError, a.body)
						return
					}
					time.Sleep(5 * time.Millisecond) // a load, not all that the machine has
				}
			})
		}
		ctx := context.Background()
		for version := 2; version <= 4; version++ {
			code := zipOf(t, map[string]string{"index.js": fmt.Sprintf(`exports.handler = async () => %d`, version)})
			if _, err := f.client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &f.name, ZipFile: code}); err != nil {
				t.Fatal(err)
			}
			if err := lambda.NewFunctionUpdatedV2Waiter(f.client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if got := f.invoke(`{}`).ok(t); got != strconv.Itoa(version) {
					t.Errorf("after update %d went live: %s", version, got)
				}
			}
		}
		close(stop)
		wg.Wait()
	})
}

// working says that an invoke of the function is running.
func (f *deployed) working() bool {
	for _, e := range f.node.pool.Environments() {
		if e.Function == f.name && e.State == "Invoking" {
			return true
		}
	}
	return false
}

// C-105: reserved concurrency refuses with its reason.
func TestReservedConcurrency(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`exports.handler = async (e) => { await new Promise(r => setTimeout(r, e.ms || 0)); return 'ok' }`)
		ctx := context.Background()
		put := func(n int32) {
			t.Helper()
			if _, err := f.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &f.name, ReservedConcurrentExecutions: &n}); err != nil {
				t.Fatal(err)
			}
		}
		put(0)
		var throttled *types.TooManyRequestsException
		if a := f.invoke(`{}`); !errors.As(a.err, &throttled) || throttled.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded {
			t.Fatalf("reserved 0: %v", a.err)
		}
		put(1)
		f.invoke(`{}`).ok(t)
		done := make(chan answer)
		go func() { done <- f.invoke(`{"ms":3000}`) }()
		for end := time.Now().Add(time.Minute); !f.working(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the first invoke never began")
			}
		}
		if a := f.invoke(`{}`); !errors.As(a.err, &throttled) {
			t.Errorf("a second invoke beside the one that is allowed: %v %s", a.err, a.body)
		}
		(<-done).ok(t)
	})
}

// E-073: the memory limit kills the runtime, tells the caller, and the next invoke works.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`exports.handler = async (e) => { if (!e.eat) return 'fine'; const held = []; for (;;) { held.push(Buffer.alloc(8 << 20, 1)); } }`, memory(128), timeout(60))
	f.invoke(`{}`).ok(t)
	a := f.tail(`{"eat":true}`)
	a.failed(t, "Runtime.ExitError", "Runtime exited with error: signal: killed")
	if !strings.Contains(a.log, "Error Type: Runtime.OutOfMemory") || strings.Count(a.log, "[thaw] Out of memory: the function has 128 MB, ") != 1 {
		t.Errorf("REPORT:\n%s", a.log)
	}
	f.invoke(`{}`).ok(t)
}

// Inside of an isolating sandbox. E-136 to E-138, E-143.
func TestInside(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`const fs = require('fs'), os = require('os')
		const attempt = (f) => { try { return String(f()) } catch (e) { return e.code } }
		exports.handler = async () => ({ user: os.userInfo().username, cwd: process.cwd(),
			task: attempt(() => fs.writeFileSync('/var/task/x', '')), root: attempt(() => fs.writeFileSync('/x', '')), tmp: attempt(() => fs.writeFileSync('/tmp/x', '')),
			tmpMode: (fs.statSync('/tmp').mode & 0o7777).toString(8), top: fs.readdirSync('/').sort().join(' '), host: attempt(() => fs.readdirSync('/root')),
			pids: fs.readdirSync('/proc').filter(p => /^\d+$/.test(p)).length, hidden: process.env._SECRET === undefined, mine: process.env.MINE,
			limits: fs.readFileSync('/proc/self/limits', 'utf8').match(/Max open files +(\d+) +(\d+)/).slice(1) })`,
		vars(map[string]string{"MINE": "yes"}))
	var got map[string]any
	if err := json.Unmarshal([]byte(f.invoke(`{}`).ok(t)), &got); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]any{"user": "sbx_user1051", "cwd": "/var/task", "task": "EACCES", "tmp": "undefined", "tmpMode": "1777", "hidden": true, "mine": "yes"} {
		if got[k] != want {
			t.Errorf("%s is %v; want %v", k, got[k], want)
		}
	}
	if v := fmt.Sprint(got["root"]); !strings.HasPrefix(v, "E") {
		t.Errorf("/ can be written: %s", v)
	}
	if v := fmt.Sprint(got["host"]); v != "" && !strings.HasPrefix(v, "E") {
		t.Errorf("/root holds %s", v)
	}
	if v := fmt.Sprint(got["top"]); strings.Contains(v, "boot") || strings.Contains(v, "srv") {
		t.Errorf("/ holds %s", v)
	}
	if n, _ := got["pids"].(float64); n > 5 {
		t.Errorf("%v processes are visible", n)
	}
	if fmt.Sprint(got["limits"]) != "[1024 1024]" {
		t.Errorf("RLIMIT_NOFILE %v", got["limits"])
	}
}

// Every runtime that is here answers, warm and cold, and reports an error. A missing one says what to type.
func TestRuntimes(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		t.Run("python", func(t *testing.T) {
			s := &server{t, s.node, s.client, s.kind}
			f := s.deploy(installed(t, s, "python3."), map[string]string{"index.py": "import os\nn = 0\n" +
				"def handler(e, c):\n    global n\n    n += 1\n    if e.get('fail'):\n        raise ValueError('bad %d' % n)\n    return {'n': n, 'name': c.function_name, 'left': c.get_remaining_time_in_millis() > 0}\n"})
			if got := f.invoke(`{}`).ok(t); !strings.Contains(got, `"n": 1`) || !strings.Contains(got, f.name) {
				t.Errorf("answer %s", got)
			}
			f.invoke(`{"fail":1}`).failed(t, "ValueError", "bad 2")
		})
		t.Run("shell", func(t *testing.T) {
			s := &server{t, s.node, s.client, s.kind}
			f := s.deploy("provided.al2023", map[string]string{"bootstrap": "#!/bin/sh\nexit 3\n"})
			f.invoke(`{}`).failed(t, "Runtime.ExitError", "exit status 3")
		})
		t.Run("no bootstrap", func(t *testing.T) { // E-017
			s := &server{t, s.node, s.client, s.kind}
			s.deploy("provided.al2023", map[string]string{"other": ""}).invoke(`{}`).failed(t, "Runtime.InvalidEntrypoint", "")
		})
	})
}

// installed returns the first runtime identifier with the prefix that can run here.
func installed(t testing.TB, s *server, prefix string) string {
	t.Helper()
	var near []runtimes.Row
	for _, row := range s.node.runtimes.Ls() {
		if !strings.HasPrefix(row.Identifier, prefix) {
			continue
		}
		if row.Ready {
			return row.Identifier
		}
		if row.Fetchable {
			near = append(near, row)
		}
	}
	if len(near) == 0 {
		t.Skipf("this host has no interpreter for %s, and none can be fetched", prefix)
	}
	slices.SortStableFunc(near, func(x, y runtimes.Row) int { return len(x.Fetches) - len(y.Fetches) }) // what takes least
	return ready(t, s, near[0].Identifier)
}

// C-085, E-054: the first chunk arrives before the function ends.
func TestStreaming(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`exports.handler = awslambda.streamifyResponse(async (e, out) => { out.write('first'); await new Promise(r => setTimeout(r, 2000)); out.write(' second'); out.end() })`)
		f.invoke(`{}`).ok(t)
		began := time.Now()
		out, err := clientOf(f.node.Addr()).InvokeWithResponseStream(context.Background(), &lambda.InvokeWithResponseStreamInput{FunctionName: &f.name, Payload: []byte(`{}`)})
		if err != nil {
			t.Fatal(err)
		}
		var all string
		var firstAfter time.Duration
		for ev := range out.GetStream().Events() {
			switch v := ev.(type) {
			case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
				if firstAfter == 0 {
					firstAfter = time.Since(began)
				}
				all += string(v.Value.Payload)
			case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
				if v.Value.ErrorCode != nil {
					t.Errorf("ended with %s %s", aws.ToString(v.Value.ErrorCode), aws.ToString(v.Value.ErrorDetails))
				}
			}
		}
		if took := time.Since(began); all != "first second" || took-firstAfter < 400*time.Millisecond {
			t.Errorf("got %q; the first chunk came %v before the end", all, took-firstAfter)
		}
	})
}

// streamed reads a whole stream. It has a client of its own: two streams of one client share a buffer (smithy-go 1.28.9).
func (f *deployed) streamed(event string) (payload string, end types.InvokeWithResponseStreamCompleteEvent) {
	f.t.Helper()
	out, err := clientOf(f.node.Addr()).InvokeWithResponseStream(context.Background(), &lambda.InvokeWithResponseStreamInput{FunctionName: &f.name, Payload: []byte(event),
		LogType: types.LogTypeTail})
	if err != nil {
		f.t.Fatal(err)
	}
	ends := 0
	for ev := range out.GetStream().Events() {
		switch v := ev.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			payload += string(v.Value.Payload)
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			end = v.Value
			ends++
		}
	}
	if err := out.GetStream().Err(); err != nil || ends != 1 {
		f.t.Fatalf("stream of %s: %d ends, %v", event, ends, err)
	}
	return payload, end
}

// C-086, E-055: whatever ends a stream after its first chunk, the caller learns the error.
func TestStreamsThatFailInTheMiddle(t *testing.T) {
	const code = `const wait = (ms) => new Promise((r) => setTimeout(r, ms));
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  if (event.kind !== 'before') { stream.write('abc'); await wait(100); }
  if (event.kind === 'exit') process.exit(7);
  if (event.kind === 'signal') process.kill(process.pid, 'SIGKILL');
  if (event.kind === 'destroy') { stream.destroy(new RangeError('destroyed')); return; }
  if (event.kind === 'unfinished') return;
  if (event.kind === 'timeout') await wait(60000);
  if (event.kind === 'uncaught') { setTimeout(() => { throw new SyntaxError('later'); }, 10); await wait(60000); }
  if (event.kind === 'rejection') { Promise.reject(new URIError('nobody')); await wait(60000); }
  if (event.kind === 'whole') { stream.end(); return; }
  throw new TypeError('thrown ' + event.kind);
});`
	tests := []struct{ kind, payload, errorCode, errorType, message string }{
		{"before", "", "Unhandled", "TypeError", "thrown before"},
		{"mid", "abc", "Unhandled", "TypeError", "thrown mid"},
		{"destroy", "abc", "Unhandled", "RangeError", "destroyed"},
		{"unfinished", "abc", "Unhandled", "Error", "Response stream is not finished."},
		{"uncaught", "abc", "Unhandled", "SyntaxError", "later"},
		{"rejection", "abc", "Unhandled", "Runtime.UnhandledPromiseRejection", "nobody"},
		{"timeout", "abc", "Unhandled", "Sandbox.Timedout", "Task timed out after 4.00 seconds"},
		{"exit", "abc", "Runtime.TruncatedResponse", "Runtime.ExitError", "Runtime exited with error: exit status 7"},
		{"signal", "abc", "Runtime.TruncatedResponse", "Runtime.ExitError", "Runtime exited with error: signal: killed"},
	}
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(code, timeout(4))
		for _, test := range tests {
			event := fmt.Sprintf(`{"kind":%q}`, test.kind)
			payload, end := f.streamed(event)
			var details struct{ ErrorType, ErrorMessage string }
			if err := json.Unmarshal([]byte(aws.ToString(end.ErrorDetails)), &details); err != nil {
				t.Errorf("%s: details %q: %v", test.kind, aws.ToString(end.ErrorDetails), err)
			}
			if payload != test.payload || aws.ToString(end.ErrorCode) != test.errorCode || details.ErrorType != test.errorType ||
				!strings.Contains(details.ErrorMessage, test.message) {
				t.Errorf("%s: %q ended with %q %q", test.kind, payload, aws.ToString(end.ErrorCode), aws.ToString(end.ErrorDetails))
			}
			if log := decode64(aws.ToString(end.LogResult)); !strings.Contains(log, "REPORT RequestId: ") {
				t.Errorf("%s: log %q", test.kind, log)
			}
			// The same to a caller who wants it in one piece.
			f.invoke(event).failed(t, test.errorType, test.message)
			if payload, end := f.streamed(`{"kind":"whole"}`); payload != "abc" || end.ErrorCode != nil || end.ErrorDetails != nil {
				t.Errorf("after %s: %q ended with %q %q", test.kind, payload, aws.ToString(end.ErrorCode), aws.ToString(end.ErrorDetails))
			}
		}
	})
}

// E-059: a streamed response to a caller that wants it in one piece is bounded like any other.
func TestStreamToABufferedCaller(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`exports.handler = awslambda.streamifyResponse(async (e, out) => { for (let i = 0; i < e.mb; i++) if (!out.write('x'.repeat(1 << 20))) await new Promise(r => out.once('drain', r)); out.end() })`, memory(512))
		if got := f.invoke(`{"mb":5}`).ok(t); len(got) != 5<<20 {
			t.Errorf("5 MiB arrived as %d bytes", len(got))
		}
		f.invoke(`{"mb":7}`).failed(t, "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6291556 bytes).")
		if got := f.invoke(`{"mb":1}`).ok(t); len(got) != 1<<20 {
			t.Errorf("afterwards 1 MiB arrived as %d bytes", len(got))
		}
	})
}
