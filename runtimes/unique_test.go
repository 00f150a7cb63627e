package runtimes_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/runtimes"
	"thaw/sandbox"
)

// snapStartArgv is the command line of a process that will be saved, on this host: a path behind -javaagent: is translated, too.
func snapStartArgv(plan runtimes.Plan, task, handler string) []string {
	mounts := append([]sandbox.Mount{{Source: task, Target: "/var/task"}}, plan.Mounts...)
	var argv []string
	for _, arg := range plan.CommandSnapStart(512, handler, "", nil) {
		option, path, ok := strings.Cut(arg, ":/")
		switch {
		case strings.HasPrefix(arg, "/"):
			arg = sandbox.Translate(mounts, arg)
		case ok && option == "-javaagent":
			arg = option + ":" + sandbox.Translate(mounts, "/"+path)
		}
		argv = append(argv, arg)
	}
	return argv
}

// startSaved starts a function under SnapStart.
func startSaved(t *testing.T, plan runtimes.Plan, task, handler string, further ...string) (*api, *process) {
	t.Helper()
	a := newAPI(t)
	argv := snapStartArgv(plan, task, handler)
	argv = append(append(argv[:1:1], further...), argv[1:]...)
	return a, start(t, a, launch{plan: plan, task: task, handler: handler, argv: argv, frames: true, vars: snapStart})
}

// V8 gives the same Math.random to every process that has the same --random-seed: two processes stand for two snapshots of a function, and what another context draws,
// which is V8's own, shows that they would draw the same. Real copies are compared in uniquetest.
const drawsJS = `
const { Worker } = require('node:worker_threads');
const draw = () => [Math.random(), Math.random()];
const native = require('node:vm').runInNewContext('[Math.random(), Math.random()]');
const before = draw();
const hook = [];
awslambda.snapStart.afterRestore(() => { hook.push(...draw()); });
const source = "const { parentPort: p } = require('node:worker_threads'); p.on('message', () => p.postMessage([Math.random(), Math.random()]))";
const ask = (w) => new Promise((done) => { w.once('message', done); w.postMessage(0); });
const old = [new Worker(source, { eval: true }), new Worker(source, { eval: true, execArgv: [] })];
exports.handler = async (event) => {
  const workers = event.restored ? [...old, new Worker(source, { eval: true })] : old;
  const drawn = [];
  for (const w of workers) drawn.push(...await ask(w));
  return { native: [...native], before, hook, main: draw(), workers: drawn };
};`

type draws struct{ Native, Before, Hook, Main, Workers []float64 }

func TestNodeMathRandomAfterARestore(t *testing.T) {
	plan := anyNode(t)
	var copies []draws
	for range 2 {
		a, _ := startSaved(t, plan, write(t, js(drawsJS)), "index.handler", "--random-seed=42")
		a.waitParked("restore/next")
		close(a.restore)
		a.waitParked("invocation/next")
		var d draws
		if err := json.Unmarshal([]byte(a.invoke(event{Body: `{}`}).Body), &d); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, d)
	}
	one, two := copies[0], copies[1]
	if len(one.Native) != 2 || one.Native[0] != two.Native[0] || one.Native[1] != two.Native[1] {
		t.Fatalf("V8 itself drew %v and %v, want the same: this test tests nothing", one.Native, two.Native)
	}
	seen := map[float64]bool{}
	for _, d := range copies {
		all := append(append(append(append([]float64{}, d.Before...), d.Hook...), d.Main...), d.Workers...)
		if len(all) != 10 {
			t.Fatalf("%d values, want 10: %+v", len(all), d)
		}
		for _, v := range all {
			if v < 0 || v >= 1 || seen[v] {
				t.Errorf("%v is out of range or was drawn before: %+v", v, copies)
			}
			seen[v] = true
		}
	}
}

