package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// Every function of the day answers with the event's n and text, the revision of its code (which a file beside it
// tells), its version, how it was initialised, a random name of its environment that is drawn in the first invoke (so
// copies of one snapshot differ), how many invokes this environment has seen, and the time of its Init and of this
// invoke. After the event's ms milliseconds.

const dailyNode = `const crypto = require('node:crypto');
const revision = Number(require('node:fs').readFileSync(__dirname + '/revision', 'utf8'));
const born = Date.now();
let env = '', count = 0;
BETWEEN
exports.handler = async (event) => {
  const now = Date.now();
  env ||= crypto.randomUUID();
  count++;
  if (event.ms) await new Promise((go) => setTimeout(go, event.ms));
  return { n: event.n, text: event.text, revision, version: process.env.AWS_LAMBDA_FUNCTION_VERSION, how: process.env.AWS_LAMBDA_INITIALIZATION_TYPE,
    env, count, born, now };
};
`

const dailyPython = `import os, threading, time, uuid
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "revision")) as f:
    revision = int(f.read())
born = int(time.time() * 1000)
env, count = "", 0
BETWEEN

def handler(event, context):
    global env, count
    now = int(time.time() * 1000)
    env = env or str(uuid.uuid4())
    count += 1
    if event["ms"]:
        time.sleep(event["ms"] / 1000)
    return {"n": event["n"], "text": event["text"], "revision": revision, "version": context.function_version,
            "how": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "env": env, "count": count, "born": born, "now": now}
`

const dailyJava = `package bench;

import java.util.HashMap;
import java.util.Map;
import java.util.UUID;

public class Daily {
  static final long BORN = System.currentTimeMillis();
  static final int REVISION;
  static String env;
  static int count;

  static {
    try (var in = Daily.class.getResourceAsStream("/revision")) {
      REVISION = Integer.parseInt(new String(in.readAllBytes()).trim());
    } catch (java.io.IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  public Map<String, Object> handle(Map<String, Object> event) throws InterruptedException {
    long now = System.currentTimeMillis();
    if (env == null) env = UUID.randomUUID().toString();
    count++;
    Thread.sleep(((Number) event.get("ms")).longValue());
    Map<String, Object> out = new HashMap<>();
    out.put("n", event.get("n"));
    out.put("text", event.get("text"));
    out.put("revision", REVISION);
    out.put("version", System.getenv("AWS_LAMBDA_FUNCTION_VERSION"));
    out.put("how", System.getenv("AWS_LAMBDA_INITIALIZATION_TYPE"));
    out.put("env", env);
    out.put("count", count);
    out.put("born", BORN);
    out.put("now", now);
    return out;
  }
}
`

//go:embed daily/main.go
var dailyGo []byte

// restlessNode and restlessPython compute between invokes, too: the freeze finds a thread at work.
const (
	restlessNode   = `setInterval(() => { const end = Date.now() + 5; while (Date.now() < end); }, 10);`
	restlessPython = "def spin():\n    while True:\n        sum(range(20000))\n        time.sleep(0.005)\nthreading.Thread(target=spin, daemon=True).start()"
)

// rhythm is how the requests of a function come.
type rhythm uint8

const (
	busy   rhythm = iota // two callers, each some hundredths of a second after its last answer
	steady               // one after the other, every other second or so
	bursty               // some at once, then nothing for up to 40 s
	rare                 // every 5 to 60 s
	seldom               // one in two minutes or so, after pauses of 12, 45 and 130 s first
	numRhythms
)

func (r rhythm) String() string {
	return [numRhythms]string{"busy", "steady", "bursts", "rare", "seldom"}[r]
}

// routine is one function of the day.
type routine struct {
	language string // Node, Python, Java, Go
	life     string // in words, and part of the name
	rhythm   rhythm

	snapStart   bool
	latest      bool          // $LATEST has snapshots
	refresh     string        // tag
	maxAge      time.Duration // that the tag promises
	provisioned int32
	updated     bool // code is replaced while requests come: of $LATEST, or by new versions that they go to
	restless    bool // it computes between invokes

	mu          sync.Mutex
	qualifier   string         // that requests go to now; empty: $LATEST
	uploaded    int            // revisions of the code so far
	asked, live int            // of $LATEST: the newest that may answer, the oldest that may
	published   map[string]int // the revision that is in a version

	invokes, faults int // guarded by the ledger's lock
}

