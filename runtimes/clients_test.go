package runtimes_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/runtimes"
	"thaw/samples"
)

// unpacked is the folder of a sample function.
func unpacked(t testing.TB, name string) string {
	t.Helper()
	b, err := samples.Zip(name)
	if err != nil {
		t.Skip(err)
	}
	archive, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.File {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, f.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

type greeting struct {
	Greeting   string
	Invocation int
	RequestID  string
}

// greets invokes a greeting function twice and checks that one process served both.
func greets(t *testing.T, a *api, who string, countsFrom int) {
	t.Helper()
	a.waitParked("invocation/next")
	for i := range 2 {
		id := fmt.Sprintf("11111111-0000-4000-8000-%012d", i)
		got := a.invoke(event{Body: `{"name":"` + who + `"}`, ID: id})
		var g greeting
		if err := json.Unmarshal([]byte(got.Body), &g); err != nil || !strings.HasSuffix(got.Path, id+"/response") {
			t.Fatalf("got %s %s: %v", got.Path, got.Body, err)
		}
		if !strings.Contains(g.Greeting, "Hello") || g.Invocation != countsFrom*(i+1) || g.RequestID != "" && g.RequestID != id {
			t.Errorf("invocation %d answers %s", i+1, got.Body)
		}
		a.waitParked("invocation/next")
	}
}

func TestNodeReleases(t *testing.T) {
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs26.x"} {
		t.Run(id, func(t *testing.T) {
			if id != "nodejs22.x" && id != "nodejs24.x" { // fetched when missing; the others are tried where they are
				if err := r.Check(id, ""); err != nil {
					t.Skip(err)
				}
			}
			plan := ready(t, id)
			for _, sample := range []string{"nodejs-hello", "nodejs-esm", "nodejs-stream"} {
				a := newAPI(t)
				start(t, a, launch{plan: plan, task: unpacked(t, sample), handler: "index.handler", frames: true})
				if sample == "nodejs-hello" {
					greets(t, a, id, 1)
					continue
				}
				a.waitParked("invocation/next")
				if got := a.invoke(event{Body: `{}`}); !strings.HasSuffix(got.Path, "/response") || got.Body == "" || len(got.Trailer.Get("Lambda-Runtime-Function-Error-Type")) > 0 {
					t.Errorf("%s: %s %s", sample, got.Path, got.Body)
				}
			}
		})
	}
}

func TestPython(t *testing.T) {
	for _, id := range []string{"python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			plan := ready(t, id)
			a := newAPI(t)
			p := start(t, a, launch{plan: plan, task: unpacked(t, "python-hello"), handler: "lambda_function.handler", frames: true})
			greets(t, a, id, 1)
			waitFor(t, p.out, "hello "+id)
		})
	}
}

func anyPython(t testing.TB) runtimes.Plan {
	t.Helper()
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"python3.11", "python3.12", "python3.13", "python3.10"} {
		if plan, err := r.Plan(id, ""); err == nil {
			return plan
		}
	}
	return ready(t, "python3.11")
}

