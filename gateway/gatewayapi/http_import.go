package gatewayapi

import (
	"net/http"
	"strings"

	"thaw/gateway"
	"thaw/gateway/openapi"
)

// importAPI makes an HTTP API of a document.
func (c *call) importAPI() (any, error) {
	a := c.newAPI(gateway.HTTP)
	a.Draft.RouteSelection, a.Draft.KeySelection = usualSelection, usualKey
	if err := c.take(a); err != nil {
		return nil, err
	}
	if err := c.apis().APIs.Put(c.ctx(), a.ID, a); err != nil {
		return nil, err
	}
	return c.viewAPI(a), nil
}

// reimportAPI replaces the definition of one.
func (c *call) reimportAPI() (any, error) {
	a, err := c.change(func(a *gateway.API) error {
		if a.Kind != gateway.HTTP {
			return badRequest("Only HTTP APIs are imported")
		}
		return c.take(a)
	})
	if err != nil {
		return nil, err
	}
	return c.viewAPI(a), nil
}

// take puts the request's document in place of an HTTP API's draft.
func (c *call) take(a *gateway.API) error {
	var in struct {
		Body string `json:"body"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	doc, err := openapi.Read([]byte(in.Body))
	if err != nil {
		return badRequest("Invalid OpenAPI input: %v", err)
	}
	old := a.Draft
	a.Draft = gateway.Definition{RouteSelection: old.RouteSelection, KeySelection: old.KeySelection}
	s, warnings := doc.Apply(&a.Draft, openapi.Options{Kind: gateway.HTTP, BasePath: strings.ToLower(c.query.Get("basepath")), Old: &old, NewID: newID})
	a.Name, a.Description, a.Version, a.Disabled, a.Warnings = or(s.Title, a.Name), s.Description, s.Version, s.Disabled, warnings
	if a.Tags == nil {
		a.Tags = s.Tags
	}
	if a.Name == "" {
		return badRequest("Invalid OpenAPI input: info.title is missing, which is the API's name")
	}
	if len(warnings) > 0 && c.flag("failOnWarnings") {
		return badRequest("Warnings found during import:\n\t%s", strings.Join(warnings, "\n\t"))
	}
	var wrong problems
	for _, r := range sorted(a.Draft.Routes) {
		wrong.add("route on '"+r.Key+"'", validRoute(a, r))
		if i := a.Draft.Integrations[r.Integration]; i != nil {
			wrong.add("integration on '"+r.Key+"'", validIntegration(a, i))
		}
	}
	for _, z := range sorted(a.Draft.Authorizers) {
		wrong.add("authorizer '"+z.Name+"'", validAuthorizer(a, z))
	}
	return wrong.err()
}

// problems are what an import finds, said together.
type problems []string

func (p *problems) add(what string, err error) {
	if err == nil {
		return
	}
	e, _ := answerFor(err)
	*p = append(*p, "Unable to create "+what+": "+e.Message)
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return badRequest("Errors found during import:\n\t%s", strings.Join(p, "\n\t"))
}

// exportAPI gives a document: of a stage what it serves, else of the draft.
func (c *call) exportAPI() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	d := &a.Draft
	if name := c.query.Get("stageName"); name != "" {
		st := a.Stages[name]
		if st == nil {
			return nil, errNoStage
		}
		if made := a.Deployments[st.Deployment]; made != nil {
			d = &made.Definition
		}
	}
	form := openapi.Form{Extensions: c.query.Get("includeExtensions") != "false", Server: c.s.o.Endpoint(a)}
	switch {
	case a.Kind != gateway.HTTP:
		return nil, badRequest("Only HTTP APIs are exported")
	case !known(c.vars["specification"], "OAS30"):
		return nil, badRequest("Invalid specification %s: it is OAS30", c.vars["specification"])
	case !known(c.query.Get("outputType"), "JSON|YAML"):
		return nil, badRequest("Invalid output type: it is JSON or YAML")
	}
	form.YAML = c.query.Get("outputType") == "YAML"
	return exported(a, d, form, "openapi")
}

func exported(a *gateway.API, d *gateway.Definition, f openapi.Form, name string) (any, error) {
	b, err := openapi.Export(a, d, f)
	if err != nil {
		return nil, fail(http.StatusInternalServerError, "InternalServerErrorException", "Unable to export the API: %v", err)
	}
	if f.YAML {
		return document{name + ".yaml", "application/yaml", b}, nil
	}
	return document{name + ".json", "application/json", b}, nil
}
