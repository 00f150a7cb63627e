package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/codepackage"
)

var goPrograms struct {
	sync.Mutex
	of map[string][]byte
}

// goProgram builds a program of testdata, once.
func goProgram(t testing.TB, name string) []byte {
	t.Helper()
	p := &goPrograms
	p.Lock()
	defer p.Unlock()
	if p.of[name] != nil {
		return p.of[name]
	}
	out := filepath.Join(os.TempDir(), fmt.Sprintf("thaw-test-%s-%d", name, os.Getpid()))
	defer os.Remove(out)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if p.of == nil {
		p.of = map[string][]byte{}
	}
	p.of[name] = code
	return code
}

// extensions publishes a layer that holds the test's extension under each of the names. change, which may be nil, does
// something else to its folder extensions before.
func (s *server) extensions(change func(dir string) error, names ...string) option {
	s.t.Helper()
	code := goProgram(s.t, "extension")
	opt := s.t.TempDir()
	dir := filepath.Join(opt, "extensions")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), code, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if change != nil {
		if err := change(dir); err != nil {
			s.t.Fatal(err)
		}
	}
	pkg, err := codepackage.Pack(os.DirFS(opt), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return withLayers(s.layerOf("extensions-"+strings.Join(names, "-"), pkg))
}

// withExtensions makes the option for a function beside which extensions run; what gives each one's words.
func (s *server) withExtensions(what map[string]string) option {
	s.t.Helper()
	kv := map[string]string{}
	for n, words := range what {
		kv["EXT_"+n] = words
	}
	layer := s.extensions(nil, slices.Sorted(maps.Keys(what))...)
	return func(in *lambda.CreateFunctionInput) {
		layer(in)
		vars(kv)(in)
	}
}

const quickFunction = `console.log('loaded'); exports.handler = async (e) => {
	if (e.exit) process.exit(e.exit)
	await new Promise(r => setTimeout(r, e.wait || 0)); return e }`

// order fails the test unless the texts stand in the log in this order.
func order(t testing.TB, lines []string, want ...string) {
	t.Helper()
	all := strings.Join(lines, "")
	at := 0
	for _, w := range want {
		i := strings.Index(all[at:], w)
		if i < 0 {
			t.Fatalf("no %q in its place in:\n%s", w, all)
		}
		at += i + len(w)
	}
}

// TestExtensions: two extensions beside a function. E-001, E-002, E-003, E-004, E-007, E-060, E-061, E-068, E-089,
// E-094, E-098.
func TestExtensions(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		layer := s.extensions(func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "folder"), 0o755), os.WriteFile(filepath.Join(dir, "folder", "file"), nil, 0o755),
				os.Symlink("x", filepath.Join(dir, "z"))) // E-003
		}, "x", "y")
		f := s.js(quickFunction, layer, vars(map[string]string{"EXT_x": "events=INVOKE,SHUTDOWN works=300ms vars", "EXT_y": "events="}))
		if got := f.invoke(`{"a":1}`).ok(t); got != `{"a":1}` {
			t.Fatalf("cold: %s", got)
		}
		first := f.logs("worked for", "REPORT RequestId")
		order(t, first, "INIT_START", "[y] registered 200", "loaded", "EXTENSION\tName: ", "START RequestId", "END RequestId", "REPORT")
		order(t, first, "[x] registered 200 {\"functionName\":\""+f.name+"\",\"functionVersion\":\"$LATEST\",\"handler\":\"index.handler\"}", "loaded")
		all := strings.Join(first, "")
		for _, want := range []string{"EXTENSION\tName: x\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\n", "EXTENSION\tName: y\tState: Ready\tEvents: []\n",
			"EXTENSION\tName: z\tState: Ready\tEvents: []\n"} {
			if !strings.Contains(all, want) {
				t.Errorf("no %q in\n%s", want, all)
			}
		}
		if strings.Contains(all, "[y] INVOKE") || strings.Contains(all, "folder") {
			t.Errorf("an extension without events was invoked, or a folder was run:\n%s", all)
		}
		names := regexp.MustCompile(`\[x\] vars (\S+) args 0`).FindStringSubmatch(all)
		if names == nil {
			t.Fatalf("no variables, or with arguments, in\n%s", all)
		}
		for _, n := range strings.Split(names[1], ",") {
			if strings.HasPrefix(n, "_") && n != "_THAW_SANDBOX" || n == "LAMBDA_TASK_ROOT" || n == "AWS_EXECUTION_ENV" || strings.HasPrefix(n, "AWS_LAMBDA_LOG") {
				t.Errorf("the extension has %s", n)
			}
		}
		if !strings.Contains(names[1], "AWS_LAMBDA_FUNCTION_NAME") || !strings.Contains(names[1], "AWS_LAMBDA_RUNTIME_API") {
			t.Errorf("variables of the extension: %s", names[1])
		}
		f.invoke(`{}`).ok(t)
		d := regexp.MustCompile(`REPORT RequestId: \S+\tDuration: (\S+) ms`).FindAllStringSubmatch(strings.Join(f.logs("worked for"), ""), -1)
		if ms, _ := strconv.ParseFloat(d[0][1], 64); ms < 300 {
			t.Errorf("the extension's 300 ms are not in a Duration of %v ms", ms)
		}
		if _, err := f.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &f.name}); err != nil {
			t.Fatal(err)
		}
		f.logs("[x] SHUTDOWN SPINDOWN in ")
	})
}

