// Package openapi makes the definition of an API from an OpenAPI 3 or Swagger 2 document with API Gateway's extensions, and
// a document from a definition. It is pure: references to other files and hosts are not followed.
//
// Source: API Gateway Developer Guide, "OpenAPI extensions for API Gateway" and "Working with API definitions for HTTP APIs".
package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
)

// Document is one that was read. Swagger is as OpenAPI 3 then.
type Document struct {
	*openapi3.T
	// base is the path of the document's server or its basePath.
	base string
}

// anyMark follows a path under which the operation for all methods is kept: the library knows only real methods.
const anyMark = "\x00any"

const (
	extension   = "x-amazon-apigateway-"
	anyMethod   = extension + "any-method"
	integration = extension + "integration"
)

// Read reads a document in JSON or YAML.
func Read(text []byte) (*Document, error) {
	var raw map[string]any
	if err := json.Unmarshal(text, &raw); err != nil {
		v, yamlErr := readYAML(text)
		if yamlErr != nil {
			return nil, fmt.Errorf("it is neither JSON nor YAML: %w", yamlErr)
		}
		var is bool
		if raw, is = v.(map[string]any); !is {
			return nil, errors.New("it is no object")
		}
	}
	setAside(raw)
	b, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	swagger, _ := raw["swagger"].(string)
	version, _ := raw["openapi"].(string)
	switch {
	case swagger == "2.0":
		return readSwagger(b)
	case strings.HasPrefix(version, "3."):
		l := openapi3.NewLoader()
		t, err := l.LoadFromData(b)
		if err != nil {
			return nil, err
		}
		d := &Document{T: t}
		if len(t.Servers) > 0 {
			d.base, _ = t.Servers[0].BasePath() //nolint:errcheck // without one there is nothing to put before paths
		}
		return d, nil
	}
	return nil, errors.New(`it says neither "openapi": "3..." nor "swagger": "2.0"`)
}

func readSwagger(b []byte) (*Document, error) {
	var two openapi2.T
	if err := json.Unmarshal(b, &two); err != nil {
		return nil, err
	}
	t, err := openapi2conv.ToV3(&two)
	if err != nil {
		return nil, err
	}
	return &Document{T: t, base: two.BasePath}, nil
}

// setAside moves the operation for all methods to a path of its own.
func setAside(raw map[string]any) {
	paths, _ := raw["paths"].(map[string]any)
	moved := map[string]any{}
	for path, item := range paths {
		m, _ := item.(map[string]any)
		op, is := m[anyMethod].(map[string]any)
		if !is {
			continue
		}
		delete(m, anyMethod)
		if op["responses"] == nil {
			op["responses"] = map[string]any{}
		}
		one := map[string]any{"post": op}
		if p := m["parameters"]; p != nil {
			one["parameters"] = p
		}
		moved[path+anyMark] = one
	}
	for path, item := range moved {
		paths[path] = item
	}
}

// operation is one of a document.
type operation struct {
	path, method string // ANY
	*openapi3.Operation
	parameters openapi3.Parameters // of its path, too
}

// operations in the order of their paths.
func (d *Document) operations() (all []operation) {
	for _, path := range d.Paths.InMatchingOrder() {
		item := d.Paths.Value(path)
		for method, op := range item.Operations() {
			o := operation{path: path, method: method, Operation: op}
			if p, is := strings.CutSuffix(path, anyMark); is {
				o.path, o.method = p, "ANY"
			}
			own := map[string]bool{}
			for _, p := range op.Parameters {
				if p.Value != nil {
					own[p.Value.In+" "+p.Value.Name] = true
				}
			}
			o.parameters = append(o.parameters, op.Parameters...)
			for _, p := range item.Parameters {
				if p.Value != nil && !own[p.Value.In+" "+p.Value.Name] {
					o.parameters = append(o.parameters, p)
				}
			}
			all = append(all, o)
		}
	}
	return all
}

// into reads an extension into v; false: there is none, or it is of another form.
func into(extensions map[string]any, name string, v any) bool {
	raw, is := extensions[name]
	if !is {
		return false
	}
	b, err := json.Marshal(raw)
	return err == nil && json.Unmarshal(b, v) == nil
}
