package gateway

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"thaw/access"
	"thaw/iam"
)

// The kinds of authorization of a route.
const (
	authIAM     = "AWS_IAM"
	authJWT     = "JWT"
	authCustom  = "CUSTOM"
	authCognito = "COGNITO_USER_POOLS"
)

// Identity is who sent a request, as far as an API wants to know.
type Identity struct {
	Caller    *access.Caller // who signed; nil: nobody did
	AccessKey string
	Claims    map[string]any // of a JWT; nil: there is none
	Scopes    []string       // of it that the route asks for
	// Principal and Context are what a Lambda authorizer said. Context is nil where there is none.
	Principal string
	Context   map[string]any
	UsageKey  string // the API key that it names
	ofPool    bool   // the claims are of a REST API's user pool
}

// authorizer is an Authorizer made ready, with the answers that it keeps.
type authorizer struct {
	*Authorizer
	kept answers
}

func newAuthorizer(a *Authorizer) *authorizer {
	return &authorizer{Authorizer: a}
}

// authorizer is what events of format 2.0 have.
func (i *Identity) authorizer() any {
	switch {
	case i.Claims != nil:
		claims := make(map[string]string, len(i.Claims))
		for k, v := range i.Claims {
			claims[k] = claimText(v)
		}
		return map[string]any{"jwt": map[string]any{"claims": claims, "scopes": i.Scopes}}
	case i.Context != nil:
		return map[string]any{"lambda": i.Context}
	}
	return nil
}

// proxyAuthorizer is what events of format 1.0 have.
func (i *Identity) proxyAuthorizer() any {
	switch {
	case i.Claims != nil:
		claims := make(map[string]string, len(i.Claims))
		for k, v := range i.Claims {
			claims[k] = claimText(v)
		}
		if i.ofPool {
			return map[string]any{"claims": claims}
		}
		return map[string]any{"claims": claims, "scopes": i.Scopes}
	case i.Context != nil || i.Principal != "":
		out := maps.Clone(i.Context)
		if out == nil {
			out = map[string]any{}
		}
		out["principalId"] = i.Principal
		return out
	}
	return nil
}

// authorize decides whether the sender may call the route. Its error is a *Refusal.
func (c *call) authorize() error {
	f := c.found
	switch {
	case f.Authorization == authIAM:
		return c.signed()
	case c.isREST():
		if err := c.askPolicy(); err != nil {
			return err
		}
	}
	if f.Authorization == "" && f.authorizer == nil || f.Authorization == "NONE" {
		return nil
	}
	if f.authorizer == nil {
		return &Refusal{Kind: AuthorizerConfig, Why: "the route asks for an authorizer and names none"}
	}
	a := &Ask{Place: c.place, Route: f.Route, authorizer: f.authorizer, Request: c.r, Scopes: f.Scopes, Value: c.sourceValue, REST: c.isREST()}
	a.Event = func(identity []string) ([]byte, error) { return c.authorizerEvent(f.authorizer, identity) }
	a.MethodARN, a.OtherARN = c.methodARN(), c.otherARN()
	began := time.Now()
	who, err := c.s.judge(a)
	c.authorizerTime, c.authorizerStatus = time.Since(began), 200
	if err != nil {
		c.authorizerError, c.authorizerStatus = err.Error(), 500
		var refusal *Refusal
		if errors.As(err, &refusal) {
			c.authorizerStatus = sayings[refusal.Kind].status
		}
		return err
	}
	c.who = *who
	return nil
}

// methodARN is what policies are about: the method, and the path decoded, because that is what chose the route. Were it
// as it was sent, /%61dmin would get round a policy that denies /admin.
func (c *call) methodARN() string { return c.arnOf("/") }

// otherARN is the same where the path has %2F: in it that is no border of a segment, as it was none when the route was
// chosen. Both must be allowed: /open%2Fx is no path below /open, and may be one to the backend. Empty: there is none.
func (c *call) otherARN() string {
	if !strings.Contains(c.place.Path, "%2") {
		return ""
	}
	if arn := c.arnOf("%2F"); arn != c.methodARN() {
		return arn
	}
	return ""
}

func (c *call) arnOf(slash string) string {
	parts := strings.Split(c.place.Path, "/")
	for i, p := range parts {
		if u, err := url.PathUnescape(p); err == nil {
			parts[i] = strings.ReplaceAll(u, "/", slash)
		}
	}
	path := strings.Join(parts, "/")
	if c.isREST() {
		path = strings.TrimSuffix(path, "/")
	}
	if path == "" {
		path = "/"
	}
	return c.place.ExecuteARN("/" + c.r.Method + path)
}

