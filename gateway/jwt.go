package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// issuer is who signs tokens: its keys are fetched when they are needed, and kept.
type issuer struct {
	url    string
	keys   string // URL of its keys; empty: its discovery document says it
	client *http.Client
	log    *slog.Logger

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	since    time.Time // of the verifier
	failed   error     // of the last try to find the issuer
	failedAt time.Time
}

// Times of what is known of an issuer. Source of keysAge: API Gateway Developer Guide, "Control access to HTTP APIs with
// JWT authorizers": keys are kept for two hours. Another key ID has them fetched before that, at most each keysAgain.
const (
	keysAge    = 2 * time.Hour
	keysAgain  = 5 * time.Second
	issuerWait = 5 * time.Second
)

// algorithms of signatures. Source: the same: RSA alone.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512}

func (s *Server) issuer(url, keys string) *issuer {
	if i, ok := s.issuers.Load(url); ok {
		return i.(*issuer)
	}
	next := s.client.Transport
	if keys != "" && s.Pools != "" { // whoever started the server has said where these are
		own, _ := s.others.LoadOrStore(tlsSettings{serverName: "\x00pools"}, newClient(true))
		next = own.(*http.Client).Transport
	}
	transport := &rareFetches{next: next, now: s.Now, kept: map[string]*keptFetch{}}
	i, _ := s.issuers.LoadOrStore(url, &issuer{url: url, keys: keys, log: s.Log, client: &http.Client{Transport: transport, Timeout: issuerWait}})
	return i.(*issuer)
}

// get is the verifier of tokens; the issuer is found by its discovery document.
func (i *issuer) get(now time.Time) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.verifier != nil && now.Sub(i.since) < keysAge:
		return i.verifier, nil
	case i.failed != nil && now.Sub(i.failedAt) < keysAgain:
		if i.verifier != nil {
			return i.verifier, nil
		}
		return nil, i.failed
	}
	// The context outlives the request: the verifier fetches keys with it.
	ctx := oidc.ClientContext(context.Background(), i.client)
	set := &oidc.Config{SkipClientIDCheck: true, SkipExpiryCheck: true, SupportedSigningAlgs: algorithms}
	if i.keys != "" {
		i.since, i.verifier = now, oidc.NewVerifier(i.url, oidc.NewRemoteKeySet(ctx, i.keys), set)
		return i.verifier, nil
	}
	p, err := oidc.NewProvider(ctx, i.url)
	if i.failed, i.failedAt = err, now; err != nil {
		i.log.Warn("gateway: the issuer of tokens cannot be asked", "issuer", i.url, "error", err)
		if i.verifier != nil { // an issuer that is down does not take back what it has signed
			return i.verifier, nil
		}
		return nil, err
	}
	i.since = now
	i.verifier = p.VerifierContext(ctx, set)
	return i.verifier, nil
}

// judgeToken judges by a token of an issuer. Its error is a *Refusal.
func (s *Server) judgeToken(a *Ask) (*Identity, error) {
	token := ""
	for _, source := range a.authorizer.sources() {
		if v, ok := a.Value(source); ok && v != "" {
			token = v
			break
		}
	}
	if kind, rest, ok := strings.Cut(token, " "); ok && strings.EqualFold(kind, "bearer") {
		token = strings.TrimSpace(rest)
	}
	if token == "" {
		return nil, unauthorized("", "", "the request has no token")
	}
	claims, err := s.verified(a.Request.Context(), s.issuer(a.authorizer.Issuer, ""), token)
	if err != nil {
		return nil, err
	}
	if why := a.wrongClaims(claims, s.Now()); why != "" {
		return nil, unauthorized("invalid_token", why, "token: "+why)
	}
	scopes, ok := scopesOf(claims, a.Scopes)
	if !ok {
		r := &Refusal{Kind: Forbidden, Why: "the token has none of the route's scopes: " + strings.Join(a.Scopes, " ")}
		r.Header = map[string]string{"Www-Authenticate": `Bearer scope="` + strings.Join(a.Scopes, " ") + `" error="insufficient_scope"`}
		return nil, r
	}
	return &Identity{Claims: claims, Scopes: scopes}, nil
}

