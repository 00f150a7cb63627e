package openapi

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"thaw/gateway"
)

// validator is one of x-amazon-apigateway-request-validators.
type validator struct {
	Body       bool `json:"validateRequestBody"`
	Parameters bool `json:"validateRequestParameters"`
}

// answer is one of x-amazon-apigateway-gateway-responses.
type answer struct {
	Status     json.RawMessage   `json:"statusCode,omitempty"`
	Parameters map[string]string `json:"responseParameters,omitempty"`
	Templates  map[string]string `json:"responseTemplates,omitempty"`
}

// parts makes what methods of a REST API refer to.
func (in *importer) parts() {
	x := in.doc.Extensions
	var all map[string]validator
	into(x, extension+"request-validators", &all)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v, id := all[name], in.newID(6)
		for _, old := range in.old.Validators {
			if old.Name == name {
				id = old.ID
			}
		}
		put(&in.d.Validators, id, &gateway.Validator{ID: id, Name: name, Body: v.Body, Parameters: v.Parameters})
	}
	var answers map[string]answer
	into(x, extension+"gateway-responses", &answers)
	for kind, a := range answers {
		put(&in.d.Answers, kind, &gateway.Answer{Type: kind, Status: strings.Trim(string(a.Status), `"`),
			Parameters: a.Parameters, Templates: a.Templates})
	}
	into(x, extension+"binary-media-types", &in.d.BinaryTypes)
	in.models()
}

var modelRE = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// models makes one of each schema. What one refers to is put into it, so that it can be read alone.
func (in *importer) models() {
	if in.doc.Components == nil {
		return
	}
	schemas := map[string]json.RawMessage{}
	for name, s := range in.doc.Components.Schemas {
		b, err := json.Marshal(s)
		if err != nil {
			continue
		}
		schemas[name] = json.RawMessage(strings.ReplaceAll(string(b), `"#/components/schemas/`, `"`+definitions))
	}
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		schema := schemas[name]
		if !modelRE.MatchString(name) {
			in.warn("Model name %s is not alphanumeric: requests with it are not held against it", name)
			continue
		}
		m := &gateway.Model{ID: in.newID(6), Name: name, ContentType: "application/json", Schema: whole(schema, schemas)}
		if old := in.old.Models[name]; old != nil {
			m.ID = old.ID
		}
		put(&in.d.Models, name, m)
	}
}

const definitions = "#/definitions/"

var refRE = regexp.MustCompile(`"` + definitions + `([^"]+)"`)

// whole is a schema with those that it refers to, in a member of its own.
func whole(schema json.RawMessage, all map[string]json.RawMessage) string {
	needs := map[string]json.RawMessage{}
	for todo := []json.RawMessage{schema}; len(todo) > 0; todo = todo[1:] {
		for _, m := range refRE.FindAllStringSubmatch(string(todo[0]), -1) {
			if other, is := all[m[1]]; is && needs[m[1]] == nil {
				needs[m[1]] = other
				todo = append(todo, other)
			}
		}
	}
	if len(needs) == 0 {
		return string(schema)
	}
	var m map[string]any
	if json.Unmarshal(schema, &m) != nil {
		return string(schema)
	}
	m["definitions"] = needs
	b, _ := json.Marshal(m) //nolint:errcheck // it came as JSON
	return string(b)
}

// method makes one of a REST API, with the resources of its path.
func (in *importer) method(o operation) {
	at := in.resource(in.prefix + o.path)
	id := at.ID + "/" + o.method
	r := &gateway.Route{ID: id, Resource: at.ID, Integration: id, Key: o.method + " " + at.Path, Operation: o.OperationID}
	in.secure(o, r)
	in.expects(o, r)
	in.answers(o, r)
	put(&in.d.Routes, id, r)
	b, is := in.back(o)
	if !is {
		in.warn("Method %s at path %s has no integration: the API cannot be deployed before it has one", o.method, o.path)
		return
	}
	i := &gateway.Integration{ID: id}
	b.apply(in.kind, i)
	if i.CacheNamespace == "" {
		i.CacheNamespace = at.ID
	}
	put(&in.d.Integrations, id, i)
}

