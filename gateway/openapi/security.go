package openapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"thaw/gateway"
)

// judge is x-amazon-apigateway-authorizer.
type judge struct {
	Type           string   `json:"type"`
	URI            string   `json:"authorizerUri,omitempty"`
	Credentials    string   `json:"authorizerCredentials,omitempty"`
	Source         string   `json:"identitySource,omitempty"`
	Pattern        string   `json:"identityValidationExpression,omitempty"`
	TTL            *int     `json:"authorizerResultTtlInSeconds,omitempty"`
	Providers      []string `json:"providerARNs,omitempty"`
	PayloadVersion string   `json:"authorizerPayloadFormatVersion,omitempty"`
	Simple         bool     `json:"enableSimpleResponses,omitempty"`
	JWT            *jwt     `json:"jwtConfiguration,omitempty"`
}

type jwt struct {
	Issuer   string   `json:"issuer"`
	Audience []string `json:"audience"`
}

const (
	authorizer = extension + "authorizer"
	authType   = extension + "authtype"
	keyHeader  = "x-api-key"
	awsSigv4   = "awsSigv4"
)

// authorizers makes those that the document's security schemes are.
func (in *importer) authorizers() {
	if in.doc.Components == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(in.doc.Components.SecuritySchemes)) {
		s := in.doc.Components.SecuritySchemes[name].Value
		var j judge
		if s == nil || !into(s.Extensions, authorizer, &j) {
			continue
		}
		z := &gateway.Authorizer{ID: in.idOfAuthorizer(name), Name: name, Type: strings.ToUpper(j.Type), URI: j.URI,
			Credentials: j.Credentials, Pattern: j.Pattern,
			Providers: j.Providers, PayloadVersion: j.PayloadVersion, Simple: j.Simple}
		for source := range strings.SplitSeq(j.Source, ",") {
			if source = strings.TrimSpace(source); source != "" {
				z.Sources = append(z.Sources, source)
			}
		}
		if j.JWT != nil {
			z.Issuer, z.Audience = j.JWT.Issuer, j.JWT.Audience
		}
		if j.TTL != nil {
			z.TTL = *j.TTL
		}
		if in.kind == gateway.REST {
			restAuthorizer(z, s, &j)
		}
		put(&in.d.Authorizers, z.ID, z)
		in.named[name] = z
	}
}

func restAuthorizer(z *gateway.Authorizer, s *openapi3.SecurityScheme, j *judge) {
	z.AuthType, _ = s.Extensions[authType].(string)
	if j.TTL == nil {
		z.TTL = 300
	}
	if (z.Type == "TOKEN" || z.Type == "COGNITO_USER_POOLS") && len(z.Sources) == 0 {
		z.Sources = []string{"method.request.header." + s.Name}
	}
}

// idOfAuthorizer keeps the ID of one that was there under the same name.
func (in *importer) idOfAuthorizer(name string) string {
	for id, z := range in.old.Authorizers {
		if z.Name == name {
			return id
		}
	}
	return in.newID(6)
}

// secure sets what a route asks of senders.
func (in *importer) secure(o operation, r *gateway.Route) {
	r.Authorization = "NONE"
	security := in.doc.Security
	if o.Security != nil {
		security = *o.Security
	}
	for _, one := range security {
		for name, scopes := range one {
			in.secureBy(o, r, name, scopes)
		}
	}
	var auth struct {
		Type string `json:"type"`
	}
	if into(o.Extensions, extension+"auth", &auth) {
		r.Authorization = strings.ToUpper(auth.Type)
	}
}

func (in *importer) secureBy(o operation, r *gateway.Route, name string, scopes []string) {
	if z := in.named[name]; z != nil {
		r.Authorizer, r.Scopes = z.ID, scopes
		switch z.Type {
		case "JWT", "COGNITO_USER_POOLS":
			r.Authorization = z.Type
		default:
			r.Authorization, r.Scopes = "CUSTOM", nil
		}
		if len(r.Scopes) == 0 {
			r.Scopes = nil
		}
		return
	}
	var s *openapi3.SecurityScheme
	if c := in.doc.Components; c != nil && c.SecuritySchemes[name] != nil {
		s = c.SecuritySchemes[name].Value
	}
	switch {
	case s == nil:
		in.warn("Security scheme %s of method %s at path %s is not defined, and is ignored", name, o.method, o.path)
	case s.Extensions[authType] == awsSigv4:
		r.Authorization = "AWS_IAM"
	case s.Type == "apiKey" && strings.EqualFold(s.Name, keyHeader) && in.kind == gateway.REST:
		r.NeedsKey = true
	default:
		in.warn("Security scheme %s of method %s at path %s has no %s, and is ignored", name, o.method, o.path, authorizer)
	}
}

// judgeOf is the extension that says what an authorizer is.
func judgeOf(kind gateway.Kind, z *gateway.Authorizer) judge {
	ttl := z.TTL
	j := judge{Type: strings.ToLower(z.Type), URI: z.URI, Credentials: z.Credentials, Source: strings.Join(z.Sources, ", "),
		Pattern: z.Pattern, Providers: z.Providers,
		PayloadVersion: z.PayloadVersion, Simple: z.Simple, TTL: &ttl}
	if z.Type == "JWT" {
		j.JWT, j.TTL = &jwt{z.Issuer, z.Audience}, nil
	}
	if kind == gateway.REST && (z.Type == "TOKEN" || z.Type == "COGNITO_USER_POOLS") {
		j.Source = "" // the scheme's name says it
	}
	return j
}
