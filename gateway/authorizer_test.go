package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"thaw/access"
	"thaw/function"
	"thaw/iam"
)

const (
	forbidden    = `{"message":"Forbidden"}`
	unauthorised = `{"message":"Unauthorized"}`
	denied       = `{"Message":"User is not authorized to access this resource with an explicit deny"}`
	notAllowed   = `{"Message":"User is not authorized to access this resource"}`
	null         = `{"message":null}`
)

func allow(effect, resource string) string {
	return fmt.Sprintf(`{"principalId":"p","policyDocument":{"Version":"2012-10-17","Statement":[{"Action":"execute-api:Invoke","Effect":%q,"Resource":%q}]},"context":{"k":"v","n":7,"b":true}}`, effect, resource)
}

const anything = "arn:aws:execute-api:*:*:*"

// S-106: Lambda authorizers of HTTP APIs: both formats, both kinds of answers, what is kept, and what goes wrong.
func TestLambdaAuthorizersOfHTTPAPIs(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1_800_000_000)
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return time.Unix(now.Load(), 0) } })
	w.function("f", echo)
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) {
		auth := func(route string, a Authorizer) {
			a.ID, a.Name, a.Type, a.URI = route, route, "REQUEST", arnOf("auth")
			d.Authorizers[route] = &a
			d.Routes[route].Authorization, d.Routes[route].Authorizer = authCustom, route
		}
		auth("GET /simple/{id}", Authorizer{PayloadVersion: "2.0", Simple: true, Sources: []string{"$request.header.Authorization", "$request.querystring.q"}, TTL: 60})
		auth("GET /policy/{id}", Authorizer{PayloadVersion: "2.0", Sources: []string{"$request.header.Authorization"}, TTL: 60})
		auth("GET /old", Authorizer{PayloadVersion: "1.0", Sources: []string{"$request.header.Authorization"}})
		auth("GET /all", Authorizer{PayloadVersion: "2.0", Simple: true})
	}, "GET /simple/{id}", "GET /policy/{id}", "GET /old", "GET /all")
	token := "Authorization: t"

	w.function("auth", answering(`{"isAuthorized":true,"context":{"k":"v","list":[1]}}`))
	w.want(401, unauthorised, "GET /simple/1?q=1")
	w.want(401, unauthorised, "GET /simple/1", token)
	if n := len(w.asked("auth")); n > 0 {
		t.Errorf("asked %d times without an identity", n)
	}
	e := w.event(200, "GET /simple/1?q=1", token)
	if got := fmt.Sprint(e.RequestContext.Authorizer); got != "map[lambda:map[k:v list:[1]]]" {
		t.Errorf("context %s", got)
	}
	var ask struct {
		Version, Type, RouteARN string
		IdentitySource          []string
		PathParameters          map[string]string
	}
	if err := json.Unmarshal([]byte(w.asked("auth")[0]), &ask); err != nil || ask.Version != "2.0" || ask.Type != "REQUEST" || fmt.Sprint(ask.IdentitySource) != "[t 1]" ||
		ask.PathParameters["id"] != "1" || ask.RouteARN != "arn:aws:execute-api:eu-west-1:"+account+":a1b2c3/$default/GET/simple/1" {
		t.Errorf("%v %+v", err, ask)
	}
	w.want(200, "*", "GET /simple/2?q=1", token)
	w.want(200, "*", "GET /simple/2?q=2", token)
	if n := len(w.asked("auth")); n != 2 {
		t.Errorf("asked %d times for two identities", n)
	}
	now.Add(61)
	w.function("auth", answering(`{"isAuthorized":false}`))
	w.want(403, forbidden, "GET /simple/1?q=1", token)
	w.FlushAuthorizers("a1b2c3", DefaultStage)
	for _, nonsense := range []string{`{}`, `7`, `error:{"errorMessage":"x"}`, `{"isAuthorized":"yes"}`, allow("Allow", "*")} {
		w.function("auth", answering(nonsense))
		w.want(500, `{"message":"Internal Server Error"}`, "GET /simple/1?q=1", token)
	}
	w.function("auth", answering(`error:{"errorMessage":"Unauthorized"}`))
	w.want(401, unauthorised, "GET /simple/1?q=1", token)

	// One answer is kept for all paths, and its policy asked for each.
	w.function("auth", answering(allow("Allow", "arn:aws:execute-api:eu-west-1:"+account+":a1b2c3/*/GET/policy/1")))
	w.want(200, "*", "GET /policy/1", token)
	w.want(403, forbidden, "GET /policy/2", token)
	w.want(200, "*", "GET /policy/%31", token)
	w.FlushAuthorizers("a1b2c3", DefaultStage)
	// %2F is no border: what is allowed below a path is not allowed beside it, and what is denied below is denied.
	w.function("auth", answering(allow("Allow", "arn:aws:execute-api:eu-west-1:"+account+":a1b2c3/*/GET/policy/a/*")))
	w.want(403, forbidden, "GET /policy/a%2Fb", token)
	w.FlushAuthorizers("a1b2c3", DefaultStage)
	w.function("auth", answering(allow("Allow", "arn:aws:execute-api:eu-west-1:"+account+":a1b2c3/*/GET/policy/a%2F*")))
	w.want(403, forbidden, "GET /policy/a%2fb", token)
	w.FlushAuthorizers("a1b2c3", DefaultStage)
	w.function("auth", answering(allow("Allow", "*")))
	w.want(200, "*", "GET /policy/a%2Fb", token)
	w.FlushAuthorizers("a1b2c3", DefaultStage)
	w.function("auth", answering(strings.Replace(allow("Deny", "arn:aws:execute-api:eu-west-1:"+account+":a1b2c3/*/GET/policy/1"), `"Statement":[`,
		`"Statement":[{"Action":"*","Effect":"Allow","Resource":"*"},`, 1)))
	w.want(403, forbidden, "GET /policy/%31", token) // what is denied is the path that the route was found by
	w.want(200, "*", "GET /policy/2", token)

	w.function("auth", answering(allow("Allow", anything)))
	before := len(w.asked("auth"))
	w.want(200, "*", "GET /old", token)
	w.want(200, "*", "GET /old", token)
	if asked := w.asked("auth")[before:]; len(asked) != 2 || !strings.Contains(asked[0], `"identitySource":"t"`) || !strings.Contains(asked[0], `"version":"1.0"`) {
		t.Errorf("without a TTL nothing is kept: %v", asked)
	}
	w.function("auth", answering(`{"isAuthorized":true}`))
	w.want(200, "*", "GET /all")
	w.function("auth", func(ctx context.Context, _ []byte, _ function.StreamSink) (string, error) {
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > 10*time.Second {
			t.Errorf("an authorizer may take until %v", d)
		}
		return "", context.DeadlineExceeded
	})
	w.want(500, `{"message":"Internal Server Error"}`, "GET /all")
	w.function("auth", nil)
	w.want(500, `{"message":"Internal Server Error"}`, "GET /all")
	if !strings.Contains(w.log.String(), "authorizer GET /all") {
		t.Error(w.log.String())
	}
}

