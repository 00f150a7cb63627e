package gatewayapi

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"thaw/gateway"
	"thaw/internal/wholebody"
	"thaw/push/pushtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account  = "000000000000"
	region   = "eu-west-1"
	function = "arn:aws:lambda:eu-west-1:000000000000:function:shop"
	proxied  = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/" + function + "/invocations"
)

// world is the operations over records of their own, with AWS's clients. Signatures are the business of whoever serves it.
type world struct {
	*testing.T
	records *gateway.Records
	url     string
	http    *apigatewayv2.Client
	rest    *apigateway.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	records, err := gateway.OpenRecords(t.Context(), &pushtest.Documents{}, &pushtest.Documents{})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Records: records, AccountID: account, Log: slog.New(slog.DiscardHandler), Forget: func(string, string) {}, Used: func(p *gateway.Plan) map[string]int {
		used := map[string]int{}
		for id := range p.Keys {
			used[id] = 7
		}
		return used
	}, Endpoint: func(a *gateway.API) string {
		return "http://" + a.ID + ".execute-api." + a.Region + ".localhost"
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			s.Serve(w, r, "", region, body)
		}
	}))
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	client, who := wholebody.Client(&http.Client{Transport: transport}), credentials.NewStaticCredentialsProvider("any", "any", "")
	return &world{T: t, records: records, url: server.URL,
		http: apigatewayv2.New(apigatewayv2.Options{Region: region, BaseEndpoint: &server.URL, RetryMaxAttempts: 1, HTTPClient: client, Credentials: who}),
		rest: apigateway.New(apigateway.Options{Region: region, BaseEndpoint: &server.URL, RetryMaxAttempts: 1, HTTPClient: client, Credentials: who})}
}

// send sends a request as it is, and gives status, the kind of error, and the body.
func (w *world) send(method, path, body string) (int, string, string) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("X-Amzn-Errortype"), string(b)
}

// done sends a request that must succeed, and gives a member of its answer.
func (w *world) done(method, path, body, member string) string {
	w.Helper()
	status, _, answer := w.send(method, path, body)
	if status > 299 {
		w.Fatalf("%s %s %s: %d %s", method, path, body, status, answer)
	}
	if member == "" {
		return answer
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(answer), &m); err != nil {
		w.Fatal(err)
	}
	text, _ := m[member].(string)
	return text
}

// refused sends a request that must be refused.
func (w *world) refused(method, path, body, code, words string) {
	w.Helper()
	status, got, answer := w.send(method, path, body)
	if status < 400 || got != code || !strings.Contains(answer, words) {
		w.Errorf("%s %s %s: %d %s %s, want %s: %s", method, path, body, status, got, answer, code, words)
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// code is the code of an error that a client of AWS gives.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func ptr[T any](v T) *T { return &v }
