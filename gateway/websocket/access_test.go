package websocket

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/gateway"
)

// lines is an access log.
type lines struct {
	mu   sync.Mutex
	list []string
}

// Append implements gateway.Lines.
func (l *lines) Append(_ time.Time, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, message)
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.list, "")
}

// Handshakes are judged by signature, API key and bounds; messages have bounds of their own. All are in the access log.
func TestWhoMayConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(a *gateway.API) {
		routes := a.Deployments["d"].Definition.Routes
		routes["$connect"].Authorization, routes["$connect"].NeedsKey = "AWS_IAM", true
		a.Stages["prod"].Throttles = map[string]gateway.Throttle{"ask": {Rate: 0.001, Burst: 1}, "$connect": {Rate: 0.001, Burst: 5}}
		a.Stages["prod"].AccessLog = &gateway.AccessLog{Destination: "arn:aws:logs:eu-west-1:123456789012:log-group:chat", Format: "$context.eventType $context.routeKey $context.status $context.error.message"}
	})
	w.answer = func(map[string]any) (string, error) { return `{"statusCode":200,"body":"heard"}`, nil }
	log := &lines{}
	w.s.o.APIs.AccessLog = func(string, string) gateway.Lines { return log }
	for key, record := range map[string]*gateway.Account{
		"key/k":  {Key: &gateway.APIKey{ID: "k", Value: "open-sesame-open-sesame", Enabled: true}},
		"plan/p": {Plan: &gateway.Plan{ID: "p", Keys: map[string]string{"k": "API_KEY"}, Stages: []gateway.PlanStage{{API: api, Stage: "prod"}}}},
	} {
		if err := w.records.Shared.Put(t.Context(), key, record); err != nil {
			t.Fatal(err)
		}
	}
	var c *client
	for _, h := range []struct {
		name   string
		header http.Header
		status int
		body   string
	}{
		{"nobody", nil, 403, "Missing Authentication Token"},
		{"a bad signature", http.Header{"Authorization": {"bad"}, "X-Api-Key": {"open-sesame-open-sesame"}}, 403, ""},
		{"without a key", http.Header{"Authorization": {"good"}}, 403, "Forbidden"},
		{"with another key", http.Header{"Authorization": {"good"}, "X-Api-Key": {"none"}}, 403, "Forbidden"},
		{"signed, with a key", http.Header{"Authorization": {"good"}, "X-Api-Key": {"open-sesame-open-sesame"}}, 101, ""},
		{"one too many", http.Header{"Authorization": {"good"}, "X-Api-Key": {"open-sesame-open-sesame"}}, 429, "Too Many Requests"},
	} {
		conn, resp := w.dial("/prod", h.header)
		if resp.StatusCode != h.status {
			t.Errorf("%s: %d, want %d", h.name, resp.StatusCode, h.status)
		}
		if conn != nil {
			c = conn
			continue
		}
		var b [512]byte
		n, _ := resp.Body.Read(b[:]) //nolint:errcheck // short
		if text := string(b[:n]); !strings.Contains(text, h.body) || !strings.Contains(text, `"connectionId":"`) {
			t.Errorf("%s: %s", h.name, text)
		}
	}
	if c == nil {
		t.Fatal("nobody is connected")
	}
	c.send(`{"action":"ask"}`)
	if got := c.next(); got != "heard" {
		t.Errorf("the first: %s", got)
	}
	c.send(`{"action":"ask"}`)
	if got := c.next(); !strings.HasPrefix(got, `{"message": "Too Many Requests", "connectionId":"`) {
		t.Errorf("the second: %s", got)
	}
	c.Close()
	const want = "CONNECT $connect 403 Missing Authentication Token\nCONNECT $connect 403 The request signature we calculated does not match the signature you provided. Check your AWS " +
		"Secret Access Key and signing method. Consult the service documentation for details.\nCONNECT $connect 403 Forbidden\nCONNECT $connect 403 Forbidden\nCONNECT $connect 200 -\n" +
		"CONNECT $connect 429 Too Many Requests\nMESSAGE ask 200 -\nMESSAGE ask 429 Too Many Requests\nDISCONNECT $disconnect 200 -\n"
	w.until("all are in the access log", func() bool { return strings.Count(log.all(), "\n") == 9 })
	if got := log.all(); got != want {
		t.Errorf("the access log is\n%s", got)
	}
}

// Integrations other than a proxy: a function that gets what a template makes of the message and whose answer goes
// through a template, one that gets the message itself, one that answers by itself; what is not served is said.
func TestIntegrations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(a *gateway.API) {
		d := &a.Deployments["d"].Definition
		uri := d.Integrations["i"].URI
		for key, in := range map[string]*gateway.Integration{
			"shaped": {Type: "AWS", URI: uri, TemplateChoice: "$request.body.action", Templates: map[string]string{"shaped": `{"text":$input.json('$.text'),"id":"$context.connectionId"}`},
				Responses: map[string]*gateway.Reshaping{"$default": {Templates: map[string]string{"$default": `<$input.path('$.got')>`}}}},
			"plain": {Type: "AWS", URI: uri},
			"never": {Type: "AWS", URI: uri, Passthrough: "NEVER"},
			"own":   {Type: "MOCK", Templates: map[string]string{"$default": `{"statusCode":200}`}, Responses: map[string]*gateway.Reshaping{"$default": {Templates: map[string]string{"$default": `pong`}}}},
			"http":  {Type: "HTTP_PROXY", URI: "http://localhost:1/"},
		} {
			in.ID = key
			d.Integrations[key] = in
			d.Routes[key] = &gateway.Route{ID: key, Key: key, Integration: "integrations/" + key, ResponseSelection: "$default"}
		}
	}, func(o *Options) { o.Templates = &gateway.VTL{} })
	w.answer = func(e map[string]any) (string, error) {
		if e["requestContext"] != nil {
			return `{"statusCode":200}`, nil
		}
		if e["text"] == "boom" {
			return `error:{}`, nil
		}
		if e["id"] == w.idOf() {
			return `{"got":"` + e["text"].(string) + ` by id"}`, nil
		}
		return `{"got":"` + e["text"].(string) + `"}`, nil
	}
	c := w.connect()
	for _, m := range []struct{ send, want string }{
		{`{"action":"shaped","text":"hi"}`, "<hi by id>"},
		{`{"action":"plain","text":"hi"}`, `{"got":"hi"}`},
		{`{"action":"own"}`, "pong"},
		{`{"action":"never","text":"hi"}`, `{"message": "Internal server error"`},
		{`{"action":"http"}`, `{"message": "Internal server error"`},
		{`{"action":"plain","text":"boom"}`, `{"message": "Internal server error"`},
	} {
		c.send(m.send)
		if got := c.next(); !strings.HasPrefix(got, m.want) {
			t.Errorf("%s: %s", m.send, got)
		}
	}
}