// TestExtensionsAnswerFirst: the caller does not wait for an extension that works long. E-060
func TestExtensionsAnswerFirst(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(quickFunction, s.withExtensions(map[string]string{"x": "events=INVOKE works=8s"}))
		began := time.Now()
		f.invoke(`{}`).ok(t)
		if log := strings.Join(f.logs("[x] INVOKE"), ""); strings.Contains(log, "worked for") {
			t.Errorf("the answer came after %v, when the extension was done", time.Since(began))
		}
	})
}

// TestExtensionsTimeout: E-067 (the extension dies second), E-068, E-069; a reset lets the extensions end, and the next
// invocation has new ones.
func TestExtensionsTimeout(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(quickFunction, timeout(4), s.withExtensions(map[string]string{"x": "events=INVOKE,SHUTDOWN"}))
		f.invoke(`{}`).ok(t)
		f.invoke(`{"wait":60000}`).failed(t, "Sandbox.Timedout", "Task timed out after 4.00 seconds")
		f.logs("[x] SHUTDOWN TIMEOUT in ")
		f.invoke(`{"wait":1}`).ok(t)
		f.invoke(`{"exit":3}`).failed(t, "Runtime.ExitError", "exit status 3")
		f.logs("[x] SHUTDOWN FAILURE in ")
	})
}

// TestExtensionsThatFail: E-005, E-006, E-066, E-067 (the runtime dies second), E-092, and the misbehaviours that end
// an Init or an invocation.
func TestExtensionsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		x       string
		spoil   func(dir string) error
		errType string
		text    string
		log     []string
	}{
		"exits in init with 0":      {x: "exits-in-init=0", errType: "Extension.Crash", text: "exit code 0"},
		"exits before it registers": {x: "exits-at-once=7", errType: "Extension.Crash", text: "exit status 7"},
		"init error":                {x: "events=INVOKE,SHUTDOWN init-error", errType: "Extension.InitError", text: "exit code 0", log: []string{"EXTENSION\tName: x\tState: InitError\tEvents: [INVOKE,SHUTDOWN]\tError Type: Extension.Foo"}},
		"exits in an invoke":        {x: "events=INVOKE exits-in-invoke=0", errType: "Extension.Crash", text: "exit code 0", log: []string{"Status: error\tError Type: Extension.Crash", "[y] SHUTDOWN FAILURE"}},
		"crashes":                   {x: "events=INVOKE,SHUTDOWN crashes", errType: "Extension.Crash", text: "signal: killed", log: []string{"[y] SHUTDOWN FAILURE"}},
		"exit error":                {x: "events=INVOKE exit-error", errType: "Extension.ExitError", text: "exit status 1"},
		"not executable": {spoil: func(dir string) error { return os.Chmod(filepath.Join(dir, "x"), 0o644) }, errType: "Extension.LaunchError",
			text: "permission denied", log: []string{"EXTENSION\tName: x\tState: LaunchError\tEvents: []\tError Type: PermissionDenied"}},
		"no program": {spoil: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "x"), []byte("garbage"), 0o755)
		},
			errType: "Extension.LaunchError", log: []string{"Error Type: UnknownError"}},
		"eleven": {spoil: func(dir string) error {
			for i := range 9 {
				if err := os.Symlink("x", filepath.Join(dir, fmt.Sprint("x", i))); err != nil {
					return err
				}
			}
			return nil
		}, errType: "Extension.LaunchError", text: "the limit is 10", log: []string{"Error Type: TooManyExtensions"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachSandbox(t, func(t *testing.T, s *server) {
				f := s.js(`exports.handler = async (e) => { await new Promise(r => setTimeout(r, 2000)); return e }`, // on a busy machine, too, an exit is seen before the answer
					s.extensions(c.spoil, "x", "y"), vars(map[string]string{"EXT_x": c.x, "EXT_y": "events=SHUTDOWN"}))
				f.invoke(`{}`).failed(t, c.errType, c.text)
				f.logs(c.log...)
				shared(t, s.kind).bystander().invoke(`{"a":1}`).ok(t)
			})
		})
	}
}

