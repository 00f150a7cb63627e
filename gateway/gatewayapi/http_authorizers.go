package gatewayapi

import (
	"strings"

	"thaw/gateway"
)

// httpAuthorizer is an Authorizer of apigatewayv2.
type httpAuthorizer struct {
	Credentials    string     `json:"authorizerCredentialsArn,omitempty"`
	ID             string     `json:"authorizerId"`
	PayloadVersion string     `json:"authorizerPayloadFormatVersion,omitempty"`
	TTL            *int       `json:"authorizerResultTtlInSeconds,omitempty"`
	Type           string     `json:"authorizerType"`
	URI            string     `json:"authorizerUri,omitempty"`
	Simple         *bool      `json:"enableSimpleResponses,omitempty"`
	Sources        []string   `json:"identitySource,omitempty"`
	Pattern        string     `json:"identityValidationExpression,omitempty"`
	JWT            *jwtConfig `json:"jwtConfiguration,omitempty"`
	Name           string     `json:"name"`
}

type jwtConfig struct {
	Audience []string `json:"audience,omitempty"`
	Issuer   string   `json:"issuer,omitempty"`
}

func viewAuthorizer(a *gateway.API) func(*gateway.Authorizer) httpAuthorizer {
	return func(z *gateway.Authorizer) httpAuthorizer {
		v := httpAuthorizer{Credentials: z.Credentials, ID: z.ID, PayloadVersion: z.PayloadVersion, Type: z.Type, URI: z.URI, Sources: z.Sources, Pattern: z.Pattern, Name: z.Name}
		if z.Type == "JWT" {
			v.JWT = &jwtConfig{z.Audience, z.Issuer}
		} else if a.Kind == gateway.HTTP {
			ttl, simple := z.TTL, z.Simple
			v.TTL, v.Simple = &ttl, &simple
		}
		return v
	}
}

func (v *httpAuthorizer) apply(a *gateway.API, z *gateway.Authorizer) error {
	z.Credentials, z.PayloadVersion, z.Type, z.URI, z.Sources, z.Pattern, z.Name = v.Credentials, v.PayloadVersion, v.Type, v.URI, v.Sources, v.Pattern, v.Name
	if z.TTL = 0; v.TTL != nil {
		z.TTL = *v.TTL
	}
	z.Simple = v.Simple != nil && *v.Simple
	if z.Audience, z.Issuer = nil, ""; v.JWT != nil {
		z.Audience, z.Issuer = v.JWT.Audience, v.JWT.Issuer
	}
	return validAuthorizer(a, z)
}

func validAuthorizer(a *gateway.API, z *gateway.Authorizer) error {
	for _, other := range a.Draft.Authorizers {
		if other.ID != z.ID && other.Name == z.Name {
			return conflict("Authorizer with name %s already exists for this API", z.Name)
		}
	}
	switch {
	case z.Name == "" || len(z.Name) > 128:
		return badRequest("Authorizer name is required, of at most 128 characters")
	case z.TTL < 0 || z.TTL > 3600:
		return badRequest("authorizerResultTtlInSeconds is 0 to 3600")
	case z.Type == "JWT" && a.Kind == gateway.HTTP:
		return validJWT(z)
	case z.Type != "REQUEST":
		return badRequest("Invalid authorizer type specified: %s; HTTP APIs have [REQUEST, JWT], WebSocket APIs [REQUEST]", z.Type)
	case a.Kind == gateway.HTTP && !known(z.PayloadVersion, "1.0|2.0"):
		return badRequest("AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer: 1.0 or 2.0")
	case z.Simple && z.PayloadVersion != "2.0":
		return badRequest("Simple responses need the payload format version 2.0")
	case z.TTL > 0 && len(z.Sources) == 0:
		return badRequest("Identity source is required when caching is enabled: its values are the key")
	case z.URI == "":
		return badRequest("Authorizer URI is required for REQUEST authorizers")
	}
	for _, source := range z.Sources {
		request, is := strings.CutPrefix(source, "$request.")
		if a.Kind == gateway.WebSocket {
			request, is = strings.CutPrefix(source, "route.request.")
		}
		if !is && !strings.HasPrefix(source, "$context.") && !strings.HasPrefix(source, "$stageVariables.") &&
			!strings.HasPrefix(source, "context.") && !strings.HasPrefix(source, "stageVariables.") || is && request == "" {
			return badRequest("Invalid identity source specified: %s; $request.header.Authorization of HTTP APIs, route.request.header.Auth of WebSocket APIs", source)
		}
	}
	return validFunctionURI(z.URI)
}

func validJWT(z *gateway.Authorizer) error {
	switch {
	case z.Issuer == "":
		return badRequest("JWT configuration needs an issuer")
	case !strings.HasPrefix(z.Issuer, "https://") && !strings.HasPrefix(z.Issuer, "http://"):
		return badRequest("Invalid issuer: %s is no URL", z.Issuer)
	case len(z.Audience) == 0:
		return badRequest("JWT configuration needs at least one audience")
	case len(z.Sources) != 1:
		return badRequest("A JWT authorizer has one identity source: $request.header.Authorization")
	}
	return nil
}

func (c *call) createAuthorizer() (any, error) {
	z := &gateway.Authorizer{ID: newID(6)}
	a, err := c.change(func(a *gateway.API) error {
		v := httpAuthorizer{}
		if err := c.read(&v); err != nil {
			return err
		}
		if err := v.apply(a, z); err != nil {
			return err
		}
		if len(a.Draft.Authorizers) >= mostAuthorizers {
			return tooMany("authorizers", mostAuthorizers)
		}
		put(&a.Draft.Authorizers, z.ID, z)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return viewAuthorizer(a)(z), nil
}

// authorizer is the one that the path names; of either version.
func (c *call) authorizer(a *gateway.API) (*gateway.Authorizer, error) {
	id := or(c.vars["authorizerId"], c.vars["authorizer_id"])
	if z := a.Draft.Authorizers[id]; z != nil {
		return z, nil
	}
	return nil, noSuch("Authorizer", id)
}

func (c *call) getAuthorizer() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	z, err := c.authorizer(a)
	if err != nil {
		return nil, err
	}
	return viewAuthorizer(a)(z), nil
}

func (c *call) getAuthorizers() (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	return listed(c, a.Draft.Authorizers, viewAuthorizer(a))
}

func (c *call) updateAuthorizer() (any, error) {
	var made *gateway.Authorizer
	a, err := c.change(func(a *gateway.API) error {
		z, err := c.authorizer(a)
		if err != nil {
			return err
		}
		v := viewAuthorizer(a)(z)
		if err := c.over(&v, &v.JWT); err != nil {
			return err
		}
		made = z
		return v.apply(a, z)
	})
	if err != nil {
		return nil, err
	}
	return viewAuthorizer(a)(made), nil
}

func (c *call) deleteAuthorizer() (any, error) {
	_, err := c.change(func(a *gateway.API) error {
		z, err := c.authorizer(a)
		if err != nil {
			return err
		}
		for _, r := range a.Draft.Routes {
			if r.Authorizer == z.ID {
				return conflict("Cannot delete authorizer '%s', is referenced in route: %s", z.ID, r.Key)
			}
		}
		delete(a.Draft.Authorizers, z.ID)
		return nil
	})
	return nil, err
}
