package gateway

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// poolOf is the issuer of a user pool by its ARN, arn:aws:cognito-idp:REGION:ACCOUNT:userpool/ID, and where its keys are.
// With an endpoint (of something that stands for Cognito) they are there.
func poolOf(arn, endpoint string) (issuer, keys string) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "cognito-idp" {
		return "", ""
	}
	id, ok := strings.CutPrefix(parts[5], "userpool/")
	if !ok {
		return "", ""
	}
	issuer = "https://cognito-idp." + parts[3] + ".amazonaws.com/" + id
	if endpoint == "" {
		return issuer, issuer + "/.well-known/jwks.json"
	}
	return issuer, strings.TrimSuffix(endpoint, "/") + "/" + id + "/.well-known/jwks.json"
}

// judgePool judges by a token of one of the user pools of an authorizer of a REST API: an identity token, or, where the
// method asks for scopes, an access token that has one of them.
// Source: API Gateway Developer Guide, "Control access to REST APIs using Amazon Cognito user pools as an authorizer".
func (s *Server) judgePool(a *Ask) (*Identity, error) {
	token := ""
	for _, source := range append(a.authorizer.sources(), "method.request.header.Authorization") {
		if v, ok := a.Value(source); ok && v != "" {
			token = v
			break
		}
	}
	if kind, rest, ok := strings.Cut(token, " "); ok && strings.EqualFold(kind, "bearer") {
		token = strings.TrimSpace(rest)
	}
	by := issuerIn(token)
	for _, arn := range a.authorizer.Providers {
		name, keys := poolOf(arn, s.Pools)
		if name == "" || name != by {
			continue
		}
		claims, err := s.verified(a.Request.Context(), s.issuer(name, keys), token)
		if err != nil {
			return nil, plainly(err)
		}
		if why := wrongTime(claims, s.Now()); why != "" {
			if why == expired {
				return nil, &Refusal{Kind: Unauthorized, Message: "The incoming token has expired", Why: why}
			}
			return nil, &Refusal{Kind: Unauthorized, Why: why}
		}
		scopes, ok := scopesOf(claims, a.Scopes)
		if !ok {
			return nil, &Refusal{Kind: Unauthorized, Why: "the token has none of the method's scopes"}
		}
		if len(a.Scopes) == 0 && claims["token_use"] == "access" {
			return nil, &Refusal{Kind: Unauthorized, Why: "an access token, and the method asks for no scopes: an identity token would do"}
		}
		return &Identity{Claims: claims, Scopes: scopes, ofPool: true}, nil
	}
	return nil, &Refusal{Kind: Unauthorized, Why: "the request has no token of one of the authorizer's user pools"}
}

// plainly takes away what only HTTP APIs say.
func plainly(err error) error {
	if r, ok := err.(*Refusal); ok { //nolint:errorlint // made here
		r.Header = nil
	}
	return err
}

// issuerIn is who a token says has signed it. Nothing of it is believed yet.
func issuerIn(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(b, &claims) != nil {
		return ""
	}
	return claims.Issuer
}
