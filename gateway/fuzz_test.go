package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"thaw/function"
	"thaw/push"
	"thaw/push/pushtest"
)

// Whatever is asked and whatever a function answers, an API answers once, with a status, and no header has been split.
func FuzzRequests(f *testing.F) {
	f.Add("GET", "/prod/orders/7?a=b&a=c", "X-A", "1", []byte("body"), `{"statusCode":200,"body":"x"}`)
	f.Add("POST", "/prod/mock/%2e%2e/x", "Content-Type", "application/json", []byte(`{"a":{"b":1}}`), `{"a":1}`)
	f.Add("OPTIONS", "//prod//", "Origin", "https://a.example", []byte{0xff}, `error:{"errorMessage":"bad"}`)
	records, err := OpenRecords(f.Context(), &pushtest.Documents{}, &pushtest.Documents{})
	if err != nil {
		f.Fatal(err)
	}
	w := &world{log: &lockedBuffer{}, runs: map[string]code{}, asks: map[string][]string{}}
	w.Server = New(Options{Records: records, Log: slog.New(slog.DiscardHandler), Functions: &push.Functions{Invoker: w, Queue: w, Enforced: func() bool { return false }}})
	for _, kind := range []Kind{HTTP, REST} {
		d := Definition{Routes: map[string]*Route{}, Integrations: map[string]*Integration{}, CORS: &CORS{Origins: []string{"*"}},
			Answers: map[string]*Answer{"DEFAULT_4XX": {Parameters: map[string]string{"gatewayresponse.header.X": "method.request.header.X-A", "gatewayresponse.header.Y": "method.request.path.id"}}}}
		for _, key := range []string{"ANY /orders/{id}", "GET /mock/{proxy+}", "POST /mock/{proxy+}", "POST /map"} {
			d.Routes[key] = &Route{ID: key, Key: key}
			d.Integrations[key] = &Integration{ID: key, Type: "AWS_PROXY", URI: arnOf("f"), PayloadVersion: "2.0", Parameters: map[string]string{"append:header.x-b": "$request.body.a.b", "overwrite:path": "$request.querystring.a"}}
		}
		if kind == REST {
			d.Integrations["GET /mock/{proxy+}"] = &Integration{Type: "MOCK", Templates: map[string]string{"application/json": `{"statusCode":$input.params('a')}`},
				Responses: map[string]*Reshaping{"200": {Parameters: map[string]string{"method.response.header.X": "method.request.querystring.a"}, Templates: map[string]string{"application/json": "$input.json('$.a')"}}}}
			d.Integrations["POST /map"] = &Integration{Type: "AWS", URI: arnOf("f"), Responses: map[string]*Reshaping{"200": {Parameters: map[string]string{"method.response.header.X": "integration.response.body.a"}}, "400": {Pattern: "bad.*"}}}
		}
		a := &API{ID: strings.ToLower(string(kind)), Kind: kind, Account: account, Region: region, Stages: map[string]*Stage{"prod": {Name: "prod", Deployment: "d"}, DefaultStage: {Name: DefaultStage, Deployment: "d"}},
			Deployments: map[string]*Deployment{"d": {ID: "d", Definition: d}}}
		if err := records.APIs.Put(f.Context(), a.ID, a); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, method, target, name, value string, body []byte, answer string) {
		u, err := url.Parse(target)
		if err != nil || method == "" || strings.ContainsAny(method, " \r\n") {
			return
		}
		w.function("f", func(context.Context, []byte, function.StreamSink) (string, error) { return answer, nil })
		for _, id := range []string{"http", "rest"} {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
			r.Method, r.URL, r.Host = method, u, id+".execute-api.eu-west-1.localhost"
			r.Header[http.CanonicalHeaderKey(name)] = []string{value}
			got := httptest.NewRecorder()
			w.ServeHTTP(got, r)
			if got.Code < 200 || got.Code > 599 {
				t.Errorf("status %d", got.Code)
			}
			for k, values := range got.Header() {
				if strings.ContainsAny(k+strings.Join(values, ""), "\r\n\x00") {
					t.Errorf("header %q: %q", k, values)
				}
			}
		}
		w.mu.Lock()
		clear(w.asks)
		w.mu.Unlock()
	})
}
