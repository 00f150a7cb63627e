package alb

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/function"
	"thaw/invoke"
	"thaw/push"
	"thaw/push/pushtest"
	"thaw/trigger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const fn = function.ARN("arn:aws:lambda:eu-west-1:123456789012:function:shop")

// world is a Service, and a function that a test writes in Go.
type world struct {
	t      *testing.T
	docs   *pushtest.Documents
	s      *Service
	http   *httptest.Server
	answer func(ctx context.Context, event []byte) (string, error)
}

func (w *world) Find(k function.Key, _ function.Qualifier, _ function.ARN, _ float64) (*function.Entry, *function.VersionRecord, error) {
	if k.Name == "none" {
		return nil, nil, &invoke.NotFoundError{}
	}
	return nil, nil, nil
}

// Invoke implements push.Invoker.
func (w *world) Invoke(ctx context.Context, r *invoke.Request) (*invoke.Result, error) {
	got, err := w.answer(ctx, r.Event)
	if err != nil {
		return nil, err
	}
	out := &invoke.Result{Outcome: &function.Outcome{Payload: []byte(got)}}
	if got == "fails" {
		out.FunctionError = "Unhandled"
	}
	return out, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, docs: &pushtest.Documents{}}
	w.answer = func(_ context.Context, event []byte) (string, error) {
		b, err := json.Marshal(string(event))
		return `{"statusCode":200,"headers":{"content-type":"application/json","Server":"mine"},"body":` + string(b) + `}`, err
	}
	w.open()
	w.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.s.ServeHTTP(rw, r) }))
	t.Cleanup(func() {
		w.http.Close()
		w.s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.s, err = Open(w.t.Context(), Options{Records: w.docs, Functions: &push.Functions{Invoker: w, Enforced: func() bool { return false }}, Log: slog.New(slog.DiscardHandler),
		Listen: func(port int, h http.Handler) (io.Closer, error) {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
			if err != nil {
				return nil, err
			}
			s := httptest.NewUnstartedServer(h)
			s.Listener.Close()
			s.Listener = l
			s.Start()
			return closer(s.Close), nil
		}})
	if err != nil {
		w.t.Fatal(err)
	}
}

type closer func()

func (c closer) Close() error { c(); return nil }

func (w *world) add(name string, set Settings) {
	w.t.Helper()
	if _, err := w.s.Add(w.t.Context(), name, fn, set); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ask(method, at, body string) (int, string, http.Header) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "text/plain")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Requests reach the function below a path and at a port, and answers come back; both survive a restart.
func TestRequestsReachTheFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	port := freePort(t)
	w.add("shop", Settings{})
	w.add("many", Settings{MultiValue: true, Port: port})
	own := "http://127.0.0.1:" + strconv.Itoa(port)
	for range 2 {
		status, body, h := w.ask("POST", w.http.URL+"/alb/shop/a%20b/c?x=1&x=%26", "hi")
		var e struct {
			Path, Method, Body string
			Query              map[string]string `json:"queryStringParameters"`
			RequestContext     struct {
				ELB struct{ TargetGroupARN string }
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != 200 || e.Path != "/a%20b/c" || e.Body != "hi" || e.Query["x"] != "%26" ||
			!strings.HasPrefix(e.RequestContext.ELB.TargetGroupARN, "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/") {
			t.Errorf("%v %d %s", err, status, body)
		}
		if h.Get("Server") != "awselb/2.0" || h.Get("Content-Security-Policy") == "" {
			t.Errorf("%v", h)
		}
		status, body, h = w.ask("GET", own+"/x?y=1", "")
		if status != 200 || !strings.Contains(body, `"path":"/x","multiValueQueryStringParameters":{"y":["1"]}`) || h.Get("Content-Security-Policy") != "" {
			t.Errorf("at its own port: %d %s %v", status, body, h)
		}
		w.s.Close()
		w.open()
	}
	if err := w.s.Remove(t.Context(), "many"); err != nil {
		t.Fatal(err)
	}
	if _, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), time.Second); err == nil {
		t.Error("the port of what was removed is open")
	}
	if list := w.s.List(); len(list) != 1 || list[0].Name != "shop" {
		t.Errorf("%+v", list)
	}
}

// What goes wrong is answered with AWS's page, and whoever lists balancers sees why.
func TestErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("shop", Settings{IdleTimeout: 1})
	big := strings.Repeat("x", trigger.MaxBalancerBody)
	for _, c := range []struct {
		name, at, body string
		answer         func(context.Context, []byte) (string, error)
		status         int
	}{
		{"no such balancer", "/alb/none/", "", nil, 503},
		{"the function fails", "/alb/shop", "", func(context.Context, []byte) (string, error) { return "fails", nil }, 502},
		{"it answers nonsense", "/alb/shop/", "", func(context.Context, []byte) (string, error) { return `"ok"`, nil }, 502},
		{"its answer is too large", "/alb/shop/", "", func(context.Context, []byte) (string, error) { return `{"statusCode":200,"body":"` + big + `"}`, nil }, 502},
		{"it cannot run", "/alb/shop/", "", func(context.Context, []byte) (string, error) { return "", errors.New("throttled") }, 502},
		{"the server stops", "/alb/shop/", "", func(context.Context, []byte) (string, error) { return "", invoke.ErrStopping }, 503},
		{"it takes too long", "/alb/shop/", "", func(ctx context.Context, _ []byte) (string, error) { <-ctx.Done(); return "", ctx.Err() }, 504},
		{"a body of a byte too much", "/alb/shop/", big + "x", nil, 413},
		{"a body that is as large as it may be", "/alb/shop/", big, func(context.Context, []byte) (string, error) { return `{"statusCode":204}`, nil }, 204},
	} {
		w.answer = c.answer
		status, body, h := w.ask("POST", w.http.URL+c.at, c.body)
		if status != c.status {
			t.Errorf("%s: %d, want %d", c.name, status, c.status)
		}
		if status > 299 && (!strings.HasPrefix(body, "<html>\r\n<head><title>"+strconv.Itoa(c.status)+" ") || h.Get("Content-Type") != "text/html") {
			t.Errorf("%s: %s", c.name, body)
		}
	}
	if list := w.s.List(); list[0].Trouble.What == "" || list[0].Requests == 0 {
		t.Errorf("%+v", list[0])
	}
}

// What cannot be is refused in words.
func TestAdd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("shop", Settings{})
	for _, c := range []struct {
		name, want string
		f          function.ARN
		set        Settings
	}{
		{"shop", "already", fn, Settings{}},
		{"a_b", "is no name", fn, Settings{}},
		{"internal-x", "is no name", fn, Settings{}},
		{"x", "no port", fn, Settings{Port: 70_000}},
		{"x", "35 to 300", fn, Settings{HealthInterval: 1}},
		{"x", "no path", fn, Settings{HealthPath: "x"}},
		{"x", "4,000", fn, Settings{IdleTimeout: 5000}},
		{"x", "", "arn:aws:lambda:eu-west-1:123456789012:function:none", Settings{}},
	} {
		if _, err := w.s.Add(t.Context(), c.name, c.f, c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v", c.name, c.set, err)
		}
	}
	if err := w.s.Remove(t.Context(), "none"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}