// TestExtensionsThatHang: one that never registers stalls Init until its limit and then the invocation until its own; one that
// ignores SHUTDOWN is killed at the end of the budget.
func TestExtensionsThatHang(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		t.Run("never registers", func(t *testing.T) {
			t.Parallel()
			f := (&server{t: t, node: s.node, client: s.client, kind: s.kind}).js(quickFunction, timeout(1), s.withExtensions(map[string]string{"x": "never-registers"}))
			f.invoke(`{}`).failed(t, "Sandbox.Timedout", "Task timed out after 1.00 seconds")
			f.logs("EXTENSION\tName: x\tState: Started\tEvents: []", "Phase: init\tStatus: timeout")
		})
		t.Run("ignores SHUTDOWN", func(t *testing.T) {
			t.Parallel()
			f := (&server{t: t, node: s.node, client: s.client, kind: s.kind}).js(quickFunction, s.withExtensions(map[string]string{"x": "events=SHUTDOWN ignores-shutdown"}))
			f.invoke(`{}`).ok(t)
			f.invoke(`{"exit":1}`).failed(t, "Runtime.ExitError", "exit status 1")
			if took := f.reset(); took < 1900*time.Millisecond {
				t.Errorf("the reset took %v, less than the budget", took)
			}
		})
	})
}

// TestServerStopsWithExtensions: a server that stops gives its extensions the budget of a shutdown, and not more; one that
// floods gets its function's timeout before that. None of their processes is left.
func TestServerStopsWithExtensions(t *testing.T) {
	t.Parallel()
	for _, kind := range sandboxes {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			needRoot(t, kind)
			dir := t.TempDir()
			s := openServer(t, kind, dir)
			layer := s.extensions(nil, "x")
			for _, words := range []string{"events=SHUTDOWN ignores-shutdown", "events=", "events=INVOKE,SHUTDOWN floods=1h " + subscribed("2022-12-13", "platform+function+extension", "Slow")} {
				f := s.js(quickFunction, timeout(4), layer, vars(map[string]string{"EXT_x": words}))
				f.invoke(`{}`).ok(t)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			began := time.Now()
			if err := s.node.Close(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took < 1900*time.Millisecond || took > 30*time.Second { // two seconds and two, but for a busy machine
				t.Errorf("the server stopped in %v", took)
			}
			if left := leftovers(t, dir); len(left) > 0 {
				t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

// TestExtensionThatFloods: an extension that prints as fast as it can is slowed, and neither its function nor another
// one notices more.
func TestExtensionThatFloods(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(quickFunction, s.withExtensions(map[string]string{"x": "events=INVOKE floods=2s " + subscribed("2022-12-13", "platform+function+extension", "HTTP")}))
		other := s.js(quickFunction)
		other.invoke(`{}`).ok(t)
		f.invoke(`{}`).ok(t)
		for range 20 {
			began := time.Now()
			other.invoke(`{}`).ok(t)
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("an invocation of another function took %v", took)
			}
		}
		f.invoke(`{}`).ok(t) // in the same environment when the flood is over, or in another one
	})
}

// TestExtensionsAfterIdleTime: a frozen extension hears of the next invocation, however long that takes.
func TestExtensionsAfterIdleTime(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(quickFunction, s.withExtensions(map[string]string{"x": "events=INVOKE,SHUTDOWN " + subscribed("2022-12-13", "platform", "HTTP")}))
		f.invoke(`{}`).ok(t)
		f.invoke(`{"wait":300}`).ok(t)
		f.told(`"platform.report"`)
		time.Sleep(62 * time.Second) // past what any timeout of a delivery or a call may be
		if got := f.invoke(`{"a":1}`).ok(t); got != `{"a":1}` {
			t.Error(got)
		}
		f.invoke(`{}`).ok(t)
		if n := len(regexp.MustCompile(`INVOKE [-0-9a-f]{36}`).FindAllString(strings.Join(f.logs(), ""), -1)); n < 3 {
			t.Errorf("the extension was invoked %d times", n)
		}
	})
}

