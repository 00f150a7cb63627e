package api

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

// Every request that the Go SDK makes finds its operation. C-004, C-005.
func TestRequestsOfTheSDKFindTheirOperation(t *testing.T) {
	f, err := os.Open("testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rt := newRouter()
	known := map[string]bool{"InvokeWithResponseStream": true} // not in the file; tested with a client
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		p := strings.Fields(lines.Text())
		known[p[0]] = true
		r := httptest.NewRequest(p[1], p[2], nil)
		op, _ := rt.find(r.Method, r.URL.EscapedPath(), r.URL.RawQuery)
		if op == nil || op.name != p[0] {
			t.Errorf("%s %s is taken for %+v, want %s", p[1], p[2], op, p[0])
		}
	}
	for _, op := range operations() {
		if !known[op.name] {
			t.Errorf("%s is no operation of the service", op.name)
		}
	}
	if len(operations()) != len(known) {
		t.Errorf("%d operations, the service has %d", len(operations()), len(known))
	}
}

func TestRoutes(t *testing.T) {
	cases := []struct {
		name, method, target string
		op, label            string
	}{
		{"a collection", "GET", "/2015-03-31/functions", "ListFunctions", ""},
		{"a collection with a slash, C-001", "GET", "/2015-03-31/functions/", "ListFunctions", ""},
		{"creating with a slash", "POST", "/2015-03-31/functions/", "CreateFunction", ""},
		{"an encoded ARN, C-002", "GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Aorders", "GetFunction", "arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Aorders"},
		{"an encoded slash is no separator", "GET", "/2015-03-31/functions/a%2Fconfiguration", "GetFunction", "a%2Fconfiguration"},
		{"$LATEST encoded, C-003", "POST", "/2015-03-31/functions/orders%3A%24LATEST/invocations", "Invoke", "orders%3A%24LATEST"},
		{"$LATEST as it is", "POST", "/2015-03-31/functions/orders:$LATEST/invocations?Qualifier=%24LATEST", "Invoke", "orders:$LATEST"},
		{"an operation with a slash", "POST", "/2015-03-31/functions/orders/invocations/", "Invoke", "orders"},
		{"layers are listed, C-004", "GET", "/2018-10-31/layers", "ListLayers", ""},
		{"one layer version, C-004", "GET", "/2018-10-31/layers?find=LayerVersion&Arn=x", "GetLayerVersionByArn", ""},
		{"one provisioned configuration, C-005", "GET", "/2019-09-30/functions/a/provisioned-concurrency?Qualifier=1", "GetProvisionedConcurrencyConfig", "a"},
		{"all provisioned configurations, C-005", "GET", "/2019-09-30/functions/a/provisioned-concurrency?List=ALL", "ListProvisionedConcurrencyConfigs", "a"},
		{"no name", "GET", "/2015-03-31/functions//configuration", "", ""},
		{"another date", "GET", "/2015-04-01/functions", "", ""},
		{"another method", "PATCH", "/2015-03-31/functions/a", "", ""},
		{"too deep", "GET", "/2015-03-31/functions/a/configuration/b", "", ""},
		{"the root", "GET", "/", "", ""},
		{"nothing", "GET", "", "", ""},
	}
	rt := newRouter()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path, query, _ := strings.Cut(c.target, "?")
			op, label := rt.find(c.method, path, query)
			got := ""
			if op != nil {
				got = op.name
			}
			if got != c.op || label[0] != c.label {
				t.Errorf("%s %s is %q with label %q, want %q with %q", c.method, c.target, got, label, c.op, c.label)
			}
		})
	}
}

func FuzzRoutes(f *testing.F) {
	for _, op := range operations() {
		f.Add(op.method, op.path, op.query)
	}
	rt := newRouter()
	f.Fuzz(func(t *testing.T, method, path, query string) {
		op, label := rt.find(method, path, query)
		if op == nil {
			return
		}
		want := len(op.segments)
		if got := len(strings.Split(strings.Trim(path, "/"), "/")); got != want && !strings.HasPrefix(path, "//") && !strings.HasSuffix(path, "//") {
			t.Errorf("%q with %d segments is taken for %s, which has %d", path, got, op.path, want)
		}
		if op.method != method || slices.Contains(op.segments[1:], "") == (label[0] == "") {
			t.Errorf("%s %q is taken for %s %s with label %q", method, path, op.method, op.path, label)
		}
	})
}

func BenchmarkRoute(b *testing.B) {
	rt := newRouter()
	b.ReportAllocs()
	for b.Loop() {
		if op, _ := rt.find(http.MethodPost, "/2015-03-31/functions/orders/invocations", ""); op == nil {
			b.Fatal("no route")
		}
	}
}
