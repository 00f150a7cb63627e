package gatewayapi

import (
	"regexp"
	"slices"
	"strings"

	"thaw/gateway"
)

// httpRoute is a Route of apigatewayv2.
type httpRoute struct {
	Managed           bool                `json:"apiGatewayManaged,omitempty"`
	NeedsKey          bool                `json:"apiKeyRequired"`
	Scopes            []string            `json:"authorizationScopes,omitempty"`
	Authorization     string              `json:"authorizationType,omitempty"`
	Authorizer        string              `json:"authorizerId,omitempty"`
	ModelSelection    string              `json:"modelSelectionExpression,omitempty"`
	Operation         string              `json:"operationName,omitempty"`
	Models            map[string]string   `json:"requestModels,omitempty"`
	Parameters        map[string]required `json:"requestParameters,omitempty"`
	ID                string              `json:"routeId"`
	Key               string              `json:"routeKey"`
	ResponseSelection string              `json:"routeResponseSelectionExpression,omitempty"`
	Target            string              `json:"target,omitempty"`
}

type required struct {
	Required bool `json:"required"`
}

const targetPrefix = "integrations/"

func viewRoute(r *gateway.Route) httpRoute {
	v := httpRoute{Managed: r.Managed, NeedsKey: r.NeedsKey, Scopes: r.Scopes, Authorization: r.Authorization, Authorizer: r.Authorizer, ModelSelection: r.ModelSelection,
		Operation: r.Operation, Models: r.RequestModels, Parameters: viewRequired(r.RequestParameters), ID: r.ID, Key: r.Key, ResponseSelection: r.ResponseSelection}
	if r.Integration != "" {
		v.Target = targetPrefix + r.Integration
	}
	return v
}

func viewRequired(parameters map[string]bool) map[string]required {
	if len(parameters) == 0 {
		return nil
	}
	v := map[string]required{}
	for name, r := range parameters {
		v[name] = required{r}
	}
	return v
}

func madeRequired(v map[string]required) map[string]bool {
	if len(v) == 0 {
		return nil
	}
	made := map[string]bool{}
	for name, r := range v {
		made[name] = r.Required
	}
	return made
}

func (v *httpRoute) apply(a *gateway.API, r *gateway.Route) error {
	id, is := strings.CutPrefix(v.Target, targetPrefix)
	if v.Target != "" && !is {
		return badRequest("Invalid target specified: %q is not integrations/ID", v.Target)
	}
	if v.Models != nil && a.Kind == gateway.HTTP || v.Parameters != nil && a.Kind == gateway.HTTP {
		return badRequest("Request models and request parameters are of WebSocket APIs alone")
	}
	if v.Authorization == "NONE" || v.Authorization == "AWS_IAM" { // no authorizer any more
		v.Authorizer, v.Scopes = "", nil
	}
	r.NeedsKey, r.Scopes, r.Authorization, r.Authorizer = v.NeedsKey, v.Scopes, or(v.Authorization, "NONE"), v.Authorizer
	r.ModelSelection, r.Operation, r.RequestModels, r.RequestParameters = v.ModelSelection, v.Operation, v.Models, madeRequired(v.Parameters)
	r.Key, r.ResponseSelection, r.Integration = v.Key, v.ResponseSelection, id
	return validRoute(a, r)
}

var segmentRE = regexp.MustCompile(`^(?:\{[A-Za-z0-9._:$-]+\+?\}|[A-Za-z0-9._~:!$&'()*+,;=@%-]*)$`)

// validRoute says what is wrong with a route.
func validRoute(a *gateway.API, r *gateway.Route) error {
	if r.Key == "" {
		return badRequest("Route key is required")
	}
	if err := validKey(a.Kind, r.Key); err != nil {
		return err
	}
	for _, other := range a.Draft.Routes {
		if other.ID != r.ID && other.Key == r.Key {
			return conflict("Route with key %s already exists for this API", r.Key)
		}
	}
	if r.Integration != "" && a.Draft.Integrations[r.Integration] == nil {
		return noSuch("Integration", r.Integration)
	}
	return validAuthorization(a, r)
}

