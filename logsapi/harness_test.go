package logsapi

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"go.uber.org/goleak"

	"thaw/internal/wholebody"
	"thaw/logstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "000000000000"
	region  = "eu-west-1"
	hello   = "/aws/lambda/hello"
)

// world is the API over a store of its own. Signatures are the business of whoever serves it.
type world struct {
	t      testing.TB
	store  *logstore.Store
	api    *Server
	url    string
	client *cloudwatchlogs.Client
	now    time.Time // zero: the clock's
	stop   chan struct{}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, stop: make(chan struct{})}
	var err error
	if w.store, err = logstore.Open(logstore.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	w.api = New(Options{Logs: w.store, AccountID: account, Log: slog.New(slog.DiscardHandler), Stopping: w.stop, Now: func() time.Time {
		if w.now.IsZero() {
			return time.Now()
		}
		return w.now
	}})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.api.Serve(rw, r, strings.TrimPrefix(r.Header.Get("X-Amz-Target"), w.api.Target()), region, body)
	}))
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		w.api.Close()
		w.store.Close()
	})
	w.url = server.URL
	w.client = cloudwatchlogs.New(cloudwatchlogs.Options{Region: region, BaseEndpoint: aws.String(w.url), RetryMaxAttempts: 1,
		HTTPClient: wholebody.Client(&http.Client{Transport: transport}), Credentials: credentials.NewStaticCredentialsProvider("any", "any", "")})
	return w
}

// raw sends a request as it is, and gives status and body.
func (w *world) raw(operation, body string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", w.api.Target()+operation)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/x-amz-json-1.1" {
		w.t.Errorf("%s answers with the content type %s", operation, got)
	}
	return resp.StatusCode, string(bytes.TrimSpace(b))
}

// ok sends a request that must succeed.
func (w *world) ok(operation, body string) string {
	w.t.Helper()
	status, answer := w.raw(operation, body)
	if status != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s", operation, body, status, answer)
	}
	return answer
}

// fill writes n events, a millisecond apart, that end now.
func (w *world) fill(stream string, n int) (began time.Time) {
	w.t.Helper()
	began = time.Now().Add(-time.Duration(n) * time.Millisecond)
	st := w.store.Stream(hello, stream)
	for i := range n {
		if i%500 == 0 {
			<-st.Room()
		}
		st.Append(began.Add(time.Duration(i)*time.Millisecond), fmt.Sprintf("event %d\n", i))
	}
	return began
}
