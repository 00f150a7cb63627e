package gatewayapi

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"thaw/gateway"
	"thaw/gateway/vtl"
)

// Templates renders mapping templates for whoever serves APIs (gateway.Templates).
type Templates struct {
	mu     sync.Mutex
	parsed map[string]*vtl.Template
}

// mostParsed bounds the templates that are kept as they were parsed; those of deployments that went are among them.
const mostParsed = 1000

func (t *Templates) of(text string) (*vtl.Template, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if made := t.parsed[text]; made != nil {
		return made, nil
	}
	made, err := vtl.Parse(text)
	if err != nil {
		return nil, err
	}
	if t.parsed == nil || len(t.parsed) >= mostParsed {
		t.parsed = map[string]*vtl.Template{}
	}
	t.parsed[text] = made
	return made, nil
}

// Render implements gateway.Templates.
func (t *Templates) Render(template string, in *gateway.TemplateInput) ([]byte, error) {
	made, err := t.of(template)
	if err != nil {
		return nil, err
	}
	v := vtl.Input{Body: in.Body, Path: in.Path, Query: in.Query, Header: in.Header, Stage: in.Stage, Context: in.ContextAll, Leaf: in.Context,
		Override: func(name, value string) error { return override(&in.Override, name, value) }}
	out, err := made.Render(v.Vars())
	return []byte(out), err
}

// override takes what a template sets: requestOverride.header.NAME, responseOverride.status.
func override(o *gateway.Override, name, value string) error {
	_, name, _ = strings.Cut(name, ".")
	if name == "status" {
		status, err := strconv.Atoi(value)
		if err != nil || status < 100 || status > 599 {
			return fmt.Errorf("%q is no status", value)
		}
		o.Status = status
		return nil
	}
	kind, key, _ := strings.Cut(name, ".")
	into := map[string]*map[string]string{"header": &o.Header, "path": &o.Path, "querystring": &o.Query}[kind]
	if into == nil || key == "" {
		return fmt.Errorf("$context has no override %s", name)
	}
	put(into, key, value)
	return nil
}
