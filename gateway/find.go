package gateway

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// hostLabel is the second label of the host of every API.
const hostLabel = "execute-api"

// pathForm is what the path form begins with: /execute-api/API/STAGE/PATH, on any name of this server.
const pathForm = "/" + hostLabel + "/"

// DefaultStage is the stage that is served without its name in the path.
const DefaultStage = "$default"

// Place is the stage that a request is for.
type Place struct {
	API   *API
	Stage *Stage // nil: the API has no such stage
	// Path is what is below the stage, escaped as it was sent; it begins with / or is empty.
	Path string
	// Base is what stands before Path where the API is asked under its own host: /prod, or what a custom domain maps;
	// empty: nothing.
	Base string
	// Domain is the name of the API, without a port, and Prefix its first label.
	Domain, Prefix string
	// ByPath: the request came in the path form, so its answer must not be of this server's origin.
	ByPath bool
	// Custom: under a name of the owner's.
	Custom bool
}

// target says how a request names an API, there or not.
type target struct {
	id, region, domain, path string
	byPath, custom           bool
}

// targetOf says whether a request is for an API. On a host of one everything is.
func (s *Server) targetOf(host string, u *url.URL) (t target, ok bool) {
	// Every request to this server is asked this: what is for none of its APIs is seen to be so at once.
	name := hostName(host)
	if id, rest, ok := strings.Cut(name, "."+hostLabel+"."); ok && !strings.Contains(id, ".") {
		region, domain, _ := strings.Cut(rest, ".")
		if domain == s.domain() || domain == "localhost" {
			return target{id: id, region: region, domain: name, path: rawPath(u)}, true
		}
	}
	if strings.HasPrefix(u.Path, pathForm) {
		if rest, ok := strings.CutPrefix(rawPath(u), pathForm); ok {
			id, rest := cutSegment(rest)
			return target{id: id, path: rest, byPath: true}, true
		}
	}
	if s.Records.Shared.Len() > 0 && !s.ownName(name) {
		if a := s.Records.Shared.Get("domain/" + name); a != nil && a.Domain != nil {
			return target{domain: name, path: rawPath(u), custom: true}, true
		}
	}
	return t, false
}

func (s *Server) domain() string { return cmp.Or(s.Domain, "localhost") }

// ownName says whether a name leads to this server itself: whoever may make a custom domain must not take its API away.
func (s *Server) ownName(name string) bool {
	return name == "localhost" || name == s.domain() || strings.Contains(name, ".lambda-url.") || slices.Contains(s.Own, name) ||
		net.ParseIP(strings.Trim(name, "[]")) != nil
}

// forOperation says whether a request is signed for an operation. Names that this server is not told may be its own.
func forOperation(r *http.Request) bool {
	const version, here = "AWS4-HMAC-SHA256", "/" + hostLabel + "/"
	if a := r.Header.Get("Authorization"); strings.HasPrefix(a, version) {
		return !strings.Contains(a, here)
	}
	if strings.Contains(r.URL.RawQuery, "X-Amz-Credential=") {
		return !strings.Contains(r.URL.Query().Get("X-Amz-Credential"), here)
	}
	return r.Header.Get("X-Amz-Target") != ""
}

// hostName is a host without its port and in small letters.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// rawPath is the path as it was sent.
func rawPath(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// cutSegment takes the first segment off a path without its leading slash. rest begins with / or is empty.
func cutSegment(path string) (segment, rest string) {
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// Serves implements api.Front.
func (s *Server) Serves(r *http.Request) bool {
	t, ok := s.targetOf(r.Host, r.URL)
	return ok && !(t.custom && forOperation(r))
}

// HasHost says whether a name is the host of an API that is there, for whoever fetches certificates.
func (s *Server) HasHost(host string) bool {
	t, ok := s.targetOf(host, &url.URL{Path: "/"})
	if !ok || t.custom {
		return ok
	}
	a := s.Records.APIs.Get(t.id)
	return a != nil && a.Region == t.region && !a.Disabled
}

// Find is the stage that a request is for; nil: there is no such API.
func (s *Server) Find(r *http.Request) *Place {
	t, ok := s.targetOf(r.Host, r.URL)
	if !ok {
		return nil
	}
	if t.custom {
		return s.findMapped(t)
	}
	a := s.Records.APIs.Get(t.id)
	if a == nil || t.region != "" && t.region != a.Region || a.Disabled && !t.byPath {
		return nil
	}
	if t.domain == "" {
		t.domain = a.ID + "." + hostLabel + "." + a.Region + "." + s.domain()
	}
	p := &Place{API: a, Path: t.path, Domain: t.domain, Prefix: a.ID, ByPath: t.byPath}
	first, rest := cutSegment(strings.TrimPrefix(t.path, "/"))
	if name, err := url.PathUnescape(first); err == nil && name != "" && a.Stages[name] != nil && (name != DefaultStage || t.byPath) {
		p.Stage, p.Path = a.Stages[name], rest
		if name != DefaultStage {
			p.Base = "/" + first
		}
		return p
	}
	p.Stage = a.Stages[DefaultStage]
	return p
}

// findMapped is the stage that the longest mapping of a custom domain names.
func (s *Server) findMapped(t target) *Place {
	record := s.Records.Shared.Get("domain/" + t.domain)
	if record == nil || record.Domain == nil {
		return nil
	}
	var best *Mapping
	for _, m := range record.Domain.Mappings {
		m.Path = strings.Trim(m.Path, "/")
		if m.Path == "(none)" {
			m.Path = ""
		}
		below := m.Path == "" || t.path == "/"+m.Path || strings.HasPrefix(t.path, "/"+m.Path+"/")
		if below && (best == nil || len(m.Path) > len(best.Path)) {
			best = &m
		}
	}
	if best == nil {
		return nil
	}
	a := s.Records.APIs.Get(best.API)
	if a == nil {
		return nil
	}
	prefix, _, _ := strings.Cut(t.domain, ".")
	p := &Place{API: a, Path: t.path, Domain: t.domain, Prefix: prefix, Custom: true}
	if best.Path != "" {
		p.Base, p.Path = "/"+best.Path, strings.TrimPrefix(t.path, "/"+best.Path)
	}
	if best.Stage != "" {
		p.Stage = a.Stages[best.Stage]
		return p
	}
	first, rest := cutSegment(strings.TrimPrefix(p.Path, "/")) // a REST API's mapping without a stage
	if p.Stage = a.Stages[first]; p.Stage != nil {
		p.Base, p.Path = p.Base+"/"+first, rest
	}
	return p
}