// routines are the day's functions.
func routines() []*routine {
	return []*routine{
		{language: "Node", life: "plain", rhythm: busy},
		{language: "Node", life: "plain", rhythm: seldom},
		{language: "Node", life: "updated", rhythm: steady, updated: true},
		{language: "Node", life: "snapstart", rhythm: bursty, snapStart: true},
		{language: "Node", life: "snapstart", rhythm: seldom, snapStart: true},
		{language: "Node", life: "refreshed", rhythm: busy, snapStart: true, refresh: "20s max=2m", maxAge: 2 * time.Minute},
		{language: "Node", life: "refreshed", rhythm: seldom, snapStart: true, refresh: "30s max=2m", maxAge: 2 * time.Minute},
		{language: "Node", life: "new versions", rhythm: steady, snapStart: true, updated: true},
		{language: "Node", life: "provisioned", rhythm: seldom, provisioned: 1},
		{language: "Node", life: "provisioned from a snapshot", rhythm: rare, snapStart: true, provisioned: 2},
		{language: "Node", life: "snapshot of $LATEST", rhythm: bursty, latest: true},
		{language: "Node", life: "restless", rhythm: rare, restless: true},
		{language: "Python", life: "plain", rhythm: steady},
		{language: "Python", life: "updated", rhythm: rare, updated: true},
		{language: "Python", life: "snapstart", rhythm: bursty, snapStart: true},
		{language: "Python", life: "refreshed", rhythm: steady, snapStart: true, refresh: "40s max=3m", maxAge: 3 * time.Minute},
		{language: "Python", life: "restless from a snapshot", rhythm: seldom, snapStart: true, restless: true},
		{language: "Java", life: "plain", rhythm: seldom},
		{language: "Java", life: "snapstart", rhythm: rare, snapStart: true},
		{language: "Java", life: "refreshed", rhythm: seldom, snapStart: true, refresh: "1m max=5m", maxAge: 5 * time.Minute},
		{language: "Go", life: "plain", rhythm: busy},
		{language: "Go", life: "updated", rhythm: steady, updated: true},
		{language: "Go", life: "snapstart", rhythm: seldom, snapStart: true},
		{language: "Go", life: "provisioned", rhythm: rare, provisioned: 1},
	}
}

func (r *routine) what() string { return fmt.Sprintf("%s %s, %s", r.language, r.life, r.rhythm) }

// subject is the function behind it. compiled keeps what takes a compiler, by language.
func (r *routine) subject(compiled map[string][]byte) subject {
	f := subject{what: "day " + r.what(), memoryMiB: 128}
	one := func(file, text, between string) {
		f.files = r.revised(map[string][]byte{file: []byte(strings.ReplaceAll(text, "BETWEEN", between))})
	}
	between := map[string]string{}
	if r.restless {
		between = map[string]string{"Node": restlessNode, "Python": restlessPython}
	}
	switch r.language {
	case "Node":
		f.family, f.handler = "nodejs", "index.handler"
		one("index.js", dailyNode, between[r.language])
	case "Python":
		f.family, f.handler = "python", "index.handler"
		one("index.py", dailyPython, between[r.language])
	case "Java":
		f.family, f.handler, f.memoryMiB = "java", "bench.Daily::handle", 256
		f.files = r.revised(map[string][]byte{"bench/Daily.class": compiled[r.language]})
	case "Go":
		f.family, f.handler = "provided", "bootstrap"
		f.files = r.revised(map[string][]byte{"bootstrap": compiled[r.language]})
	}
	return f
}

// revised adds the file that names the revision.
func (r *routine) revised(files map[string][]byte) func(context.Context, int) (map[string][]byte, error) {
	return func(_ context.Context, revision int) (map[string][]byte, error) {
		out := map[string][]byte{"revision": []byte(strconv.Itoa(revision))}
		for name, content := range files {
			out[name] = content
		}
		return out, nil
	}
}

