package gatewayapi

import (
	"strings"

	"thaw/gateway"
)

// restAuthorizer is an Authorizer of apigateway.
type restAuthorizer struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Providers   []string `json:"providerARNs,omitempty"`
	AuthType    string   `json:"authType,omitempty"`
	URI         string   `json:"authorizerUri,omitempty"`
	Credentials string   `json:"authorizerCredentials,omitempty"`
	Source      string   `json:"identitySource,omitempty"`
	Pattern     string   `json:"identityValidationExpression,omitempty"`
	TTL         *int     `json:"authorizerResultTtlInSeconds,omitempty"`
}

const usualTTL = 300 // s

func viewRESTAuthorizer(z *gateway.Authorizer) restAuthorizer {
	ttl := z.TTL
	return restAuthorizer{z.ID, z.Name, z.Type, z.Providers, z.AuthType, z.URI, z.Credentials, strings.Join(z.Sources, ","), z.Pattern, &ttl}
}

func (v *restAuthorizer) apply(a *gateway.API, z *gateway.Authorizer) error {
	z.Name, z.Type, z.Providers, z.URI, z.Credentials, z.Pattern = v.Name, v.Type, v.Providers, v.URI, v.Credentials, v.Pattern
	z.AuthType = or(v.AuthType, map[bool]string{true: "cognito_user_pools", false: "custom"}[v.Type == "COGNITO_USER_POOLS"])
	z.TTL, z.Sources = usualTTL, nil
	if v.TTL != nil {
		z.TTL = *v.TTL
	}
	for s := range strings.SplitSeq(v.Source, ",") {
		if s = strings.TrimSpace(s); s != "" {
			z.Sources = append(z.Sources, s)
		}
	}
	return validRESTAuthorizer(a, z)
}

func validRESTAuthorizer(a *gateway.API, z *gateway.Authorizer) error {
	for _, other := range a.Draft.Authorizers {
		if other.ID != z.ID && other.Name == z.Name {
			return badRequest("Authorizer name must be unique. Authorizer %s already exists in this RestApi.", z.Name)
		}
	}
	switch {
	case z.Name == "":
		return badRequest("Authorizer name is required")
	case !known(z.Type, "TOKEN|REQUEST|COGNITO_USER_POOLS"):
		return badRequest("Invalid authorizer type %s: it is TOKEN, REQUEST or COGNITO_USER_POOLS", z.Type)
	case z.TTL < 0 || z.TTL > 3600:
		return badRequest("Authorizer result TTL is 0 to 3600 seconds")
	case z.Type == "COGNITO_USER_POOLS" && len(z.Providers) == 0:
		return badRequest("A user pool's ARN is required in providerARNs")
	case z.Type == "TOKEN" && len(z.Sources) != 1:
		return badRequest("Identity source is required for TOKEN authorizers: method.request.header.Authorization")
	case z.Type == "REQUEST" && z.TTL > 0 && len(z.Sources) == 0:
		return badRequest("Identity source is required when caching is enabled: its values are the key")
	}
	for _, s := range z.Sources {
		if !strings.HasPrefix(s, "method.request.") && !strings.HasPrefix(s, "context.") && !strings.HasPrefix(s, "stageVariables.") {
			return badRequest("Invalid identity source specified: %s; it begins with method.request., context. or stageVariables.", s)
		}
	}
	if z.Type == "COGNITO_USER_POOLS" {
		return nil
	}
	return validFunctionURI(z.URI)
}

func (c *call) createRESTAuthorizer() (any, error) {
	v := restAuthorizer{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	z := &gateway.Authorizer{ID: newID(6)}
	_, err := c.change(func(a *gateway.API) error {
		if len(a.Draft.Authorizers) >= mostAuthorizers {
			return tooMany("authorizers", mostAuthorizers)
		}
		put(&a.Draft.Authorizers, z.ID, z)
		return v.apply(a, z)
	})
	if err != nil {
		return nil, err
	}
	return viewRESTAuthorizer(z), nil
}

func (c *call) getRESTAuthorizer() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	z, err := c.authorizer(a)
	if err != nil {
		return nil, err
	}
	return viewRESTAuthorizer(z), nil
}

func (c *call) getRESTAuthorizers() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Draft.Authorizers, viewRESTAuthorizer)
}

func (c *call) updateRESTAuthorizer() (any, error) {
	var made *gateway.Authorizer
	_, err := c.change(func(a *gateway.API) error {
		z, err := c.authorizer(a)
		if err != nil {
			return err
		}
		v := viewRESTAuthorizer(z)
		if err := c.patch(&v, "name|type|providerARNs|authType|authorizerUri|authorizerCredentials|identitySource|identityValidationExpression|authorizerResultTtlInSeconds", nil); err != nil {
			return err
		}
		made = z
		return v.apply(a, z)
	})
	if err != nil {
		return nil, err
	}
	return viewRESTAuthorizer(made), nil
}