// resource is the one of a path, made with all above it.
func (in *importer) resource(path string) *gateway.Resource {
	path = "/" + strings.Trim(path, "/")
	for _, r := range in.d.Resources {
		if r.Path == path {
			return r
		}
	}
	r := &gateway.Resource{ID: in.newID(6), Path: path}
	for _, old := range in.old.Resources {
		if old.Path == path {
			r.ID = old.ID
		}
	}
	if path != "/" {
		i := strings.LastIndexByte(path, '/')
		r.Part, r.Parent = path[i+1:], in.resource(path[:i]).ID
	}
	put(&in.d.Resources, r.ID, r)
	return r
}

// places of parameters, as mapping expressions name them.
var places = map[string]string{"path": "path", "query": "querystring", "header": "header"}

// expects sets what a method asks of requests.
func (in *importer) expects(o operation, r *gateway.Route) {
	for _, ref := range o.parameters {
		p := ref.Value
		switch {
		case p == nil:
		case places[p.In] == "":
			in.warn("Parameter %s of method %s at path %s is in the %s, which is not supported", p.Name, o.method, o.path, p.In)
		default:
			put(&r.RequestParameters, "method.request."+places[p.In]+"."+p.Name, p.Required)
		}
	}
	if o.RequestBody != nil && o.RequestBody.Value != nil {
		for _, media := range slices.Sorted(maps.Keys(o.RequestBody.Value.Content)) {
			if name := in.modelOf(o.RequestBody.Value.Content[media], r.Key); name != "" {
				put(&r.RequestModels, media, name)
			}
		}
	}
	name, _ := in.doc.Extensions[extension+"request-validator"].(string)
	if own, is := o.Extensions[extension+"request-validator"].(string); is {
		name = own
	}
	for _, v := range in.d.Validators {
		if v.Name == name {
			r.Validator = v.ID
		}
	}
	if name != "" && r.Validator == "" {
		in.warn("Request validator %s of method %s at path %s is not defined", name, o.method, o.path)
	}
}

// modelOf is the model of a body. A schema that is not one of the components' becomes one with a name of its own.
func (in *importer) modelOf(c *openapi3.MediaType, key string) string {
	if c == nil || c.Schema == nil {
		return ""
	}
	if c.Schema.Ref != "" {
		name := c.Schema.Ref[strings.LastIndexByte(c.Schema.Ref, '/')+1:]
		if in.d.Models[name] == nil {
			return ""
		}
		return name
	}
	b, err := json.Marshal(c.Schema)
	if err != nil || string(b) == "{}" {
		return ""
	}
	schema := strings.ReplaceAll(string(b), `"#/components/schemas/`, `"`+definitions)
	name := "Model" + regexp.MustCompile(`[^A-Za-z0-9]`).ReplaceAllString(key, "")
	for in.d.Models[name] != nil && in.d.Models[name].Schema != schema {
		name += "x"
	}
	put(&in.d.Models, name, &gateway.Model{ID: in.newID(6), Name: name, ContentType: "application/json", Schema: schema})
	return name
}

// answers sets what a method may answer.
func (in *importer) answers(o operation, r *gateway.Route) {
	for _, status := range slices.Sorted(maps.Keys(o.Responses.Map())) {
		ref := o.Responses.Map()[status]
		if ref.Value == nil || !regexp.MustCompile(`^[1-5]\d\d$`).MatchString(status) {
			continue // default is the integration's
		}
		a := &gateway.Response{}
		for name := range ref.Value.Headers {
			put(&a.Parameters, "method.response.header."+name, false)
		}
		for _, m := range slices.Sorted(maps.Keys(ref.Value.Content)) {
			if name := in.modelOf(ref.Value.Content[m], r.Key+status); name != "" {
				put(&a.Models, m, name)
			}
		}
		put(&r.Responses, status, a)
	}
}
