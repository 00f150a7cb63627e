package node

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
	"thaw/function"
	"thaw/snapshot"
)

func tags(kv map[string]string) option {
	return func(in *lambda.CreateFunctionInput) { in.Tags = kv }
}

// ready returns a runtime's identifier that begins so, installing its client when a registry has it.
func ready(t testing.TB, s *server, identifiers ...string) string {
	t.Helper()
	var last error
	for _, id := range identifiers {
		here := s.node.runtimes.Check(id, "") == nil // without AWS's SDK, perhaps, which another test is about to install
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		err := s.node.runtimes.Install(ctx, id, func(text string) { t.Log(text) })
		cancel()
		if err == nil {
			err = s.node.runtimes.Check(id, "")
		}
		if here || err == nil {
			return id
		}
		last = err
	}
	t.Skip(last)
	return ""
}

// javaZip is the function that javaFiles gives.
func javaZip(t testing.TB, s *server, class, source string) []byte {
	t.Helper()
	return zipOf(t, javaFiles(t, s, class, source))
}

// compiled has what was compiled for a test already, by its source: files by name. A compiler takes seconds of processor time.
var compiled struct {
	sync.Mutex
	of map[string]map[string]string
}

// compileOnce compiles a source, or gives what it was compiled to before.
func compileOnce(source string, compile func() map[string]string) map[string]string {
	compiled.Lock()
	defer compiled.Unlock()
	if compiled.of == nil {
		compiled.of = map[string]map[string]string{}
	}
	if compiled.of[source] == nil {
		compiled.of[source] = compile()
	}
	return maps.Clone(compiled.of[source])
}

// javaFiles compiles one class, against what AWS's client gives functions and further jars.
func javaFiles(t testing.TB, s *server, class, source string, jarsToo ...string) map[string]string {
	t.Helper()
	return compileOnce(source, func() map[string]string { return javac(t, s, class, source, jarsToo...) })
}