// may decides about a sender by his policies and the API's.
func (c *call) may(who *access.Caller) (d iam.Decision) {
	for _, arn := range []string{c.methodARN(), c.otherARN()} {
		if arn == "" {
			continue
		}
		if d = who.May(iam.Ask{Action: invokeAction, Resource: arn, Context: requestContext(c.r)}, c.place.API.Account, c.stage.policy); !d.OK() {
			return d
		}
	}
	return d
}

// sourceValue is the value of a source of identity: $request.header.NAME, method.request.querystring.NAME.
func (c *call) sourceValue(source string) (string, bool) {
	source = strings.TrimPrefix(source, "$")
	if v, ok := strings.CutPrefix(source, "context."); ok {
		return c.variable(v)
	}
	if v, ok := strings.CutPrefix(source, "stageVariables."); ok {
		v, ok := c.place.Stage.Variables[v]
		return v, ok
	}
	return c.requestValue(source)
}

// askPolicy judges the sender of a request that need not be signed by the resource policy of a REST API. Sources: API Gateway Developer Guide, "IAM authentication and resource policy".
func (c *call) askPolicy() error {
	api := c.place.API
	if api.Policy == "" {
		return nil
	}
	if c.stage.policyBroken != nil {
		return c.stage.policyBroken
	}
	nobody := &access.Caller{}
	return refusalOf(c.may(nobody), "anonymous", c.methodARN())
}

// invokeAction is what a signed request needs.
const invokeAction = "execute-api:Invoke"

// signed judges the sender of a request that must be signed.
func (c *call) signed() error {
	who, key, err := c.s.senderOf(c.r, c.body)
	if err != nil {
		return err
	}
	if c.stage.policyBroken != nil {
		return c.stage.policyBroken
	}
	c.who.Caller, c.who.AccessKey = who, key
	d := c.may(who)
	if who.Everything && d.Because != iam.DeniedByResource {
		return nil
	}
	return refusalOf(d, who.ARN, c.methodARN())
}

// senderOf is who signed a request, and with which key. Its error is a *Refusal.
func (s *Server) senderOf(r *http.Request, body []byte) (*access.Caller, string, error) {
	if r.Header.Get("Authorization") == "" && r.URL.Query().Get("X-Amz-Signature") == "" {
		return nil, "", &Refusal{Kind: MissingToken, Why: "the request is not signed"}
	}
	who, key, err := s.Sender(r, hostLabel, body)
	if err != nil {
		kind := InvalidSignature
		if strings.HasPrefix(err.Error(), "AccessDenied") {
			kind = Forbidden
		}
		return nil, "", &Refusal{Kind: kind, Why: err.Error()}
	}
	return who, key, nil
}

// refusalOf is the answer to a decision; nil: it allows.
func refusalOf(d iam.Decision, who, arn string) error {
	if d.OK() {
		return nil
	}
	short := arn // AWS hides the account and what is before it
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		account := parts[4]
		if len(account) > 4 {
			account = strings.Repeat("*", len(account)-4) + account[len(account)-4:]
		}
		short = "arn:aws:execute-api:" + parts[3] + ":" + account + ":" + parts[5]
	}
	message := "User: " + who + " is not authorized to perform: " + invokeAction + " on resource: " + short
	switch d.Because {
	case iam.DeniedByIdentity, iam.DeniedByResource, iam.DeniedBySession:
		message += " with an explicit deny"
	}
	return &Refusal{Kind: AccessDenied, Message: message, Why: d.Message()}
}

// parsePolicy reads the resource policy of a REST API, in which execute-api:/STAGE/METHOD/PATH stands for an ARN.
func parsePolicy(text string) (*iam.Policy, error) {
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, errors.New("it is no JSON")
	}
	b, err := json.Marshal(withARNs(doc))
	if err != nil {
		return nil, err
	}
	return iam.Parse(b, iam.Resource)
}

// withARNs writes out the short form of resources, which only policies of REST APIs have.
func withARNs(v any) any {
	switch v := v.(type) {
	case string:
		if rest, ok := strings.CutPrefix(v, "execute-api:/"); ok {
			return "arn:aws:execute-api:*:*:*/" + rest
		}
	case []any:
		for i := range v {
			v[i] = withARNs(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withARNs(v[k])
		}
	}
	return v
}
