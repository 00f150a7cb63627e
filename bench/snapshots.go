package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
)

// subject is a function of which versions with snapshots are measured.
type subject struct {
	what    string // in the tables
	family  string // of runtime identifiers
	handler string
	files   func(ctx context.Context, revision int) (map[string][]byte, error) // revisions differ in one line
	tags    map[string]string

	memoryMiB int32    // 0: 512
	extension string   // the name of one that it has
	layers    []string // in which that is

	firstMs, ratio float64 // aims: the first answer of a restore, and how many times a cold start takes as long
}

func (f subject) name() string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(f.what)), "-")
}

func sources(file, text string) func(context.Context, int) (map[string][]byte, error) {
	return func(_ context.Context, revision int) (map[string][]byte, error) {
		return map[string][]byte{file: []byte(strings.ReplaceAll(text, "REVISION", fmt.Sprint(revision)))}, nil
	}
}

var (
	nodeHello = subject{what: "Node hello", family: "nodejs", handler: "index.handler", files: sources("index.js", `const revision = REVISION;
exports.handler = async (event) => ({ hello: event.hello, revision });
`)}
	extendedHello = subject{what: "Node hello with an extension", family: "nodejs", handler: "index.handler", files: nodeHello.files, extension: "first"}
	goCopy        = subject{what: "Go echo", family: "provided", handler: "bootstrap", memoryMiB: 128, files: func(ctx context.Context, _ int) (map[string][]byte, error) {
		program, err := copyProgram(ctx)
		return map[string][]byte{"bootstrap": program}, err
	}}
	// 40 MB of heap that are in use, with what Node holds besides some 45 MB of pages.
	nodeHeap = subject{what: "Node, 40 MB of heap", family: "nodejs", handler: "index.handler", firstMs: 60, ratio: 8, files: sources("index.js", `const revision = REVISION;
const table = [];
const used = () => { gc(); return process.memoryUsage().heapUsed; };
while (used() < 40e6) for (let n = 0; n < 4; n++) table.push(Array.from({ length: 32768 }, (_, i) => i / 7 + table.length));
exports.handler = async (event) => ({ hello: event.hello, revision, rows: table.length });
`)}
	pythonHello = subject{what: "Python hello", family: "python", handler: "index.handler", files: sources("index.py", `revision = REVISION
def handler(event, context):
    return {"hello": event["hello"], "revision": revision}
`)}
	// What it imports works until it has used a second of a processor.
	pythonImport = subject{what: "Python, 1 s import", family: "python", handler: "index.handler", ratio: 12, files: func(_ context.Context, revision int) (map[string][]byte, error) {
		return map[string][]byte{
			"index.py": fmt.Appendf(nil, "import table\nrevision = %d\ndef handler(event, context):\n    return {'hello': event['hello'], 'revision': revision, 'rows': len(table.rows)}\n", revision),
			"table.py": []byte("import decimal, email.message, http.client, json, sqlite3, time, xml.dom.minidom\nrows = {}\nn = 0\n" +
				"while time.process_time() < 1.0:\n    n += 1\n    rows[n % 5000] = str(decimal.Decimal(n).sqrt())\n"),
		}, nil
	}}
	javaInit   = subject{what: "Java, 2 s init", family: "java", handler: "bench.Hello::handle", ratio: 10, files: compiledJava}
	javaPrimed = subject{what: "Java, 2 s init, primed", family: "java", handler: "bench.Hello::handle", ratio: 15, files: compiledJava,
		tags: map[string]string{"thaw:snapshot-prime": "warm:20", "thaw:snapshot-event:warm": smallEvent}}
)

// javaSource works for 1.3 s in its static part: with the virtual machine and AWS's client, Init takes about two.
const javaSource = `package bench;

import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

public class Hello {
  static final Map<Long, String> TABLE = new TreeMap<>();
  static final int REVISION = %d;

  static {
    long end = System.nanoTime() + 1_300_000_000L;
    for (long n = 0; System.nanoTime() < end; n++) {
      TABLE.put(n %% 5000, new java.math.BigInteger(Long.toString(n + 1)).pow(20).toString(36));
    }
  }

  public Map<String, Object> handle(Map<String, Object> event) {
    Map<String, Object> out = new HashMap<>();
    out.put("hello", event.get("hello"));
    out.put("rows", TABLE.size());
    out.put("revision", REVISION);
    return out;
  }
}
`

func compiledJava(ctx context.Context, revision int) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "thaw-bench-java-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	src := filepath.Join(dir, "Hello.java")
	if err := os.WriteFile(src, fmt.Appendf(nil, javaSource, revision), 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "javac", "--release", "17", "-d", dir, src).CombinedOutput(); err != nil {
		return nil, leftOut{fmt.Sprintf("javac: %v %s", err, out)}
	}
	class, err := os.ReadFile(filepath.Join(dir, "bench", "Hello.class"))
	return map[string][]byte{"bench/Hello.class": class}, err
}

// leftOut says why something cannot be measured here; the table shows it in place of a value.
type leftOut struct{ why string }

func (e leftOut) Error() string { return e.why }