// S-105: authorizers of REST APIs: TOKEN with its expression, REQUEST, and AWS's words for each refusal.
func TestLambdaAuthorizersOfRESTAPIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.function("f", echoProxy)
	w.api(REST, "prod", func(_ *API, d *Definition) {
		d.Authorizers["t"] = &Authorizer{ID: "t", Name: "t", Type: "TOKEN", URI: arnOf("auth"), Sources: []string{"method.request.header.X-Auth"}, Pattern: "t-[0-9]+", TTL: 300}
		d.Authorizers["r"] = &Authorizer{ID: "r", Name: "r", Type: "REQUEST", URI: arnOf("auth"), Sources: []string{"method.request.header.A, method.request.querystring.q,stageVariables.v,context.httpMethod"}}
		for key, id := range map[string]string{"GET /token": "t", "GET /request": "r", "GET /none": "gone"} {
			d.Routes[key].Authorization, d.Routes[key].Authorizer = authCustom, id
		}
	}, "GET /token", "GET /request", "GET /none")
	w.function("auth", answering(allow("Allow", anything)))
	w.want(401, unauthorised, "GET /prod/token")
	w.want(401, unauthorised, "GET /prod/token", "X-Auth: t-x")
	e := w.event(200, "GET /prod/token", "X-Auth: t-1")
	if got := fmt.Sprint(e.RequestContext.Authorizer); got != "map[b:true k:v n:7 principalId:p]" {
		t.Errorf("authorizer: %s", got)
	}
	if asked := w.asked("auth"); len(asked) != 1 || asked[0] != `{"type":"TOKEN","authorizationToken":"t-1","methodArn":"arn:aws:execute-api:eu-west-1:`+account+`:a1b2c3/prod/GET/token"}` {
		t.Errorf("%v", asked)
	}
	for token, c := range map[string]struct {
		answer string
		status int
		body   string
	}{
		"t-2": {allow("Deny", anything), 403, denied}, "t-3": {allow("Allow", "arn:aws:execute-api:eu-west-1:"+account+":other/*"), 403, notAllowed},
		"t-4": {`error:{"errorMessage":"Unauthorized"}`, 401, unauthorised}, "t-5": {`error:{"errorMessage":"boom"}`, 500, null}, "t-6": {`{"principalId":7}`, 500, null},
		"t-7": {strings.Replace(allow("Allow", anything), `"n":7`, `"n":[7]`, 1), 500, null}, "t-8": {`{"principalId":"p"}`, 500, null},
		"t-9": {`{"principalId":"p","policyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"execute-api:Invoke","Resource":[]}]}}`, 403, notAllowed},
	} {
		w.function("auth", answering(c.answer))
		w.want(c.status, c.body, "GET /prod/token", "X-Auth: "+token)
	}
	w.want(500, null, "GET /prod/none")
	w.want(401, unauthorised, "GET /prod/request?q=1", "A: a")
	if got := w.want(403, denied, "GET /prod/token", "X-Auth: t-2").header; got.Get("X-Amzn-Errortype") != "AccessDeniedException" {
		t.Errorf("a deny is kept as well: %v", got)
	}
}

// AWS_IAM: who signed, what his policies and the API's say, and that the function cannot sign as he did.
func TestSignedRequests(t *testing.T) {
	t.Parallel()
	user := func(policy string) *access.Caller {
		p, err := iam.Parse([]byte(policy), iam.Identity)
		if err != nil {
			t.Fatal(err)
		}
		return &access.Caller{Principal: iam.Principal{Kind: iam.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/u", ID: "AIDA", Name: "u"}, Identity: []*iam.Policy{p}}
	}
	root := access.RootOf(account)
	who := &root
	w := newWorld(t, func(o *Options) { o.Sender = senderOf(&who) })
	w.function("f", echo)
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) { d.Routes["ANY /{proxy+}"].Authorization = authIAM }, "ANY /{proxy+}")
	w.want(403, forbidden, "GET /a")
	w.want(403, forbidden, "GET /a", "Authorization: AWS4 bad")
	e := w.event(200, "GET /a", "Authorization: AWS4 good", "X-Amz-Security-Token: s")
	if got := fmt.Sprint(e.RequestContext.Authorizer["iam"]); !strings.Contains(got, "accessKey:AKIA") || e.Headers["authorization"] != "" || e.Headers["x-amz-security-token"] != "" {
		t.Errorf("%s, %v", got, e.Headers)
	}
	who = user(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:eu-west-1:` + account + `:a1b2c3/$default/GET/a"}]}`)
	w.want(200, "*", "GET /a", "Authorization: AWS4 good")
	w.want(403, forbidden, "GET /b", "Authorization: AWS4 good")
	w.want(403, forbidden, "POST /a", "Authorization: AWS4 good")

	w.function("f", answering(`{"body":"b"}`))
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/prod/GET/*"},
		{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/prod/GET/secret"}]}`
	w.api(REST, "prod", func(a *API, d *Definition) {
		a.Policy = policy
		d.Routes["ANY /{proxy+}"].Authorization = authIAM
	}, "ANY /{proxy+}", "GET /open", "POST /open", "GET /open/secret")
	w.want(403, `{"message":"Missing Authentication Token"}`, "GET /prod/a")
	w.want(200, "b", "GET /prod/a", "Authorization: AWS4 good") // by the API's policy
	got := w.want(403, "*", "GET /prod/secret", "Authorization: AWS4 good")
	if want := `{"Message":"User: arn:aws:iam::123456789012:user/u is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:eu-west-1:********9012:a1b2c3/prod/GET/secret with an explicit deny"}`; got.body != want {
		t.Error(got.body)
	}
	w.want(200, "b", "GET /prod/open") // nobody in particular
	got = w.want(403, "*", "POST /prod/open")
	if !strings.Contains(got.body, "User: anonymous is not authorized to perform: execute-api:Invoke on resource: ") {
		t.Error(got.body)
	}
}

// API keys: plans and their stages, keys that are off, bounds and quotas; from the header or from the authorizer.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC).Unix())
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return time.Unix(now.Load(), 0) } })
	w.function("f", echoProxy)
	edit := func(source string) func(*API, *Definition) {
		return func(a *API, d *Definition) {
			a.APIKeySource = source
			for _, key := range []string{"GET /a", "GET /b"} {
				d.Routes[key].NeedsKey = true
			}
			if source == "AUTHORIZER" {
				d.Authorizers["r"] = &Authorizer{ID: "r", Type: "REQUEST", URI: arnOf("auth")}
				d.Routes["GET /a"].Authorization, d.Routes["GET /a"].Authorizer = authCustom, "r"
			}
		}
	}
	w.api(REST, "prod", edit("HEADER"), "GET /a", "GET /b", "GET /open")
	put := func(key string, a *Account) {
		if err := w.Records.Shared.Put(t.Context(), key, a); err != nil {
			t.Fatal(err)
		}
	}
	put("key/k", &Account{Key: &APIKey{ID: "k", Value: "secret-value-of-a-key", Enabled: true}})
	put("key/off", &Account{Key: &APIKey{ID: "off", Value: "another", Enabled: false}})
	plan := Plan{ID: "p", Stages: []PlanStage{{API: "a1b2c3", Stage: "prod", Throttles: map[string]Throttle{"/b/GET": {Rate: 1, Burst: 1}}}}, Keys: map[string]string{"k": "API_KEY", "off": "API_KEY"},
		Throttle: Throttle{Rate: 1, Burst: 3}, Quota: &Quota{Limit: 6, Period: "DAY"}}
	put("plan/p", &Account{Plan: &plan})
	key := "X-Api-Key: secret-value-of-a-key"
	const tooMany, limit = `{"message":"Too Many Requests"}`, `{"message":"Limit Exceeded"}`
	w.want(403, forbidden, "GET /prod/a")
	w.want(403, forbidden, "GET /prod/a", "X-Api-Key: wrong")
	w.want(403, forbidden, "GET /prod/a", "X-Api-Key: another")
	w.want(200, "*", "GET /prod/open")
	e := w.event(200, "GET /prod/a", key)
	if e.RequestContext.Identity["apiKeyId"] != "k" || e.RequestContext.Identity["apiKey"] != "secret-value-of-a-key" {
		t.Errorf("%v", e.RequestContext.Identity)
	}
	w.want(200, "*", "GET /prod/a", key)
	w.want(200, "*", "GET /prod/a", key)
	w.want(429, tooMany, "GET /prod/a", key)
	w.want(200, "*", "GET /prod/b", key)
	w.want(429, tooMany, "GET /prod/b", key)
	now.Add(60)
	w.want(200, "*", "GET /prod/a", key)
	w.want(200, "*", "GET /prod/b", key)
	w.want(429, limit, "GET /prod/a", key)
	if used := w.Used(&plan); used["k"] != 6 {
		t.Errorf("used %v", used)
	}
	now.Add(24 * 3600)
	w.want(200, "*", "GET /prod/a", key)
	put("key/k", &Account{Key: &APIKey{ID: "k", Value: "secret-value-of-a-key"}})
	w.want(403, forbidden, "GET /prod/a", key)
	put("key/k", &Account{Key: &APIKey{ID: "k", Value: "secret-value-of-a-key", Enabled: true}})
	now.Add(60)
	w.api(REST, "prod", edit("AUTHORIZER"), "GET /a", "GET /b", "GET /open")
	w.function("auth", answering(strings.Replace(allow("Allow", anything), `{`, `{"usageIdentifierKey":"secret-value-of-a-key",`, 1)))
	w.want(200, "*", "GET /prod/a")
	w.function("auth", answering(allow("Allow", anything)))
	w.want(403, forbidden, "GET /prod/a", key)
	if strings.Contains(w.log.String(), "secret-value") {
		t.Error("a key is in the log")
	}
	for period, want := range map[string]string{"DAY": "2026-11-27", "WEEK": "2026-11-22", "MONTH": "2026-11"} {
		if got := (&Quota{Period: period}).period(time.Date(2026, 11, 27, 23, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("%s: %s", period, got)
		}
	}
}

// What is kept of an answer is as small for a header of a megabyte as for a short one, has nothing of it, and is of one
// identity alone.
func TestKeptUnder(t *testing.T) {
	t.Parallel()
	a := &Ask{authorizer: newAuthorizer(&Authorizer{TTL: 60})}
	seen := map[string]bool{}
	for _, identity := range [][]string{{strings.Repeat("t", 1<<20)}, {"a", "b"}, {"ab"}, {"a\",\"b"}, {"b", "a"}} {
		key, keep := a.keptUnder(identity)
		if !keep || len(key) > 64 || seen[key] || strings.Contains(key, "tt") {
			t.Errorf("%.20q is kept under %d bytes, %v, seen %v", identity, len(key), keep, seen[key])
		}
		seen[key] = true
	}
}