func javac(t testing.TB, s *server, class, source string, jarsToo ...string) map[string]string {
	t.Helper()
	javac, err := exec.LookPath("javac")
	if err != nil {
		t.Skip(err)
	}
	jars, err := filepath.Glob(filepath.Join(s.node.cfg.DataDir, "runtimes", "java-*", "lib", "*.jar"))
	if err != nil || len(jars) == 0 {
		t.Fatalf("AWS's client for Java: %v, %v", jars, err)
	}
	jars = append(jars, jarsToo...)
	dir := t.TempDir()
	file := filepath.Join(dir, class+".java")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(javac, "--release", "11", "-nowarn", "-cp", strings.Join(jars, ":"), "-d", dir, file).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	files := map[string]string{}
	classes, err := filepath.Glob(filepath.Join(dir, "*.class"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range classes {
		b, err := os.ReadFile(c)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(c)] = string(b)
	}
	return files
}

func goZip(t *testing.T, source string) []byte {
	t.Helper()
	return zipOf(t, compileOnce(source, func() map[string]string { return goFiles(t, source) }))
}

func goFiles(t *testing.T, source string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": source, "go.mod": "module primed\n\ngo 1.24\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", "bootstrap", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"bootstrap": string(b)}
}

// Every primed function here keeps a list in memory: of what ran, in order. A priming event adds its mark and what is in it, each hook its name. With the
// event {"list":true} it is the answer, which no priming event is.
const (
	primedNode = `const list = []
		awslambda.snapStart.beforeCheckpoint(function first() { list.push('b1') }); awslambda.snapStart.beforeCheckpoint(function second() { list.push('b2') })
		awslambda.snapStart.afterRestore(() => { list.push('a') })
		exports.handler = async (e, c) => { if (e.list) return list
			const mark = c.clientContext && c.clientContext.custom['thaw-priming']
			console.log('handling', e.id); list.push(mark + ':' + e.id); if (e.id === 'bad') throw new RangeError('no such thing'); if (e.id === 'slow') await new Promise(() => setTimeout(() => {}, 60000)); if (e.id === 'exit') process.exit(3); return 1 }`
	primedPython = `
from snapshot_restore_py import register_before_snapshot, register_after_restore
ran = []
def first(): ran.append('b1')
def second(): ran.append('b2')
register_before_snapshot(first); register_before_snapshot(second)
register_after_restore(lambda: ran.append('a'))
def handler(e, c):
    if e.get('list'): return ran
    print('handling', e['id'])
    ran.append(c.client_context.custom['thaw-priming'] + ':' + e['id'])
    if e['id'] == 'bad': raise ValueError('no such thing')
    return 1
`
	primedJava = `
import java.util.*;
import com.amazonaws.services.lambda.runtime.*;
public class Primed implements RequestHandler<Map<String, Object>, Object>, org.crac.Resource {
  static final List<String> ran = new ArrayList<>();
  static class Other implements org.crac.Resource {
    public void beforeCheckpoint(org.crac.Context<? extends org.crac.Resource> c) { ran.add("b2"); }
    public void afterRestore(org.crac.Context<? extends org.crac.Resource> c) { }
  }
  static final Other other = new Other();
  public Primed() { org.crac.Core.getGlobalContext().register(this); org.crac.Core.getGlobalContext().register(other); }
  public void beforeCheckpoint(org.crac.Context<? extends org.crac.Resource> c) { ran.add("b1"); }
  public void afterRestore(org.crac.Context<? extends org.crac.Resource> c) { ran.add("a"); }
  public Object handleRequest(Map<String, Object> e, Context c) {
    if (e.containsKey("list")) return ran;
    System.out.println("handling " + e.get("id"));
    ran.add(c.getClientContext().getCustom().get("thaw-priming") + ":" + e.get("id"));
    if ("bad".equals(e.get("id"))) throw new IllegalStateException("no such thing");
    return 1;
  }
}`
	// A runtime of its own in bash, which parks in its first invocation/next, or with HOOKS does what the contract asks of one that knows restore/next.
	primedShell = `#!/bin/bash
set -eu
exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API##*:}"
request() {
  local LC_ALL=C line payload=${3-}
  printf '%s /2018-06-01/runtime/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s' "$1" "$2" "${#payload}" "$payload" >&3
  IFS=' ' read -r _ status _ <&3
  id= mark= length=0
  while IFS= read -r line <&3 && line=${line%$'\r'} && [ -n "$line" ]; do
    case ${line,,} in
    lambda-runtime-aws-request-id:*) id=${line#*: } ;;
    lambda-runtime-client-context:*) mark=${line##*thaw-priming\":\"}; mark=${mark%%\"*} ;;
    content-length:*) length=${line#*: } ;;
    esac
  done
  body=
  if [ "$length" -gt 0 ]; then IFS= read -r -N "$length" body <&3; fi
}
list=
add() { list+="${list:+,}\"$1\""; }
serve() {
  request GET invocation/next
  local answer=1 what=response
  case $body in
  *list*) answer="[$list]" ;;
  *) what=${body##*\"id\":\"}; what=${what%%\"*}; echo "handling $what"; add "$mark:$what"
     if [ "$what" = bad ]; then what=error answer='{"errorType":"Bad","errorMessage":"no such thing"}'; else what=response; fi ;;
  esac
  request POST "invocation/$id/$what" "$answer"
}
if [ -n "${HOOKS-}" ]; then
  for ((n = ${_THAW_PRIMING_INVOKES:-0}; n > 0; n--)); do serve; done
  add b2; add b1
  request GET restore/next
  add a
fi
while :; do serve; done
`
	primedGo = `package main
import ("bytes"; "encoding/json"; "fmt"; "io"; "net/http"; "os"; "strconv")
var list []string
func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"
	serve := func() {
		r, err := http.Get(api + "invocation/next")
		if err != nil { panic(err) }
		body, _ := io.ReadAll(r.Body); r.Body.Close()
		var e struct{ List bool; ID string }
		json.Unmarshal(body, &e)
		var cc struct{ Custom map[string]string }
		json.Unmarshal([]byte(r.Header.Get("Lambda-Runtime-Client-Context")), &cc)
		answer, what := []byte("1"), "response"
		if e.List { answer, _ = json.Marshal(list) } else {
			fmt.Println("handling", e.ID)
			list = append(list, cc.Custom["thaw-priming"]+":"+e.ID)
			if e.ID == "bad" { what, answer = "error", []byte("{\"errorType\":\"Bad\",\"errorMessage\":\"no such thing\"}") }
		}
		p, err := http.Post(api+"invocation/"+r.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/"+what, "application/json", bytes.NewReader(answer))
		if err != nil { panic(err) }
		p.Body.Close()
	}
	if os.Getenv("HOOKS") != "" {
		n, _ := strconv.Atoi(os.Getenv("_THAW_PRIMING_INVOKES"))
		for range n { serve() }
		list = append(list, "b2", "b1")
		r, err := http.Get(api + "restore/next")
		if err != nil { panic(err) }
		r.Body.Close()
		list = append(list, "a")
	}
	for { serve() }
}`
)

// primedFunction is a function of some runtime that does what is said above.
type primedFunction struct {
	name   string
	deploy func(t *testing.T, s *server, o ...option) *deployed
	hooks  bool     // runs the hooks b2, b1 and a
	told   []string // names of hooks that its client tells
	says   string   // the error type of the event bad
}

func primedFunctions() []primedFunction {
	handler := func(h string) option { return func(in *lambda.CreateFunctionInput) { in.Handler = &h } }
	return []primedFunction{
		{"Node", func(t *testing.T, s *server, o ...option) *deployed { return s.js(primedNode, o...) }, true, []string{"second", "first"}, "RangeError"},
		{"Python", func(t *testing.T, s *server, o ...option) *deployed {
			return s.deploy(ready(t, s, "python3.12", "python3.11", "python3.13"), map[string]string{"index.py": primedPython, "events/one.json": `{"id":"file"}`}, o...)
		}, true, []string{"index.second", "index.first"}, "ValueError"},
		{"Java", func(t *testing.T, s *server, o ...option) *deployed {
			r := ready(t, s, "java17", "java21", "java11")
			return s.deployZip(r, javaZip(t, s, "Primed", primedJava), append(o, handler("Primed::handleRequest"), memory(512))...)
		}, true, []string{"Primed$Other", "Primed"}, "java.lang.IllegalStateException"},
		{"shell that parks in invocation/next", func(t *testing.T, s *server, o ...option) *deployed {
			return s.deploy("provided.al2023", map[string]string{"bootstrap": primedShell}, o...)
		}, false, nil, "Bad"},
		{"shell that parks in restore/next", func(t *testing.T, s *server, o ...option) *deployed {
			return s.deploy("provided.al2023", map[string]string{"bootstrap": primedShell}, append(o, vars(map[string]string{"HOOKS": "1"}))...)
		}, true, nil, "Bad"},
		{"Go that parks in invocation/next", func(t *testing.T, s *server, o ...option) *deployed {
			return s.deployZip("provided.al2023", goZip(t, primedGo), o...)
		}, false, nil, "Bad"},
		{"Go that parks in restore/next", func(t *testing.T, s *server, o ...option) *deployed {
			return s.deployZip("provided.al2023", goZip(t, primedGo), append(o, vars(map[string]string{"HOOKS": "1"}))...)
		}, true, nil, "Bad"},
	}
}

// Priming events run when Init is done and before the hooks, in order, each as often as asked; what they leave in memory is in every copy. They are no
// invokes: the log says what they are, nothing is billed, and the pool does not know of them.
func TestPriming(t *testing.T) {
	t.Parallel()
	for _, p := range primedFunctions() {
		t.Run(p.name, func(t *testing.T) {
			s := shared(t, "gvisor")
			s.t = t
			f := p.deploy(t, s, snapStart, tags(map[string]string{snapshot.TagPrime: "warm:2 other",
				snapshot.TagEvent + "warm": `{"id":"one"}`, snapshot.TagEvent + "other": `{"id":"two"}`}))
			if c := f.publish(); c.State != types.StateActive {
				t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
			}
			want := []string{"warm:one", "warm:one", "other:two"}
			if p.hooks {
				want = append(want, "b2", "b1", "a")
			}
			for range 2 { // of two copies
				var got []string
				if err := json.Unmarshal([]byte(f.invokeVersion("1", `{"list":true}`).ok(t)), &got); err != nil {
					t.Fatal(err)
				}
				if strings.Join(got, " ") != strings.Join(want, " ") {
					t.Errorf("a copy has %q, want %q", got, want)
				}
				f.node.pool.Outdate(function.ARN("arn:aws:lambda:eu-west-1:000000000000:function:"+f.name), "1", "")
			}
			made := f.snap("1")
			if made.Primed != 3 || strings.Join(made.Hooks, " ") != strings.Join(p.told, " ") {
				t.Errorf("the snapshot is primed %d times, its hooks are %q, want %q", made.Primed, made.Hooks, p.told)
			}
			var stage float64
			for _, st := range made.Stages {
				if st.Name == "priming" {
					stage = st.Seconds
				}
			}
			if stage <= 0 {
				t.Errorf("no stage tells what priming took: %+v", made.Stages)
			}
			log := strings.Join(f.logs("Invoke: 2 of 2", "Event: other\tInvoke: 1 of 1", "INIT_REPORT"), "")
			block := regexp.MustCompile(`(?s)PRIMING RequestId: (\S+)\tEvent: warm\tInvoke: 1 of 2\nSTART RequestId: (\S+) Version: 1\n.*?handling one.*?END RequestId: (\S+)\nREPORT RequestId: (\S+)\t[^\n]*Billed Duration: 0 ms`).FindStringSubmatch(log)
			if block == nil || block[1] != block[2] || block[1] != block[3] || block[1] != block[4] {
				t.Errorf("the log does not tell of the first priming call as such:\n%s", log)
			}
			if n := strings.Count(log, "PRIMING "); n != 3 {
				t.Errorf("%d lines tell of priming, want 3", n)
			}
			if strings.Index(log, "INIT_REPORT") < strings.LastIndex(log, "PRIMING ") {
				t.Errorf("Init, which holds the hooks, was reported before priming was over:\n%s", log)
			}
			// None of it is counted: an invoke finds the one place that is reserved.
			if _, err := s.client.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: &f.name, ReservedConcurrentExecutions: aws.Int32(1)}); err != nil {
				t.Fatal(err)
			}
			f.invokeVersion("1", `{"list":true}`).ok(t)
		})
	}
}

