package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/internal/childtest"
)

// TestServeUntilKilled is the child of tests that kill a server: "KIND DIR" in, what --sources says behind it, the address on its standard output, until
// it is killed or drained.
func TestServeUntilKilled(t *testing.T) {
	kind, rest, _ := strings.Cut(childtest.Arg(t), " ")
	dir, sources, _ := strings.Cut(rest, " ")
	c := testConfig(kind, dir)
	c.Sources = sources
	n, err := Open(context.Background(), c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(n.Addr())
	<-n.Drained()
	if err := n.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// child is a server in a process of its own.
type child struct {
	*server
	*childtest.Process
}

func startChild(t *testing.T, kind, dir string) *child {
	t.Helper()
	p := childtest.Start(t, "TestServeUntilKilled", kind+" "+dir)
	return &child{&server{t: t, client: clientOf(p.Line()), kind: kind}, p}
}

// Functions, versions, configuration and concurrency survive kill -9, and nothing of the old sandboxes does, extensions
// that would not end included.
func TestKill9(t *testing.T) {
	t.Parallel()
	for _, kind := range sandboxes {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			needRoot(t, kind)
			dir := t.TempDir()
			if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			c := startChild(t, kind, dir)
			layer := c.extensions(nil, "x")
			ctx := context.Background()
			code := zipOf(t, map[string]string{"index.js": `exports.handler = async (e) => { if (e.ms) await new Promise(r => setTimeout(r, e.ms)); return process.env.MODE }`})
			in := &lambda.CreateFunctionInput{FunctionName: aws.String("kept"), Runtime: types.Runtime(nodeRuntime(t)), Handler: aws.String("index.handler"),
				Role: aws.String("arn:aws:iam::000000000000:role/r"), Code: &types.FunctionCode{ZipFile: code}, Timeout: aws.Int32(60),
				Environment: &types.Environment{Variables: map[string]string{"MODE": "one",
					"EXT_x": "events=INVOKE,SHUTDOWN ignores-shutdown " + subscribed("2022-12-13", "platform+function", "HTTP")}}, Tags: map[string]string{"k": "v"}}
			layer(in)
			if _, err := c.client.CreateFunction(ctx, in); err != nil {
				t.Fatal(err)
			}
			f := &deployed{c.server, "kept"}
			f.wait()
			if _, err := c.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &f.name}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &f.name, ReservedConcurrentExecutions: aws.Int32(7)}); err != nil {
				t.Fatal(err)
			}
			if got := f.invoke(`{}`).ok(t); got != `"one"` {
				t.Fatalf("before: %s", got)
			}
			go c.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.name, Payload: []byte(`{"ms":50000}`)})
			time.Sleep(300 * time.Millisecond) // at work when it is killed
			if kind == "gvisor" && len(groupsOf(filepath.Join(dir, "sandboxes-gvisor"))) == 0 {
				t.Error("no cgroups are seen while the server runs")
			}
			c.Kill()
			if kind == "gvisor" { // the sandboxes' parent clears up, without a next start
				groups := func() []string { return groupsOf(filepath.Join(dir, "sandboxes-gvisor")) }
				for end := time.Now().Add(time.Minute); len(groups()) > 0; time.Sleep(20 * time.Millisecond) {
					if time.Now().After(end) {
						t.Errorf("cgroups stay: %q", groups())
						break
					}
				}
			}

			c = startChild(t, kind, dir)
			f = &deployed{c.server, "kept"}
			got, err := c.client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &f.name})
			if err != nil {
				t.Fatalf("after kill -9: %v", err)
			}
			if got.Concurrency == nil || aws.ToInt32(got.Concurrency.ReservedConcurrentExecutions) != 7 || got.Tags["k"] != "v" || got.Configuration.Environment.Variables["MODE"] != "one" {
				t.Errorf("after kill -9: %+v", got)
			}
			resp, err := http.Get(*got.Code.Location)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if !bytes.Equal(body, code) {
				t.Errorf("the package has %d bytes; want the %d that were uploaded", len(body), len(code))
			}
			list, err := c.client.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: &f.name})
			if err != nil || len(list.Versions) != 2 {
				t.Errorf("versions: %v %+v", err, list)
			}
			if got := f.invoke(`{}`).ok(t); got != `"one"` {
				t.Errorf("after: %s", got)
			}
			c.Kill()
			left := func() []string { return leftovers(t, dir) }
			for end := time.Now().Add(time.Minute); len(left()) > 0 && time.Now().Before(end) && kind == "process"; {
				time.Sleep(20 * time.Millisecond) // a process sandbox has no sweeper but its own guest
			}
			n, err := Open(ctx, testConfig(kind, dir), slog.New(slog.DiscardHandler)) // sweeps
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Close(ctx); err != nil {
				t.Errorf("close: %v", err)
			}
			if got := left(); len(got) > 0 {
				t.Errorf("left behind:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// groupsOf are the cgroups of a backend's folder, in every hierarchy.
func groupsOf(folder string) []string {
	hash := sha256.Sum256([]byte(folder))
	name := filepath.Join("thaw", hex.EncodeToString(hash[:3])) // as sandbox/gvisor names them
	one, _ := filepath.Glob("/sys/fs/cgroup/" + name)
	many, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	return append(one, many...)
}

// leftovers lists processes, mounts and cgroups that name the data folder.
func leftovers(t *testing.T, dir string) (left []string) {
	t.Helper()
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, _ := os.ReadFile(p)
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "environ"))
		if bytes.Contains(b, []byte(dir)) || bytes.Contains(env, []byte(dir+"/")) {
			left = append(left, "process "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			left = append(left, "mount "+strings.TrimSpace(line))
		}
	}
	slices.Sort(left)
	return left
}

// A second server on the same folder is refused while the first one runs.
func TestOneServerPerFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	defer s.node.Close(context.Background())
	if n, err := Open(context.Background(), testConfig("process", dir), slog.New(slog.DiscardHandler)); err == nil {
		n.Close(context.Background())
		t.Error("a second server opened the same folder")
	}
}
