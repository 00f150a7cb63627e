package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"thaw/function"
	"thaw/push"
)

// backend is what came back from a backend whose answer is mapped.
type backend struct {
	status string // that patterns are held against; of a function its error message
	header http.Header
	body   []byte
}

// mock answers by its own templates: the request template says the status, the integration response the rest.
func (c *call) mock(i *Integration) error {
	text, ok, err := c.template(i)
	if err != nil {
		return err
	}
	status := ""
	if ok {
		body, err := c.render(text, c.body)
		if err != nil {
			return err
		}
		var said struct {
			StatusCode json.RawMessage `json:"statusCode"`
		}
		if json.Unmarshal(body, &said) == nil {
			status = strings.Trim(string(said.StatusCode), `"`)
		}
	}
	if status == "" {
		return &Refusal{Kind: APIConfiguration, Why: "the request template of a MOCK integration gives no statusCode"}
	}
	c.integrationStatus, _ = strconv.Atoi(status) //nolint:errcheck // then it is 0
	return c.mapBack(i, &backend{status: status, header: http.Header{}})
}

// mapFunction calls a function with what a template makes of the request, and maps its answer back.
func (c *call) mapFunction(i *Integration) error {
	event, err := c.mappedBody(i)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(event)) == 0 {
		event = []byte("{}")
	}
	if !json.Valid(event) {
		return &Refusal{Kind: BadBody, Message: "Could not parse request body into json.", Why: "what the function would get is no JSON"}
	}
	if strings.Trim(i.Parameters["integration.request.header.X-Amz-Invocation-Type"], "'") == "Event" {
		return c.acceptEvent(i, event)
	}
	result, err := c.invoke(i, event, nil)
	if err != nil {
		return err
	}
	b := &backend{header: http.Header{"Content-Type": jsonType}, body: result.Payload}
	if result.FunctionError != "" { // without an error no pattern matches
		if b.status, _ = jsonValue(result.Payload, "errorMessage"); b.status == "" {
			b.status = string(result.Payload)
		}
	}
	return c.mapBack(i, b)
}

// acceptEvent puts the event into the function's queue. It is on disk when the sender is answered.
func (c *call) acceptEvent(i *Integration, event []byte) error {
	arn, err := functionOf(i.URI, c.place.Stage.Variables)
	if err != nil {
		return &Refusal{Kind: APIConfiguration, Why: "integration: " + err.Error()}
	}
	if len(event) > function.MaxAsyncPayload {
		return &Refusal{Kind: TooLarge, Why: "the event has more than an asynchronous invocation may have"}
	}
	c.counted = countKey{c.place.API.ID, c.place.Stage.Name, string(arn)}
	c.s.counts.asked(c.counted, c.began)
	_, err = c.s.Functions.Accept(c.r.Context(), &push.Delivery{Function: arn, Service: principal, Source: c.permission(),
		Account: c.place.API.Account,
		Payload: event, TraceID: c.traceID, TraceState: c.traceState, RequestID: c.invocationID()})
	if err != nil {
		return c.notRun(c.r.Context(), arn, err)
	}
	c.integrationStatus = http.StatusAccepted
	return c.mapBack(i, &backend{header: http.Header{"Content-Type": jsonType}})
}

// mapURL sends what a template makes of the request to a URL, and maps its answer back.
func (c *call) mapURL(i *Integration) error {
	body, err := c.mappedBody(i)
	if err != nil {
		return err
	}
	// Only what is mapped goes on, and the type of the body.
	o := &outgoing{header: http.Header{}, query: url.Values{}}
	if t := c.r.Header.Get("Content-Type"); t != "" {
		o.header.Set("Content-Type", t)
	}
	for k, v := range c.passedOn().header {
		if strings.HasPrefix(k, "X-Forwarded-") || strings.HasPrefix(k, "X-Amzn-") || k == "Accept" || k == "User-Agent" {
			o.header[k] = v
		}
	}
	c.setParameters(i, o)
	resp, cancel, err := c.fetch(i, o, body)
	if err != nil {
		return err
	}
	defer cancel()
	defer resp.Body.Close()
	answer, err := readAtMost(resp.Body, maxBody)
	if err != nil {
		return c.badFetch(i, err)
	}
	return c.mapBack(i, &backend{status: strconv.Itoa(resp.StatusCode), header: resp.Header, body: answer})
}

// setParameters applies the parameter mappings of a REST API's request.
func (c *call) setParameters(i *Integration, o *outgoing) {
	set := func(name, v string) {
		kind, name, _ := strings.Cut(strings.TrimPrefix(name, "integration.request."), ".")
		switch kind {
		case "header":
			if headerValue(v) {
				o.header.Set(name, v)
			}
		case "querystring":
			o.query.Set(name, v)
		case "path":
			if o.params == nil {
				o.params = map[string]string{}
			}
			o.params[name] = v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Parameters)) {
		if v, ok := c.expression(i.Parameters[name]); ok {
			set(name, v)
		}
	}
	for k, v := range c.overridden.Header {
		set("header."+k, v)
	}
	for k, v := range c.overridden.Query {
		set("querystring."+k, v)
	}
	for k, v := range c.overridden.Path {
		set("path."+k, v)
	}
}