// Programs and test frameworks look at these functions, replace them and put them back.
func TestNodeGeneratorsLookAsBefore(t *testing.T) {
	const source = `
const { Worker, isMainThread } = require('node:worker_threads');
const look = "(o, n) => [n, typeof o[n], o[n].name, o[n].length, 'prototype' in o[n], Object.getOwnPropertyDescriptor(o, n).writable, Object.getOwnPropertyDescriptor(o, n).configurable, Object.getOwnPropertyDescriptor(o, n).enumerable]";
const source = "const c = require('node:crypto'), look = " + look + "; module.exports = () => [look(Math, 'random'), /\\[native code\\]/.test(Math.random), look(c, 'randomUUID'), look(c, 'randomInt'), look(Object.getPrototypeOf(c.webcrypto), 'randomUUID'), "
  + "c.randomUUID().length, c.randomInt(1), c.webcrypto.randomUUID().length, Reflect.ownKeys(Math).length]";
const here = { exports: {} };
new Function('module', 'require', source)(here, require);
exports.handler = async () => {
  class Mine extends Worker {}
  const w = new Mine(source + "; require('node:worker_threads').parentPort.postMessage(module.exports())", { eval: true });
  const there = await new Promise((done, fail) => { w.once('message', done); w.once('error', fail); });
  const imported = await import('node:worker_threads');
  return { here: here.exports(), there, is: [w instanceof Worker, w instanceof Mine, imported.Worker === Worker, Worker.name, Worker.length] };
};`
	plan := anyNode(t)
	ask := func(a *api) string {
		a.waitParked("invocation/next")
		return a.invoke(event{Body: `{}`}).Body
	}
	plain := newAPI(t)
	start(t, plain, launch{plan: plan, task: write(t, js(source)), handler: "index.handler"})
	a, _ := startSaved(t, plan, write(t, js(source)), "index.handler")
	a.waitParked("restore/next")
	close(a.restore)
	if got, want := ask(a), ask(plain); got != want || !strings.Contains(want, "randomInt") {
		t.Errorf("under SnapStart\n%s\nwithout\n%s", got, want)
	}
}

func TestPythonGeneratorsAfterARestore(t *testing.T) {
	const source = `
import random, tempfile, uuid, ssl, sys
from snapshot_restore_py import register_after_restore
next(tempfile._get_candidate_names())
node = uuid.getnode()
twin = random.Random()
twin.setstate(random.getstate())
seen = {}
def hook():
    seen["random"] = random.random() != twin.random()
    seen["tempfile"] = tempfile._name_sequence is None
    seen["node"] = uuid.getnode() != node and uuid.getnode() >> 40 & 1 == 1
    seen["uuid1"] = uuid.uuid1().node == uuid.getnode()
    seen["our names stay ours"] = "unique" not in sys.modules
register_after_restore(hook)
def handler(event, context):
    return sorted(k for k, v in seen.items() if v)
`
	a, _ := startSaved(t, anyPython(t), write(t, map[string]string{"app.py": source}), "app.handler")
	a.waitParked("restore/next")
	close(a.restore)
	a.waitParked("invocation/next")
	if got := a.invoke(event{Body: `{}`}); got.Body != `["node", "our names stay ours", "random", "tempfile", "uuid1"]` {
		t.Errorf("the function's hook found made anew: %s", got.Body)
	}
}

// compileJava compiles the only source file of a function against AWS's client.
func compileJava(t *testing.T, plan runtimes.Plan, class, source string) string {
	t.Helper()
	lib := ""
	for _, m := range plan.Mounts {
		if m.Target == "/var/runtime" {
			lib = filepath.Join(m.Source, "lib", "*")
		}
	}
	file := filepath.Join("example", class+".java")
	task := write(t, map[string]string{file: source})
	if out, err := exec.Command("javac", "--release", "17", "-cp", lib, "-d", task, filepath.Join(task, file)).CombinedOutput(); err != nil {
		t.Skipf("javac: %v\n%s", err, out)
	}
	return task
}