// A priming event that fails is in the way of the version, by its name.
func TestPrimingThatFails(t *testing.T) {
	t.Parallel()
	for _, p := range primedFunctions() {
		t.Run(p.name, func(t *testing.T) {
			s := shared(t, "gvisor")
			s.t = t
			f := p.deploy(t, s, snapStart, tags(map[string]string{snapshot.TagPrime: "warm bad:2", snapshot.TagEvent + "warm": `{"id":"one"}`, snapshot.TagEvent + "bad": `{"id":"bad"}`}))
			c := f.publish()
			if reason := aws.ToString(c.StateReason); c.State != types.StateFailed || c.StateReasonCode != "FunctionError" ||
				reason != "Priming event bad (1 of 2): "+p.says+": no such thing" {
				t.Errorf("state %s, code %s, reason %q", c.State, c.StateReasonCode, reason)
			}
			log := strings.Join(f.logs("Event: bad\tInvoke: 1 of 2", "Status: error"), "")
			if strings.Contains(log, "Invoke: 2 of 2") {
				t.Errorf("it was invoked again after a failure:\n%s", log)
			}
		})
	}
}

func TestPrimingThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, event, want string }{
		{"past the timeout of the function", `{"id":"slow"}`, "Priming event e (1 of 1): Sandbox.Timedout: Task timed out after 3.00 seconds"},
		{"the process ends", `{"id":"exit"}`, "Priming event e (1 of 1): Runtime.ExitError: Runtime exited with error: exit status 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := shared(t, "gvisor")
			s.t = t
			f := s.js(primedNode, snapStart, timeout(3), tags(map[string]string{snapshot.TagPrime: "e", snapshot.TagEvent + "e": tc.event}))
			if c := f.publish(); c.State != types.StateFailed || aws.ToString(c.StateReason) != tc.want {
				t.Errorf("state %s, reason %q", c.State, aws.ToString(c.StateReason))
			}
		})
	}
}