// verified are the claims of a token that an issuer has signed. Its error is a *Refusal.
func (s *Server) verified(ctx context.Context, by *issuer, token string) (map[string]any, error) {
	verifier, err := by.get(s.Now())
	if err != nil {
		return nil, &Refusal{Kind: Unauthorized,
			Header: bearer("invalid_token", "the issuer's OpenID configuration cannot be read"), Why: "issuer " + by.url + ": " + err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, issuerWait)
	defer cancel()
	t, err := verifier.Verify(ctx, token)
	if err != nil {
		return nil, unauthorized("invalid_token", "signature or claims are not valid", "token: "+err.Error())
	}
	var claims map[string]any
	if err := t.Claims(&numbers{&claims}); err != nil {
		return nil, unauthorized("invalid_token", "claims are not valid", "token: its claims are no object")
	}
	return claims, nil
}

const expired = "the token has expired"

// wrongTime says what is wrong with the times of a token.
func wrongTime(claims map[string]any, now time.Time) string {
	at := func(name string) (time.Time, bool) {
		n, ok := claims[name].(json.Number)
		if !ok {
			return time.Time{}, false
		}
		f, err := n.Float64()
		return time.UnixMilli(int64(f * 1000)), err == nil
	}
	exp, ok := at("exp")
	switch {
	case !ok:
		return "the token has no exp"
	case !now.Before(exp):
		return expired
	}
	for _, name := range []string{"nbf", "iat"} {
		if t, ok := at(name); ok && now.Before(t) {
			return "the token is not valid before its " + name
		}
	}
	return ""
}

// wrongClaims says what is wrong with the claims of a token that its issuer has signed. aud is held against the
// audience; client_id only where there is no aud.
func (a *Ask) wrongClaims(claims map[string]any, now time.Time) string {
	if why := wrongTime(claims, now); why != "" {
		return why
	}
	var audience []string
	switch v := claims["aud"].(type) {
	case string:
		audience = []string{v}
	case []any:
		for _, one := range v {
			audience = append(audience, claimText(one))
		}
	default:
		if id, ok := claims["client_id"].(string); ok {
			audience = []string{id}
		}
	}
	for _, want := range a.authorizer.Audience {
		if slices.Contains(audience, want) {
			return ""
		}
	}
	return "the token is for another audience"
}

func bearer(code, description string) map[string]string {
	if code == "" {
		return map[string]string{"Www-Authenticate": "Bearer"}
	}
	return map[string]string{"Www-Authenticate": `Bearer scope="" error="` + code + `" error_description="` + description + `"`}
}

func unauthorized(code, description, why string) *Refusal {
	return &Refusal{Kind: Unauthorized, Header: bearer(code, description), Why: why}
}

// numbers keeps numbers as they were written: a float would lose digits of them.
type numbers struct{ into *map[string]any }

// UnmarshalJSON implements json.Unmarshaler.
func (n *numbers) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(n.into)
}

// rareFetches answers a repeated GET from memory for a while: tokens with made-up key IDs must not have the issuer
// asked each time.
type rareFetches struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	kept map[string]*keptFetch
}

type keptFetch struct {
	at     time.Time
	status int
	header http.Header
	body   []byte
}

// maxIssuerAnswer bounds a document of an issuer in bytes.
const maxIssuerAnswer = 1 << 20

// RoundTrip implements http.RoundTripper.
func (t *rareFetches) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	defer t.mu.Unlock() // two requests at a time would be two fetches
	url := r.URL.String()
	if k := t.kept[url]; k != nil && t.now().Sub(k.at) < keysAgain {
		return k.response(r), nil
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := readAtMost(resp.Body, maxIssuerAnswer)
	if err != nil {
		return nil, err
	}
	k := &keptFetch{t.now(), resp.StatusCode, resp.Header, body}
	if resp.StatusCode == http.StatusOK {
		t.kept[url] = k
	}
	return k.response(r), nil
}

var errTooLarge = errors.New("the answer is too large")
