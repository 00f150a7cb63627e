package api

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"thaw/access"
	"thaw/function"
	"thaw/internal/plainjson"
)

// call is one request on its way through an operation.
type call struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	op      *operation
	id      string // request ID
	region  string
	label   string // of the path, decoded: what the operation is about
	labels  labels // of the path, decoded, with the first one
	body    []byte
	values  url.Values     // of the query, parsed on first use
	service Service        // that the request is for; nil: Lambda
	asXML   bool           // the answer to an error: the client speaks the Query protocol
	verify  bool           // the signature
	caller  *access.Caller // who asks: the root where no signature is verified
}

const (
	createLimit = function.MaxCreateBytes
	// invokeLimit lets a body that is a little too large be read: its sender then sees our answer instead of a broken connection.
	invokeLimit = function.MaxSyncPayload
	drainLimit  = 256 << 20 // of a body that is refused we swallow at most this much before we answer
)

var jsonType = []string{"application/json"}

// newRequestID returns a random UUID, version 4.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails: documented
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var t [36]byte
	hex.Encode(t[0:8], b[0:4])
	t[8] = '-'
	hex.Encode(t[9:13], b[4:6])
	t[13] = '-'
	hex.Encode(t[14:18], b[6:8])
	t[18] = '-'
	hex.Encode(t[19:23], b[8:10])
	t[23] = '-'
	hex.Encode(t[24:36], b[10:16])
	return string(t[:])
}

// answer takes the order of checks of the service: authentication, shape of the request, then the operation's own.
func (c *call) answer() error {
	c.service = c.s.service(c.r)
	c.asXML = c.service == nil && speaksQuery(c.r)
	if c.s.Guard != nil && c.guarded() {
		if err := c.s.Guard(c.r); err != nil {
			return fail("AccessDeniedException", "%v", err)
		}
	}
	if c.service != nil {
		return c.answerAs(c.service)
	}
	path := c.r.URL.EscapedPath()
	if strings.HasPrefix(path, codePath) {
		return c.downloadCode(strings.TrimPrefix(path, codePath))
	}
	c.op, c.labels = c.s.router.find(c.r.Method, path, c.r.URL.RawQuery)
	if c.op == nil {
		return c.notServed(path)
	}
	a, err := c.begin("lambda")
	if err != nil {
		c.swallow()
		return err
	}
	c.region = a.region
	if c.region == "" {
		c.region = c.s.Region
	}
	limit := c.op.limit
	if limit == 0 {
		limit = controlLimit
	}
	release, err := c.readBody(limit)
	if err != nil {
		return err
	}
	defer release()
	if c.verify {
		if err := c.s.auth.verify(c.r, a, c.body); err != nil {
			return err
		}
	}
	for i, label := range c.labels {
		if strings.IndexByte(label, '%') < 0 {
			continue
		}
		if c.labels[i], err = url.PathUnescape(label); err != nil {
			return fail("UnknownOperationException", "There is no operation %s %s.", c.r.Method, path)
		}
	}
	c.label = c.labels[0]
	if err := c.authorize(); err != nil {
		return err
	}
	if c.op.serve == nil {
		return notImplemented(c.op.name)
	}
	return c.op.serve(c)
}

// guarded says whether the guard is asked. It stands in the place of signatures: where a key has made them needed it
// does not.
func (c *call) guarded() bool { return c.s.Verify || !c.verify }

// begin reads the signature and says who asks. Where no signature is verified it is the account's root.
func (c *call) begin(service string) (signature, error) {
	sig, err := c.s.auth.begin(c.r, c.verify, service)
	if c.caller = sig.caller; c.caller == nil && !c.verify {
		c.caller = &c.s.auth.root
	}
	return sig, err
}

func (c *call) operation() string {
	if c.op == nil {
		return ""
	}
	return c.op.name
}

// tooLarge refuses a body by its operation's words. n is its size, negative when unknown.
func (c *call) tooLarge(n int64) error {
	swallowed := c.swallow()
	if c.op.limit == invokeLimit {
		if n < 0 {
			n = swallowed + invokeLimit + 1
		}
		return fail("RequestTooLargeException", "%d byte payload is too large for the RequestResponse invocation type (limit %d bytes)", n, function.MaxSyncPayload)
	}
	limit := c.op.limit
	if limit == 0 {
		limit = controlLimit
	}
	return fail("RequestEntityTooLargeException", "Request must be smaller than %d bytes for the %s operation", limit, c.op.name)
}

// query returns a query parameter and whether it was given.
func (c *call) query(name string) (string, bool) {
	if c.r.URL.RawQuery == "" {
		return "", false
	}
	if c.values == nil {
		c.values = c.r.URL.Query()
	}
	v, ok := c.values[name]
	if !ok {
		return "", false
	}
	return v[0], true
}

// decode reads a JSON body into a request type. An empty body means {}. Unknown members are ignored.
func (c *call) decode(into any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	err := json.Unmarshal(c.body, into)
	var typ *json.UnmarshalTypeError
	var b64 base64.CorruptInputError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &typ):
		return fail("SerializationException", "%s_VALUE can not be converted to %s", strings.ToUpper(typ.Value), wanted(typ.Type.Kind().String()))
	case errors.As(err, &b64):
		return fail("SerializationException", "Blob value can not be decoded as base64")
	}
	return fail("InvalidRequestContentException", "Could not parse request body into json: %v", err)
}

func wanted(kind string) string {
	switch kind {
	case "int", "int64":
		return "an Integer"
	case "bool":
		return "a Boolean"
	case "string":
		return "a String"
	case "slice":
		return "a List"
	}
	return "a Structure"
}

// json answers with a value.
func (c *call) json(status int, v any) error {
	b, err := plainjson.Marshal(v)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	c.w.WriteHeader(status)
	c.w.Write(b) //nolint:errcheck // nobody to tell
	return nil
}

func (c *call) empty(status int) error {
	c.w.WriteHeader(status)
	return nil
}