// An event can be a file of the code; one that is not there says so. A runtime that reaches its snapshot point without taking the events is not saved unprimed.
func TestPrimingFromAFile(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	files := map[string]string{"index.js": primedNode, "events/one.json": `{"id":"file"}`, "events/none.json": `{`}
	deploy := func(t *testing.T, prime string) *lambda.GetFunctionConfigurationOutput {
		s.t = t
		f := s.deploy(installed(t, s, "nodejs"), files, snapStart, tags(map[string]string{snapshot.TagPrime: prime}))
		c := f.publish()
		if c.State == types.StateActive {
			if got := f.invokeVersion("1", `{"list":true}`).ok(t); !strings.HasPrefix(got, `["e:file",`) {
				t.Errorf("a copy has %s", got)
			}
		}
		return c
	}
	for _, tc := range []struct{ name, prime, reason string }{
		{"one that is there", "e@events/one.json", ""},
		{"one that is not", "e@events/two.json", "Priming event e (1 of 1): Runtime.NotPrimed: events/two.json is not in the function's code"},
		{"one that is no JSON", "e@events/none.json", "Priming event e (1 of 1): Runtime.NotPrimed: events/none.json is not JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if c := deploy(t, tc.prime); aws.ToString(c.StateReason) != tc.reason {
				t.Errorf("state %s, reason %q", c.State, aws.ToString(c.StateReason))
			}
		})
	}
	t.Run("a runtime that does not take it", func(t *testing.T) {
		s.t = t
		f := s.deploy("provided.al2023", map[string]string{"bootstrap": strings.Replace(primedShell, "${_THAW_PRIMING_INVOKES:-0}", "0", 1)}, snapStart,
			vars(map[string]string{"HOOKS": "1"}), tags(map[string]string{snapshot.TagPrime: "e", snapshot.TagEvent + "e": `{}`}))
		if c := f.publish(); c.State != types.StateFailed || !strings.Contains(aws.ToString(c.StateReason), "Runtime.NotPrimed") {
			t.Errorf("state %s, reason %q", c.State, aws.ToString(c.StateReason))
		}
	})
}

