package secret_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"thaw/eventsource"
	"thaw/eventsource/secret"
)

// known is the one secret that there is.
type known string

func (k *known) Secret(context.Context, string) ([]byte, error) { return []byte(*k), nil }

func members(t *testing.T, all map[string]any) *known {
	t.Helper()
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	k := known(b)
	return &k
}

// A token is handed out until half of its life is over; one without an end is asked for each time.
func TestTokensAreRenewedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, life := 0, time.Minute
		tokens := secret.NewTokens(func(context.Context) (*oauth2.Token, error) {
			n++
			token := &oauth2.Token{AccessToken: fmt.Sprint(n)}
			if life > 0 {
				token.Expiry = time.Now().Add(life)
			}
			return token, nil
		})
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{0, "1"}, {29 * time.Second, "1"}, {2 * time.Second, "2"}, {29 * time.Second, "2"}} {
			time.Sleep(step.wait)
			if got, err := tokens.Token(t.Context()); err != nil || got != step.want {
				t.Errorf("token %s, %v; want %s", got, err, step.want)
			}
		}
		life = 0
		time.Sleep(time.Minute)
		for _, want := range []string{"3", "4"} {
			if got, err := tokens.Token(t.Context()); err != nil || got != want {
				t.Errorf("token %s, %v; want %s", got, err, want)
			}
		}
	})
}

// endpoint gives tokens to accounts that sign with a key, and to nobody else. What is wrong with an assertion is its text.
func endpoint(t *testing.T, key *rsa.PublicKey, answer string) *httptest.Server {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		parts := strings.Split(r.PostFormValue("assertion"), ".")
		if r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || len(parts) != 3 {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"unsupported_grant_type"}`)
			return
		}
		claims, err := base64.RawURLEncoding.DecodeString(parts[1])
		signature, err2 := base64.RawURLEncoding.DecodeString(parts[2])
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err := errors.Join(err, err2, rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		var c struct {
			Iss, Aud, Scope string
			TargetAudience  string `json:"target_audience"`
			Exp, Iat        int64  // the second is ten seconds ago
		}
		if err := json.Unmarshal(claims, &c); err != nil || c.Iss != "a@b" || c.Aud != "https://"+r.Host+"/token" || c.Scope != "read write" || c.TargetAudience != "kafka" || c.Exp-c.Iat > 130 {
			t.Errorf("signed: %s, %v", claims, err)
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return server
}

func accountKey(t *testing.T) (key *rsa.PrivateKey, private string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// An account of a service signs with its key: who it is, what it wants, and for whom.
func TestAccountsSign(t *testing.T) {
	t.Parallel()
	key, private := accountKey(t)
	for answer, want := range map[string]string{`{"access_token":"t","expires_in":60}`: "t", `{"id_token":"` + idToken() + `"}`: idToken(), `{}`: ""} {
		server := endpoint(t, &key.PublicKey, answer)
		k := members(t, map[string]any{"oauthTokenEndpointUrl": server.URL + "/token", "oauthClientId": "1", "oauthClientEmail": "a@b", "oauthPrivateKey": private,
			"oauthTokenExpirationSeconds": 120, "oauthIdpCaCertificate": rootOf(server)})
		got, err := secret.OAuthTokens(k, secret.OAuth{URI: "s", Scope: "read write", Audience: "kafka"}).Token(t.Context())
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: token %q, %v", answer, got, err)
		}
	}
}

func idToken() string {
	part := base64.RawURLEncoding.EncodeToString([]byte(`{"exp":9999999999}`))
	return part + "." + part + "." + part
}

func rootOf(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// What is wrong is said in words, and never with the secret; nobody is followed to another address with it.
func TestWhyThereIsNoToken(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the secret was taken elsewhere") }))
	defer elsewhere.Close()
	_, private := accountKey(t)
	status, body := 0, ""
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", elsewhere.URL)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	at, root := server.URL, rootOf(server)
	for _, one := range []struct {
		endpoint, root string
		status         int
		body           string
		code, text     string
	}{
		{at, root, 401, `{"error":"invalid_client","error_description":"hush is wrong"}`, "EVENT_SOURCE_AUTHN_ERROR", `refuses what the secret s says: "invalid_client"`},
		{at, root, 503, `hush`, "", `answers: "503 Service Unavailable"`},
		{at, root, 307, ``, "EVENT_SOURCE_AUTHN_ERROR", `"307 Temporary Redirect"`},
		{at, root, 200, `hush`, "EVENT_SOURCE_AUTHN_ERROR", "cannot be read"},
		{at, "", 200, ``, "EVENT_SOURCE_AUTHN_ERROR", "Give its root as oauthIdpCaCertificate"},
		{at, "none", 200, ``, "ESM_CONFIG_NOT_VALID", "no certificate in PEM"},
		{"https://127.0.0.1:1", root, 0, ``, "", "cannot be reached"},
		{"http://tokens.example.com", root, 0, ``, "ESM_CONFIG_NOT_VALID", "does not begin with https://"},
		{"", root, 0, ``, "ESM_CONFIG_NOT_VALID", "needs oauthTokenEndpointUrl"},
	} {
		status, body = one.status, one.body
		for _, account := range []bool{false, true} {
			all := map[string]any{"oauthTokenEndpointUrl": one.endpoint, "oauthClientId": "id", "oauthIdpCaCertificate": one.root}
			if account {
				all["oauthClientEmail"], all["oauthPrivateKey"] = "a@b", private
			} else {
				all["oauthClientSecret"] = "hush"
			}
			_, err := secret.OAuthTokens(members(t, all), secret.OAuth{URI: "s"}).Token(t.Context())
			var p *eventsource.ProblemError
			if !errors.As(err, &p) || p.Code != one.code || !strings.Contains(p.Text, one.text) || strings.Contains(p.Error(), "hush") || strings.Contains(p.Error(), private) {
				t.Errorf("%s %d, account %t: %v, want %s %s", one.endpoint, one.status, account, err, one.code, one.text)
			}
		}
	}
}
