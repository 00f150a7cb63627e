package api

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"thaw/function"
	"thaw/invoke"
	"thaw/trace"
	"thaw/trigger"
)

// urlPath is what the path form of a function URL begins with: /lambda-url/ID/PATH, on any name of this server. No path of
// the API begins so.
const urlPath = "/" + urlLabel + "/"

// urlTarget is the function URL that a request is for.
type urlTarget struct {
	id     string
	region string // of the host form; empty: path form
	path   string // as it was sent, without what belongs to the path form
}

// urlOf says whether a request is for a function URL, there or not. On a host of the host form everything is: were
// the API there, too, a page that a function shows could use it as a page of the same origin.
func (s *Server) urlOf(r *http.Request) (u urlTarget, ok bool) {
	path := rawPath(r)
	if labels := strings.SplitN(strings.ToLower(r.Host), ".", 4); len(labels) == 4 && labels[1] == urlLabel {
		domain, _, _ := strings.Cut(labels[3], ":")
		if domain = strings.TrimSuffix(domain, "."); domain == s.URLs.domain() || domain == "localhost" {
			return urlTarget{id: labels[0], region: labels[2], path: path}, true
		}
	}
	rest, ok := strings.CutPrefix(path, urlPath)
	if !ok {
		return u, false
	}
	id, rest, slash := strings.Cut(rest, "/")
	if slash {
		rest = "/" + rest
	}
	return urlTarget{id: id, path: rest}, true
}

// ForURL says whether a request is for a function URL.
func (s *Server) ForURL(r *http.Request) bool {
	_, ok := s.urlOf(r)
	return ok
}

// HostOfURL says whether a name is the host of a function URL that is there.
func (s *Server) HostOfURL(host string) bool {
	u, ok := s.urlOf(&http.Request{Host: host, URL: &url.URL{}})
	if !ok || u.region == "" {
		return false
	}
	to, there := s.view.URL(u.id)
	return there && to.Region == u.region
}

// urlCall is a request on its way through a function URL.
type urlCall struct {
	*call
	target urlTarget
	to     function.OfURL
	entry  *function.Entry
	config function.URL
	cors   *trigger.CORS     // nil: the function answers for itself
	allow  map[string]string // what CORS adds to every answer
}

// answerURL answers a request for a function URL. The order: is there one, may a page ask, may the sender call, the body, the
// function.
func (c *call) answerURL(t urlTarget) error {
	u := &urlCall{call: c, target: t}
	c.op = &operation{name: "function URL", limit: invokeLimit}
	if t.region == "" {
		// A page that a function shows in the path form would be one of the API's origin, and the guard (0007) would
		// take its requests. Sandboxed, it is of no origin at all.
		c.w.Header()["Content-Security-Policy"] = []string{pageSandbox}
		if check := c.s.URLDoor.Host; check != nil && c.guarded() {
			if err := check(c.r); err != nil {
				return fail("AccessDeniedException", "%v", err)
			}
		}
	}
	var there bool
	if u.to, there = c.s.view.URL(t.id); there {
		u.entry = c.s.view.Get(u.to.Key)
	}
	if u.entry != nil {
		u.config, there = u.entry.Record.URLs[u.to.Qualifier]
	}
	if u.entry == nil || !there || u.config.ID != t.id || t.region != "" && t.region != u.to.Region {
		return u.refuse(http.StatusForbidden, "AccessDeniedException", nil)
	}
	if u.preflight() {
		return nil
	}
	if strings.EqualFold(c.r.Header.Get("Upgrade"), "websocket") {
		return u.refuseWith(http.StatusBadRequest, "InvalidRequestException", "Function URLs do not take WebSockets.")
	}
	caller, release, err := u.receive()
	if err != nil || release == nil {
		return err
	}
	defer release()
	return u.run(caller)
}

// pageSandbox is a policy for pages of the path form: scripts and forms work, the page has an origin of its own, and no
// window that it opens has another.
const pageSandbox = "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads"

// run has the function called.
func (u *urlCall) run(caller *trigger.Caller) error {
	header, state := traceOf(u.r.Header)
	if trace.ParseHeader(header).Root == "" {
		header = trace.Header{Root: trace.NewRoot()}.String()
	}
	event, err := u.request(caller, header).Event()
	if err != nil {
		return err
	}
	if len(event) > function.MaxSyncPayload { // base64 makes a third more of it
		return u.refuseWith(http.StatusRequestEntityTooLarge, "RequestTooLargeException", "Request Entity Too Large")
	}
	q := &invoke.Request{Function: u.to.Key, Qualifier: u.to.Qualifier, Invocation: function.Invocation{
		RequestID: u.id, InvokedARN: u.entry.Record.ARN().Qualified(u.to.Qualifier), Event: event, TraceID: header, TraceState: state}}
	u.w.Header()["X-Amzn-Trace-Id"] = []string{header}
	if u.config.InvokeMode == function.URLStream {
		return u.stream(q)
	}
	result, err := u.s.Plane.Invoker().Invoke(u.r.Context(), q)
	switch {
	case err != nil:
		return u.failed(err)
	case result.FunctionError != "" || result.StreamErrorType != "":
		return u.badGateway(nil)
	}
	parse := trigger.Parse
	if isStreamType(result.ContentType) { // a function that streams, behind a URL that does not
		parse = trigger.ParseStreamed
	}
	out, err := parse(result.Payload)
	if err != nil {
		return u.badGateway(err)
	}
	u.head(out, int64(len(out.Body)))
	u.w.Write(out.Body) //nolint:errcheck // nobody to tell
	return nil
}

// request is the request as trigger wants it.
func (u *urlCall) request(caller *trigger.Caller, header string) *trigger.Request {
	r := u.r
	out := &trigger.Request{ID: u.id, Time: u.s.Plane.Now(), Method: r.Method, Path: u.target.path, Query: r.URL.RawQuery, Protocol: r.Proto, Scheme: "http",
		Host: r.Host, Header: r.Header, Body: u.body, TraceID: header, URLID: u.target.id, Domain: u.s.URLs.host(u.target.id, u.to.Region),
		Account: u.to.Account, Caller: caller}
	if r.TLS != nil {
		out.Scheme = "https"
	}
	out.SourceIP, _, _ = net.SplitHostPort(r.RemoteAddr) //nolint:errcheck // then it is empty
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		_, out.Port, _ = net.SplitHostPort(a.String()) //nolint:errcheck // then it is empty
	}
	return out
}

// failed answers an invocation that did not reach the function or did not come back.
func (u *urlCall) failed(err error) error {
	if u.r.Context().Err() != nil {
		return u.invokeFailed(err)
	}
	answer, ours := answerFor(err)
	if ours {
		u.s.Plane.Log.Error("function URL", "request_id", u.id, "fn", u.to.Name, "error", err)
	}
	switch {
	case answer.Code == "TooManyRequestsException":
		u.w.Header()["Retry-After"] = []string{"1"}
		return u.refuseWith(http.StatusTooManyRequests, answer.Code, answer.Message)
	case errors.Is(err, invoke.ErrStopping):
		return u.refuseWith(http.StatusServiceUnavailable, "ServiceUnavailableException", "Service Unavailable")
	}
	return u.badGateway(nil)
}