// A refresh primes by the policy that counts then. One whose priming fails leaves the generation before.
func TestPrimingOfARefresh(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(primedNode, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	a := f.node.snapshots
	list := func() string { return f.invokeVersion("1", `{"list":true}`).ok(t) }
	if got := list(); got != `["b2","b1","a"]` {
		t.Errorf("without priming a copy has %s", got)
	}
	set := func(event string) {
		t.Helper()
		p := &snapshot.Policy{Prime: []snapshot.Prime{{Name: "warm", Count: 2, Event: json.RawMessage(event)}}}
		if _, err := a.SetPolicy(t.Context(), f.name+":1", p); err != nil {
			t.Fatal(err)
		}
	}
	set(`{"id":"x"}`)
	if n := f.snap("1"); n.Primed != 0 || n.Generation != 1 {
		t.Errorf("a policy that primes changed the generation that is there: %+v", n)
	}
	if n, err := a.Refresh(t.Context(), f.name+":1"); err != nil || n.Primed != 2 {
		t.Fatalf("refresh: %+v, %v", n, err)
	}
	f.snapOnce("1", "used by new environments only", func(admin.Snapshot) bool { return strings.HasPrefix(list(), `["warm:x","warm:x","b2"`) })
	before := f.snap("1")
	set(`{"id":"bad"}`)
	if _, err := a.Refresh(t.Context(), f.name+":1"); err == nil || !strings.Contains(err.Error(), "Priming event warm (1 of 2): ") {
		t.Errorf("refresh with an event that fails: %v", err)
	}
	if n := f.snap("1"); n.ID != before.ID || n.State != "current" || !strings.Contains(n.LastError, "no such thing") {
		t.Errorf("after a priming that failed: %+v", n)
	}
	list()
}