// template is the request template for the request's type; ok is false where it passes as it is.
func (c *call) template(i *Integration) (text string, ok bool, err error) {
	kind := mediaType(c.r.Header.Get("Content-Type"))
	if kind == "" {
		kind = "application/json"
	}
	for t, text := range i.Templates {
		if mediaType(t) == kind {
			return text, true, nil
		}
	}
	if text, ok := i.Templates["$default"]; ok {
		return text, true, nil
	}
	if i.Passthrough == "NEVER" || i.Passthrough == "WHEN_NO_TEMPLATES" && len(i.Templates) > 0 {
		return "", false, &Refusal{Kind: UnsupportedMedia, Why: "no request template is for " + kind}
	}
	return "", false, nil
}

// mappedBody is the request's body as the backend gets it.
func (c *call) mappedBody(i *Integration) ([]byte, error) {
	text, ok, err := c.template(i)
	if err != nil {
		return nil, err
	}
	body := c.body
	if c.stage.binary.has(c.r.Header.Get("Content-Type")) && i.Content == "CONVERT_TO_TEXT" {
		body = []byte(base64.StdEncoding.EncodeToString(body))
	} else if i.Content == "CONVERT_TO_BINARY" && !c.stage.binary.has(c.r.Header.Get("Content-Type")) {
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return nil, &Refusal{Kind: APIConfiguration, Why: "CONVERT_TO_BINARY, and the body is no base64"}
		}
	}
	if !ok {
		return body, nil
	}
	return c.render(text, body)
}

// mapBack answers by the integration response that a backend's answer selects.
func (c *call) mapBack(i *Integration, b *backend) error {
	r, err := selected(i, b.status)
	if err != nil {
		return err
	}
	status, err := strconv.Atoi(r.Status)
	if err != nil || status < 200 || status > 599 {
		return &Refusal{Kind: APIConfiguration, Why: "an integration response has no status"}
	}
	header := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		to, ok := strings.CutPrefix(name, "method.response.header.")
		if !ok {
			continue
		}
		if v, ok := c.backValue(r.Parameters[name], b); ok && headerValue(v) {
			header[http.CanonicalHeaderKey(to)] = []string{v}
		}
	}
	body, kind := b.body, b.header.Get("Content-Type")
	if text, t, ok := c.backTemplate(r); ok {
		c.overridden = Override{}
		if body, err = c.render(text, b.body); err != nil {
			return err
		}
		kind = t
		for name, v := range c.overridden.Header {
			if headerValue(v) {
				header[http.CanonicalHeaderKey(name)] = []string{v}
			}
		}
		if s := c.overridden.Status; s >= 200 && s <= 599 {
			status = s
		}
	}
	switch r.Content {
	case "CONVERT_TO_BINARY":
		if body, err = base64.StdEncoding.DecodeString(string(bytes.TrimSpace(body))); err != nil {
			return &Refusal{Kind: APIConfiguration, Why: "CONVERT_TO_BINARY, and the answer is no base64"}
		}
	case "CONVERT_TO_TEXT":
		body = []byte(base64.StdEncoding.EncodeToString(body))
	}
	if header["Content-Type"] == nil && kind != "" {
		header["Content-Type"] = []string{kind}
	}
	c.answer(status, header, body)
	return nil
}

// selected is the integration response whose pattern matches; without one that with none.
func selected(i *Integration, status string) (*Reshaping, error) {
	var usual *Reshaping
	for _, key := range slices.Sorted(maps.Keys(i.Responses)) {
		r := i.Responses[key]
		if r.Status == "" {
			copied := *r
			copied.Status = key
			r = &copied
		}
		if r.Pattern == "" {
			if usual == nil {
				usual = r
			}
			continue
		}
		re, err := regexp.Compile("^(?s:" + r.Pattern + ")$")
		if err != nil {
			return nil, &Refusal{Kind: APIConfiguration, Why: "the selection pattern of integration response " + key + ": " + err.Error()}
		}
		if status != "" && re.MatchString(status) {
			return r, nil
		}
	}
	if usual == nil {
		return nil, &Refusal{Kind: APIConfiguration, Why: "no integration response matches, and none is without a pattern"}
	}
	return usual, nil
}

// backTemplate is the response template for what the sender accepts.
func (c *call) backTemplate(r *Reshaping) (text, kind string, ok bool) {
	if len(r.Templates) == 0 {
		return "", "", false
	}
	kind = accepted(c.r.Header.Get("Accept"))
	if text, ok = r.Templates[kind]; !ok {
		kind = "application/json"
		if text, ok = r.Templates[kind]; !ok {
			kind = slices.Sorted(maps.Keys(r.Templates))[0]
			text = r.Templates[kind]
		}
	}
	return text, kind, strings.TrimSpace(text) != ""
}

// backValue is a value of a mapping of an answer: integration.response.header.NAME, integration.response.body.PATH, or
// what a request's mapping may have.
func (c *call) backValue(e string, b *backend) (string, bool) {
	rest, ok := strings.CutPrefix(e, "integration.response.")
	if !ok {
		return c.expression(e)
	}
	kind, name, _ := strings.Cut(rest, ".")
	switch kind {
	case "header", "multivalueheader":
		v := b.header.Values(name)
		return strings.Join(v, ","), len(v) > 0
	case "body":
		if name == "" {
			return string(b.body), true
		}
		return jsonValue(b.body, name)
	}
	return "", false
}
