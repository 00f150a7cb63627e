package openapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"thaw/gateway"
)

// Options of an import.
type Options struct {
	Kind gateway.Kind
	// BasePath is what becomes of the document's base path: ignore, prepend, split.
	BasePath string
	// Old is the definition that the new one replaces: what has the same name keeps its ID.
	Old *gateway.Definition
	// NewID makes an ID of n characters.
	NewID func(n int) string
}

// Settings are what a document says of its API beside the definition.
type Settings struct {
	Title, Description, Version string
	Tags                        map[string]string
	MinCompression              *int
	KeySource                   string
	Policy                      string // JSON
	Disabled                    bool
}

// importer makes a definition.
type importer struct {
	doc      *Document
	d        *gateway.Definition
	old      *gateway.Definition
	kind     gateway.Kind
	newID    func(int) string
	prefix   string // of all paths
	named    map[string]*gateway.Authorizer
	warnings []string
}

func (in *importer) warn(format string, v ...any) {
	in.warnings = append(in.warnings, fmt.Sprintf(format, v...))
}

// Apply puts what a document says into a definition, over what is there. It returns what it did not understand.
func (d *Document) Apply(into *gateway.Definition, o Options) (Settings, []string) {
	in := &importer{doc: d, d: into, old: o.Old, kind: o.Kind, newID: o.NewID, named: map[string]*gateway.Authorizer{}}
	if in.old == nil {
		in.old = &gateway.Definition{}
	}
	base := "/" + strings.Trim(d.base, "/")
	switch {
	case base == "/":
	case o.BasePath == "prepend":
		in.prefix = base
	case o.BasePath == "split": // the first part is the stage's
		if _, rest, is := strings.Cut(base[1:], "/"); is {
			in.prefix = "/" + rest
		}
	}
	in.authorizers()
	if in.kind == gateway.REST {
		in.parts()
	} else {
		in.cors()
	}
	all := d.operations()
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+" "+a.method, b.path+" "+b.method) })
	for _, op := range all {
		in.operation(op)
	}
	slices.Sort(in.warnings)
	return in.settings(), in.warnings
}

func (in *importer) settings() (s Settings) {
	x := in.doc.Extensions
	if i := in.doc.Info; i != nil {
		s.Title, s.Description, s.Version = i.Title, i.Description, i.Version
	}
	for _, t := range in.doc.Tags {
		if v, is := t.Extensions[extension+"tag-value"].(string); is {
			put(&s.Tags, t.Name, v)
		}
	}
	into(x, extension+"minimum-compression-size", &s.MinCompression)
	if v, is := x[extension+"api-key-source"].(string); is {
		s.KeySource = strings.ToUpper(v)
	}
	if p, is := x[extension+"policy"]; is {
		b, _ := json.Marshal(p) //nolint:errcheck // it came as JSON
		s.Policy = string(b)
	}
	var e struct {
		Disabled bool     `json:"disableExecuteApiEndpoint"`
		VPC      []string `json:"vpcEndpointIds"`
	}
	if into(x, extension+"endpoint-configuration", &e) {
		s.Disabled = e.Disabled
		if len(e.VPC) > 0 {
			in.warn("vpcEndpointIds are ignored: there are no private APIs here")
		}
	}
	return s
}

// cors is x-amazon-apigateway-cors.
type cors struct {
	Credentials bool     `json:"allowCredentials,omitempty"`
	Headers     []string `json:"allowHeaders,omitempty"`
	Methods     []string `json:"allowMethods,omitempty"`
	Origins     []string `json:"allowOrigins,omitempty"`
	Expose      []string `json:"exposeHeaders,omitempty"`
	MaxAge      int      `json:"maxAge,omitempty"` // s
}

func (in *importer) cors() {
	var c cors
	if into(in.doc.Extensions, extension+"cors", &c) {
		in.d.CORS = &gateway.CORS{Origins: c.Origins, Methods: c.Methods, Headers: c.Headers, ExposeHeaders: c.Expose,
			Credentials: c.Credentials, MaxAge: c.MaxAge}
	}
}

// operation makes a route with its integration.
func (in *importer) operation(o operation) {
	if !slices.Contains(strings.Fields("ANY GET HEAD POST PUT PATCH DELETE OPTIONS"), o.method) {
		in.warn("Method %s at path %s is not supported, and is ignored", o.method, o.path)
		return
	}
	if in.kind == gateway.HTTP {
		in.route(o)
	} else {
		in.method(o)
	}
}

func (in *importer) route(o operation) {
	key := o.method + " " + in.prefix + o.path
	if o.path == "/$default" && o.method == "ANY" {
		key = "$default"
	}
	r := &gateway.Route{ID: in.newID(7), Key: key, Operation: o.OperationID}
	i := &gateway.Integration{ID: in.newID(7)}
	for _, old := range in.old.Routes {
		if old.Key != key {
			continue
		}
		if r.ID = old.ID; old.Integration != "" {
			i.ID = old.Integration
		}
	}
	in.secure(o, r)
	if b, is := in.back(o); is {
		b.apply(in.kind, i)
		r.Integration = i.ID
		put(&in.d.Integrations, i.ID, i)
	} else {
		in.warn("Route %s has no integration: it cannot be called before it has one", key)
	}
	put(&in.d.Routes, r.ID, r)
}

// back is an operation's integration, which may be one of the components.
func (in *importer) back(o operation) (b back, is bool) {
	if !into(o.Extensions, integration, &b) {
		return b, false
	}
	if b.Ref == "" {
		return b, true
	}
	name := b.Ref[strings.LastIndexByte(b.Ref, '/')+1:]
	var all map[string]back
	if in.doc.Components != nil {
		into(in.doc.Components.Extensions, extension+"integrations", &all)
	}
	b, is = all[name]
	if !is {
		in.warn("Integration %s of method %s at path %s is not defined", name, o.method, o.path)
	}
	return b, is
}
