package gateway

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"thaw/gateway/vtl"
	"thaw/trigger"
)

// Templates renders mapping templates; *VTL does.
type Templates interface {
	// Render gives a template what it may know of a request. Its error is told to nobody but the log.
	Render(template string, in *TemplateInput) ([]byte, error)
}

// TemplateInput is what a mapping template knows. Rendering may change Override.
type TemplateInput struct {
	Body    []byte              // $input.body, $input.json, $input.path
	Path    map[string]string   // $input.params().path
	Query   map[string]string   // $input.params().querystring
	Header  map[string]string   // $input.params().header
	Context func(string) string // $context.NAME: identity.sourceIp
	// ContextAll is $context as an object, for templates that go through it.
	ContextAll map[string]any
	Stage      map[string]string // $stageVariables
	Override   Override
}

// Override is what a template says of the request or the answer beside its body.
type Override struct {
	Status              int // $context.responseOverride.status; 0: as it is
	Header, Path, Query map[string]string
}

// VTL renders templates in API Gateway's part of Velocity, and keeps those that it has parsed. The zero value is ready.
type VTL struct {
	mu   sync.Mutex
	list map[string]*vtl.Template // by their text
}

// maxTemplates bounds what is kept: a text that has changed is not asked for again.
const maxTemplates = 1024

func (t *VTL) get(text string) (*vtl.Template, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.list[text]; p != nil {
		return p, nil
	}
	p, err := vtl.Parse(text)
	if err != nil {
		return nil, err
	}
	if t.list == nil || len(t.list) >= maxTemplates {
		t.list = map[string]*vtl.Template{}
	}
	t.list[text] = p
	return p, nil
}

// Render implements Templates.
func (t *VTL) Render(text string, in *TemplateInput) ([]byte, error) {
	if !strings.ContainsAny(text, "$#") {
		return []byte(text), nil
	}
	p, err := t.get(text)
	if err != nil {
		return nil, err
	}
	known := &vtl.Input{Body: in.Body, Path: in.Path, Query: in.Query, Header: in.Header, Stage: in.Stage,
		Context: in.ContextAll, Leaf: in.Context, Override: in.Override.set}
	out, err := p.Render(known.Vars())
	return []byte(out), err
}

// set takes responseOverride.status, requestOverride.header.NAME and their like.
func (o *Override) set(name, value string) error {
	_, name, _ = strings.Cut(name, ".")
	kind, of, _ := strings.Cut(name, ".")
	into := map[string]*map[string]string{"header": &o.Header, "path": &o.Path, "querystring": &o.Query}[kind]
	switch {
	case kind == "status":
		n, err := strconv.Atoi(value)
		if err != nil || n < 200 || n > 599 {
			return fmt.Errorf("responseOverride.status is %q, no number from 200 to 599", value)
		}
		o.Status = n
	case into == nil || of == "":
		return fmt.Errorf("there is no %s to override", name)
	default:
		if *into == nil {
			*into = map[string]string{}
		}
		(*into)[of] = value
	}
	return nil
}

// render fills in a template with what is known of the request. Its error is a *Refusal.
func (c *call) render(text string, body []byte) ([]byte, error) {
	in := &TemplateInput{Body: body, Path: c.found.params, Query: trigger.Last(c.r.URL.Query()),
		Header: map[string]string{"Host": c.host()}, Stage: c.place.Stage.Variables,
		ContextAll: c.contextAll(), Context: func(name string) string { v, _ := c.variable(name); return v }}
	for name, v := range c.r.Header {
		in.Header[name] = v[len(v)-1]
	}
	out, err := c.s.Templates.Render(text, in)
	if err != nil {
		return nil, &Refusal{Kind: APIConfiguration, Why: "mapping template: " + err.Error()}
	}
	c.overridden = in.Override
	return out, nil
}
