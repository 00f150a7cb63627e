package scheduler

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"go.uber.org/goleak"

	"thaw/agenda"
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

// sinks note what is sent.
type sinks struct {
	pushtest.Sinks
	mu     sync.Mutex
	events []BusEvent
}

// put is Options.Put.
func (s *sinks) put(_ context.Context, e *BusEvent) error {
	if strings.HasSuffix(e.Bus, "/none") {
		return ErrNoBus
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, *e)
	return nil
}

// world is the API over records in memory. Signatures are the business of whoever serves it.
type world struct {
	t       testing.TB
	records *pushtest.Documents
	sinks   *sinks
	api     *Server
	agenda  *agenda.Agenda
	client  *sdk.Client
	url     string
	now     func() time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, records: &pushtest.Documents{}, sinks: &sinks{}, now: time.Now}
	w.open(t)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		rw.Header().Set("X-Amzn-Requestid", "id")
		w.api.Serve(rw, r, "", region, body)
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
	w.api, err = Open(t.Context(), Options{AccountID: account, Records: w.records, Functions: w.sinks, Box: pushtest.Letters{Sinks: &w.sinks.Sinks}, Put: w.sinks.put, Agenda: w.agenda, Log: log, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	w.agenda.Start()
}

// call sends a request, and gives status and body.
func (w *world) call(request string) string {
	w.t.Helper()
	method, rest, _ := strings.Cut(request, " ")
	path, body, _ := strings.Cut(rest, " ")
	rec := httptest.NewRecorder()
	w.api.Serve(rec, httptest.NewRequest(method, path, nil), "", region, []byte(body))
	return strings.TrimSpace(http.StatusText(rec.Code) + " " + rec.Header().Get("X-Amzn-Errortype") + " " + rec.Body.String())
}

// ok sends a request that must succeed.
func (w *world) ok(request string) {
	w.t.Helper()
	if got := w.call(request); !strings.HasPrefix(got, "OK ") {
		w.t.Fatalf("%s: %s", request, got)
	}
}
