package trigger

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
)

// Form is how strictly an answer in format 1.0 is read, and what becomes of it. What AWS does there differs by sender.
type Form struct {
	// OnlyKnown refuses members that the format does not have, and headers that are numbers, as REST APIs do.
	OnlyKnown bool
	// NeedsStatus refuses an answer without statusCode, as HTTP APIs do in format 1.0.
	NeedsStatus bool
	// Text leaves a body as the function wrote it, isBase64Encoded or not, as REST APIs do where neither the sender nor
	// the API asks for binary data.
	Text bool
	// Single takes one of the header maps alone, as load balancers do: multiValueHeaders or headers. 0: both.
	Single int
	// NoType leaves an answer without content-type, as load balancers do. Else it is application/json.
	NoType bool
}

// Which map of headers is taken.
const (
	BothHeaders = iota
	SingleHeaders
	MultiValueHeaders
)

var proxyMembers = []string{"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}

// ParseProxy reads an answer in format 1.0. ErrBadAnswer says what is wrong, for a log: nothing of the answer is in it.
func ParseProxy(payload []byte, form Form) (*Response, error) {
	payload = bytes.TrimSpace(payload)
	if !json.Valid(payload) {
		return nil, bad("it is no JSON")
	}
	if payload[0] != '{' {
		return nil, bad("it is no object with statusCode, headers and body")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil {
		return nil, bad("a member has the wrong type")
	}
	if _, failed := members["errorMessage"]; failed && members["statusCode"] == nil {
		return nil, bad("it is an error of the function, with errorMessage")
	}
	for name := range members {
		if form.OnlyKnown && !slices.Contains(proxyMembers, name) {
			return nil, bad("it has a member beside statusCode, headers, multiValueHeaders, body and isBase64Encoded")
		}
	}
	status := members["statusCode"]
	if form.NeedsStatus && (len(status) == 0 || string(status) == "null") {
		return nil, bad("it has no statusCode")
	}
	if string(status) == "null" {
		status = nil
	}
	r := &Response{Header: map[string][]string{}}
	var err error
	if r.Status, err = statusOf(status); err != nil {
		return nil, err
	}
	if err := r.addMaps(members["headers"], members["multiValueHeaders"], form); err != nil {
		return nil, err
	}
	if r.Header["content-type"] == nil && !form.NoType {
		r.Header["content-type"] = []string{jsonType}
	}
	r.Body, err = proxyBody(members["body"], members["isBase64Encoded"], form.Text)
	return r, err
}

// addMaps adds the headers of both maps. A value that is in both is sent once.
// Source: API Gateway Developer Guide, "Output format of a Lambda function for proxy integration".
func (r *Response) addMaps(single, multi json.RawMessage, form Form) error {
	which := form.Single
	if which != SingleHeaders {
		var lists map[string][]json.RawMessage
		if err := objectOf(multi, &lists); err != nil {
			return bad("multiValueHeaders is no object of lists")
		}
		for _, name := range slices.Sorted(maps.Keys(lists)) {
			for _, value := range lists[name] {
				if err := r.addValue(name, value, form.OnlyKnown); err != nil {
					return err
				}
			}
		}
	}
	if which == MultiValueHeaders {
		return nil
	}
	var values map[string]json.RawMessage
	if err := objectOf(single, &values); err != nil {
		return bad("headers is no object")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := r.addValue(name, values[name], form.OnlyKnown); err != nil {
			return err
		}
	}
	return nil
}

func objectOf(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// addValue adds a value: a string, or a boolean or a number as its text. strict refuses numbers, as REST APIs do.
func (r *Response) addValue(name string, raw json.RawMessage, strict bool) error {
	text := string(raw)
	switch {
	case len(raw) > 0 && strict && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'):
		return bad("the value of a header is a number; it must be a string")
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || text == "null":
		return bad("the value of a header is no string")
	case raw[0] == '"':
		text = textOf(raw)
	}
	before := &Response{Header: map[string][]string{}}
	if err := before.add(name, text); err != nil {
		return err
	}
	for small, values := range before.Header {
		if !slices.Contains(r.Header[small], values[0]) {
			r.Header[small] = append(r.Header[small], values...)
		}
	}
	return nil
}

func proxyBody(body, encoded json.RawMessage, text bool) ([]byte, error) {
	switch {
	case len(body) == 0 || string(body) == "null":
		return nil, nil
	case body[0] != '"':
		return nil, bad("its body is no string; JSON.stringify or json.dumps makes one")
	}
	s := textOf(body)
	if string(encoded) != "true" || text {
		return []byte(s), nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, bad("isBase64Encoded is true, and the body is no base64")
	}
	return b, nil
}