func validAuthorization(a *gateway.API, r *gateway.Route) error {
	kinds := "NONE|AWS_IAM|CUSTOM|JWT"
	if a.Kind == gateway.WebSocket {
		kinds = "NONE|AWS_IAM|CUSTOM"
	}
	z := a.Draft.Authorizers[r.Authorizer]
	switch {
	case !known(r.Authorization, kinds):
		return badRequest("Invalid authorization type specified: %s is none of [%s]", r.Authorization, strings.ReplaceAll(kinds, "|", ", "))
	case a.Kind == gateway.WebSocket && r.Key != "$connect" && r.Authorization != "NONE":
		return badRequest("Currently, authorization is restricted to the $connect route only")
	case (r.Authorization == "CUSTOM" || r.Authorization == "JWT") && r.Authorizer == "":
		return badRequest("Authorizer is required when authorizationType is %s", r.Authorization)
	case r.Authorizer != "" && z == nil:
		return noSuch("Authorizer", r.Authorizer)
	case z != nil && (r.Authorization == "JWT") != (z.Type == "JWT"):
		return badRequest("Authorizer type %s does not fit the authorization type %s", z.Type, r.Authorization)
	case len(r.Scopes) > 0 && r.Authorization != "JWT":
		return badRequest("Authorization scopes are only supported for the authorization type JWT")
	}
	return nil
}

// validKey judges a route key. Source: Developer Guide, "Routing API requests" and "Set up routes for WebSocket APIs".
func validKey(kind gateway.Kind, key string) error {
	if kind == gateway.WebSocket {
		if strings.HasPrefix(key, "$") && !known(key, "$connect|$disconnect|$default") {
			return badRequest("The provided route key is not formatted properly: %s; $connect, $disconnect and $default are all that begin with $", key)
		}
		return nil
	}
	if key == "$default" {
		return nil
	}
	method, path, _ := strings.Cut(key, " ")
	if !known(method, "ANY|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS") || !strings.HasPrefix(path, "/") {
		return badRequest("The provided route key is not formatted properly for HTTP protocol. Format should be \"<HTTP METHOD> /<RESOURCE PATH>\" or \"$default\"")
	}
	var names []string
	parts := strings.Split(path[1:], "/")
	for i, part := range parts {
		name := strings.Trim(part, "{}+")
		switch {
		case !segmentRE.MatchString(part) || part == "" && len(parts) > 1 && i < len(parts)-1:
			return badRequest("The provided route key is not valid: %q is no part of a path", part)
		case strings.HasSuffix(part, "+}") && i < len(parts)-1:
			return badRequest("The provided route key is not valid: %s must be the last part of its path", part)
		case strings.HasPrefix(part, "{") && slices.Contains(names, name):
			return badRequest("The provided route key is not valid: it has {%s} twice", name)
		case strings.HasPrefix(part, "{"):
			names = append(names, name)
		}
	}
	return nil
}

func (c *call) createRoute() (any, error) {
	r := &gateway.Route{ID: newID(7)}
	_, err := c.change(func(a *gateway.API) error {
		v := httpRoute{}
		if err := c.read(&v); err != nil {
			return err
		}
		if err := v.apply(a, r); err != nil {
			return err
		}
		if len(a.Draft.Routes) >= mostRoutes {
			return tooMany("routes", mostRoutes)
		}
		put(&a.Draft.Routes, r.ID, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return viewRoute(r), nil
}

// Bounds of an API. Source: "Quotas for configuring and running an HTTP API"; routes there can be raised, here they are.
const (
	mostRoutes      = 3000
	mostAuthorizers = 10
	mostStages      = 10
)

func tooMany(what string, bound int) *Error {
	return fail(429, "LimitExceededException", "Maximum number of %s for this API has been reached: %d", what, bound)
}

// put sets a member of a map that may be nil.
func put[T any](m *map[string]T, key string, v T) {
	if *m == nil {
		*m = map[string]T{}
	}
	(*m)[key] = v
}

func (c *call) route(a *gateway.API) (*gateway.Route, error) {
	if r := a.Draft.Routes[c.vars["routeId"]]; r != nil {
		return r, nil
	}
	return nil, noSuch("Route", c.vars["routeId"])
}

func (c *call) getRoute() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	r, err := c.route(a)
	if err != nil {
		return nil, err
	}
	return viewRoute(r), nil
}

func (c *call) getRoutes() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Draft.Routes, viewRoute)
}

func (c *call) updateRoute() (any, error) {
	var made *gateway.Route
	_, err := c.change(func(a *gateway.API) error {
		r, err := c.route(a)
		if err != nil {
			return err
		}
		v := viewRoute(r)
		if err := c.over(&v, &v.Models); err != nil {
			return err
		}
		made = r
		return v.apply(a, r)
	})
	if err != nil {
		return nil, err
	}
	return viewRoute(made), nil
}

func (c *call) deleteRoute() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		r, err := c.route(a)
		if err == nil {
			delete(a.Draft.Routes, r.ID)
		}
		return err
	})
	return nil, err
}

func (c *call) deleteRouteParameter() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		r, err := c.route(a)
		if err == nil {
			delete(r.RequestParameters, c.vars["requestParameterKey"])
		}
		return err
	})
	return nil, err
}