func TestPythonErrorsAndPaths(t *testing.T) {
	plan := anyPython(t)
	t.Run("import error", func(t *testing.T) {
		a := newAPI(t)
		p := start(t, a, launch{plan: plan, task: write(t, map[string]string{"app.py": "import absent\n"}), handler: "app.handler", frames: true})
		got := a.next()
		if got.Path != "init/error" || got.Header.Get("Lambda-Runtime-Function-Error-Type") != "Runtime.ImportModuleError" || !strings.Contains(got.Body, "No module named 'absent'") {
			t.Errorf("got %s %v %s", got.Path, got.Header, got.Body)
		}
		if status := p.exitStatus(); status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
	})
	t.Run("search path: function before client, no site of ours", func(t *testing.T) {
		a := newAPI(t)
		task := write(t, map[string]string{"pkg/app.py": "import sys, os\ndef handler(event, context):\n    return [sys.path[0] == os.environ['LAMBDA_TASK_ROOT'], '/opt/python' in sys.path, __name__, sorted(k for k in os.environ if k.startswith('_LAMBDA'))]\n"})
		start(t, a, launch{plan: plan, task: task, handler: "pkg/app.handler", frames: true})
		a.waitParked("invocation/next")
		if got := a.invoke(event{Body: `{}`}); got.Body != `[true, true, "pkg.app", []]` {
			t.Errorf("got %s", got.Body)
		}
	})
	t.Run("hooks", func(t *testing.T) { // E-127: the client's half
		a := newAPI(t)
		source := `from snapshot_restore_py import register_before_snapshot, register_after_restore
order = []
register_before_snapshot(lambda: order.append("before 1"))
register_before_snapshot(lambda: order.append("before 2"))
register_after_restore(lambda: order.append("after 1"))
register_after_restore(lambda: order.append("after 2"))
def handler(event, context):
    return order
`
		start(t, a, launch{plan: plan, task: write(t, map[string]string{"app.py": source}), handler: "app.handler", vars: snapStart})
		a.waitParked("restore/next")
		close(a.restore)
		a.waitParked("invocation/next")
		if got := a.invoke(event{Body: `{}`}); got.Body != `["before 2", "before 1", "after 1", "after 2"]` {
			t.Errorf("hooks ran as %s", got.Body)
		}
		if got := a.note(); got != `{"hooks": ["app.<lambda>", "app.<lambda>"]}` {
			t.Errorf("the platform was told %s", got)
		}
	})
	t.Run("hooks whose names nobody takes run nevertheless", func(t *testing.T) {
		a := newAPI(t)
		a.refuseNotes = true
		p := start(t, a, launch{plan: plan, task: write(t, map[string]string{"app.py": `import snapshot_restore_py
ran = []
snapshot_restore_py.register_before_snapshot(lambda: ran.append("before"))
def handler(event, context):
    return ran
`}), handler: "app.handler", vars: snapStart})
		a.waitParked("restore/next")
		close(a.restore)
		a.waitParked("invocation/next")
		if got := a.invoke(event{Body: `{}`}); got.Body != `["before"]` {
			t.Errorf("hooks ran as %s", got.Body)
		}
		waitFor(t, p.out, "names of hooks not told")
	})
}

func TestJava(t *testing.T) {
	for _, id := range []string{"java17", "java21", "java25"} {
		t.Run(id, func(t *testing.T) {
			plan := ready(t, id)
			a := newAPI(t)
			p := start(t, a, launch{plan: plan, task: unpacked(t, "java-hello"), handler: "example.Hello::handle", frames: true})
			greets(t, a, id, 1)
			waitFor(t, p.out, "hello "+id)
		})
	}
}

// Hooks run only when the client's context is found: this is the test of the -Dorg.crac.Core.Compat flag. E-125: the client's half.
func TestJavaHooks(t *testing.T) {
	plan := ready(t, "java17")
	lib := ""
	for _, m := range plan.Mounts {
		if m.Target == "/var/runtime" {
			lib = filepath.Join(m.Source, "lib", "*")
		}
	}
	task := write(t, map[string]string{"example/Hooked.java": `package example;
import java.util.*;
import org.crac.*;
public class Hooked implements Resource {
    static final List<String> order = new ArrayList<>();
    static final List<Resource> kept = new ArrayList<>();
    final String name;
    Hooked(String name) { this.name = name; Core.getGlobalContext().register(this); kept.add(this); }
    public Hooked() { this("A"); new Hooked("B"); new Hooked("C"); }
    public void beforeCheckpoint(Context<? extends Resource> c) { order.add("before " + name); }
    public void afterRestore(Context<? extends Resource> c) { order.add("after " + name); }
    public List<String> handle(Map<String, Object> event, com.amazonaws.services.lambda.runtime.Context context) { return order; }
}
`})
	if out, err := exec.Command("javac", "--release", "17", "-cp", lib, "-d", task, filepath.Join(task, "example", "Hooked.java")).CombinedOutput(); err != nil {
		t.Skipf("javac: %v\n%s", err, out)
	}
	a := newAPI(t)
	start(t, a, launch{plan: plan, task: task, handler: "example.Hooked::handle", frames: true, vars: snapStart})
	a.waitParked("restore/next")
	close(a.restore)
	a.waitParked("invocation/next")
	if got := a.invoke(event{Body: `{}`}); got.Body != `["before C","before B","before A","after A","after B","after C"]` {
		t.Errorf("hooks ran as %s", got.Body)
	}
}

