package websocket

import (
	"testing"

	"thaw/gateway"
)

// Which route a message goes to. Source: API Gateway Developer Guide, "WebSocket API route selection expressions".
func TestSelection(t *testing.T) {
	for _, c := range []struct{ expression, body, want string }{
		{"$request.body.action", `{"action":"join"}`, "join"},
		{"${request.body.action}", `{"action":"join"}`, "join"},
		{"$request.body.a.b", `{"a":{"b":"deep"}}`, "deep"},
		{"$request.body.list[1].k", `{"list":[{"k":"x"},{"k":"y"}]}`, "y"},
		{"${request.body.service}/${request.body.action}", `{"service":"chat","action":"join"}`, "chat/join"},
		{"$request.body.service/$request.body.action", `{"service":"chat","action":"join"}`, "chat/join"},
		{"v1.$request.body.action", `{"action":"join"}`, "v1.join"},
		{"$request.body.n", `{"n":7}`, "7"},
		{"$request.body.n", `{"n":true}`, "true"},
		{"$request.body.n", `{"n":null}`, ""},
		{"$request.body.n", `{"n":{"m":1}}`, ""},
		{"$request.body.n", `{}`, ""},
		{"$request.body.action", `{"action":`, ""},
		{"$request.body.action", `plain text`, ""},
		{"$request.body.action", `["action"]`, ""},
		{"${request.body.#}", `[1,2]`, ""},
		{"${request.body.*}", `{"x":"y"}`, ""},
		{"${request.body.a*}", `{"a*":"star","ab":"no"}`, "star"},
		{"${request.body.@reverse}", `{"x":1}`, ""},
		{"$request.body", `"whole"`, `"whole"`},
		{"${stageVariables.v}", `{}`, "one"},
		{"$context.connectionId", `{}`, "ID="},
		{"$request.header.x", `{}`, ""},
		{"${request.body.action", `{"action":"join"}`, ""},
		{`\$default`, `{}`, "$default"},
		{"$default", `{}`, ""},
		{"", `{}`, ""},
		{"constant", `{}`, "constant"},
	} {
		s := &Selection{Body: []byte(c.body), Variables: map[string]string{"v": "one"}, Context: map[string]string{"connectionId": "ID="}}
		if got := s.Select(c.expression); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.expression, c.body, got, c.want)
		}
	}
}

// A message goes to the route that it names, else to $default; nobody reaches $connect and $disconnect by a message.
func TestRouteFor(t *testing.T) {
	d := &gateway.Definition{RouteSelection: "$request.body.action", Routes: map[string]*gateway.Route{}}
	for _, key := range []string{"$connect", "$disconnect", "join"} {
		d.Routes[key] = &gateway.Route{ID: key, Key: key}
	}
	for _, c := range []struct{ body, want, without string }{
		{`{"action":"join"}`, "join", "join"},
		{`{"action":"leave"}`, "$default", ""},
		{`{"action":"$connect"}`, "$default", ""},
		{`{"action":"$disconnect"}`, "$default", ""},
		{`{"action":"$default"}`, "$default", ""},
		{`no JSON`, "$default", ""},
	} {
		key := func() string {
			if r := routeFor(d, &Selection{Body: []byte(c.body)}); r != nil {
				return r.Key
			}
			return ""
		}
		delete(d.Routes, "$default")
		if got := key(); got != c.without {
			t.Errorf("%s without $default: %q, want %q", c.body, got, c.without)
		}
		d.Routes["$default"] = &gateway.Route{ID: "$default", Key: "$default"}
		if got := key(); got != c.want {
			t.Errorf("%s: %q, want %q", c.body, got, c.want)
		}
	}
}

func FuzzSelect(f *testing.F) {
	for _, seed := range []string{"$request.body.action", "${request.body.a[0].b}", `\$x${`, "$request.body.a.#(b==1)|@this"} {
		f.Add(seed, `{"action":"a","a":[{"b":1}]}`)
	}
	f.Fuzz(func(t *testing.T, expression, body string) {
		s := &Selection{Body: []byte(body)}
		s.Select(expression)
	})
}
