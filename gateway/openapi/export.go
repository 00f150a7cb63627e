package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"thaw/gateway"
)

// Form says what an export is to be.
type Form struct {
	Swagger    bool // 2.0 instead of OpenAPI 3
	YAML       bool
	Extensions bool // integrations, authorizers and the rest of API Gateway's
	Server     string
}

type object = map[string]any

// Export is a definition of an API as a document.
func Export(a *gateway.API, d *gateway.Definition, f Form) ([]byte, error) {
	x := &exporter{a, d, f}
	doc := object{"info": x.info(), "paths": x.paths()}
	if f.Swagger {
		doc["swagger"] = "2.0"
	} else {
		doc["openapi"] = "3.0.1"
		if f.Server != "" {
			doc["servers"] = []object{{"url": f.Server}}
		}
	}
	x.parts(doc)
	if f.Extensions {
		x.extensions(doc)
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil || !f.YAML {
		return b, err
	}
	return yaml.JSONToYAML(b)
}

type exporter struct {
	a *gateway.API
	d *gateway.Definition
	f Form
}

func (x *exporter) info() object {
	o := object{"title": x.a.Name, "version": x.a.Version}
	if x.a.Version == "" {
		o["version"] = x.a.Created.UTC().Format("2006-01-02T15:04:05Z")
	}
	if x.a.Description != "" {
		o["description"] = x.a.Description
	}
	return o
}

func (x *exporter) paths() object {
	all := object{}
	for _, r := range x.d.Routes {
		method, path, _ := strings.Cut(r.Key, " ")
		if r.Key == "$default" {
			method, path = "ANY", "/$default"
		}
		item, _ := all[path].(object)
		if item == nil {
			item = object{}
			all[path] = item
		}
		name := strings.ToLower(method)
		if method == "ANY" {
			name = anyMethod
		}
		item[name] = x.operation(r)
	}
	return all
}

func (x *exporter) operation(r *gateway.Route) object {
	o := object{"responses": x.responses(r)}
	if r.Operation != "" {
		o["operationId"] = r.Operation
	}
	if r.Key == "$default" {
		o["isDefaultRoute"] = true
	}
	parameters := x.parameters(r)
	if len(r.RequestModels) > 0 {
		media := slices.Sorted(maps.Keys(r.RequestModels))
		if x.f.Swagger {
			name := r.RequestModels[media[0]]
			parameters = append(parameters, object{"in": "body", "name": name, "required": true, "schema": x.ref(name)})
			o["consumes"] = media
		} else {
			o["requestBody"] = object{"required": true, "content": x.content(r.RequestModels)}
		}
	}
	if len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if s := x.security(r); len(s) > 0 {
		o["security"] = s
	}
	if !x.f.Extensions {
		return o
	}
	if i := x.d.Integrations[r.Integration]; i != nil {
		o[integration] = backOf(x.a.Kind, i)
	}
	if v := x.d.Validators[r.Validator]; v != nil {
		o[extension+"request-validator"] = v.Name
	}
	return o
}

func (x *exporter) ref(model string) object {
	if x.f.Swagger {
		return object{"$ref": definitions + model}
	}
	return object{"$ref": "#/components/schemas/" + model}
}

func (x *exporter) content(models map[string]string) object {
	c := object{}
	for media, name := range models {
		c[media] = object{"schema": x.ref(name)}
	}
	return c
}

// parameters are those that a method asks for, and those of its path.
func (x *exporter) parameters(r *gateway.Route) (all []object) {
	add := func(in, name string, required bool) {
		p := object{"name": name, "in": in, "required": required}
		if x.f.Swagger {
			p["type"] = "string"
		} else {
			p["schema"] = object{"type": "string"}
		}
		all = append(all, p)
	}
	said := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.RequestParameters)) {
		where, name, _ := strings.Cut(strings.TrimPrefix(name, "method.request."), ".")
		for in, place := range places {
			if place == where {
				said[in+name] = true
				add(in, name, r.RequestParameters["method.request."+where+"."+name] || in == "path")
			}
		}
	}
	if x.a.Kind == gateway.REST {
		return all
	}
	for part := range strings.SplitSeq(r.Key, "/") {
		if name := strings.Trim(part, "{}+"); strings.HasPrefix(part, "{") && !said["path"+name] {
			add("path", strings.Trim(part, "{}"), true)
		}
	}
	return all
}

func (x *exporter) responses(r *gateway.Route) object {
	all := object{}
	for status, a := range r.Responses {
		o := object{"description": status + " response"}
		for name := range a.Parameters {
			h, _ := o["headers"].(object)
			if h == nil {
				h = object{}
				o["headers"] = h
			}
			typ := object{"type": "string"}
			if !x.f.Swagger {
				typ = object{"schema": typ}
			}
			h[strings.TrimPrefix(name, "method.response.header.")] = typ
		}
		if len(a.Models) > 0 && x.f.Swagger {
			o["schema"] = x.ref(a.Models[slices.Sorted(maps.Keys(a.Models))[0]])
		} else if len(a.Models) > 0 {
			o["content"] = x.content(a.Models)
		}
		all[status] = o
	}
	if len(all) == 0 {
		all["default"] = object{"description": fmt.Sprintf("Default response for %s", r.Key)}
	}
	return all
}

