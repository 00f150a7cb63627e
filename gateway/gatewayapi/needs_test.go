package gatewayapi

import (
	"net/http/httptest"
	"testing"
)

// A request needs its method on its path, however that is escaped, and apigatewayv2's paths are those without /v2: as
// policies for AWS are written.
func TestNeeds(t *testing.T) {
	s := New(Options{})
	for path, want := range map[string]string{
		"/v2/apis":                      "/apis",
		"/v2/apis/a/routes/b":           "/apis/a/routes/b",
		"/restapis/a/stages/prod":       "/restapis/a/stages/prod",
		"/restapis?mode=import":         "/restapis",
		"/v2/domainnames/a.example.org": "/domainnames/a.example.org",
		"/%61pis/a":                     "/apis/a", // what find takes for the same is the same
		"//v2/apis/":                    "/apis",
		"/%76%32/apis/%61":              "/apis/a",
		"/restapis/a/":                  "/restapis/a",
		"/tags/arn:aws:x%2fa":           "/tags/arn%3Aaws%3Ax%2Fa",
		"/tags/arn%3Aaws%3Aapigateway%3Aeu-west-1%3A%3A%2Frestapis%2Fa": "/tags/arn%3Aaws%3Aapigateway%3Aeu-west-1%3A%3A%2Frestapis%2Fa",
	} {
		asks := s.Needs(httptest.NewRequest("PATCH", path, nil), "", "eu-west-1", nil)
		if len(asks) != 1 || asks[0].Action != "apigateway:PATCH" || asks[0].Resource != "arn:aws:apigateway:eu-west-1::"+want {
			t.Errorf("%s: %+v", path, asks)
		}
	}
}

// Each operation has a path of its own: none hides another.
func TestOperationsApart(t *testing.T) {
	s := New(Options{})
	for _, o := range s.table {
		r := httptest.NewRequest(o.method, o.path, nil)
		if o.query != "" {
			r.URL.RawQuery = o.query
		}
		r.URL.RawPath, r.URL.Path = o.path, o.path
		if found, _ := s.find(r); found == nil || found.name != o.name {
			t.Errorf("%s %s of %s is found as %+v", o.method, o.path, o.name, found)
		}
	}
}
