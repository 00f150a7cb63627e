package api_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"go.uber.org/goleak"

	"thaw/api"
	"thaw/blob"
	"thaw/bucket"
	"thaw/codepackage"
	"thaw/controlplane"
	"thaw/function"
	"thaw/internal/door"
	"thaw/internal/wholebody"
	"thaw/jetstream"
	"thaw/layer"
	"thaw/pool"
	"thaw/runtimes"
	"thaw/signing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "000000000000"
	region  = "eu-west-1"
	role    = "arn:aws:iam::000000000000:role/r"
)

// world is a control plane with real stores. What runs functions is not part of it: runner stands in its place and records what it was asked.
type world struct {
	t       testing.TB
	dir     string
	Options options
	runner  *runner
	stall   time.Duration // as door.Options has it

	server *api.Server
	close  func()
	url    string
	client *lambda.Client
}

// options are those of the API and of the control plane below it.
type options struct {
	plane
	api.Options
}

type plane = controlplane.Options

// runner answers invocations as the test says.
type runner struct {
	mu      sync.Mutex
	asked   []*pool.Request
	retired []retirement
	wanted  map[function.ARN]int // provisioned, by ARN with version
	made    map[function.ARN]pool.Allocation
	answer  func(context.Context, *pool.Request) (*function.Outcome, error)
}

type retirement struct {
	ARN    function.ARN
	Number function.VersionNumber
	Before uint64
}

func (r *runner) Invoke(ctx context.Context, q *pool.Request) (*function.Outcome, error) {
	r.mu.Lock()
	r.asked = append(r.asked, q)
	answer := r.answer
	r.mu.Unlock()
	if answer == nil {
		return &function.Outcome{Payload: q.Event, ContentType: "application/json"}, nil
	}
	return answer(ctx, q)
}

func (r *runner) Retire(arn function.ARN, number function.VersionNumber, before uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = append(r.retired, retirement{arn, number, before})
}

func (r *runner) Provision(v *function.Version, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted == nil {
		r.wanted = map[function.ARN]int{}
	}
	r.wanted[v.ARN()] = n
}

func (r *runner) Provisioned(v *function.Version) pool.Allocation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made[v.ARN()]
}

func (r *runner) retirements() []retirement {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]retirement(nil), r.retired...)
}

func (r *runner) last(t testing.TB) *pool.Request {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.asked) == 0 {
		t.Fatal("nothing was invoked")
	}
	return r.asked[len(r.asked)-1]
}

// installed is a set of runtimes of which python3.13 is known and not there.
type installed struct{}

func (installed) Check(identifier, _ string) error {
	switch identifier {
	case "nodejs22.x", "nodejs24.x", "python3.12", "java21", "provided.al2023":
		return nil
	case "python3.13":
		return &runtimes.NotInstalledError{Identifier: identifier, Missing: "Python 3.13", Install: "thaw runtime install python3.13"}
	}
	return &runtimes.UnknownError{Identifier: identifier}
}

func (i installed) Provide(_ context.Context, identifier, architecture string) error {
	return i.Check(identifier, architecture)
}

func (i installed) Recoverable(identifier, architecture string) bool {
	return i.Check(identifier, architecture) == nil
}

func (installed) Fetching(string) string { return "" }

// newWorld opens a control plane on a fresh folder, listening on loopback.
func newWorld(t testing.TB, edit ...func(*options)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), runner: &runner{}}
	w.Options = options{plane: plane{
		Pool: w.runner, Runtimes: installed{}, Objects: &bucket.Reader{}, Log: slog.New(slog.DiscardHandler), Settle: 300 * time.Millisecond, // what tests look at while it is Pending, on a busy machine too
	}, Options: api.Options{AccountID: account}}
	for _, f := range edit {
		f(&w.Options)
	}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	s, closeAll := openServer(w.t, w.dir, w.Options)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	hs := door.Serve(l, s, door.Options{MaxConnections: 100, Stall: w.stall})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	w.server, w.url = s, "http://"+l.Addr().String()
	w.client = newClient(w.url, transport, region)
	w.close = sync.OnceFunc(func() {
		transport.CloseIdleConnections()
		hs.Close()
		closeAll()
	})
}