// bystander is a function without extensions, one for a server.
func (s *server) bystander() *deployed {
	s.t.Helper()
	bystanders.Lock()
	defer bystanders.Unlock()
	if bystanders.of[s.node] == nil {
		forever := &server{t: keeper{s.t}, node: s.node, client: s.client, kind: s.kind}
		bystanders.of[s.node] = forever.js(quickFunction)
	}
	return &deployed{s, bystanders.of[s.node].name}
}

var bystanders = struct {
	sync.Mutex
	of map[*Node]*deployed
}{of: map[*Node]*deployed{}}

// keeper is a test whose functions stay when it ends.
type keeper struct{ testing.TB }

func (keeper) Cleanup(func()) {}

// reset waits until an environment of the function was reset, and returns how long that took. An invoke before may have
// another environment.
func (f *deployed) reset() time.Duration {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, e := range f.node.pool.Environments() {
			for _, m := range e.Moves {
				if e.Function == f.name && m.From == "Resetting" && m.Took > 0 {
					return m.Took
				}
			}
		}
	}
	f.t.Fatal("the reset does not end")
	return 0
}

// TestExtensionsSnapStart: an extension is parked in the snapshot and works in the copy. E-124
func TestExtensionsSnapStart(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(quickFunction, s.withExtensions(map[string]string{"x": "events=INVOKE,SHUTDOWN"}),
		snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("version is %s: %s", c.State, aws.ToString(c.StateReason))
	}
	if got := f.invokeVersion("1", `{"a":1}`).ok(t); got != `{"a":1}` {
		t.Fatalf("restored: %s", got)
	}
	order(t, f.logs("RESTORE_REPORT", "[x] INVOKE"), "EXTENSION\tName: x\tState: Ready", "INIT_REPORT", "RESTORE_START", "RESTORE_REPORT", "START RequestId")
	if _, err := f.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &f.name}); err != nil {
		t.Fatal(err)
	}
	f.logs("[x] SHUTDOWN SPINDOWN in ")
}

// TestExtensionsThatFailInACopy: what goes wrong after a restore is told as ever, and the next invocation has another copy.
func TestExtensionsThatFailInACopy(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	for name, c := range map[string]struct{ words, event, errType, text, log string }{
		"exits":            {"events=INVOKE exits-in-invoke=3", `{}`, "Extension.Crash", "exit status 3", "Status: error\tError Type: Extension.Crash"},
		"ignores SHUTDOWN": {"events=INVOKE,SHUTDOWN ignores-shutdown", `{"exit":1}`, "Runtime.ExitError", "exit status 1", "[x] SHUTDOWN FAILURE in "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{t: t, node: s.node, client: s.client, kind: s.kind}
			f := s.js(quickFunction+"\nconst wait = exports.handler; exports.handler = async (e) => { await new Promise(r => setTimeout(r, 300)); return wait(e) }",
				snapStart, s.withExtensions(map[string]string{"x": c.words, "y": "events=INVOKE " + subscribed("2022-12-13", "platform+extension", "Dead")}))
			if c := f.publish(); c.State != types.StateActive {
				t.Fatalf("version is %s: %s", c.State, aws.ToString(c.StateReason))
			}
			for range 2 {
				f.invokeVersion("1", c.event).failed(t, c.errType, c.text)
			}
			f.logs("RESTORE_REPORT", c.log)
		})
	}
}
