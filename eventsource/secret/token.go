package secret

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/jwt"

	"thaw/eventsource"
)

// OAuth says what a token is asked for.
type OAuth struct {
	URI             string // of the secret, an OAUTHBEARER_AUTH
	Scope, Audience string // empty: none
}

// client is the secret of an OAUTHBEARER_AUTH. Source: event-sources.md 6.6.
type client struct {
	Endpoint string `json:"oauthTokenEndpointUrl"`
	ID       string `json:"oauthClientId"`
	Secret   string `json:"oauthClientSecret"`
	Email    string `json:"oauthClientEmail"`
	Key      string `json:"oauthPrivateKey"`
	Seconds  int    `json:"oauthTokenExpirationSeconds"`
	Roots    string `json:"oauthIdpCaCertificate"`
}

// Tokens hands out a token until half of its life is over, and then the next one: whoever holds a token to its end has
// another one in time. Any number of goroutines use it.
type Tokens struct {
	fetch func(context.Context) (*oauth2.Token, error)

	mu    sync.Mutex // held while one is fetched: the others wait for it
	token string
	until time.Time
}

// NewTokens makes tokens of what fetches one. A token that does not say when it ends is fetched each time.
func NewTokens(fetch func(context.Context) (*oauth2.Token, error)) *Tokens {
	return &Tokens{fetch: fetch}
}

// Token gives a token that is good for a while. Errors are *eventsource.ProblemError.
func (t *Tokens) Token(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Before(t.until) {
		return t.token, nil
	}
	got, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.token, t.until = got.AccessToken, now
	if !got.Expiry.IsZero() {
		t.until = now.Add(got.Expiry.Sub(now) / 2)
	}
	return t.token, nil
}

// fetchLimit is how long a token endpoint may take.
const fetchLimit = 10 * time.Second

// OAuthTokens are those of a secret, which is read for each of them: a corrected one helps at once.
func OAuthTokens(secrets eventsource.Secrets, o OAuth) *Tokens {
	return NewTokens(func(ctx context.Context) (*oauth2.Token, error) {
		var c client
		if err := Read(ctx, secrets, o.URI, &c); err != nil {
			return nil, err
		}
		way, err := c.way(o.URI)
		if err != nil {
			return nil, err
		}
		defer way.CloseIdleConnections()
		at := &http.Client{Transport: way, Timeout: fetchLimit,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		token, err := c.ask(context.WithValue(ctx, oauth2.HTTPClient, at), o)
		if err != nil {
			return nil, refused(o.URI, err, way.failed)
		}
		if token.Expiry.IsZero() && c.Seconds > 0 {
			token.Expiry = time.Now().Add(time.Duration(c.Seconds) * time.Second)
		}
		return token, nil
	})
}

// ask asks for a token: as a client with a secret (RFC 6749, 4.4), or as the account of a service that signs with its key
// (RFC 7523), which names its audience in what it signs.
func (c *client) ask(ctx context.Context, o OAuth) (*oauth2.Token, error) {
	scopes := strings.Fields(o.Scope)
	if c.Key == "" {
		config := clientcredentials.Config{ClientID: c.ID, ClientSecret: c.Secret, TokenURL: c.Endpoint, Scopes: scopes}
		if o.Audience != "" {
			config.EndpointParams = url.Values{"audience": {o.Audience}}
		}
		return config.Token(ctx)
	}
	config := jwt.Config{Email: c.Email, PrivateKey: []byte(c.Key), TokenURL: c.Endpoint, Scopes: scopes,
		Expires: time.Duration(c.Seconds) * time.Second}
	if o.Audience != "" {
		config.PrivateClaims = map[string]any{"target_audience": o.Audience}
	}
	token, err := config.TokenSource(ctx).Token()
	if err == nil && token.AccessToken == "" { // an audience may be answered by an identity token alone
		token.AccessToken, _ = token.Extra("id_token").(string)
	}
	if err == nil && token.AccessToken == "" {
		err = errNoToken
	}
	return token, err
}

var errNoToken = errors.New("the answer has no token")

// way is how a token endpoint is reached, and why it was not: the library makes a text of that.
type way struct {
	*http.Transport
	failed error
}

// RoundTrip implements http.RoundTripper.
func (w *way) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.Transport.RoundTrip(r)
	if err != nil {
		w.failed = err
	}
	return resp, err
}

// way makes the way to the token endpoint. What is sent is a secret, so it goes through TLS, or stays on this host.
func (c *client) way(uri string) (*way, error) {
	wrong := func(what string) error {
		return &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The secret " + uri + " " + what}
	}
	if c.ID == "" && c.Key == "" || c.Endpoint == "" || (c.Secret == "") == (c.Email == "" || c.Key == "") {
		return nil, wrong("needs oauthTokenEndpointUrl and oauthClientId, and oauthClientSecret or both oauthClientEmail and oauthPrivateKey.")
	}
	at, err := url.Parse(c.Endpoint)
	if err != nil || at.Scheme != "https" && (at.Scheme != "http" || !loopback(at.Hostname())) {
		return nil, wrong("has an oauthTokenEndpointUrl that does not begin with https://.")
	}
	pool, err := Login{Roots: c.Roots}.Pool()
	if err != nil {
		return nil, wrong("has an oauthIdpCaCertificate that is no certificate in PEM.")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	return &way{Transport: transport}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// refused says in words why there is no token. What the endpoint has written is left out but for its code: it may repeat
// what it was sent.
func refused(uri string, err, unreached error) error {
	if unreached != nil {
		err = unreached
	}
	p := &eventsource.ProblemError{Text: "The token endpoint of the secret " + uri + " cannot be reached.", Err: err}
	var answer *oauth2.RetrieveError
	var untrusted x509.UnknownAuthorityError
	switch {
	case errors.As(err, &answer):
		told := struct{ Error string }{answer.ErrorCode}
		if told.Error == "" {
			_ = json.Unmarshal(answer.Body, &told) // where it says nothing, its status does
		}
		code := cmp.Or(told.Error, answer.Response.Status)
		p.Err = fmt.Errorf("it answers %q", code)
		if answer.Response.StatusCode < http.StatusInternalServerError {
			p.Code, p.Text = "EVENT_SOURCE_AUTHN_ERROR", fmt.Sprintf("The token endpoint refuses what the secret %s says: %.100q.", uri, code)
		} else {
			p.Text = fmt.Sprintf("The token endpoint of the secret %s answers: %.100q.", uri, code)
		}
	case errors.As(err, &untrusted):
		p.Code, p.Text = "EVENT_SOURCE_AUTHN_ERROR", "The token endpoint of the secret "+uri+" is not trusted. Give its root as oauthIdpCaCertificate."
	case unreached == nil: // a key that is none, an answer that is none
		p.Code, p.Text, p.Err = "EVENT_SOURCE_AUTHN_ERROR", "There is no token for the secret "+uri+": its oauthPrivateKey, or what the token endpoint answers, cannot be read.", nil
	}
	return p
}
