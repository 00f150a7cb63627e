package gateway

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// oidcServer is an issuer of tokens, as OpenID Connect's discovery describes one.
type oidcServer struct {
	*testing.T
	*httptest.Server
	mu      sync.Mutex
	keys    map[string]*rsa.PrivateKey
	fetches atomic.Int32 // of keys
	down    atomic.Bool
}

func newOIDC(t *testing.T) *oidcServer {
	o := &oidcServer{T: t, keys: map[string]*rsa.PrivateKey{}}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		var v any = map[string]any{"issuer": o.URL, "jwks_uri": o.URL + "/keys", "authorization_endpoint": o.URL, "id_token_signing_alg_values_supported": []string{"RS256", "HS256"}}
		if r.URL.Path == "/keys" {
			o.fetches.Add(1)
			o.mu.Lock()
			defer o.mu.Unlock()
			set := jose.JSONWebKeySet{}
			for id, k := range o.keys {
				set.Keys = append(set.Keys, jose.JSONWebKey{Key: &k.PublicKey, KeyID: id, Algorithm: "RS256", Use: "sig"})
			}
			v = set
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v) //nolint:errcheck // a test
	}))
	t.Cleanup(o.Close)
	o.key("one")
	return o
}

func (o *oidcServer) key(id string) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		o.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keys[id] = k
}

// token signs claims with a key of the issuer.
func (o *oidcServer) token(id string, claims map[string]any) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.signed(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: o.keys[id], KeyID: id}}, claims)
}

func (o *oidcServer) signed(key jose.SigningKey, claims map[string]any) string {
	s, err := jose.NewSigner(key, nil)
	if err != nil {
		o.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		o.Fatal(err)
	}
	j, err := s.Sign(b)
	if err != nil {
		o.Fatal(err)
	}
	text, err := j.CompactSerialize()
	if err != nil {
		o.Fatal(err)
	}
	return text
}

// S-106: JWT authorizers with a real issuer: who is let in, what the function learns, what others are told, new keys,
// and an issuer that is down.
func TestTokens(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1_800_000_000)
	o := newOIDC(t)
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return time.Unix(now.Load(), 0) } })
	w.function("f", echo)
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) {
		d.Authorizers["j"] = &Authorizer{ID: "j", Type: "JWT", Issuer: o.URL, Audience: []string{"app", "other"}, Sources: []string{"$request.header.Authorization"}}
		d.Authorizers["gone"] = &Authorizer{ID: "gone", Type: "JWT", Issuer: "http://127.0.0.1:1", Audience: []string{"app"}, Sources: []string{"$request.header.Authorization"}}
		for key, id := range map[string]string{"GET /a": "j", "GET /scoped": "j", "GET /gone": "gone"} {
			d.Routes[key].Authorization, d.Routes[key].Authorizer = authJWT, id
		}
		d.Routes["GET /scoped"].Scopes = []string{"write", "read"}
	}, "GET /a", "GET /scoped", "GET /gone")
	claims := func(edit ...any) map[string]any {
		c := map[string]any{"iss": o.URL, "aud": "app", "sub": "u1", "exp": now.Load() + 60, "iat": now.Load(), "big": 12345678901234567, "list": []string{"a", "b"}}
		for i := 0; i < len(edit); i += 2 {
			if c[edit[i].(string)] = edit[i+1]; edit[i+1] == nil {
				delete(c, edit[i].(string))
			}
		}
		return c
	}
	bearer := func(token string) string { return "Authorization: Bearer " + token }
	e := w.event(200, "GET /a", bearer(o.token("one", claims())))
	jwt, _ := e.RequestContext.Authorizer["jwt"].(map[string]any)
	got, _ := json.Marshal(jwt) //nolint:errcheck // it was JSON
	if want := `{"claims":{"aud":"app","big":"12345678901234567","exp":"1800000060","iat":"1800000000","iss":"` + o.URL + `","list":"[a b]","sub":"u1"},"scopes":null}`; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.want(200, "*", "GET /a", "Authorization: "+o.token("one", claims("aud", []string{"x", "other"})))
	w.want(200, "*", "GET /a", bearer(o.token("one", claims("aud", nil, "client_id", "app"))))

	other := newOIDC(t)
	for name, token := range map[string]string{
		"expired": o.token("one", claims("exp", now.Load())), "not yet": o.token("one", claims("nbf", now.Load()+30)), "from the future": o.token("one", claims("iat", now.Load()+30)),
		"no exp": o.token("one", claims("exp", nil)), "another audience": o.token("one", claims("aud", "theirs")), "no audience": o.token("one", claims("aud", nil)),
		"client_id beside aud": o.token("one", claims("aud", "theirs", "client_id", "app")), "another issuer": o.token("one", claims("iss", other.URL)),
		"signed by another": other.token("one", claims()), "nonsense": "a.b.c", "HMAC": o.signed(jose.SigningKey{Algorithm: jose.HS256, Key: []byte("0123456789abcdef0123456789abcdef")}, claims()),
		"no algorithm": "eyJhbGciOiJub25lIn0." + strings.Split(o.token("one", claims()), ".")[1] + ".",
	} {
		got := w.want(401, unauthorised, "GET /a", bearer(token))
		if h := got.header.Get("Www-Authenticate"); !strings.HasPrefix(h, `Bearer scope="" error="invalid_token"`) {
			t.Errorf("%s: %s", name, h)
		}
	}
	if h := w.want(401, unauthorised, "GET /a").header.Get("Www-Authenticate"); h != "Bearer" {
		t.Error(h)
	}
	if n := o.fetches.Load(); n > 2 {
		t.Errorf("keys were fetched %d times for tokens that are none", n)
	}

	h := w.want(403, forbidden, "GET /scoped", bearer(o.token("one", claims("scope", "openid")))).header.Get("Www-Authenticate")
	if h != `Bearer scope="write read" error="insufficient_scope"` {
		t.Error(h)
	}
	e = w.event(200, "GET /scoped", bearer(o.token("one", claims("scope", "openid read"))))
	if jwt, _ := e.RequestContext.Authorizer["jwt"].(map[string]any); len(jwt["scopes"].([]any)) != 1 {
		t.Errorf("%v", jwt)
	}
	w.want(200, "*", "GET /scoped", bearer(o.token("one", claims("scp", []string{"write"}))))

	o.key("two")
	now.Add(int64(keysAgain/time.Second) + 1)
	w.want(200, "*", "GET /a", bearer(o.token("two", claims())))
	o.down.Store(true)
	now.Add(int64(keysAge / time.Second))
	w.want(200, "*", "GET /a", bearer(o.token("two", claims())))
	w.want(401, unauthorised, "GET /gone", bearer(o.token("two", claims())))
	if strings.Contains(w.log.String(), "eyJ") {
		t.Error("a token is in the log")
	}
}

