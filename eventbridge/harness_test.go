package eventbridge

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"go.uber.org/goleak"

	"thaw/agenda"
	"thaw/function"
	"thaw/internal/plainjson"
	"thaw/internal/wholebody"
	"thaw/push/pushtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	region  = "eu-west-1"
	fn      = "arn:aws:lambda:eu-west-1:123456789012:function:"
	queue   = "arn:aws:sqs:eu-west-1:123456789012:q"
)

// world is the API over records in memory. Signatures are the business of whoever serves it.
type world struct {
	t       testing.TB
	records *pushtest.Documents
	sinks   *pushtest.Sinks
	api     *Server
	agenda  *agenda.Agenda
	client  *sdk.Client
	url     string
	now     func() time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, records: &pushtest.Documents{}, sinks: &pushtest.Sinks{}, now: time.Now}
	w.open(t)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		rw.Header().Set("X-Amzn-Requestid", "id")
		w.api.Serve(rw, r, strings.TrimPrefix(r.Header.Get("X-Amz-Target"), w.api.Target()), region, body)
	}))
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		w.agenda.Close()
	})
	w.url = server.URL
	w.client = sdk.New(sdk.Options{Region: region, BaseEndpoint: aws.String(w.url), RetryMaxAttempts: 1,
		HTTPClient: wholebody.Client(&http.Client{Transport: transport}), Credentials: credentials.NewStaticCredentialsProvider("any", "any", "")})
	return w
}

// open opens the service on the records that there are, as after a restart.
func (w *world) open(t testing.TB) {
	if w.agenda != nil {
		w.agenda.Close()
	}
	var err error
	log := slog.New(slog.DiscardHandler)
	if w.agenda, err = agenda.Open(agenda.Options{Path: filepath.Join(t.TempDir(), "fired"), Log: log, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	w.api, err = Open(t.Context(), Options{AccountID: account, Records: w.records, Functions: w.sinks, Outbox: pushtest.Letters{Sinks: w.sinks}, Agenda: w.agenda, Log: log, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	w.agenda.Start()
}

// call sends a request, and gives status and body.
func (w *world) call(operation, body string) string {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	rec := httptest.NewRecorder()
	w.api.Serve(rec, r, operation, region, []byte(body))
	return strings.TrimSpace(http.StatusText(rec.Code) + " " + rec.Body.String())
}

// ok sends a request that must succeed.
func (w *world) ok(operation, body string) {
	w.t.Helper()
	if got := w.call(operation, body); !strings.HasPrefix(got, "OK ") || strings.Contains(got, "ErrorCode") {
		w.t.Fatalf("%s %s: %s", operation, body, got)
	}
}

// rule makes a rule with targets.
func (w *world) rule(bus, name, pattern string, targets ...string) {
	w.t.Helper()
	w.ok("PutRule", string(plainjson.Value(map[string]string{"Name": name, "EventBusName": bus, "EventPattern": pattern})))
	if len(targets) > 0 {
		w.ok("PutTargets", `{"Rule":"`+name+`","EventBusName":"`+bus+`","Targets":[`+strings.Join(targets, ",")+`]}`)
	}
}

func target(id, arn, more string) string {
	return `{"Id":"` + id + `","Arn":"` + arn + `"` + more + `}`
}

func functionName(a function.ARN) string { return string(a)[strings.LastIndex(string(a), ":")+1:] }

func indented(t testing.TB, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return b.String()
}

func newRequest(header, value string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set(header, value)
	return r
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }
