package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"thaw/access"
	"thaw/iam"
	"thaw/push"
)

// Ask is the question whether the sender of a request may have it, for one authorizer. WebSocket APIs ask the same of
// $connect.
type Ask struct {
	Place      *Place
	Route      *Route
	Request    *http.Request
	Scopes     []string // of the route
	Value      func(source string) (string, bool)
	Event      func(identity []string) ([]byte, error) // for a Lambda authorizer
	MethodARN  string
	OtherARN   string // must be allowed, too; empty: none
	REST       bool   // answers and errors are those of REST APIs
	authorizer *authorizer
}

// Authorize judges by the authorizer of a route, whose ID is a.Route.Authorizer. Its error is a *Refusal.
func (s *Server) Authorize(a *Ask) (*Identity, error) {
	st := s.stageOf(a.Place)
	if a.authorizer = st.authorizer[a.Route.Authorizer]; a.authorizer == nil {
		return nil, &Refusal{Kind: AuthorizerConfig, Why: "authorizer " + a.Route.Authorizer + " is not there"}
	}
	return s.judge(a)
}

func (s *Server) judge(a *Ask) (*Identity, error) {
	switch a.authorizer.Type {
	case "JWT":
		return s.judgeToken(a)
	case "REQUEST", "TOKEN":
		return s.askFunction(a)
	case authCognito:
		return s.judgePool(a)
	}
	return nil, &Refusal{Kind: AuthorizerConfig, Why: "authorizers of type " + a.authorizer.Type + " are not served here"}
}

// authorizerTimeout is how long a Lambda authorizer may take. Sources: quotas of HTTP APIs and REST APIs.
func (s *Server) authorizerTimeout(rest bool) time.Duration {
	if rest {
		return restTimeout
	}
	return 10 * time.Second
}

// askFunction has a Lambda authorizer judge, or takes what it said before of the same identity.
func (s *Server) askFunction(a *Ask) (*Identity, error) {
	identity, err := a.identity()
	if err != nil {
		return nil, err
	}
	key, keep := a.keptUnder(identity)
	v, kept := (*verdict)(nil), false
	if keep {
		v, kept = a.authorizer.kept.get(key, s.Now())
	}
	if !kept {
		v, err = s.callAuthorizer(a, identity)
		if err != nil {
			return nil, err
		}
		if keep {
			a.authorizer.kept.put(key, v, s.Now().Add(time.Duration(a.authorizer.TTL)*time.Second), s.Now())
		}
	}
	return v.judge(a)
}

// identity are the values of the sources of identity. One that is missing is 401, and the function is not asked.
func (a *Ask) identity() ([]string, error) {
	var list []string
	for _, source := range a.authorizer.sources() {
		v, ok := a.Value(source)
		if !ok || v == "" {
			return nil, &Refusal{Kind: Unauthorized, Why: "the request has no " + source}
		}
		list = append(list, v)
	}
	if a.authorizer.Type == "TOKEN" && a.authorizer.Pattern != "" && len(list) > 0 {
		re, err := regexp.Compile("^(?:" + a.authorizer.Pattern + ")$")
		if err != nil {
			return nil, &Refusal{Kind: AuthorizerConfig, Why: "its identityValidationExpression: " + err.Error()}
		}
		if !re.MatchString(list[0]) {
			return nil, &Refusal{Kind: Unauthorized, Why: "the token does not match the authorizer's identityValidationExpression"}
		}
	}
	return list, nil
}

// sources are the sources of identity. A list in one string is REST's way; TOKEN has one when it says none.
func (a *authorizer) sources() []string {
	var list []string
	for _, s := range a.Sources {
		for one := range strings.SplitSeq(s, ",") {
			if one = strings.TrimSpace(one); one != "" {
				list = append(list, one)
			}
		}
	}
	if len(list) == 0 && a.Type == "TOKEN" {
		list = []string{"method.request.header.Authorization"}
	}
	return list
}

// keptUnder is what an answer is kept under. An HTTP API's answer holds for all routes with its authorizer unless
// $context.routeKey is among the sources; without sources nothing is kept.
func (a *Ask) keptUnder(identity []string) (string, bool) {
	if a.authorizer.TTL <= 0 || len(identity) == 0 {
		return "", false
	}
	b, err := json.Marshal(identity)
	sum := sha256.Sum256(b) // a header may have a megabyte, and a token is nothing to keep
	return string(sum[:]), err == nil
}

// callAuthorizer asks the function.
func (s *Server) callAuthorizer(a *Ask, identity []string) (*verdict, error) {
	fail := func(why string) error {
		return &Refusal{Kind: AuthorizerFailure, Why: "authorizer " + a.authorizer.Name + ": " + why}
	}
	arn, err := functionOf(a.authorizer.URI, a.Place.Stage.Variables)
	if err != nil {
		return nil, &Refusal{Kind: AuthorizerConfig, Why: "authorizer " + a.authorizer.Name + ": " + err.Error()}
	}
	event, err := a.Event(identity)
	if err != nil {
		return nil, fail(err.Error())
	}
	ctx, cancel := context.WithTimeout(a.Request.Context(), s.authorizerTimeout(a.REST))
	defer cancel()
	source := "arn:aws:execute-api:" + a.Place.API.Region + ":" + a.Place.API.Account + ":" + a.Place.API.ID + "/authorizers/" + a.authorizer.ID
	result, err := s.Functions.Invoke(ctx, &push.Delivery{Function: arn, Service: principal, Source: source,
		Account: a.Place.API.Account, Payload: event})
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fail(string(arn) + " took too long")
	case err != nil:
		return nil, fail(err.Error())
	case result.FunctionError != "" && strings.Contains(string(result.Payload), `"errorMessage":"Unauthorized"`):
		return nil, &Refusal{Kind: Unauthorized, Why: "the authorizer raised Unauthorized"}
	case result.FunctionError != "":
		return nil, fail(string(arn) + " failed; its log says why")
	}
	v, err := readVerdict(result.Payload, a.authorizer.Simple && !a.REST)
	if err != nil {
		return nil, fail(err.Error())
	}
	return v, nil
}

// verdict is what a Lambda authorizer said.
type verdict struct {
	identity Identity
	simple   bool // allowed says it, and there is no policy
	allowed  bool
	policy   *iam.Policy
}

// readVerdict reads the answer of a Lambda authorizer. Its error says what is wrong, and nothing of the answer.
func readVerdict(payload []byte, simple bool) (*verdict, error) {
	var said struct {
		IsAuthorized *bool           `json:"isAuthorized"`
		PrincipalID  json.RawMessage `json:"principalId"`
		Policy       json.RawMessage `json:"policyDocument"`
		Context      map[string]any  `json:"context"`
		UsageKey     string          `json:"usageIdentifierKey"`
	}
	if err := json.Unmarshal(payload, &said); err != nil {
		return nil, errors.New("its answer is no object with the members of an authorizer's answer")
	}
	v := &verdict{identity: Identity{Context: said.Context, UsageKey: said.UsageKey}}
	if said.Context == nil {
		v.identity.Context = map[string]any{}
	}
	if simple {
		if said.IsAuthorized == nil {
			return nil, errors.New("its answer has no isAuthorized")
		}
		v.simple, v.allowed = true, *said.IsAuthorized
		return v, nil
	}
	if len(said.PrincipalID) == 0 || string(said.PrincipalID) == "null" || said.PrincipalID[0] != '"' {
		return nil, errors.New("its answer has no principalId that is a string")
	}
	json.Unmarshal(said.PrincipalID, &v.identity.Principal) //nolint:errcheck // it is a string
	for name, value := range said.Context {
		switch value.(type) {
		case map[string]any, []any, nil:
			return nil, errors.New("context: " + strconv.Quote(name) + " is no string, number or boolean")
		}
	}
	var err error
	if len(said.Policy) == 0 {
		return nil, errors.New("its answer has no policyDocument")
	}
	policy := effective(said.Policy)
	if policy == nil {
		v.policy = &iam.Policy{}
		return v, nil
	}
	if v.policy, err = iam.Parse(policy, iam.Identity); err != nil {
		return nil, errors.New("policyDocument: " + err.Error())
	}
	return v, nil
}

// effective is a policy without the statements for no resource at all, with which authorizers of Chalice say no; nil: there
// is no other.
func effective(policy json.RawMessage) json.RawMessage {
	var all struct {
		Version   string
		Statement []map[string]json.RawMessage
	}
	if json.Unmarshal(policy, &all) != nil { // iam says what is wrong with it
		return policy
	}
	n := len(all.Statement)
	all.Statement = slices.DeleteFunc(all.Statement, func(s map[string]json.RawMessage) bool {
		var resources []string
		return s["Resource"] != nil && json.Unmarshal(s["Resource"], &resources) == nil && resources != nil && len(resources) == 0
	})
	switch len(all.Statement) {
	case n:
		return policy
	case 0:
		return nil
	}
	b, err := json.Marshal(all)
	if err != nil {
		return policy
	}
	return b
}

// judge says whether the verdict lets a request through. Kept verdicts are asked for each request anew: a policy may
// allow one route and not another.
func (v *verdict) judge(a *Ask) (*Identity, error) {
	who := v.identity
	if v.simple {
		if !v.allowed {
			return nil, &Refusal{Kind: AccessDenied, Why: "the authorizer said isAuthorized: false"}
		}
		return &who, nil
	}
	caller := &access.Caller{Principal: iam.Principal{Kind: iam.User, Account: a.Place.API.Account, Name: who.Principal},
		Identity: []*iam.Policy{v.policy}}
	for _, arn := range []string{a.MethodARN, a.OtherARN} {
		if arn == "" {
			continue
		}
		d := caller.May(iam.Ask{Action: invokeAction, Resource: arn, Context: requestContext(a.Request)}, a.Place.API.Account, nil)
		switch {
		case d.OK():
		case d.Because == iam.NoIdentityAllows:
			return nil, &Refusal{Kind: AccessDenied, Message: noAllowMessage, Why: "the authorizer's policy does not allow " + arn}
		default:
			return nil, &Refusal{Kind: AccessDenied, Why: "the authorizer's policy denies " + arn}
		}
	}
	return &who, nil
}

// scopesOf are those of a token that a route asks for; ok is false when it has none of them.
func scopesOf(claims map[string]any, want []string) (have []string, ok bool) {
	for _, name := range []string{"scope", "scp"} {
		switch v := claims[name].(type) {
		case string:
			have = append(have, strings.Fields(v)...)
		case []any:
			for _, s := range v {
				have = append(have, claimText(s))
			}
		}
	}
	if len(want) == 0 {
		return nil, true
	}
	matched := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return !slices.Contains(have, s) })
	return matched, len(matched) > 0
}
