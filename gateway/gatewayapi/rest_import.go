package gatewayapi

import (
	"maps"
	"slices"
	"strings"

	"thaw/gateway"
	"thaw/gateway/openapi"
)

// importREST makes a REST API of a document.
func (c *call) importREST() (any, error) {
	a := c.newREST()
	a.EndpointTypes, a.APIKeySource = []string{"EDGE"}, "HEADER"
	if types := c.query.Get("endpointConfigurationTypes"); types != "" {
		a.EndpointTypes = []string{types}
	}
	if err := c.takeREST(a, false); err != nil {
		return nil, err
	}
	if err := c.apis().APIs.Put(c.ctx(), a.ID, a); err != nil {
		return nil, err
	}
	return viewREST(a), nil
}

// putREST puts a document over an API's draft, or in its place.
func (c *call) putREST() (any, error) {
	mode := or(c.query.Get("mode"), "merge")
	if !known(mode, "merge|overwrite") {
		return nil, badRequest("Invalid mode %s: it is merge or overwrite", mode)
	}
	a, err := c.change(func(a *gateway.API) error { return c.takeREST(a, mode == "overwrite") })
	if err != nil {
		return nil, err
	}
	return viewREST(a), nil
}

func (c *call) takeREST(a *gateway.API, overwrite bool) error {
	doc, err := openapi.Read(c.body)
	if err != nil {
		return badRequest("Invalid OpenAPI input: %v", err)
	}
	old := a.Draft
	if overwrite {
		root := rootOf(&old)
		a.Draft = gateway.Definition{Resources: map[string]*gateway.Resource{root: old.Resources[root]}}
	}
	s, warnings := doc.Apply(&a.Draft, openapi.Options{Kind: gateway.REST, BasePath: strings.ToLower(or(c.query.Get("basepath"), c.query.Get("parameters.basepath"))), Old: &old, NewID: newID})
	v := viewREST(a)
	v.Name, v.Description, v.Version, v.Policy = or(s.Title, a.Name), or(s.Description, a.Description), or(s.Version, a.Version), or(s.Policy, a.Policy)
	v.KeySource, v.Disabled = or(s.KeySource, a.APIKeySource), s.Disabled || a.Disabled && !overwrite
	if s.MinCompression != nil || overwrite {
		v.Compression = s.MinCompression
	}
	if err := v.apply(a); err != nil {
		return err
	}
	a.Warnings = warnings
	if a.Tags == nil {
		a.Tags = s.Tags
	}
	if len(warnings) > 0 && c.flag("failonwarnings") {
		return badRequest("Warnings found during import:\n\t%s", strings.Join(warnings, "\n\t"))
	}
	return validREST(a)
}

// validREST says what is wrong with an imported definition.
func validREST(a *gateway.API) error {
	var wrong problems
	for _, r := range sorted(a.Draft.Resources) {
		if r.Parent != "" {
			wrong.add("resource at path '"+r.Path+"'", validPart(&a.Draft, r.ID, r.Parent, r.Part))
		}
	}
	for _, r := range sorted(a.Draft.Routes) {
		v := viewMethod(&a.Draft, r)
		wrong.add("method '"+r.Key+"'", v.apply(a, r))
		if i := a.Draft.Integrations[r.ID]; i != nil {
			wrong.add("integration on '"+r.Key+"'", validRESTIntegration(i))
		}
	}
	for _, z := range sorted(a.Draft.Authorizers) {
		wrong.add("authorizer '"+z.Name+"'", validRESTAuthorizer(a, z))
	}
	for kind := range a.Draft.Answers {
		if _, is := answerTypes[kind]; !is {
			wrong.add("gateway response "+kind, badRequest("there is no such type"))
		}
	}
	return wrong.err()
}

// sorted are the values of a map in the order of its keys.
func sorted[T any](m map[string]T) []T {
	all := make([]T, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[k])
	}
	return all
}

// getExport gives what a stage serves as a document.
func (c *call) getExport() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	st, err := c.stage(a)
	if err != nil {
		return nil, err
	}
	d := &a.Draft
	if made := a.Deployments[st.Deployment]; made != nil {
		d = &made.Definition
	}
	kind := c.vars["export_type"]
	if !known(kind, "swagger|oas30") {
		return nil, badRequest("Invalid export type %s: it is swagger or oas30", kind)
	}
	return exported(a, d, openapi.Form{Swagger: kind == "swagger", YAML: strings.Contains(c.r.Header.Get("Accept"), "yaml"), Extensions: c.query.Get("extensions") != "",
		Server: c.s.o.Endpoint(a) + "/" + st.Name}, kind)
}