func openServer(t testing.TB, dir string, o options) (*api.Server, func()) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	records, err := jetstream.Open(t.Context(), jetstream.Options{Dir: filepath.Join(dir, "records"), Log: o.Log})
	must(err)
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	must(err)
	codes, err := codepackage.Open(codepackage.Options{Dir: filepath.Join(dir, "code"), Source: blobs, Log: o.Log})
	must(err)
	stored, err := records.LayerRecords(t.Context())
	must(err)
	layers, err := layer.Open(t.Context(), stored)
	must(err)
	o.Store, o.Blobs, o.Codes, o.Layers = records, blobs, codes, layers
	p, err := controlplane.Open(t.Context(), o.plane)
	must(err)
	o.Options.Plane = p
	kept, err := records.SigningConfigs(t.Context())
	must(err)
	o.Signing, err = signing.Open(t.Context(), kept)
	must(err)
	s, err := api.New(o.Options)
	must(err)
	return s, func() {
		p.Close()
		blobs.Close()
		records.Close()
	}
}

// reopen is a restart of the server.
func (w *world) reopen() {
	w.t.Helper()
	w.close()
	w.open()
}

func newClient(url string, transport http.RoundTripper, region string) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: region, BaseEndpoint: aws.String(url), Credentials: credentials.NewStaticCredentialsProvider("test", "secret", ""),
		HTTPClient: wholebody.Client(&http.Client{Transport: transport}), RetryMaxAttempts: 1,
	})
}

// zipOf makes a package of files, name by name.
func zipOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := z.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, files[i+1])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func createInput(t testing.TB, name string) *lambda.CreateFunctionInput {
	return &lambda.CreateFunctionInput{
		FunctionName: aws.String(name), Role: aws.String(role), Handler: aws.String("index.handler"), Runtime: types.RuntimeNodejs22x,
		Code: &types.FunctionCode{ZipFile: zipOf(t, "index.js", "exports.handler = async e => e // "+name)},
	}
}

func (w *world) create(name string, edit ...func(*lambda.CreateFunctionInput)) *lambda.CreateFunctionOutput {
	w.t.Helper()
	in := createInput(w.t, name)
	for _, f := range edit {
		f(in)
	}
	out, err := w.client.CreateFunction(w.t.Context(), in)
	if err != nil {
		w.t.Fatalf("create %s: %v", name, err)
	}
	return out
}

// active waits with the SDK's own waiters.
func (w *world) active(name string) *lambda.GetFunctionOutput {
	w.t.Helper()
	in := &lambda.GetFunctionInput{FunctionName: aws.String(name)}
	quick := func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	}
	out, err := lambda.NewFunctionActiveV2Waiter(w.client, quick).WaitForOutput(w.t.Context(), in, time.Minute)
	if err != nil {
		w.t.Fatalf("%s does not become active: %v", name, err)
	}
	return out
}

func (w *world) updated(name string) *lambda.GetFunctionOutput {
	w.t.Helper()
	in := &lambda.GetFunctionInput{FunctionName: aws.String(name)}
	quick := func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	}
	out, err := lambda.NewFunctionUpdatedV2Waiter(w.client, quick).WaitForOutput(w.t.Context(), in, time.Minute)
	if err != nil {
		w.t.Fatalf("%s is not updated: %v", name, err)
	}
	return out
}

func TestLifeOfAFunction(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	created := w.create("orders")
	if created.State != types.StatePending || created.StateReasonCode != types.StateReasonCodeCreating || aws.ToString(created.StateReason) != "The function is being created." || created.LastUpdateStatus != "" {
		t.Errorf("create answered %+v", created) // C-022
	}
	got, err := w.client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("orders")})
	if err != nil || got.Configuration.State != types.StatePending {
		t.Errorf("a GetFunction sent at once sees %v, %v", got, err)
	}
	got = w.active("orders")
	c := got.Configuration
	if c.State != types.StateActive || c.LastUpdateStatus != types.LastUpdateStatusSuccessful || c.StateReason != nil || *c.RevisionId == *created.RevisionId {
		t.Errorf("active: %+v", c) // C-023
	}
	out, err := w.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("orders"), Payload: []byte(`{"a":1}`)})
	if err != nil || string(out.Payload) != `{"a":1}` || out.StatusCode != 200 || aws.ToString(out.ExecutedVersion) != "$LATEST" {
		t.Errorf("invoke: %+v, %v", out, err) // C-069
	}
	code, err := w.client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("orders"), ZipFile: zipOf(t, "index.js", "2")})
	if err != nil || code.LastUpdateStatus != types.LastUpdateStatusInProgress || code.LastUpdateStatusReasonCode != "Creating" {
		t.Errorf("update: %+v, %v", code, err) // C-037
	}
	w.updated("orders")
	v, err := w.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String("orders")})
	if err != nil || *v.Version != "1" || v.State != types.StateActive || v.LastUpdateStatus != types.LastUpdateStatusSuccessful {
		t.Errorf("publish: %+v, %v", v, err) // C-053
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders")}); err != nil {
		t.Error(err)
	}
	_, err = w.client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("orders")})
	wantError(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:orders") // C-048
}