// compile makes what is not run from source.
func compile(ctx context.Context) (compiled map[string][]byte, missing map[string]string, err error) {
	compiled, missing = map[string][]byte{}, map[string]string{}
	dir, err := os.MkdirTemp("", "thaw-day-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	for _, c := range []struct {
		language, file, out string
		source              []byte
		command             []string
	}{
		{"Go", "main.go", "bootstrap", dailyGo, []string{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", "bootstrap", "main.go"}},
		{"Java", "Daily.java", "bench/Daily.class", []byte(dailyJava), []string{"javac", "--release", "11", "-d", ".", "Daily.java"}},
	} {
		if err := os.WriteFile(filepath.Join(dir, c.file), c.source, 0o644); err != nil {
			return nil, nil, err
		}
		build := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
		build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := build.CombinedOutput(); err != nil {
			missing[c.language] = strings.TrimSpace(fmt.Sprintf("%s: %v %s", c.command[0], err, out))
			continue
		}
		if compiled[c.language], err = os.ReadFile(filepath.Join(dir, c.out)); err != nil {
			return nil, nil, err
		}
	}
	return compiled, missing, nil
}

// prepare makes the function of a routine, with its version and all that it needs before its first request.
func (d *day) prepare(ctx context.Context, r *routine, compiled map[string][]byte) error {
	f := r.subject(compiled)
	rt := types.RuntimeProvidedal2023
	var err error
	if r.language != "Go" {
		if rt, err = d.runtime(ctx, f.family); err != nil {
			return err
		}
	}
	r.uploaded, r.asked, r.live, r.published = 1, 1, 1, map[string]int{}
	files, err := f.files(ctx, 1)
	if err != nil {
		return err
	}
	err = d.s.createFrom(ctx, f.name(), rt, f.handler, files, func(in *lambda.CreateFunctionInput) {
		in.MemorySize, in.Timeout = &f.memoryMiB, aws.Int32(int32(dayTimeout/time.Second))
		in.Tags = map[string]string{}
		if r.snapStart {
			in.SnapStart = &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
		}
		if r.refresh != "" {
			in.Tags["thaw:snapshot-refresh"] = r.refresh
		}
		if r.latest {
			in.Tags["thaw:snapshot-latest"] = "on"
		}
	})
	if err != nil || !r.snapStart && r.provisioned == 0 {
		return err
	}
	if r.qualifier, err = d.publish(ctx, r, 1); err != nil {
		return err
	}
	name := f.name()
	if r.provisioned == 0 {
		return nil
	}
	_, err = d.s.client.PutProvisionedConcurrencyConfig(ctx, &lambda.PutProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: &r.qualifier,
		ProvisionedConcurrentExecutions: &r.provisioned})
	if err != nil {
		return err
	}
	return d.s.until(ctx, "provisioned", 2*time.Minute, func() (bool, error) {
		c, err := d.s.client.GetProvisionedConcurrencyConfig(ctx, &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: &r.qualifier})
		if err == nil && c.Status == types.ProvisionedConcurrencyStatusEnumFailed {
			err = fmt.Errorf("%s: %s", name, aws.ToString(c.StatusReason))
		}
		return err == nil && c.Status == types.ProvisionedConcurrencyStatusEnumReady, err
	})
}

// publish makes a version of what is $LATEST, which is a revision, and waits until it is Active.
func (d *day) publish(ctx context.Context, r *routine, revision int) (version string, err error) {
	name := r.subject(nil).name()
	v, err := d.s.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name})
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	r.published[*v.Version] = revision
	r.mu.Unlock()
	return *v.Version, d.s.until(ctx, "active", 5*time.Minute, func() (bool, error) {
		c, err := d.s.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name, Qualifier: v.Version})
		if err == nil && c.State == types.StateFailed {
			err = fmt.Errorf("version %s of %s: %s", *v.Version, name, aws.ToString(c.StateReason))
		}
		return err == nil && c.State == types.StateActive, err
	})
}

// update replaces the code of a routine while requests come; that of a version by a new version, to which requests go
// from then on. The version before the last is deleted: nobody can be on the way to it.
func (d *day) update(ctx context.Context, r *routine, compiled map[string][]byte) error {
	f := r.subject(compiled)
	r.mu.Lock()
	r.uploaded++
	revision := r.uploaded
	if r.qualifier == "" {
		r.asked = revision
	}
	r.mu.Unlock()
	if err := d.s.revise(ctx, f, revision); err != nil {
		return err
	}
	if r.qualifier == "" {
		r.mu.Lock()
		r.live = revision
		r.mu.Unlock()
		return nil
	}
	version, err := d.publish(ctx, r, revision)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.qualifier = version
	gone := ""
	for v, n := range r.published {
		if n == revision-2 {
			gone = v
		}
	}
	r.mu.Unlock()
	if gone == "" {
		return nil
	}
	name := f.name()
	_, err = d.s.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name, Qualifier: &gone})
	return err
}
