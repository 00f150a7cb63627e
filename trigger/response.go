package trigger

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Response is what is sent for a function's answer.
type Response struct {
	Status int
	Header map[string][]string // names in small letters; content-type is always there
	Body   []byte
}

// ErrBadAnswer is an answer of a function that makes no HTTP response. The sender is told 502 and BadGateway.
var ErrBadAnswer = errors.New("the function's answer makes no HTTP response")

// BadGateway is the body of the answer to a request whose function failed. Recorded.
const BadGateway = "Internal Server Error"

func bad(format string, v ...any) error {
	return fmt.Errorf("%w: %s", ErrBadAnswer, fmt.Sprintf(format, v...))
}

const jsonType = "application/json"

// head is the part of an answer that says how it is sent. Members of others' making are looked at one by one.
type head struct {
	StatusCode json.RawMessage            `json:"statusCode"`
	Headers    map[string]json.RawMessage `json:"headers"`
	Cookies    []string                   `json:"cookies"`
}

// Parse reads a whole answer: with statusCode it says itself how it is sent, everything else is inferred. ErrBadAnswer
// says what is wrong, for a log: nothing of the answer is in it.
func Parse(payload []byte) (*Response, error) {
	payload = bytes.TrimSpace(payload)
	if len(payload) == 0 {
		payload = []byte("null")
	}
	if !json.Valid(payload) {
		return nil, bad("it is no JSON")
	}
	inferred := &Response{Status: 200, Header: map[string][]string{"content-type": {jsonType}}}
	switch payload[0] {
	case '"':
		inferred.Body = []byte(textOf(payload))
		return inferred, nil
	case '{':
	default:
		inferred.Body = squeezed(payload)
		return inferred, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil {
		return nil, bad("a member has the wrong type")
	}
	if _, said := members["statusCode"]; !said {
		inferred.Body = squeezed(payload)
		return inferred, nil
	}
	r, err := parseHead(payload)
	if err != nil {
		return nil, err
	}
	r.Body, err = bodyOf(members["body"], members["isBase64Encoded"])
	return r, err
}

// parseHead reads status, headers and cookies.
func parseHead(text []byte) (*Response, error) {
	var h head
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, bad("a member has the wrong type")
	}
	r := &Response{Header: map[string][]string{}}
	var err error
	if r.Status, err = statusOf(h.StatusCode); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) { // names that differ in their letters only come in one order
		value := h.Headers[name]
		if len(value) == 0 || value[0] != '"' {
			return nil, bad("the value of a header is no string")
		}
		if err := r.add(name, textOf(value)); err != nil {
			return nil, err
		}
	}
	for _, c := range h.Cookies {
		if err := r.add("set-cookie", c); err != nil {
			return nil, err
		}
	}
	if r.Header["content-type"] == nil {
		r.Header["content-type"] = []string{jsonType}
	}
	return r, nil
}

// ours are headers of one connection, which the server writes: a function that wrote them could make one answer two.
var ours = []string{"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}

// add adds a header, or refuses one that would be more than a header.
func (r *Response) add(name, value string) error {
	if !isToken(name) {
		return bad("the name of a header cannot be one")
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return bad("the value of a header has a control character")
		}
	}
	if name = strings.ToLower(name); !slices.Contains(ours, name) {
		r.Header[name] = append(r.Header[name], value)
	}
	return nil
}

// isToken says whether s is a token. Source: RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// statusOf reads a status, which may be a string. 1xx ends no request.
func statusOf(raw json.RawMessage) (int, error) {
	if len(raw) == 0 { // a prelude may be without
		return 200, nil
	}
	text := string(raw)
	if raw[0] == '"' {
		text = textOf(raw)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 200 || n > 599 {
		return 0, bad("its statusCode is no number from 200 to 599")
	}
	return n, nil
}

// bodyOf is the body of an answer: text, or anything else as JSON.
func bodyOf(body, encoded json.RawMessage) ([]byte, error) {
	switch {
	case len(body) == 0 || string(body) == "null":
		return nil, nil
	case body[0] != '"':
		return squeezed(body), nil
	}
	text := textOf(body)
	if string(encoded) != "true" {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, bad("isBase64Encoded is true, and the body is no base64")
	}
	return b, nil
}

// textOf is a JSON string's text.
func textOf(raw json.RawMessage) (s string) {
	json.Unmarshal(raw, &s) //nolint:errcheck // it is valid JSON, and begins as a string does
	return s
}

func squeezed(raw []byte) []byte {
	var b bytes.Buffer
	json.Compact(&b, raw) //nolint:errcheck // it is valid JSON
	return b.Bytes()
}
