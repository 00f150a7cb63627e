package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"thaw/function"
	"thaw/invoke"
	"thaw/push"
	"thaw/push/pushtest"
)

// instant is a function that costs nothing.
type instant struct{}

func (instant) Find(function.Key, function.Qualifier, function.ARN, float64) (*function.Entry, *function.VersionRecord, error) {
	return nil, nil, nil
}

func (instant) Invoke(context.Context, *invoke.Request) (*invoke.Result, error) {
	return &invoke.Result{Outcome: &function.Outcome{Payload: []byte(`{"statusCode":200,"headers":{"content-type":"application/json"},"body":"{}"}`)}}, nil
}

// What an HTTP API itself costs for a request: all but the function and the HTTP server.
func BenchmarkCall(b *testing.B) {
	records, err := OpenRecords(b.Context(), &pushtest.Documents{}, &pushtest.Documents{})
	if err != nil {
		b.Fatal(err)
	}
	s := New(Options{Records: records, Log: slog.New(slog.DiscardHandler), Functions: &push.Functions{Invoker: instant{}, Enforced: func() bool { return false }}})
	d := Definition{Routes: map[string]*Route{"r": {ID: "r", Key: "POST /v1/{id}/x", Integration: "i"}}, Integrations: map[string]*Integration{"i": {ID: "i", Type: "AWS_PROXY", URI: arnOf("f"), PayloadVersion: "2.0"}}}
	a := &API{ID: "a1b2c3", Kind: HTTP, Account: account, Region: region, Stages: map[string]*Stage{DefaultStage: {Name: DefaultStage, Deployment: "d"}}, Deployments: map[string]*Deployment{"d": {Definition: d}}}
	if err := records.APIs.Put(b.Context(), a.ID, a); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/v1/7/x", strings.NewReader(`{"n":1}`))
		r.Host = apiHost
		r.Header["Content-Type"], r.Header["User-Agent"] = []string{"application/json"}, []string{"bench"}
		w := httptest.NewRecorder()
		if s.Serves(r) {
			s.ServeHTTP(w, r)
		}
		if w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
	}
}
