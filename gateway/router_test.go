package gateway

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func routerOf(rest bool, keys ...string) *router {
	var list []*route
	for _, k := range keys {
		list = append(list, &route{Route: &Route{Key: k}})
	}
	return newRouter(rest, list)
}

func (f *found) String() string {
	if f == nil {
		return "none"
	}
	s := f.Key
	for _, name := range f.names {
		s += " " + name + "=" + f.params[name]
	}
	return s
}

// Which route is taken, by AWS's documents of HTTP APIs and by what was recorded of REST APIs.
func TestRoutes(t *testing.T) {
	t.Parallel()
	documented := []string{"GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default"}
	recorded := []string{"POST /test", "ANY /test/any", "OPTIONS /{proxy+}"}
	for _, c := range []struct {
		name, method, path, want string
		rest                     bool
		keys                     []string
	}{
		{"static", "GET", "/pets/dog/1", "GET /pets/dog/1", false, documented},
		{"parameter", "GET", "/pets/dog/2", "GET /pets/dog/{id} id=2", false, documented},
		{"greedy", "GET", "/pets/cat/1", "GET /pets/{proxy+} proxy=cat/1", false, documented},
		{"greedy of all methods", "POST", "/test/5", "ANY /{proxy+} proxy=test/5", false, documented},
		{"another method goes on to the greedy one", "POST", "/pets/dog/1", "ANY /{proxy+} proxy=pets/dog/1", false, documented},
		{"the root is no greedy one's", "GET", "/", "$default", false, documented},
		{"nothing", "GET", "/", "none", false, []string{"GET /a"}},
		{"the root", "GET", "/", "GET /", false, []string{"GET /", "$default"}},
		{"an empty path is the root", "GET", "", "GET /", false, []string{"GET /"}},
		{"method before ANY", "GET", "/a", "GET /a", false, []string{"ANY /a", "GET /a"}},
		{"ANY", "PUT", "/a", "ANY /a", false, []string{"ANY /a", "GET /a"}},
		{"a path that matches in full before a longer greedy one", "GET", "/pets/dog/1", "GET /{kind}/dog/1 kind=pets", false, []string{"GET /pets/{proxy+}", "GET /{kind}/dog/1"}},
		{"REST walks its tree", "GET", "/pets/dog/1", "GET /pets/{proxy+} proxy=dog/1", true, []string{"GET /pets/{proxy+}", "GET /{kind}/dog/1"}},
		{"a slash at the end", "GET", "/a/", "none", false, []string{"GET /a"}},
		{"REST takes a slash at the end for nothing", "GET", "/a/", "GET /a", true, []string{"GET /a"}},
		{"a parameter is decoded, and not split", "GET", "/a/x%2Fy%20z", "GET /a/{id} id=x/y z", false, []string{"GET /a/{id}"}},
		{"a parameter is not empty", "GET", "/a//b", "none", false, []string{"GET /a/{id}/b"}},
		{"a greedy parameter has all the rest", "GET", "/a/b%20c/d/", "GET /a/{p+} p=b c/d/", false, []string{"GET /a/{p+}"}},
		{"back out of a static branch", "GET", "/a/b/c", "GET /{x}/b/c x=a", false, []string{"GET /a/b/d", "GET /{x}/b/c"}},
		{"names of parameters are the route's", "POST", "/a/1", "POST /a/{b} b=1", false, []string{"GET /a/{a}", "POST /a/{b}"}},
		{"case counts", "GET", "/A", "none", false, []string{"GET /a"}},
		{"percent that is none", "GET", "/a/%zz", "GET /a/{id} id=%zz", false, []string{"GET /a/{id}"}},
		{"REST, recorded", "OPTIONS", "/test", "OPTIONS /{proxy+} proxy=test", true, recorded},
		{"REST, recorded", "POST", "/test", "POST /test", true, recorded},
		{"REST, recorded", "OPTIONS", "/test/any", "ANY /test/any", true, recorded},
		{"REST, recorded", "GET", "/test/any", "ANY /test/any", true, recorded},
		{"REST, no method", "GET", "/test", "none", true, recorded},
		{"too long", "GET", strings.Repeat("/a", 1000), "none", false, []string{"GET /{p+}"}},
	} {
		if got := routerOf(c.rest, c.keys...).find(c.method, c.path).String(); got != c.want {
			t.Errorf("%s: %s %s: %s, want %s", c.name, c.method, c.path, got, c.want)
		}
	}
}

// A route is found by reading a path once, and never one that does not match it.
func FuzzRoutes(f *testing.F) {
	f.Add("GET /a/{id}\nANY /{proxy+}\n$default", "GET", "/a/b%2Fc/")
	f.Add("GET /{a}/{b}\nGET /{a}/x/{c+}", "GET", "//x/y")
	f.Fuzz(func(t *testing.T, keys, method, path string) {
		list := strings.Split(keys, "\n")
		for _, rest := range []bool{false, true} {
			r := routerOf(rest, list...)
			got := r.find(method, path)
			if got == nil {
				continue
			}
			if got.Key != DefaultStage && got.method != method && got.method != "ANY" {
				t.Errorf("%s %s: %s", method, path, got.Key)
			}
			if len(got.params) > len(got.names) {
				t.Errorf("%v of %v", got.params, got.names)
			}
			for _, v := range got.params {
				if v == "" && got.method != "" {
					t.Errorf("%s %s: %s has an empty parameter", method, path, got.Key)
				}
			}
		}
	})
}

// 300 routes: some 100 ns, whatever their number.
func BenchmarkRoutes(b *testing.B) {
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("GET /v1/tenants/{t}/things%d/{id}", i))
	}
	r := routerOf(false, append(keys, "ANY /{proxy+}", "$default")...)
	paths := make([]string, 64)
	for i := range paths {
		paths[i] = fmt.Sprintf("/v1/tenants/7/things%d/9", rand.IntN(300))
	}
	for i := 0; b.Loop(); i++ {
		if f := r.find("GET", paths[i%len(paths)]); f == nil || f.method != "GET" {
			b.Fatal("no route")
		}
	}
}
