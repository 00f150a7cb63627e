package gateway

import (
	"net/url"
	"slices"
	"strings"
)

// router finds the route of a request. It is a tree of segments of paths, so its time does not grow with the number of
// routes.
//
// HTTP APIs take a route whose path matches in full before one that ends in a greedy parameter, and $default at last.
// REST APIs walk the tree of their resources. Both go back when a path matches whose route has another method (recorded
// of REST APIs: OPTIONS of /{proxy+} answers for /test, which has POST alone).
// Source: API Gateway Developer Guide, "Create routes for HTTP APIs", "Routing API requests".
type router struct {
	root     node
	fallback *route // $default
	rest     bool
}

// node is what is known below one segment.
type node struct {
	static map[string]*node
	param  *node // {id}: the names are the routes'
	end    map[string]*route
	greedy map[string]*route // {proxy+}, by method
}

// route is a Route that was read.
type route struct {
	*Route
	method   string // ANY, or empty: $default
	path     string // /orders/{id}
	names    []string
	greedy   bool
	compiled // what belongs to it
}

// found is a route with what its parameters hold.
type found struct {
	*route
	params map[string]string // decoded; nil: none
}

func newRouter(rest bool, routes []*route) *router {
	t := &router{rest: rest}
	for _, r := range routes {
		t.add(r)
	}
	return t
}

// splitKey reads GET /orders/{id}. ok is false for $default and keys that are none.
func splitKey(key string) (method, path string, ok bool) {
	method, path, ok = strings.Cut(key, " ")
	return strings.ToUpper(method), path, ok && strings.HasPrefix(path, "/")
}

func (t *router) add(r *route) {
	method, path, ok := splitKey(r.Key)
	if !ok {
		if r.Key == DefaultStage { // $default is the name of the route, too
			t.fallback = r
		}
		return
	}
	r.method, r.path = method, path
	n := &t.root
	for _, segment := range segments(path, t.rest) {
		name, parameter := strings.CutPrefix(segment, "{")
		name = strings.TrimSuffix(name, "}")
		switch {
		case parameter && strings.HasSuffix(name, "+"):
			r.names, r.greedy = append(r.names, strings.TrimSuffix(name, "+")), true
			n.greedy = with(n.greedy, method, r)
			return
		case parameter:
			r.names = append(r.names, name)
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
		default:
			if n.static == nil {
				n.static = map[string]*node{}
			}
			next := n.static[segment]
			if next == nil {
				next = &node{}
				n.static[segment] = next
			}
			n = next
		}
	}
	n.end = with(n.end, method, r)
}

func with(m map[string]*route, method string, r *route) map[string]*route {
	if m == nil {
		m = map[string]*route{}
	}
	m[method] = r
	return m
}

// segments are those of a path. A REST API takes a slash at its end for nothing; to an HTTP API it is an empty segment.
func segments(path string, rest bool) []string {
	path = strings.TrimPrefix(path, "/")
	if rest {
		path = strings.TrimSuffix(path, "/")
	}
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// maxSegments bounds what a path may have: the time of a search grows with it.
const maxSegments = 128

// find is the route of a request, whose path is escaped; nil: there is none.
func (t *router) find(method, path string) *found {
	list := segments(path, t.rest)
	if len(list) > maxSegments {
		list = nil
		if t.fallback == nil {
			return nil
		}
		return &found{route: t.fallback}
	}
	for i, s := range list {
		if u, err := url.PathUnescape(s); err == nil {
			list[i] = u
		}
	}
	var values []string
	var r *route
	if t.rest {
		r, values = t.root.walk(method, list, nil, both)
	} else if r, values = t.root.walk(method, list, nil, ends); r == nil {
		r, values = t.root.walk(method, list, nil, greedies)
	}
	if r == nil {
		if t.fallback == nil {
			return nil
		}
		return &found{route: t.fallback}
	}
	f := &found{route: r}
	for i, name := range r.names {
		if f.params == nil {
			f.params = make(map[string]string, len(r.names))
		}
		f.params[name] = values[i]
	}
	return f
}

// want is which routes a walk may end at.
type want uint8

const (
	ends     want = 1
	greedies want = 2
	both          = ends | greedies
)

// walk goes down: a static segment before a parameter before a greedy one. values are those of the parameters.
func (n *node) walk(method string, list, values []string, may want) (*route, []string) {
	if len(list) == 0 {
		if may&ends == 0 {
			return nil, nil
		}
		return pick(n.end, method), values
	}
	if next := n.static[list[0]]; next != nil {
		if r, v := next.walk(method, list[1:], values, may); r != nil {
			return r, v
		}
	}
	if n.param != nil && list[0] != "" {
		if r, v := n.param.walk(method, list[1:], append(slices.Clip(values), list[0]), may); r != nil {
			return r, v
		}
	}
	if may&greedies != 0 && len(n.greedy) > 0 {
		if rest := strings.Join(list, "/"); rest != "" {
			return pick(n.greedy, method), append(slices.Clip(values), rest)
		}
	}
	return nil, nil
}

// pick takes the route of the method before that of all methods.
func pick(of map[string]*route, method string) *route {
	if r := of[method]; r != nil {
		return r
	}
	return of["ANY"]
}