// S-105: user pools of Cognito, behind REST APIs: the keys are looked for where the server was told, and the issuer is AWS's.
func TestUserPools(t *testing.T) {
	t.Parallel()
	o := newOIDC(t)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/eu-west-1_abc/.well-known/jwks.json" {
			http.NotFound(w, r)
			return
		}
		r.URL.Path = "/keys"
		o.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(keys.Close)
	w := newWorld(t, func(o *Options) { o.Pools, o.Local = keys.URL, false })
	w.function("f", echoProxy)
	w.api(REST, "prod", func(_ *API, d *Definition) {
		d.Authorizers["c"] = &Authorizer{ID: "c", Type: authCognito, Providers: []string{"arn:aws:cognito-idp:eu-west-1:" + account + ":userpool/eu-west-1_abc"}, Sources: []string{"method.request.header.Authorization"}}
		for _, key := range []string{"GET /a", "GET /scoped"} {
			d.Routes[key].Authorization, d.Routes[key].Authorizer = authCognito, "c"
		}
		d.Routes["GET /scoped"].Scopes = []string{"shop/read"}
	}, "GET /a", "GET /scoped")
	const issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc"
	token := func(edit ...any) string {
		c := map[string]any{"iss": issuer, "aud": "client", "sub": "u1", "token_use": "id", "cognito:groups": []string{"a"}, "exp": time.Now().Unix() + 60}
		for i := 0; i < len(edit); i += 2 {
			c[edit[i].(string)] = edit[i+1]
		}
		return "Authorization: " + o.token("one", c)
	}
	e := w.event(200, "GET /prod/a", token())
	if claims, _ := e.RequestContext.Authorizer["claims"].(map[string]any); claims["sub"] != "u1" || claims["cognito:groups"] != "[a]" || len(e.RequestContext.Authorizer) != 1 {
		t.Errorf("%v", e.RequestContext.Authorizer)
	}
	w.want(200, "*", "GET /prod/scoped", token("token_use", "access", "scope", "openid shop/read"))
	for _, line := range []string{token("token_use", "access"), token("iss", issuer+"d"), "Authorization: x", "Authorization: a.b.c", "X: y"} {
		if h := w.want(401, unauthorised, "GET /prod/a", line).header; h.Get("Www-Authenticate") != "" {
			t.Errorf("%v", h)
		}
	}
	w.want(401, unauthorised, "GET /prod/scoped", token())
	w.want(401, `{"message":"The incoming token has expired"}`, "GET /prod/a", token("exp", time.Now().Unix()-1))
}