// orWords turns a leftOut into a line of the table.
func orWords(what string, err error) ([]result, error) {
	if l := (leftOut{}); errors.As(err, &l) {
		return []result{{what: what, words: "left out: " + l.why}}, nil
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

// runtimeOf picks the newest runtime of a family that can run here, and puts its client into the data folder.
func (s *server) runtimeOf(ctx context.Context, family string) (types.Runtime, error) {
	switch family {
	case "nodejs":
		return hostNode(ctx)
	case "provided":
		return types.RuntimeProvidedal2023, nil
	}
	out, err := exec.CommandContext(ctx, s.thaw, "runtime", "ls", "-o", "json", "--data-dir", s.dir).Output()
	if err != nil {
		return "", fmt.Errorf("thaw runtime ls: %w", err)
	}
	type row struct {
		Identifier, Missing string
		Ready, Fetchable    bool
		Fetches             []string
	}
	var rows []row
	if err := json.Unmarshal(out, &rows); err != nil {
		return "", fmt.Errorf("thaw runtime ls: %w", err)
	}
	missing := "no runtime of this family"
	// The newest for which the least is fetched.
	slices.SortStableFunc(rows, func(a, b row) int { return len(b.Fetches) - len(a.Fetches) })
	for _, r := range slices.Backward(rows) {
		switch {
		case !strings.HasPrefix(r.Identifier, family) || strings.Contains(r.Identifier, ".al"):
		case r.Ready:
			return types.Runtime(r.Identifier), nil
		case r.Fetchable:
			if out, err := exec.CommandContext(ctx, s.thaw, "runtime", "install", r.Identifier, "--data-dir", s.dir).CombinedOutput(); err != nil {
				return "", leftOut{strings.TrimSpace(string(out))}
			}
			return types.Runtime(r.Identifier), nil
		default:
			missing = r.Missing
		}
	}
	return "", leftOut{missing + " is missing"}
}

// make creates a subject, without a version.
func (s *server) make(ctx context.Context, f subject) error {
	rt, err := s.runtimeOf(ctx, f.family)
	if err != nil {
		return err
	}
	files, err := f.files(ctx, 0)
	if err != nil {
		return err
	}
	return s.createFrom(ctx, f.name(), rt, f.handler, files, func(in *lambda.CreateFunctionInput) {
		in.SnapStart = &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
		in.Tags, in.Layers = f.tags, f.layers
		if f.memoryMiB > 0 {
			in.MemorySize = &f.memoryMiB
		}
	})
}

// revise changes one line of a subject's code.
func (s *server) revise(ctx context.Context, f subject, revision int) error {
	files, err := f.files(ctx, revision)
	if err != nil {
		return err
	}
	pkg, err := packageOf(files)
	if err != nil {
		return err
	}
	if _, err := s.client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: aws.String(f.name()), ZipFile: pkg}); err != nil {
		return err
	}
	return s.until(ctx, "updated", time.Minute, func() (bool, error) {
		c, err := s.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(f.name())})
		return err == nil && c.LastUpdateStatus != types.LastUpdateStatusInProgress, err
	})
}

// until asks every few milliseconds whether something is so.
func (s *server) until(ctx context.Context, what string, limit time.Duration, is func() (bool, error)) error {
	for end := time.Now().Add(patience * limit); ; {
		ok, err := is()
		if err != nil || ok {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("not %s within %v", what, limit)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// published is a version with a snapshot.
type published struct {
	subject
	version  string
	took     time.Duration // from PublishVersion to Active
	snapshot admin.Snapshot
}

// publish makes a version and waits until it is Active.
func (s *server) publish(ctx context.Context, f subject) (published, error) {
	p := published{subject: f}
	began := time.Now()
	v, err := s.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String(f.name())})
	if err != nil {
		return p, err
	}
	p.version = aws.ToString(v.Version)
	err = s.until(ctx, "active", 3*time.Minute, func() (bool, error) {
		c, err := s.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(f.name()), Qualifier: v.Version})
		if err == nil && c.State == types.StateFailed {
			err = fmt.Errorf("version %s: %s", p.version, aws.ToString(c.StateReason))
		}
		return err == nil && c.State == types.StateActive, err
	})
	if err != nil {
		return p, err
	}
	p.took = time.Since(began)
	list, err := s.admin.Snapshots(ctx)
	if err != nil {
		return p, err
	}
	for _, x := range list {
		if x.Function == f.name() && x.Version == p.version {
			p.snapshot = x
			return p, nil
		}
	}
	return p, fmt.Errorf("version %s is Active and has no snapshot", p.version)
}

// makeAndPublish is make, then publish.
func (s *server) makeAndPublish(ctx context.Context, f subject) (published, error) {
	if err := s.make(ctx, f); err != nil {
		return published{}, err
	}
	return s.publish(ctx, f)
}

// environments are those of a version.
func (s *server) environments(ctx context.Context, p published) ([]admin.Environment, error) {
	all, err := s.admin.Environments(ctx)
	return slices.DeleteFunc(all, func(e admin.Environment) bool { return e.Function != p.name() || e.Qualifier != p.version }), err
}

// gone waits until a version has no environment, and then for as long as the server takes to have sandboxes ready again.
func (s *server) gone(ctx context.Context, p published) error {
	err := s.until(ctx, "without environments", time.Minute, func() (bool, error) {
		envs, err := s.environments(ctx, p)
		return len(envs) == 0, err
	})
	if err != nil {
		return err
	}
	return pause(ctx, 700*time.Millisecond)
}

// once invokes a version over a connection of its own.
func (s *server) once(ctx context.Context, p published, event string) (answer, error) {
	raw, err := s.prepare(ctx, p.name(), p.version, []byte(event), false)
	if err != nil {
		return answer{}, err
	}
	l, err := dialLoad(ctx, s.host, raw)
	if err != nil {
		return answer{}, err
	}
	defer l.close()
	return l.once()
}
