package node

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/eventsource/eventsourcetest"
	"thaw/internal/wholebody"
	"thaw/logstore"
)

// server is a whole thaw, with AWS's own client in front of it.
type server struct {
	t      testing.TB
	node   *Node
	client *lambda.Client
	kind   string // of sandbox
}

var sharedServers = struct {
	sync.Mutex
	open map[string]*server
}{open: map[string]*server{}}

// sandboxes are the kinds that this machine can run.
var sandboxes = []string{"process", "gvisor"}

// eachSandbox runs a test on every sandbox, beside other tests; one server of each kind serves all tests of the package.
// So a test looks at its own functions alone, or opens a server of its own.
func eachSandbox(t *testing.T, test func(t *testing.T, s *server)) {
	t.Parallel()
	for _, kind := range sandboxes {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, shared(t, kind))
		})
	}
}

// shared returns the package's server of a kind.
func shared(t testing.TB, kind string) *server {
	t.Helper()
	needRoot(t, kind)
	sharedServers.Lock()
	defer sharedServers.Unlock()
	s := sharedServers.open[kind]
	if s == nil {
		dir, err := os.MkdirTemp("", "thaw-test-"+kind+"-")
		if err != nil {
			t.Fatal(err)
		}
		s = openServer(t, kind, dir)
		sharedServers.open[kind] = s
	}
	return &server{t: t, node: s.node, client: s.client, kind: kind}
}

func needRoot(t testing.TB, kind string) {
	t.Helper()
	if kind == "gvisor" && os.Geteuid() != 0 {
		t.Skip("the gvisor sandbox needs root")
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	eventsourcetest.End()
	for _, s := range sharedServers.open {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := s.node.Close(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "close:", err)
			code = 1
		}
		cancel()
		os.RemoveAll(s.node.cfg.DataDir)
	}
	eventsourcetest.End()
	os.Exit(code)
}

func testConfig(kind, dir string) Config {
	c := Default()
	c.DataDir, c.Sandbox, c.Listen = dir, kind, "127.0.0.1:0"
	c.Offline = true // a test that needs more than the host has installs it
	return c
}

func openServer(t testing.TB, kind, dir string) *server {
	t.Helper()
	return openConfigured(t, kind, testConfig(kind, dir))
}

func openServerWith(t testing.TB, kind, dir string, change func(*Config)) *server {
	t.Helper()
	c := testConfig(kind, dir)
	change(&c)
	return openConfigured(t, kind, c)
}

func openConfigured(t testing.TB, kind string, c Config) *server {
	t.Helper()
	level := slog.LevelWarn
	if os.Getenv("THAW_TEST_DEBUG") != "" {
		level = slog.LevelDebug
	}
	n, err := Open(context.Background(), c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	if err != nil {
		t.Fatalf("open a server with %s sandboxes: %v", kind, err)
	}
	return &server{t: t, node: n, client: clientOf(n.Addr()), kind: kind}
}

func clientOf(addr string) *lambda.Client { return clientIn(addr, "eu-west-1") }

func clientIn(addr, region string) *lambda.Client {
	return lambda.New(lambda.Options{Region: region, BaseEndpoint: aws.String("http://" + addr), RetryMaxAttempts: 1, HTTPClient: wholebody.Client(nil),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// deployed is a function under test.
type deployed struct {
	*server
	name string
}

type option func(*lambda.CreateFunctionInput)

func timeout(seconds int32) option {
	return func(in *lambda.CreateFunctionInput) { in.Timeout = &seconds }
}
func memory(mib int32) option { return func(in *lambda.CreateFunctionInput) { in.MemorySize = &mib } }
func vars(kv map[string]string) option {
	return func(in *lambda.CreateFunctionInput) { in.Environment = &types.Environment{Variables: kv} }
}

// deploy creates a function of files and waits until it is active; it goes with the test.
func (s *server) deploy(runtime string, files map[string]string, opts ...option) *deployed {
	s.t.Helper()
	return s.deployZip(runtime, zipOf(s.t, files), opts...)
}

func (s *server) deployZip(runtime string, code []byte, opts ...option) *deployed {
	s.t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "#", "").Replace(s.t.Name()))
	if len(name) > 50 {
		name = name[len(name)-50:]
	}
	name = fmt.Sprintf("%s-%d", strings.Trim(name, "-_"), time.Now().UnixNano()%1e6)
	in := &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.Runtime(runtime), Handler: aws.String("index.handler"),
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Code: &types.FunctionCode{ZipFile: code}, Timeout: aws.Int32(30), MemorySize: aws.Int32(256)}
	for _, o := range opts {
		o(in)
	}
	ctx := context.Background()
	if _, err := s.client.CreateFunction(ctx, in); err != nil {
		s.t.Fatalf("create %s: %v", name, err)
	}
	s.t.Cleanup(func() { s.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}) })
	f := &deployed{server: s, name: name}
	f.wait()
	return f
}

