package alb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"thaw/invoke"
	"thaw/pool"
	"thaw/trace"
	"thaw/trigger"
)

// Path is what the path form begins with: /alb/NAME/PATH.
const Path = "/alb/"

// idleTimeout is how long a function may take where nobody says. Source: "Connection idle timeout".
const idleTimeout = 60 * time.Second

// pageSandbox is a policy for pages of the path form: they have an origin of their own, as those of function URLs.
const pageSandbox = "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads"

// Serves implements api.Front.
func (s *Service) Serves(r *http.Request) bool { return strings.HasPrefix(r.URL.EscapedPath(), Path) }

// ServeHTTP answers a request in the path form.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Content-Security-Policy"] = []string{pageSandbox}
	name, path, slash := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), Path), "/")
	if slash {
		path = "/" + path
	}
	s.mu.Lock()
	b := s.running[name]
	s.mu.Unlock()
	if b == nil {
		answer(w, trigger.BalancerError(http.StatusServiceUnavailable))
		return
	}
	s.serve(w, r, b, path, false)
}

// serve answers a request for a balancer.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, b *balancer, path string, own bool) {
	if s.o.Host != nil {
		if err := s.o.Host(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	if r.Header.Get("Upgrade") != "" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") { // functions take none
		answer(w, trigger.BalancerError(http.StatusBadRequest))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, trigger.MaxBalancerBody))
	if err != nil {
		status := http.StatusBadRequest
		if errors.As(err, new(*http.MaxBytesError)) {
			status = http.StatusRequestEntityTooLarge
			io.Copy(io.Discard, io.LimitReader(r.Body, 10<<20)) //nolint:errcheck // so that the sender sees the answer
		}
		answer(w, trigger.BalancerError(status))
		return
	}
	q := request(r, path, body)
	if own && b.Port != 0 {
		q.Port = strconv.Itoa(b.Port)
	}
	event, err := q.BalancerEvent(b.TargetGroup(), b.MultiValue)
	if err != nil {
		answer(w, trigger.BalancerError(http.StatusBadGateway))
		return
	}
	limit := idleTimeout
	if b.IdleTimeout > 0 {
		limit = time.Duration(b.IdleTimeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	b.requests.Add(1)
	b.last.Store(time.Now().UnixMilli())
	out, err := s.ask(ctx, b, event)
	switch {
	case err == nil:
		answer(w, out)
		return
	case r.Context().Err() != nil: // the client is gone, which access logs of AWS call 460
		return
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		out = trigger.BalancerError(http.StatusGatewayTimeout)
	case errors.Is(err, invoke.ErrStopping), errors.Is(err, pool.ErrClosed):
		out = trigger.BalancerError(http.StatusServiceUnavailable)
	default:
		out = trigger.BalancerError(http.StatusBadGateway)
	}
	b.troubled(err)
	s.o.Log.Warn("load balancer", "name", b.Name, "fn", string(b.Function), "status", out.Status, "error", err)
	answer(w, out)
}

// ask has the function answer.
func (s *Service) ask(ctx context.Context, b *balancer, event []byte) (*trigger.Response, error) {
	out, err := s.o.Functions.Invoke(ctx, delivery(b.Balancer, event))
	switch {
	case err != nil:
		return nil, err
	case out.FunctionError != "" || out.StreamErrorType != "":
		return nil, fmt.Errorf("%s failed; its log says why", b.Function)
	}
	return trigger.ParseBalancer(out.Payload, b.MultiValue)
}

// request is the request as trigger wants it.
func request(r *http.Request, path string, body []byte) *trigger.Request {
	q := &trigger.Request{Method: r.Method, Path: path, Query: r.URL.RawQuery, Protocol: r.Proto, Scheme: "http",
		Host: r.Host, Header: r.Header, Body: body}
	if r.TLS != nil {
		q.Scheme = "https"
	}
	q.SourceIP, _, _ = net.SplitHostPort(r.RemoteAddr) //nolint:errcheck // then it is empty
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		_, q.Port, _ = net.SplitHostPort(a.String()) //nolint:errcheck // then it is empty
	}
	q.TraceID, _ = trace.FromHTTP(r.Header.Get("X-Amzn-Trace-Id"), r.Header.Get("Traceparent"), r.Header["Tracestate"])
	if trace.ParseHeader(q.TraceID).Root == "" {
		q.TraceID = trace.Header{Root: trace.NewRoot()}.String()
	}
	return q
}

// answer writes a response. Headers that a balancer says itself are its own.
func answer(w http.ResponseWriter, out *trigger.Response) {
	h := w.Header()
	for name, values := range out.Header {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Content-Security-Policy": // the page's sandbox stays: the policies hold together
			h[name] = append(h[name], values...)
		default:
			h[name] = values
		}
	}
	h["Server"] = []string{"awselb/2.0"}
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // as the function left it: none is made up
	}
	if out.Status != http.StatusNoContent && out.Status != http.StatusNotModified {
		h["Content-Length"] = []string{strconv.Itoa(len(out.Body))}
	}
	w.WriteHeader(out.Status)
	w.Write(out.Body) //nolint:errcheck // nobody to tell
}
