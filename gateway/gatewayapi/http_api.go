package gatewayapi

import (
	"slices"
	"strings"
	"time"

	"thaw/gateway"
)

// httpAPI is an Api of apigatewayv2, as it is asked for and shown.
type httpAPI struct {
	Endpoint       string            `json:"apiEndpoint,omitempty"`
	Managed        bool              `json:"apiGatewayManaged,omitempty"`
	ID             string            `json:"apiId,omitempty"`
	KeySelection   string            `json:"apiKeySelectionExpression,omitempty"`
	CORS           *cors             `json:"corsConfiguration,omitempty"`
	Created        *time.Time        `json:"createdDate,omitempty"`
	Description    string            `json:"description,omitempty"`
	Disabled       bool              `json:"disableExecuteApiEndpoint"`
	NoValidation   *bool             `json:"disableSchemaValidation,omitempty"`
	ImportInfo     []string          `json:"importInfo,omitempty"`
	IPAddressType  string            `json:"ipAddressType,omitempty"`
	Name           string            `json:"name,omitempty"`
	Protocol       string            `json:"protocolType,omitempty"`
	RouteSelection string            `json:"routeSelectionExpression,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
	Version        string            `json:"version,omitempty"`
	Warnings       []string          `json:"warnings,omitempty"`
}

// quick is what CreateApi and UpdateApi have for an API of one route.
type quick struct {
	Target      *string `json:"target"`
	RouteKey    *string `json:"routeKey"`
	Credentials *string `json:"credentialsArn"`
}

type cors struct {
	Credentials bool     `json:"allowCredentials,omitempty"`
	Headers     []string `json:"allowHeaders,omitempty"`
	Methods     []string `json:"allowMethods,omitempty"`
	Origins     []string `json:"allowOrigins,omitempty"`
	Expose      []string `json:"exposeHeaders,omitempty"`
	MaxAge      int      `json:"maxAge,omitempty"` // s
}

func (c *call) viewAPI(a *gateway.API) httpAPI {
	v := httpAPI{Endpoint: c.s.o.Endpoint(a), ID: a.ID, KeySelection: a.Draft.KeySelection, Created: &a.Created, Description: a.Description, Disabled: a.Disabled,
		NoValidation: a.NoValidation, IPAddressType: a.IPAddressType, Name: a.Name, Protocol: string(a.Kind), RouteSelection: a.Draft.RouteSelection, Tags: a.Tags,
		Version: a.Version, ImportInfo: a.ImportInfo, Warnings: a.Warnings}
	if o := a.Draft.CORS; o != nil {
		v.CORS = &cors{o.Credentials, o.Headers, o.Methods, o.Origins, o.ExposeHeaders, o.MaxAge}
	}
	return v
}

// apply makes an API what was asked for.
func (v *httpAPI) apply(a *gateway.API) error {
	switch {
	case v.Name == "" || len(v.Name) > 128:
		return badRequest("Invalid name specified: it has 1 to 128 characters")
	case len(v.Description) > 1024:
		return badRequest("Invalid description specified: it has at most 1024 characters")
	case len(v.Version) > 64:
		return badRequest("Invalid version specified: it has at most 64 characters")
	case !known(v.IPAddressType, "ipv4|dualstack"):
		return badRequest("Invalid ipAddressType specified. Must be one of [ipv4, dualstack]")
	case a.Kind == gateway.HTTP && v.RouteSelection != usualSelection:
		return badRequest("Invalid route selection expression: %q is all that an HTTP API has", usualSelection)
	case a.Kind == gateway.WebSocket && v.RouteSelection == "":
		return badRequest("Route selection expression is required for WebSocket APIs: $request.body.action")
	case a.Kind == gateway.WebSocket && !strings.HasPrefix(v.RouteSelection, "$request.") && !strings.HasPrefix(v.RouteSelection, "${request."):
		return badRequest("Invalid route selection expression %q: it begins with $request.body", v.RouteSelection)
	case a.Kind == gateway.WebSocket && v.CORS != nil:
		return badRequest("CORS configuration is only supported for HTTP APIs")
	}
	a.Name, a.Description, a.Version, a.Disabled, a.IPAddressType, a.NoValidation = v.Name, v.Description, v.Version, v.Disabled, v.IPAddressType, v.NoValidation
	a.Draft.RouteSelection, a.Draft.KeySelection, a.Draft.CORS = v.RouteSelection, v.KeySelection, nil
	if v.CORS == nil {
		return nil
	}
	made, err := v.CORS.made()
	a.Draft.CORS = made
	return err
}

func (o *cors) made() (*gateway.CORS, error) {
	switch {
	case o.Credentials && slices.Contains(o.Origins, "*"):
		return nil, badRequest("allowCredentials and allowOrigins * exclude each other: browsers send no credentials then")
	case o.MaxAge < -1 || o.MaxAge > 86400:
		return nil, badRequest("maxAge is -1 to 86400 seconds")
	}
	for _, m := range o.Methods {
		if !known(m, "*|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS") {
			return nil, badRequest("Invalid HTTP method %q specified in allowMethods", m)
		}
	}
	for _, origin := range o.Origins {
		if origin != "*" && !strings.Contains(origin, "://") {
			return nil, badRequest("Invalid format for origin %q: it is *, or a scheme and a host: https://example.org", origin)
		}
	}
	return &gateway.CORS{Origins: o.Origins, Methods: o.Methods, Headers: o.Headers, ExposeHeaders: o.Expose, Credentials: o.Credentials, MaxAge: o.MaxAge}, nil
}

const (
	usualSelection = "$request.method $request.path"
	usualKey       = "$request.header.x-api-key"
)

func (c *call) createAPI() (any, error) {
	v, q := httpAPI{IPAddressType: "ipv4", KeySelection: usualKey}, quick{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	if err := c.read(&q); err != nil {
		return nil, err
	}
	if v.Protocol != "HTTP" && v.Protocol != "WEBSOCKET" {
		return nil, badRequest("Invalid protocol specified. Must be one of [HTTP, WEBSOCKET]")
	}
	a := c.newAPI(gateway.Kind(v.Protocol))
	if a.Kind == gateway.HTTP {
		v.RouteSelection = or(v.RouteSelection, usualSelection)
	}
	if err := v.apply(a); err != nil {
		return nil, err
	}
	a.Tags = v.Tags
	if q.Target == nil && (q.RouteKey != nil || q.Credentials != nil) {
		return nil, badRequest("RouteKey and CredentialsArn belong to a Target, which is missing")
	}
	if q.Target != nil {
		if err := c.quickCreate(a, &q); err != nil {
			return nil, err
		}
	}
	if err := c.apis().APIs.Put(c.ctx(), a.ID, a); err != nil {
		return nil, err
	}
	return c.viewAPI(a), nil
}

func (c *call) newAPI(kind gateway.Kind) *gateway.API {
	return &gateway.API{ID: newID(10), Kind: kind, Account: c.s.o.AccountID, Region: c.region, Created: c.now(), IPAddressType: "ipv4",
		Draft:  gateway.Definition{Routes: map[string]*gateway.Route{}, Integrations: map[string]*gateway.Integration{}},
		Stages: map[string]*gateway.Stage{}, Deployments: map[string]*gateway.Deployment{}}
}

// quickCreate makes a route, its integration and a stage that deploys by itself; with those there, it changes them.
func (c *call) quickCreate(a *gateway.API, q *quick) error {
	if a.Kind != gateway.HTTP {
		return badRequest("Target is of HTTP APIs alone")
	}
	var route *gateway.Route
	for _, r := range a.Draft.Routes {
		if r.Managed {
			route = r
		}
	}
	if route == nil {
		if q.Target == nil {
			return badRequest("the API was not made with a Target, so there is no route that it would be")
		}
		i := &gateway.Integration{ID: newID(7), Managed: true}
		route = &gateway.Route{ID: newID(7), Key: "$default", Authorization: "NONE", Integration: i.ID, Managed: true}
		a.Draft.Integrations[i.ID], a.Draft.Routes[route.ID] = i, route
		st := &gateway.Stage{Name: "$default", Auto: true, Managed: true, Created: c.now(), Updated: c.now()}
		a.Stages[st.Name] = st
	}
	if q.RouteKey != nil {
		route.Key = *q.RouteKey
	}
	if err := validRoute(a, route); err != nil {
		return err
	}
	i := a.Draft.Integrations[route.Integration]
	if i == nil {
		return conflict("the integration of the API's Target was deleted")
	}
	if q.Target != nil {
		i.URI = *q.Target
		i.Type, i.Method, i.PayloadVersion, i.Connection, i.Timeout = "HTTP_PROXY", "ANY", "1.0", "INTERNET", mostTimeout
		if strings.HasPrefix(i.URI, "arn:") {
			i.Type, i.Method, i.PayloadVersion = "AWS_PROXY", "POST", "2.0"
		}
	}
	if q.Credentials != nil {
		i.Credentials = *q.Credentials
	}
	if err := validIntegration(a, i); err != nil {
		return err
	}
	return c.deployAuto(a)
}

func (c *call) getAPI() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return c.viewAPI(a), nil
}

func (c *call) getAPIs() (any, error) {
	all := map[string]*gateway.API{}
	for _, a := range c.apis().APIs.All() {
		if c.ours(a) && a.Kind != gateway.REST {
			all[a.ID] = a
		}
	}
	return listed(c, all, c.viewAPI)
}

func (c *call) updateAPI() (any, error) {
	a, err := c.change(func(a *gateway.API) error {
		v, q := c.viewAPI(a), quick{}
		if err := c.over(&v, &v.CORS); err != nil {
			return err
		}
		if err := c.read(&q); err != nil {
			return err
		}
		if v.Protocol != string(a.Kind) {
			return badRequest("the protocol of an API does not change")
		}
		if err := v.apply(a); err != nil || q == (quick{}) {
			return err
		}
		return c.quickCreate(a, &q)
	})
	if err != nil {
		return nil, err
	}
	return c.viewAPI(a), nil
}

func (c *call) deleteAPI() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	if name := c.mappedBy(a.ID, ""); name != "" {
		return nil, badRequest("Please remove all base path mappings related to the API in your domains: %s", name)
	}
	return nil, c.forget(a)
}

// forget removes an API, and from usage plans what they say of it.
func (c *call) forget(a *gateway.API) error {
	for _, s := range c.apis().Shared.All() {
		if s.Plan == nil || !slices.ContainsFunc(s.Plan.Stages, func(p gateway.PlanStage) bool { return p.API == a.ID }) {
			continue
		}
		return conflict("Cannot delete API '%s' while usage plan %s has stages of it", a.ID, s.Plan.ID)
	}
	return c.apis().APIs.Delete(c.ctx(), a.ID)
}

// mappedBy is the domain that serves a stage of an API; an empty stage is any.
func (c *call) mappedBy(api, stage string) string {
	for _, s := range c.apis().Shared.All() {
		if s.Domain == nil {
			continue
		}
		for _, m := range s.Domain.Mappings {
			if m.API == api && (stage == "" || m.Stage == stage) {
				return s.Domain.Name
			}
		}
	}
	return ""
}

func (c *call) deleteCORS() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		a.Draft.CORS = nil
		return nil
	})
	return nil, err
}