func (f *deployed) wait() {
	f.t.Helper()
	err := lambda.NewFunctionActiveV2Waiter(f.client).Wait(context.Background(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute)
	if err != nil {
		out, _ := f.client.GetFunctionConfiguration(context.Background(), &lambda.GetFunctionConfigurationInput{FunctionName: &f.name})
		f.t.Fatalf("%s does not become active: %v (%+v)", f.name, err, out)
	}
}

// answer is what the caller of an invocation got.
type answer struct {
	body, functionError, log, version string
	status                            int32
	err                               error
}

func (f *deployed) invoke(event string) answer {
	f.t.Helper()
	out, err := f.client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.name, Payload: []byte(event)})
	return answerOf(out, err)
}

func (f *deployed) tail(event string) answer {
	f.t.Helper()
	out, err := f.client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.name, Payload: []byte(event), LogType: types.LogTypeTail})
	return answerOf(out, err)
}

func answerOf(out *lambda.InvokeOutput, err error) answer {
	if err != nil {
		return answer{err: err}
	}
	return answer{body: string(out.Payload), functionError: aws.ToString(out.FunctionError), log: decode64(aws.ToString(out.LogResult)),
		version: aws.ToString(out.ExecutedVersion), status: out.StatusCode}
}

// ok fails the test unless the function answered.
func (a answer) ok(t testing.TB) string {
	t.Helper()
	if a.err != nil || a.functionError != "" {
		t.Fatalf("invoke: %v %s %s", a.err, a.functionError, a.body)
	}
	return a.body
}

// failed fails the test unless the function erred, with this type and text.
func (a answer) failed(t testing.TB, errType, text string) {
	t.Helper()
	var body struct{ ErrorType, ErrorMessage string }
	if a.err != nil {
		t.Fatalf("invoke: %v; want a function error", a.err)
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("error body %q: %v", a.body, err)
	}
	if a.functionError != "Unhandled" || body.ErrorType != errType || !strings.Contains(body.ErrorMessage, text) {
		t.Fatalf("got %s %s; want Unhandled, %s, %q", a.functionError, a.body, errType, text)
	}
}

// logs are the messages of the function so far, in order; it waits until one contains each of the wanted texts.
func (f *deployed) logs(want ...string) []string {
	f.t.Helper()
	var got []string
	deadline := time.Now().Add(10 * time.Second)
	for {
		events, err := f.node.logs.Filter(context.Background(), logstore.Query{Group: "/aws/lambda/" + f.name})
		got = got[:0]
		for _, e := range events {
			got = append(got, e.Message)
		}
		all := strings.Join(got, "\n")
		missing := ""
		for _, w := range want {
			if !strings.Contains(all, w) {
				missing = w
			}
		}
		if missing == "" {
			return got
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("no log line with %q (%v); have:\n%s", missing, err, all)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func zipOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