// What is replaced inside the JDK must be what it was in all but its state.
func TestJavaGeneratorsLookAsBefore(t *testing.T) {
	const source = `package example;
import java.security.*;
import java.util.*;
public class Looks {
    static SecureRandom seeded(String... provider) throws Exception {
        SecureRandom r = provider.length > 0 ? SecureRandom.getInstance("SHA1PRNG", provider[0]) : SecureRandom.getInstance("SHA1PRNG");
        r.setSeed(42);
        return r;
    }
    static final SecureRandom held;
    static { try { held = seeded(); held.nextLong(); } catch (Exception e) { throw new RuntimeException(e); } }
    public List<Object> handle(Map<String, Object> event, com.amazonaws.services.lambda.runtime.Context context) throws Exception {
        List<Object> out = new ArrayList<>();
        for (Provider p : Security.getProviders()) out.add(p.getName());
        out.add(new SecureRandom().getAlgorithm() + " of " + new SecureRandom().getProvider().getName());
        for (String name : new String[] {"DRBG", "SHA1PRNG", "NativePRNG"}) {
            SecureRandom r = SecureRandom.getInstance(name);
            out.add(r.getAlgorithm() + " of " + r.getProvider().getName() + " " + r + " " + r.getParameters());
            out.add(r.generateSeed(5).length);
        }
        SecureRandom drbg = SecureRandom.getInstance("DRBG", DrbgParameters.instantiation(256, DrbgParameters.Capability.PR_AND_RESEED, null));
        drbg.nextBytes(new byte[8], DrbgParameters.nextBytes(256, true, null));
        drbg.reseed();
        out.add(drbg + " " + drbg.getParameters());
        SecureRandom same = seeded("SUN");
        same.nextLong();
        out.add("seeded by the program: " + held.nextLong() + " " + same.nextLong() + " " + same.nextLong());
        try { SecureRandom.getInstance("SHA1PRNG").reseed(); } catch (UnsupportedOperationException e) { out.add("SHA1PRNG cannot reseed"); }
        java.io.ByteArrayOutputStream b = new java.io.ByteArrayOutputStream();
        new java.io.ObjectOutputStream(b).writeObject(drbg);
        out.add("can be serialized");
        return out;
    }
}
`
	for _, id := range []string{"java17", "java21", "java25"} {
		t.Run(id, func(t *testing.T) {
			plan := ready(t, id)
			task := compileJava(t, plan, "Looks", source)
			plain := newAPI(t)
			start(t, plain, launch{plan: plan, task: task, handler: "example.Looks::handle"})
			a, _ := startSaved(t, plan, task, "example.Looks::handle")
			a.waitParked("restore/next")
			close(a.restore)
			a.waitParked("invocation/next")
			plain.waitParked("invocation/next")
			got, want := a.invoke(event{Body: `{}`}).Body, plain.invoke(event{Body: `{}`}).Body
			if got != want || !strings.Contains(want, "can be serialized") {
				t.Errorf("under SnapStart\n%s\nwithout\n%s", got, want)
			}
		})
	}
}

