package gatewayapi

import (
	"regexp"
	"strings"

	"thaw/gateway"
)

// restMethod is a Method.
type restMethod struct {
	Method        string                    `json:"httpMethod"`
	Authorization string                    `json:"authorizationType"`
	Authorizer    string                    `json:"authorizerId,omitempty"`
	NeedsKey      bool                      `json:"apiKeyRequired"`
	Validator     string                    `json:"requestValidatorId,omitempty"`
	Operation     string                    `json:"operationName,omitempty"`
	Parameters    map[string]bool           `json:"requestParameters,omitempty"`
	Models        map[string]string         `json:"requestModels,omitempty"`
	Responses     map[string]methodResponse `json:"methodResponses,omitempty"`
	Integration   *restIntegration          `json:"methodIntegration,omitempty"`
	Scopes        []string                  `json:"authorizationScopes,omitempty"`
}

type methodResponse struct {
	Status     string            `json:"statusCode"`
	Parameters map[string]bool   `json:"responseParameters,omitempty"`
	Models     map[string]string `json:"responseModels,omitempty"`
}

// methodOf is the HTTP method of a route: the first word of its key.
func methodOf(r *gateway.Route) string {
	method, _, _ := strings.Cut(r.Key, " ")
	return method
}

func viewMethod(d *gateway.Definition, r *gateway.Route) restMethod {
	v := restMethod{Method: methodOf(r), Authorization: r.Authorization, Authorizer: r.Authorizer, NeedsKey: r.NeedsKey, Validator: r.Validator, Operation: r.Operation,
		Parameters: r.RequestParameters, Models: r.RequestModels, Scopes: r.Scopes}
	for status, m := range r.Responses {
		put(&v.Responses, status, methodResponse{status, m.Parameters, m.Models})
	}
	if i := d.Integrations[r.ID]; i != nil {
		shown := viewRESTIntegration(i)
		v.Integration = &shown
	}
	return v
}

var placeRE = regexp.MustCompile(`^method\.request\.(path|querystring|multivaluequerystring|header|multivalueheader)\.[!-~]+$`)

func (v *restMethod) apply(a *gateway.API, r *gateway.Route) error {
	z := a.Draft.Authorizers[v.Authorizer]
	switch {
	case !known(v.Authorization, "NONE|AWS_IAM|CUSTOM|COGNITO_USER_POOLS"):
		return badRequest("Invalid Authorization type specified: %q is none of [NONE, AWS_IAM, CUSTOM, COGNITO_USER_POOLS]", v.Authorization)
	case known(v.Authorization, "CUSTOM|COGNITO_USER_POOLS") && z == nil:
		return badRequest("Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.")
	case z != nil && (v.Authorization == "COGNITO_USER_POOLS") != (z.Type == "COGNITO_USER_POOLS"):
		return badRequest("Authorizer type %s does not fit the authorization type %s", z.Type, v.Authorization)
	case v.Validator != "" && a.Draft.Validators[v.Validator] == nil:
		return badRequest("Invalid Request Validator identifier specified: %s", v.Validator)
	}
	for name := range v.Parameters {
		if !placeRE.MatchString(name) {
			return badRequest("Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: %s]", name)
		}
	}
	for _, model := range v.Models {
		if a.Draft.Models[model] == nil {
			return badRequest("Invalid model identifier specified: %s", model)
		}
	}
	if v.Authorization == "NONE" || v.Authorization == "AWS_IAM" {
		v.Authorizer = ""
	}
	r.Authorization, r.Authorizer, r.NeedsKey, r.Validator, r.Operation = v.Authorization, v.Authorizer, v.NeedsKey, v.Validator, v.Operation
	r.RequestParameters, r.RequestModels, r.Scopes = v.Parameters, v.Models, v.Scopes
	return nil
}

func (c *call) methodID() string { return c.vars["resource_id"] + "/" + c.vars["http_method"] }

// method is the one that the path names.
func (c *call) method(d *gateway.Definition) (*gateway.Route, error) {
	if _, err := c.resource(d); err != nil {
		return nil, err
	}
	if r := d.Routes[c.methodID()]; r != nil {
		return r, nil
	}
	return nil, notFound("Invalid Method identifier specified")
}

