package gateway

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"thaw/trigger"
)

// target of a parameter mapping of an HTTP API: append:header.NAME, overwrite:path.
type change struct{ action, kind, name string }

func parseChange(key string) (c change, ok bool) {
	action, rest, ok := strings.Cut(key, ":")
	if !ok {
		return c, false
	}
	kind, name, _ := strings.Cut(rest, ".")
	return change{action, kind, name}, true
}

// notChanged are headers that parameter mappings leave alone.
// Source: API Gateway Developer Guide, "Transform API requests and responses for HTTP APIs", "Reserved headers".
func notChanged(name string) bool {
	name = strings.ToLower(name)
	for _, p := range []string{"access-control-", "apigw-", "proxy-", "x-amz-", "x-amzn-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return slices.Contains([]string{"authorization", "connection", "content-encoding", "content-length", "content-location",
		"forwarded", "keep-alive", "origin", "te",
		"trailers", "transfer-encoding", "upgrade", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}, name)
}

// mapped is a value of a parameter mapping of an HTTP API: text with $request.header.NAME, $context.NAME,
// $stageVariables.NAME, and $response.header.NAME of an answer.
func (c *call) mapped(value string, answer *trigger.Response) string {
	return expandNames(value, func(name string) (string, bool) {
		switch {
		case strings.HasPrefix(name, "request."):
			v, _ := c.requestValue(name)
			return v, true
		case strings.HasPrefix(name, "context."):
			v, _ := c.variable(strings.TrimPrefix(name, "context."))
			return v, true
		case strings.HasPrefix(name, "stageVariables."):
			return c.place.Stage.Variables[strings.TrimPrefix(name, "stageVariables.")], true
		case strings.HasPrefix(name, "response.") && answer != nil:
			return answerValue(answer, strings.TrimPrefix(name, "response.")), true
		}
		return "", false
	})
}

func answerValue(answer *trigger.Response, name string) string {
	kind, name, _ := strings.Cut(name, ".")
	switch kind {
	case "header":
		return strings.Join(answer.Header[strings.ToLower(name)], ",")
	case "body":
		if name == "" {
			return string(answer.Body)
		}
		v, _ := jsonValue(answer.Body, name)
		return v
	}
	return ""
}

// outgoing is what of a request goes to a backend.
type outgoing struct {
	header http.Header
	query  url.Values
	path   string
	moved  bool              // path was set
	params map[string]string // of the path, that a REST API's mapping sets; nil: none
}

// changed applies the parameter mappings of an HTTP API.
func (c *call) changed(i *Integration, o *outgoing) error {
	for _, key := range slices.Sorted(maps.Keys(i.Parameters)) {
		ch, ok := parseChange(key)
		if !ok {
			continue
		}
		value := c.mapped(i.Parameters[key], nil)
		if !headerValue(value) {
			return &Refusal{Kind: BadParameters, Why: "parameter mapping " + key + ": its value has a control character"}
		}
		switch {
		case ch.kind == "header" && !notChanged(ch.name):
			changeHeader(o.header, ch, value)
		case ch.kind == "querystring" && ch.action == "append":
			o.query[ch.name] = append(o.query[ch.name], value)
		case ch.kind == "querystring" && ch.action == "overwrite":
			o.query[ch.name] = []string{value}
		case ch.kind == "querystring":
			delete(o.query, ch.name)
		case ch.kind == "path" && hasDots(value):
			return &Refusal{Kind: BadParameters, Why: "parameter mapping " + key + ": its value has a segment . or .."}
		case ch.kind == "path":
			o.path, o.moved = value, true
		}
	}
	return nil
}

func changeHeader(h http.Header, ch change, value string) {
	switch ch.action {
	case "append":
		h.Add(ch.name, value)
	case "overwrite":
		h.Set(ch.name, value)
	case "remove":
		h.Del(ch.name)
	}
}

// changeEvent applies them to what a function sees.
func (c *call) changeEvent(i *Integration, r *trigger.Request) error {
	o := &outgoing{header: c.r.Header.Clone(), query: c.r.URL.Query()}
	before := o.query.Encode()
	if err := c.changed(i, o); err != nil {
		return err
	}
	r.Header = o.header
	if after := o.query.Encode(); after != before {
		r.Query = after
	}
	if o.moved {
		r.Route.Path = escapedPath(o.path)
	}
	return nil
}

// reshape applies the mappings of an answer of an HTTP API.
func (c *call) reshape(i *Integration, answer *trigger.Response) {
	r := i.Responses[strconv.Itoa(answer.Status)]
	if r == nil {
		return
	}
	h := http.Header{}
	for name, v := range answer.Header {
		h[http.CanonicalHeaderKey(name)] = v
	}
	for _, key := range slices.Sorted(maps.Keys(r.Parameters)) {
		ch, ok := parseChange(key)
		if !ok {
			continue
		}
		value := c.mapped(r.Parameters[key], answer)
		switch {
		case ch.kind == "header" && !notChanged(ch.name) && headerValue(value):
			changeHeader(h, ch, value)
		case ch.kind == "statuscode":
			if n, err := strconv.Atoi(value); err == nil && n >= 200 && n <= 599 {
				answer.Status = n
			}
		}
	}
	answer.Header = map[string][]string{}
	for name, v := range h {
		answer.Header[strings.ToLower(name)] = v
	}
}