// A hook's own words reach the platform: E-125, E-126, E-127 and the issue's own demand.
func TestHookMessages(t *testing.T) {
	javaHook := func(before, after string) string {
		return `package example;
import java.util.*;
import org.crac.*;
public class Failing implements Resource {
    static final List<Resource> kept = new ArrayList<>();
    final String name;
    Failing(String name) { this.name = name; Core.getGlobalContext().register(this); kept.add(this); }
    public Failing() { this("first"); new Failing("second"); }
    public void beforeCheckpoint(Context<? extends Resource> c) throws Exception { ` + before + ` }
    public void afterRestore(Context<? extends Resource> c) throws Exception { ` + after + ` }
    public String handle(Map<String, Object> event, com.amazonaws.services.lambda.runtime.Context context) { return ""; }
}
`
	}
	// A thread that lives keeps a process whose main thread ended.
	const living = `new Thread(() -> { try { Thread.sleep(1_000_000); } catch (InterruptedException e) { } }).start(); `
	node, python := anyNode(t), anyPython(t)
	java := ready(t, "java17")
	tests := []struct {
		name, handler string
		plan          runtimes.Plan
		task          func(t *testing.T) string
		path, typ     string
		message       string
		exit          int
	}{
		{"Node, before", "index.handler", node, func(t *testing.T) string {
			return write(t, js(`awslambda.snapStart.beforeCheckpoint(async () => { throw new TypeError('no database') }); exports.handler = async () => 1`))
		}, "init/error", "Runtime.BeforeCheckpointError", "no database", 64},
		{"Node, after", "index.handler", node, func(t *testing.T) string {
			return write(t, js(`awslambda.snapStart.afterRestore(() => { throw 'a text' }); exports.handler = async () => 1`))
		}, "restore/error", "Runtime.AfterRestoreError", "a text", 64},
		{"Python, before", "app.handler", python, func(t *testing.T) string {
			return write(t, map[string]string{"app.py": "import snapshot_restore_py as s\n@s.register_before_snapshot\ndef hook():\n    raise ValueError('no database')\ndef handler(e, c):\n    pass\n"})
		}, "init/error", "Runtime.BeforeSnapshotError", "no database", 64},
		{"Python, after", "app.handler", python, func(t *testing.T) string {
			return write(t, map[string]string{"app.py": "import snapshot_restore_py as s\n@s.register_after_restore\ndef hook():\n    raise ValueError('no database')\ndef handler(e, c):\n    pass\n"})
		}, "restore/error", "Runtime.AfterRestoreError", "no database", 65},
		{"Java, before: both hooks ran, the last registered first", "example.Failing::handle", java, func(t *testing.T) string {
			return compileJava(t, java, "Failing", javaHook(`throw new IllegalStateException("no database in " + name);`, ``))
		}, "init/error", "Runtime.BeforeCheckpointError", "java.lang.IllegalStateException: no database in second; java.lang.IllegalStateException: no database in first", 64},
		{"Java, after", "example.Failing::handle", java, func(t *testing.T) string {
			return compileJava(t, java, "Failing", javaHook(``, `if (name.equals("second")) throw new java.io.IOException("stale");`))
		}, "restore/error", "Runtime.AfterRestoreError", "java.io.IOException: stale", 64},
		{"Java, org.crac's own exception with suppressed ones", "example.Failing::handle", java, func(t *testing.T) string {
			return compileJava(t, java, "Failing", javaHook(``, `RestoreException e = new RestoreException(); e.addSuppressed(new Exception("inner " + name)); if (name.equals("first")) throw e;`))
		}, "restore/error", "Runtime.AfterRestoreError", "inner first", 64},
		{"Java, an Error before", "example.Failing::handle", java, func(t *testing.T) string {
			return compileJava(t, java, "Failing", javaHook(`throw new NoClassDefFoundError("org/x/Missing");`, ``))
		}, "init/error", "Runtime.BeforeCheckpointError", "java.lang.NoClassDefFoundError: org/x/Missing", 64},
		{"Java, an Error after", "example.Failing::handle", java, func(t *testing.T) string {
			return compileJava(t, java, "Failing", javaHook(``, `throw new StackOverflowError("deep");`))
		}, "restore/error", "Runtime.AfterRestoreError", "java.lang.StackOverflowError: deep", 64},
		{"Java, an Error before, with a thread that lives", "example.Failing::handle", java, func(t *testing.T) string {
			return compileJava(t, java, "Failing", javaHook(living+`throw new NoClassDefFoundError("org/x/Missing");`, ``))
		}, "init/error", "Runtime.BeforeCheckpointError", "java.lang.NoClassDefFoundError: org/x/Missing", 64},
		{"Java, an Error after, with a thread that lives", "example.Failing::handle", java, func(t *testing.T) string {
			return compileJava(t, java, "Failing", javaHook(living, `throw new NoClassDefFoundError("org/x/Missing");`))
		}, "restore/error", "Runtime.AfterRestoreError", "java.lang.NoClassDefFoundError: org/x/Missing", 64},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, p := startSaved(t, test.plan, test.task(t), test.handler)
			if test.path == "restore/error" {
				a.waitParked("restore/next")
				close(a.restore)
			}
			got := a.next()
			if got.Path != test.path || got.Header.Get("Lambda-Runtime-Function-Error-Type") != test.typ {
				t.Errorf("got %s with type %q, want %s with %s", got.Path, got.Header.Get("Lambda-Runtime-Function-Error-Type"), test.path, test.typ)
			}
			var body struct{ ErrorMessage, ErrorType string }
			if err := json.Unmarshal([]byte(got.Body), &body); err != nil || !strings.Contains(body.ErrorMessage, test.message) {
				t.Errorf("body %s: %v; want the message %q", got.Body, err, test.message)
			}
			if status := p.exitStatus(); status != test.exit {
				t.Errorf("exit status %d, want %d", status, test.exit)
			}
		})
	}
}