func (c *call) putMethod() (any, error) {
	r := &gateway.Route{ID: c.methodID(), Resource: c.vars["resource_id"], Integration: c.methodID()}
	v := restMethod{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	a, err := c.change(func(a *gateway.API) error {
		at, err := c.resource(&a.Draft)
		if err != nil {
			return err
		}
		method := c.vars["http_method"]
		if !known(method, "ANY|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS") {
			return badRequest("Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY")
		}
		if a.Draft.Routes[r.ID] != nil {
			return conflict("Method already exists for this resource")
		}
		r.Key = method + " " + at.Path
		put(&a.Draft.Routes, r.ID, r)
		return v.apply(a, r)
	})
	if err != nil {
		return nil, err
	}
	return viewMethod(&a.Draft, r), nil
}

func (c *call) getMethod() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	r, err := c.method(&a.Draft)
	if err != nil {
		return nil, err
	}
	return viewMethod(&a.Draft, r), nil
}

func (c *call) updateMethod() (any, error) {
	var made *gateway.Route
	a, err := c.change(func(a *gateway.API) error {
		r, err := c.method(&a.Draft)
		if err != nil {
			return err
		}
		v := viewMethod(&a.Draft, r)
		if err := c.patch(&v, "authorizationType|authorizerId|apiKeyRequired|requestValidatorId|operationName|requestParameters|requestModels|authorizationScopes", nil); err != nil {
			return err
		}
		made = r
		return v.apply(a, r)
	})
	if err != nil {
		return nil, err
	}
	return viewMethod(&a.Draft, made), nil
}

func (c *call) deleteMethod() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		r, err := c.method(&a.Draft)
		if err == nil {
			delete(a.Draft.Routes, r.ID)
			delete(a.Draft.Integrations, r.ID)
		}
		return err
	})
	return nil, err
}

var statusRE = regexp.MustCompile(`^[1-5]\d\d$`)

func (c *call) putMethodResponse() (any, error) {
	v := methodResponse{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	v.Status = c.vars["status_code"]
	_, err := c.change(func(a *gateway.API) error {
		r, err := c.method(&a.Draft)
		switch {
		case err != nil:
			return err
		case !statusRE.MatchString(v.Status):
			return badRequest("Invalid status code specified: %s", v.Status)
		case r.Responses[v.Status] != nil:
			return conflict("Response already exists for this resource")
		}
		put(&r.Responses, v.Status, &gateway.Response{Parameters: v.Parameters, Models: v.Models})
		return v.check(a)
	})
	return v, err
}

func (v *methodResponse) check(a *gateway.API) error {
	for name := range v.Parameters {
		if header, is := strings.CutPrefix(name, "method.response.header."); !is || header == "" {
			return badRequest("Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: %s]", name)
		}
	}
	for _, model := range v.Models {
		if a.Draft.Models[model] == nil {
			return badRequest("Invalid model identifier specified: %s", model)
		}
	}
	return nil
}

func (c *call) methodResponse(d *gateway.Definition) (*gateway.Route, *gateway.Response, error) {
	r, err := c.method(d)
	if err != nil {
		return nil, nil, err
	}
	if m := r.Responses[c.vars["status_code"]]; m != nil {
		return r, m, nil
	}
	return nil, nil, notFound("Invalid Response status code specified")
}

func (c *call) getMethodResponse() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	_, m, err := c.methodResponse(&a.Draft)
	if err != nil {
		return nil, err
	}
	return methodResponse{c.vars["status_code"], m.Parameters, m.Models}, nil
}

func (c *call) updateMethodResponse() (any, error) {
	v := methodResponse{}
	_, err := c.change(func(a *gateway.API) error {
		_, m, err := c.methodResponse(&a.Draft)
		if err != nil {
			return err
		}
		v = methodResponse{c.vars["status_code"], m.Parameters, m.Models}
		if err := c.patch(&v, "responseParameters|responseModels", nil); err != nil {
			return err
		}
		m.Parameters, m.Models = v.Parameters, v.Models
		return v.check(a)
	})
	return v, err
}

func (c *call) deleteMethodResponse() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		r, _, err := c.methodResponse(&a.Draft)
		if err == nil {
			delete(r.Responses, c.vars["status_code"])
		}
		return err
	})
	return nil, err
}