// The Java client tells of a class that it does not find at the first event, not at init.
func TestJavaErrors(t *testing.T) {
	plan := ready(t, "java17")
	a := newAPI(t)
	start(t, a, launch{plan: plan, task: unpacked(t, "java-hello"), handler: "example.Absent::handle"})
	a.waitParked("invocation/next")
	got := a.invoke(event{Body: `{}`})
	if !strings.HasSuffix(got.Path, "/error") || got.Header.Get("Lambda-Runtime-Function-Error-Type") != "Runtime.BadFunctionCode" || !strings.Contains(got.Body, "Class not found: example.Absent") {
		t.Errorf("got %s %v %s", got.Path, got.Header, got.Body)
	}
}

func TestProvided(t *testing.T) {
	plan := ready(t, "provided.al2023")
	t.Run("Go on aws-lambda-go", func(t *testing.T) {
		a := newAPI(t)
		p := start(t, a, launch{plan: plan, task: unpacked(t, "go-hello"), handler: "bootstrap"})
		greets(t, a, "gopher", 1)
		waitFor(t, p.out, "hello gopher")
	})
	t.Run("a shell script", func(t *testing.T) {
		a := newAPI(t)
		p := start(t, a, launch{plan: plan, task: unpacked(t, "shell-hello"), handler: "hello.handler"})
		greets(t, a, "shell", 0)
		waitFor(t, p.out, "hello from bash")
	})
}

// AWS's own client for Node, unchanged, as the bootstrap of an OS-only function.
func TestRIC(t *testing.T) {
	t.Parallel() // compiling it takes minutes
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	if r.RIC() == "" {
		if testing.Short() {
			t.Skip("compiling aws-lambda-ric takes minutes; run without -short")
		}
		install(t, r, "aws-lambda-ric")
	}
	a := newAPI(t)
	task := unpacked(t, "nodejs-hello")
	start(t, a, launch{plan: ready(t, "provided.al2023"), task: task, handler: "index.handler", frames: true, argv: runRIC(t, r, task)})
	greets(t, a, "ric", 1)
}

// runRIC writes the bootstrap and returns how to run it.
func runRIC(t testing.TB, r *runtimes.Registry, task string) []string {
	t.Helper()
	path := filepath.Join(task, "bootstrap")
	script := "#!/bin/sh\nexec '" + filepath.Join(r.RIC(), "node", "bin", "node") + "' '" + filepath.Join(r.RIC(), "node_modules", "aws-lambda-ric", "index.mjs") + "'\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

// E-142, E-016.
func TestWrapper(t *testing.T) {
	plan := anyNode(t)
	t.Run("its exports reach the function", func(t *testing.T) {
		a := newAPI(t)
		task := write(t, map[string]string{"index.js": `exports.handler = async () => [process.env.FROM_WRAPPER, process.argv0]`,
			"wrap": "#!/bin/bash\nexport FROM_WRAPPER=\"$# arguments\"\nexec \"$@\"\n"})
		start(t, a, launch{plan: plan, task: task, handler: "index.handler", wrapper: "/var/task/wrap"})
		a.waitParked("invocation/next")
		if got := a.invoke(event{Body: `{}`}); !strings.HasPrefix(got.Body, `["5 arguments",`) {
			t.Errorf("got %s", got.Body)
		}
	})
	t.Run("a wrapper that does not exist", func(t *testing.T) {
		p := start(t, newAPI(t), launch{plan: plan, task: t.TempDir(), handler: "index.handler", wrapper: "/var/task/absent"})
		if status := p.exitStatus(); status != 127 {
			t.Errorf("exit status %d, want 127", status)
		}
	})
}

func TestInstallOfNothing(t *testing.T) {
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Install(context.Background(), "provided.al2023", nil); err != nil {
		t.Errorf("OS-only runtimes need nothing: %v", err)
	}
}
