package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"thaw/internal/finite"
)

// checks is what a method asks of its requests.
type checks struct {
	params []string // that it must have: method.request.header.X
	body   bool
	// models by content type; broken says why one cannot be used.
	models map[string]*jsonschema.Schema
	broken string
}

// newChecks is nil where nothing is asked.
func newChecks(r *Route, d *Definition) *checks {
	v := d.Validators[r.Validator]
	if v == nil {
		return nil
	}
	c := &checks{body: v.Body && len(r.RequestModels) > 0}
	if v.Parameters {
		for _, name := range slices.Sorted(maps.Keys(r.RequestParameters)) {
			if r.RequestParameters[name] {
				c.params = append(c.params, name)
			}
		}
	}
	if !c.body {
		return c
	}
	c.models = map[string]*jsonschema.Schema{}
	for contentType, name := range r.RequestModels {
		m, err := compileModel(name, d.Models)
		if err != nil {
			c.broken = "model " + name + ": " + err.Error()
		}
		c.models[strings.ToLower(contentType)] = m
	}
	return c
}

// modelsURL is where models refer to each other: https://apigateway.amazonaws.com/restapis/API/models/NAME.
const modelsURL = "https://apigateway.amazonaws.com/restapis/"

// loader finds models by name. Nothing else is loaded: a schema must not make the server fetch something.
type loader map[string]*Model

// Load implements jsonschema.URLLoader.
func (l loader) Load(url string) (any, error) {
	rest, ok := strings.CutPrefix(url, modelsURL)
	if _, name, found := strings.Cut(rest, "/models/"); ok && found {
		if m := l.named(name); m != nil {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(orObject(m.Schema)))
			if err == nil && !finite.Numbers(v) {
				err = errors.New("one of its numbers cannot be compared with others")
			}
			return v, err
		}
		return nil, fmt.Errorf("there is no model %s", name)
	}
	return nil, fmt.Errorf("%s is not a model of this API", url)
}

func orObject(schema string) string {
	if strings.TrimSpace(schema) == "" {
		return "{}"
	}
	return schema
}

func (l loader) named(name string) *Model {
	if m := l[name]; m != nil && (m.Name == name || m.Name == "") {
		return m
	}
	for _, m := range l {
		if m.Name == name {
			return m
		}
	}
	return nil
}

func compileModel(name string, models map[string]*Model) (*jsonschema.Schema, error) {
	if name == "Empty" && loader(models).named(name) == nil {
		return nil, nil //nolint:nilnil // everything is as it should be
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	c.UseLoader(loader(models))
	return c.Compile(modelsURL + "this/models/" + name)
}

// hold holds a request against the checks. Its error is a *Refusal.
func (k *checks) hold(c *call) error {
	if k == nil {
		return nil
	}
	var missing []string
	for _, p := range k.params {
		if v, ok := c.requestValue(p); !ok || v == "" {
			missing = append(missing, p[strings.LastIndexByte(p, '.')+1:])
		}
	}
	if len(missing) > 0 {
		return &Refusal{Kind: BadParameters,
			Message: "Missing required request parameters: [" + strings.Join(missing, ", ") + "]", Why: "missing parameters"}
	}
	if !k.body {
		return nil
	}
	if k.broken != "" {
		return &Refusal{Kind: APIConfiguration, Why: k.broken}
	}
	kind := mediaType(c.r.Header.Get("Content-Type"))
	if kind == "" {
		kind = "application/json"
	}
	model, ok := k.models[kind]
	if !ok {
		if model, ok = k.models["$default"]; !ok {
			return nil
		}
	}
	return holdBody(model, c.body)
}

func holdBody(model *jsonschema.Schema, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil || !json.Valid(body) {
		return &Refusal{Kind: BadBody, Why: "Unable to parse the request body as JSON"}
	}
	if model == nil {
		return nil
	}
	if !finite.Numbers(v) {
		return &Refusal{Kind: BadBody, Why: "a number of the body is too large, too small or too long to be held against a model"}
	}
	var invalid *jsonschema.ValidationError
	if err := model.Validate(v); errors.As(err, &invalid) {
		return &Refusal{Kind: BadBody, Why: "[" + shape(invalid) + "]"}
	} else if err != nil {
		return &Refusal{Kind: APIConfiguration, Why: err.Error()}
	}
	return nil
}

// shape says where a body is wrong, and by which rule: nothing of the body.
func shape(e *jsonschema.ValidationError) string {
	var list []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			list = append(list, "/"+strings.Join(e.InstanceLocation, "/")+": "+strings.Join(e.ErrorKind.KeywordPath(), "/"))
		}
		for _, c := range e.Causes {
			walk(c)
		}
	}
	walk(e)
	return strings.Join(list, ", ")
}
