package trigger

import (
	"strings"

	"thaw/internal/plainjson"
)

// The events of Lambda authorizers. Sources: API Gateway Developer Guide, "Input to an API Gateway Lambda authorizer",
// "AWS Lambda authorizers for HTTP APIs"; the order of the members is that of AWS's samples.
type (
	tokenEvent struct {
		Type      string `json:"type"`
		Token     string `json:"authorizationToken"`
		MethodARN string `json:"methodArn"`
	}
	authorizerEvent struct {
		Version        string            `json:"version"`
		Type           string            `json:"type"`
		RouteARN       string            `json:"routeArn"`
		Identity       []string          `json:"identitySource"`
		RouteKey       string            `json:"routeKey"`
		RawPath        string            `json:"rawPath"`
		RawQueryString string            `json:"rawQueryString"`
		Cookies        []string          `json:"cookies,omitempty"`
		Headers        map[string]string `json:"headers"`
		Query          map[string]string `json:"queryStringParameters,omitempty"`
		Context        requestContext    `json:"requestContext"`
		PathParameters map[string]string `json:"pathParameters,omitempty"`
		StageVariables map[string]string `json:"stageVariables,omitempty"`
	}
	proxyAuthorizerEvent struct {
		Version        *string             `json:"version,omitempty"` // of HTTP APIs
		Type           string              `json:"type"`
		MethodARN      string              `json:"methodArn"`
		IdentitySource *string             `json:"identitySource,omitempty"`     // of HTTP APIs
		Token          *string             `json:"authorizationToken,omitempty"` // of HTTP APIs
		Resource       string              `json:"resource"`
		Path           string              `json:"path"`
		Method         string              `json:"httpMethod"`
		Headers        map[string]string   `json:"headers"`
		MultiHeaders   map[string][]string `json:"multiValueHeaders"`
		Query          map[string]string   `json:"queryStringParameters"`
		MultiQuery     map[string][]string `json:"multiValueQueryStringParameters"`
		PathParameters map[string]string   `json:"pathParameters"`
		StageVariables map[string]string   `json:"stageVariables"`
		Context        proxyContext        `json:"requestContext"`
	}
)

// TokenEvent is the event of a TOKEN authorizer.
func TokenEvent(token, methodARN string) ([]byte, error) {
	return plainjson.Marshal(tokenEvent{"TOKEN", token, methodARN})
}

// AuthorizerEvent is the event of a REQUEST authorizer in format 2.0.
func (r *Request) AuthorizerEvent(routeARN string, identity []string) ([]byte, error) {
	e := r.event()
	return plainjson.Marshal(authorizerEvent{Version: "2.0", Type: "REQUEST", RouteARN: routeARN, Identity: identity, RouteKey: e.RouteKey, RawPath: e.RawPath,
		RawQueryString: e.RawQueryString, Cookies: e.Cookies, Headers: e.Headers, Query: e.Query, Context: e.RequestContext, PathParameters: e.PathParameters,
		StageVariables: e.StageVariables})
}

// ProxyAuthorizerEvent is the event of a REQUEST authorizer in format 1.0. Absent maps are empty, as in AWS's samples.
func (r *Request) ProxyAuthorizerEvent(methodARN string, identity []string) ([]byte, error) {
	p := r.proxy()
	e := proxyAuthorizerEvent{Type: "REQUEST", MethodARN: methodARN, Resource: p.Resource, Path: p.Path, Method: p.Method, Headers: p.Headers,
		MultiHeaders: p.MultiHeaders, Query: orEmpty(p.Query), MultiQuery: orEmpty(p.MultiQuery), PathParameters: orEmpty(p.PathParameters),
		StageVariables: orEmpty(p.StageVariables), Context: p.Context}
	if !r.Route.REST {
		version, joined := "1.0", strings.Join(identity, ",")
		e.Version, e.IdentitySource, e.Token = &version, &joined, &joined
	}
	return plainjson.Marshal(e)
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