const sigv4, keyScheme = "sigv4", "api_key"

func (x *exporter) security(r *gateway.Route) (all []object) {
	scopes := r.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	if z := x.d.Authorizers[r.Authorizer]; z != nil {
		all = append(all, object{z.Name: scopes})
	}
	if r.Authorization == "AWS_IAM" {
		all = append(all, object{sigv4: []string{}})
	}
	if r.NeedsKey {
		all = append(all, object{keyScheme: []string{}})
	}
	return all
}

// parts are models and security schemes.
func (x *exporter) parts(doc object) {
	schemas, schemes := object{}, object{}
	for _, m := range x.d.Models {
		var s any
		text := m.Schema
		if json.Unmarshal([]byte(text), &s) != nil {
			continue
		}
		if o, is := s.(object); is {
			delete(o, "definitions") // each of them is a model, too
			delete(o, "$schema")
		}
		if !x.f.Swagger {
			b, _ := json.Marshal(s)                                                                              //nolint:errcheck // it came as JSON
			json.Unmarshal([]byte(strings.ReplaceAll(string(b), `"`+definitions, `"#/components/schemas/`)), &s) //nolint:errcheck // only references changed
		}
		schemas[m.Name] = s
	}
	for _, z := range x.d.Authorizers {
		schemes[z.Name] = x.scheme(z)
	}
	for _, r := range x.d.Routes {
		if r.Authorization == "AWS_IAM" {
			schemes[sigv4] = object{"type": "apiKey", "name": "Authorization", "in": "header", authType: awsSigv4}
		}
		if r.NeedsKey {
			schemes[keyScheme] = object{"type": "apiKey", "name": keyHeader, "in": "header"}
		}
	}
	components := object{}
	put := func(two, three string, all object) {
		switch {
		case len(all) == 0:
		case x.f.Swagger:
			doc[two] = all
		default:
			components[three] = all
		}
	}
	put("definitions", "schemas", schemas)
	put("securityDefinitions", "securitySchemes", schemes)
	if len(components) > 0 {
		doc["components"] = components
	}
}

func (x *exporter) scheme(z *gateway.Authorizer) object {
	o := object{"type": "apiKey", "name": "Authorization", "in": "header"}
	switch {
	case z.Type == "JWT":
		o = object{"type": "oauth2", "flows": object{}}
	case x.a.Kind == gateway.REST && z.Type == "REQUEST":
		o["name"] = "Unused"
	case x.a.Kind == gateway.REST && len(z.Sources) == 1:
		o["name"] = strings.TrimPrefix(z.Sources[0], "method.request.header.")
	}
	if x.f.Extensions {
		o[authorizer] = judgeOf(x.a.Kind, z)
		if x.a.Kind == gateway.REST {
			o[authType] = z.AuthType
		}
	}
	return o
}

func (x *exporter) extensions(doc object) {
	if x.a.Kind == gateway.HTTP {
		doc[extension+"importexport-version"] = "1.0"
		if c := x.d.CORS; c != nil {
			doc[extension+"cors"] = cors{c.Credentials, c.Headers, c.Methods, c.Origins, c.ExposeHeaders, c.MaxAge}
		}
	}
	if len(x.a.Tags) > 0 {
		var tags []object
		for _, name := range slices.Sorted(maps.Keys(x.a.Tags)) {
			tags = append(tags, object{"name": name, extension + "tag-value": x.a.Tags[name]})
		}
		doc["tags"] = tags
	}
	if len(x.d.Validators) > 0 {
		all := map[string]validator{}
		for _, v := range x.d.Validators {
			all[v.Name] = validator{v.Body, v.Parameters}
		}
		doc[extension+"request-validators"] = all
	}
	if len(x.d.Answers) > 0 {
		all := map[string]answer{}
		for _, z := range x.d.Answers {
			one := answer{Parameters: z.Parameters, Templates: z.Templates}
			if z.Status != "" {
				one.Status = json.RawMessage(z.Status)
			}
			all[z.Type] = one
		}
		doc[extension+"gateway-responses"] = all
	}
	if len(x.d.BinaryTypes) > 0 {
		doc[extension+"binary-media-types"] = x.d.BinaryTypes
	}
	x.settings(doc)
}

func (x *exporter) settings(doc object) {
	if x.a.MinCompression != nil {
		doc[extension+"minimum-compression-size"] = *x.a.MinCompression
	}
	if x.a.APIKeySource == "AUTHORIZER" {
		doc[extension+"api-key-source"] = "AUTHORIZER"
	}
	if x.a.Policy != "" {
		doc[extension+"policy"] = json.RawMessage(x.a.Policy)
	}
	if x.a.Disabled {
		doc[extension+"endpoint-configuration"] = object{"disableExecuteApiEndpoint": true}
	}
}
