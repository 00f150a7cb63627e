package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"thaw/trigger"
)

// hop are headers of one connection.
var hop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authorization"}

// proxyURL passes the request to a URL as it is, and its answer back.
func (c *call) proxyURL(i *Integration) error {
	o := c.passedOn()
	if c.isREST() {
		c.setParameters(i, o)
	} else if err := c.changed(i, o); err != nil {
		return err
	}
	resp, cancel, err := c.fetch(i, o, c.body)
	if err != nil {
		return err
	}
	defer cancel()
	defer resp.Body.Close()
	if c.isREST() || len(i.Responses) == 0 {
		return c.passBack(resp, i.Streams)
	}
	body, err := readAtMost(resp.Body, maxBody)
	if err != nil {
		return c.badFetch(i, err)
	}
	answer := &trigger.Response{Status: resp.StatusCode, Header: map[string][]string{}, Body: body}
	for name, v := range backHeaders(resp.Header) {
		answer.Header[strings.ToLower(name)] = v
	}
	c.reshape(i, answer)
	c.answer(answer.Status, answer.Header, answer.Body)
	return nil
}

// passedOn is the request as a backend with a URL gets it.
func (c *call) passedOn() *outgoing {
	h, query := c.r.Header.Clone(), c.r.URL.Query()
	for _, name := range hop {
		h.Del(name)
	}
	if c.who.Caller != nil { // what was signed with is nobody else's
		h.Del("Authorization")
		h.Del("X-Amz-Security-Token")
		for _, name := range []string{"X-Amz-Signature", "X-Amz-Security-Token"} { // a signature may be in the query
			query.Del(name)
		}
	}
	if c.key != nil {
		h.Del("X-Api-Key")
	}
	r := c.request()
	multi := r.MultiHeaders()
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Amzn-Trace-Id"} {
		h[name] = multi[name]
	}
	if c.isREST() {
		h.Set("X-Amzn-Apigateway-Api-Id", c.place.API.ID)
	} else {
		h.Set("Forwarded", "by="+c.place.Domain+";for="+r.SourceIP+";host="+r.Host+";proto="+r.Scheme)
		h.Add("Via", c.r.Proto+" AmazonAPIGateway")
	}
	return &outgoing{header: h, query: query}
}

// fetch sends a request to the integration's URL.
func (c *call) fetch(i *Integration, o *outgoing, body []byte) (*http.Response, context.CancelFunc, error) {
	if i.Connection == "VPC_LINK" {
		return nil, nil, &Refusal{Kind: APIConfiguration, Why: "integrations through a VPC link are not served here; give the URL without one"}
	}
	uri, err := c.filled(i.URI, o)
	if err != nil {
		return nil, nil, err
	}
	to, err := url.Parse(uri)
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, nil, &Refusal{Kind: APIConfiguration, Why: "integration: its URI is no URL of http or https"}
	}
	if o.moved {
		to.Path, to.RawPath = o.path, ""
	}
	query := to.Query()
	for k, v := range o.query {
		query[k] = v
	}
	to.RawQuery = query.Encode()
	method := i.Method
	if method == "" || method == "ANY" {
		method = c.r.Method
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), c.timeout(i))
	r, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
	if err != nil {
		cancel()
		return nil, nil, &Refusal{Kind: APIConfiguration, Why: "integration: " + err.Error()}
	}
	if len(body) == 0 {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	o.header.Del("Content-Length")
	o.header.Del("Host")
	r.Header = o.header
	began := time.Now()
	resp, err := c.s.clientOf(i).Do(r)
	c.integrationTime = time.Since(began)
	if err != nil {
		cancel()
		return nil, nil, c.badFetch(i, err)
	}
	c.integrationStatus = resp.StatusCode
	return resp, cancel, nil
}

// badFetch says why a URL did not answer, in words for the log, which has nothing of the URL: its path and query are the
// sender's.
func (c *call) badFetch(i *Integration, err error) error {
	if of := (*url.Error)(nil); errors.As(err, &of) {
		err = of.Err
	}
	c.integrationError = err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		return &Refusal{Kind: IntegrationTimeout, Why: "the backend took longer than the integration's time"}
	}
	return &Refusal{Kind: IntegrationFailure, Why: "the backend: " + err.Error()}
}

// filled is a URI with stage variables, and path parameters in braces: those of the mapping before those of the route.
// Its error is a *Refusal.
func (c *call) filled(uri string, o *outgoing) (string, error) {
	uri = withVariables(uri, c.place.Stage.Variables)
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(uri, "{")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, _ := strings.Cut(rest, "}")
		v, ok := o.params[name]
		if !ok {
			v = c.found.params[strings.TrimSuffix(name, "+")]
		}
		if hasDots(v) {
			return "", &Refusal{Kind: BadParameters, Why: "a path parameter has a segment . or .."}
		}
		if c.found.oneSegment(v) || !pathBegun(b.String()) {
			b.WriteString(url.PathEscape(v))
		} else {
			b.WriteString(escapedPath(v))
		}
		uri = after
	}
}

// pathBegun says whether a URL that is being made is past its host.
func pathBegun(uri string) bool {
	_, rest, _ := strings.Cut(uri, "://")
	return strings.Contains(rest, "/")
}

// hasDots says whether a path has a segment that leads out of the path that the owner gave.
func hasDots(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == ".." || part == "." {
			return true
		}
	}
	return false
}

// oneSegment says whether a value is that of a parameter of one segment. Such a segment stays one: /orders/7%2Fdelete is no
// /orders/7/delete at the backend, nor is a tenant in the host of its URL the end of that host.
func (f *found) oneSegment(v string) bool {
	for i, name := range f.names {
		if last := i == len(f.names)-1; f.params[name] == v && !(f.greedy && last) {
			return true
		}
	}
	return false
}

// escapedPath escapes each segment of a path.
func escapedPath(p string) string {
	parts := strings.Split(p, "/")
	for i, s := range parts {
		parts[i] = url.PathEscape(s)
	}
	return strings.Join(parts, "/")
}

// backHeaders are the headers of a backend's answer that go back.
func backHeaders(h http.Header) http.Header {
	out := h.Clone()
	for _, name := range append(slices.Clone(hop), "Content-Length") {
		out.Del(name)
	}
	return out
}

// passBack sends an answer on while it comes, and each part at once where the integration streams. One without a length
// that grows over the bound breaks off; streams have none.
func (c *call) passBack(resp *http.Response, streams bool) error {
	most := int64(maxBody)
	if streams {
		most = math.MaxInt64 - 1
	}
	if resp.ContentLength > most {
		return &Refusal{Kind: BadAnswer, Why: "the backend's answer has more than 10 MB"}
	}
	c.head(resp.StatusCode, backHeaders(resp.Header), int(resp.ContentLength))
	if c.r.Method == http.MethodHead {
		return nil
	}
	var to io.Writer = c.w
	if streams {
		to = &flushing{c.w, http.NewResponseController(c.w)}
	}
	n, err := io.Copy(to, io.LimitReader(resp.Body, most+1))
	if c.length = int(n); err != nil || n > most {
		c.warn("the backend's answer broke off, or has more than 10 MB")
		panic(http.ErrAbortHandler)
	}
	return nil
}

// flushing sends each write at once.
type flushing struct {
	io.Writer
	control *http.ResponseController
}

// Write implements io.Writer.
func (f *flushing) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}
