package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"thaw/invoke"
	"thaw/trigger"
)

// allowHeaders are what a URL with Cors says itself: what it was told wins over the function.
var allowHeaders = []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"}

// head writes the head of an answer. length is that of its body; negative: not known.
func (u *urlCall) head(out *trigger.Response, length int64) {
	h := u.w.Header()
	for name, values := range out.Header {
		switch name = http.CanonicalHeaderKey(name); name {
		case "X-Amzn-Requestid", "X-Amzn-Trace-Id":
		case "Content-Security-Policy": // the page's sandbox stays: the policies hold together
			h[name] = append(h[name], values...)
		default:
			h[name] = values
		}
	}
	u.allowPages()
	if length >= 0 && out.Status != http.StatusNoContent && out.Status != http.StatusNotModified {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	u.w.WriteHeader(out.Status)
}

func (u *urlCall) allowPages() {
	if u.cors == nil {
		return
	}
	h := u.w.Header()
	for _, name := range allowHeaders {
		h.Del(name)
	}
	for name, value := range u.allow {
		h.Add(name, value)
	}
}

// refuse answers with an exception. message: nil means null, as recorded for a URL that is not there.
func (u *urlCall) refuse(status int, code string, message *string) error {
	u.w.Header()["X-Amzn-Errortype"] = []string{code}
	u.allowPages()
	return u.json(status, struct{ Message *string }{message})
}

func (u *urlCall) refuseWith(status int, code, message string) error {
	return u.refuse(status, code, &message)
}

// badGateway is the answer when the function failed. why, if it is known, is for the log: nothing of the answer is in it.
func (u *urlCall) badGateway(why error) error {
	if why != nil {
		u.s.Plane.Log.Warn("function URL", "request_id", u.id, "fn", u.to.Name, "error", why)
	}
	u.head(&trigger.Response{Status: http.StatusBadGateway, Header: map[string][]string{"content-type": {"text/plain; charset=utf-8"}}}, int64(len(trigger.BadGateway)))
	u.w.Write([]byte(trigger.BadGateway)) //nolint:errcheck // nobody to tell
	return nil
}

func isStreamType(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), trigger.StreamType)
}

// stream has a function called whose answer goes out as it comes. One that does not stream is sent as it is.
func (u *urlCall) stream(q *invoke.Request) error {
	out := &urlStream{u: u}
	q.Stream = out
	result, err := u.s.Plane.Invoker().Invoke(u.r.Context(), q)
	begun, refused := out.state()
	switch {
	case err != nil && !begun:
		return u.failed(err)
	case refused != nil:
		return u.badGateway(refused)
	case begun:
		if err != nil || result.FunctionError != "" || result.StreamErrorType != "" || result.StreamErrorDetails != "" {
			panic(http.ErrAbortHandler) // a stream that broke off must not look whole
		}
		return nil
	case result.FunctionError != "" || result.StreamErrorType != "":
		return u.badGateway(nil)
	case result.Streamed:
		return u.badGateway(trigger.ErrBadAnswer) // a prelude without an end
	}
	u.head(&trigger.Response{Status: http.StatusOK, Header: map[string][]string{"content-type": jsonType}}, int64(len(result.Payload)))
	u.w.Write(result.Payload) //nolint:errcheck // nobody to tell
	return nil
}

// urlStream writes a stream as an HTTP response. It is a function.StreamSink.
type urlStream struct {
	u *urlCall

	mu      sync.Mutex       // the pool may call from another goroutine than the one that asked
	prelude *trigger.Prelude // until it ends; nil: there is none
	begun   bool             // the head is written
	refused error            // the prelude is none
}

func (s *urlStream) state() (begun bool, refused error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun, s.refused
}

// Head implements function.StreamSink.
func (s *urlStream) Head(contentType string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isStreamType(contentType) {
		s.prelude = &trigger.Prelude{}
		return nil
	}
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	return s.beginLocked(&trigger.Response{Status: http.StatusOK, Header: map[string][]string{"content-type": {contentType}}})
}

func (s *urlStream) beginLocked(r *trigger.Response) error {
	s.begun = true
	s.u.head(r, -1)
	return s.writeLocked(r.Body)
}

func (s *urlStream) writeLocked(b []byte) error {
	if len(b) > 0 {
		if _, err := s.u.w.Write(b); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) { // 204 and 304 have none
			return err
		}
	}
	return http.NewResponseController(s.u.w).Flush()
}

// Chunk implements function.StreamSink.
func (s *urlStream) Chunk(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.refused != nil:
		return s.refused
	case s.prelude == nil:
		return s.writeLocked(b)
	}
	r, err := s.prelude.Take(b)
	if err != nil {
		s.refused = err
		return err
	}
	if r == nil {
		return nil
	}
	s.prelude = nil
	return s.beginLocked(r)
}
