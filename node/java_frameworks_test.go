package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
	"thaw/runtimes"
)

// application is a Java program with the jars that its jars.txt names: no build tool is needed.
type application struct {
	classes string // folder
	jars    string // folder; each component of jars.txt has one below
}

// buildApplication compiles testdata/NAME.
func buildApplication(t *testing.T, name string) application {
	t.Helper()
	javac, err := exec.LookPath("javac")
	if err != nil {
		t.Skip(err)
	}
	source := filepath.Join("testdata", name)
	list, err := os.ReadFile(filepath.Join(source, "jars.txt"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	a := application{classes: t.TempDir(), jars: filepath.Join(cache, "thaw", "jars", fmt.Sprintf("%s-%x", name, sha256.Sum256(list)))}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := runtimes.FetchJars(ctx, string(list), a.jars); err != nil {
		if errors.As(err, new(*url.Error)) || errors.As(err, new(net.Error)) {
			t.Skip("jars cannot be fetched here: ", err)
		}
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(source, "*", "*.java"))
	if err != nil || len(files) == 0 {
		t.Fatalf("sources of %s: %v, %v", name, files, err)
	}
	args := []string{"--release", "17", "-parameters", "-nowarn", "-cp", strings.Join(a.of(t, "lib"), ":"), "-d", a.classes}
	if processors := a.of(t, "processor"); len(processors) > 0 {
		args = append(args, "-processorpath", strings.Join(append(processors, a.of(t, "lib")...), ":"))
	} else {
		args = append(args, "-proc:none")
	}
	if out, err := exec.Command(javac, append(args, files...)...).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	return a
}

func (a application) of(t *testing.T, component string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(a.jars, component, "lib", "*.jar"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// zip packs the classes, and the jars of these components in lib/.
func (a application) zip(t *testing.T, components ...string) []byte {
	t.Helper()
	files := map[string]string{}
	add := func(name, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	err := filepath.WalkDir(a.classes, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(a.classes, path)
		add(rel, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range components {
		for _, jar := range a.of(t, c) {
			add("lib/"+filepath.Base(jar), jar)
		}
	}
	return zipOf(t, files)
}

var reportFigure = regexp.MustCompile(`\t(Init Duration|Restore Duration|Duration): ([0-9.]+) ms`)

// took adds up what a REPORT line says of an invoke: its duration and that of the Init or the restore before it.
func (a answer) took(t *testing.T) (total time.Duration, restored bool) {
	t.Helper()
	_, report, ok := strings.Cut(a.log, "REPORT RequestId: ")
	if !ok {
		t.Fatalf("no REPORT in %q", a.log)
	}
	for _, m := range reportFigure.FindAllStringSubmatch(report, -1) {
		f, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		total += time.Duration(f * float64(time.Millisecond))
		restored = restored || m[1] == "Restore Duration"
	}
	return total, restored
}

// testApplication deploys a function unchanged with SnapStart, and wants copies to have what Init made, and the best of
// three to answer in less than half the time of a cold start: on a machine that is busy any one of them may be late.
func testApplication(t *testing.T, code []byte, handler, event string) (f *deployed, answers []map[string]string) {
	t.Helper()
	s := shared(t, "gvisor")
	s.t = t
	f = s.deployZip(ready(t, s, "java17", "java21", "java25"), code, snapStart, memory(1024), timeout(60),
		func(in *lambda.CreateFunctionInput) { in.Handler = &handler })
	first := f.tail(event)
	first.ok(t)
	cold, _ := first.took(t)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s: %s", c.State, aws.ToString(c.StateReason))
	}
	best := cold
	for range 3 {
		a := f.invokeVersion("1", event)
		body := a.ok(t)
		warm, restored := a.took(t)
		if !restored {
			t.Errorf("the first invoke of a copy tells of no restore: %s", a.log)
		}
		best = min(best, warm)
		t.Logf("cold %v, restored %v", cold.Round(time.Millisecond), warm.Round(time.Millisecond))
		var proxied struct{ Body string } // what the container for Spring answers
		if err := json.Unmarshal([]byte(body), &proxied); err == nil && proxied.Body != "" {
			body = proxied.Body
		}
		var got map[string]string
		if err := json.Unmarshal([]byte(body), &got); err != nil || got["name"] != "rex" || got["made"] == "" {
			t.Fatalf("answer %s: %v", body, err)
		}
		answers = append(answers, got)
		f.node.pool.Outdate(function.ARN("arn:aws:lambda:eu-west-1:000000000000:function:"+f.name), "1", "")
	}
	if best > cold/2 {
		t.Errorf("the best of %d copies took %v, a cold start %v", len(answers), best, cold)
	}
	if answers[0]["made"] != answers[1]["made"] || answers[0]["made"] != answers[2]["made"] {
		t.Errorf("copies of one snapshot have different beans: %v", answers)
	}
	return f, answers
}

// Spring Boot registers hooks wherever it sees org.crac.Core, and needs org.crac.management then: with no org.crac in
// the function's package, and with any.
func TestSpringBootWithSnapStart(t *testing.T) {
	t.Parallel()
	app := buildApplication(t, "java-spring")
	const event = `{"httpMethod":"GET","path":"/pets/rex","headers":{},"multiValueHeaders":{},"requestContext":{"identity":{"sourceIp":"127.0.0.1"}}}`
	for name, components := range map[string][]string{
		"none": {"lib"},
		"new":  {"lib", "crac-1.5.0"},
		"old":  {"lib", "crac-0.1.3"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := testApplication(t, app.zip(t, components...), "example.App", event)
			f.logs("Spring-managed lifecycle restart completed") // its after-restore hook
		})
	}
}

func TestMicronautWithSnapStart(t *testing.T) {
	t.Parallel()
	app := buildApplication(t, "java-micronaut")
	_, answers := testApplication(t, app.zip(t, "lib"), "example.Pets", `{"name":"rex"}`)
	for _, a := range answers {
		if a["hooks"] != "before after" {
			t.Errorf("hooks that ran: %q", a["hooks"])
		}
	}
}
