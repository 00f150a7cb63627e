package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"golang.org/x/oauth2/clientcredentials"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/kafka"
)

// counted are secrets that count how often one is asked for.
type counted struct {
	*eventsourcetest.Secrets
	name string
	n    atomic.Int32
}

func (c *counted) Secret(ctx context.Context, uri string) ([]byte, error) {
	if uri == c.name {
		c.n.Add(1)
	}
	return c.Secrets.Secret(ctx, uri)
}

func clientJSON(t *testing.T, endpoint, secret string) string {
	t.Helper()
	b, err := json.Marshal(map[string]string{"oauthTokenEndpointUrl": endpoint, "oauthClientId": "lambda", "oauthClientSecret": secret})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// testTokens logs in to a real broker with tokens of a real provider: a wrong secret and a wrong audience are told, a
// corrected secret helps by itself, and tokens are renewed before they end.
func testTokens(t *testing.T, b *eventsourcetest.Kafka, o *eventsourcetest.OAuth) {
	const topic = "with-tokens"
	k, err := kgo.NewClient(kgo.SeedBrokers(b.Plain))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m := mappingOf(t, b, k, topic, 1)
	m.Source.Brokers = []string{b.More[0]}
	m.Source.Access = []eventsource.Access{{Type: "OAUTHBEARER_AUTH", URI: "client"}, {Type: "OAUTHBEARER_SCOPE", URI: "read"}, {Type: "OAUTHBEARER_AUDIENCE", URI: "urn:kafka"},
		{Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"}}
	known := &counted{Secrets: eventsourcetest.NewSecrets(map[string]string{"client": clientJSON(t, o.Token, "wrong"), "ca": certificateJSON(t, b.Root)}), name: "client"}
	service, l := serve(t, known)
	var sent []string
	send := func() {
		value := fmt.Sprintf(`{"n":%d}`, len(sent))
		put(t, k, &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(value)})
		sent = append(sent, "k "+value)
	}
	send()
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "the mapping says why", func() bool {
		return strings.Contains(result(t, service, m), `refuses what the secret client says: "invalid_client"`)
	})
	if got := l.firsts(topic + "-0"); len(got) > 0 {
		t.Errorf("seen without a login: %v", got)
	}
	known.Set("client", clientJSON(t, o.Token, "secret"))
	seen := func() bool { return slices.Equal(l.firsts(topic+"-0"), sent) }
	eventsourcetest.Until(t, "the record is seen", seen)

	other := *m
	other.ID, other.Source.GroupID = "other", "other"
	other.Source.Access = []eventsource.Access{{Type: "OAUTHBEARER_AUTH", URI: "client"}, {Type: "OAUTHBEARER_AUDIENCE", URI: "urn:other"}, {Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"}}
	if _, err := service.Create(t.Context(), &other); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "a token for somebody else is refused", func() bool { return strings.Contains(result(t, service, &other), "SASL authentication failed") })
	if _, err := service.Delete(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}

	// Connections stay: the broker ends those whose token has ended, and the mapping would tell of it.
	asked := known.n.Load()
	eventsourcetest.Until(t, "several tokens have been asked for", func() bool {
		if text := result(t, service, m); strings.HasPrefix(text, "PROBLEM") {
			t.Fatal(text)
		}
		return known.n.Load() >= asked+3
	})
	send()
	eventsourcetest.Until(t, "a record is seen with a later token", seen)

	// The provider is told of a new secret while the mapping runs.
	known.Set("client", clientJSON(t, o.Token, "of yesterday"))
	eventsourcetest.Until(t, "the mapping says that it is let in no more", func() bool { return strings.Contains(result(t, service, m), `"invalid_client"`) })
	send()
	known.Set("client", clientJSON(t, o.Token, "secret"))
	eventsourcetest.Until(t, "a record is seen with the new secret", seen)
	eventsourcetest.Until(t, "the problem is forgotten", func() bool { return !strings.HasPrefix(result(t, service, m), "PROBLEM: ") })
}

// testWebIdentity logs in to a real broker with what AWS's STS says of the server's credentials. The STS is a small one,
// whose tokens are signed by the provider that the broker trusts.
func testWebIdentity(t *testing.T, b *eventsourcetest.Kafka, o *eventsourcetest.OAuth) {
	const topic = "with-identity"
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("Action") != "GetWebIdentityToken" || r.PostFormValue("SigningAlgorithm") == "" || !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIA/") {
			t.Errorf("asked for %v", r.PostForm)
		}
		config := clientcredentials.Config{ClientID: "lambda", ClientSecret: "secret", TokenURL: o.Token, EndpointParams: url.Values{"audience": {r.PostFormValue("Audience.member.1")}}}
		token, err := config.Token(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult><WebIdentityToken>%s</WebIdentityToken><Expiration>%s</Expiration>`+
			`</GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`, token.AccessToken, token.Expiry.UTC().Format(time.RFC3339))
	}))
	defer tokens.Close()
	k, err := kgo.NewClient(kgo.SeedBrokers(b.Plain))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m := mappingOf(t, b, k, topic, 1)
	m.Source.Brokers = []string{b.More[0]}
	m.Source.Access = []eventsource.Access{{Type: "IAM_OAUTHBEARER_AUTH"}, {Type: "OAUTHBEARER_AUDIENCE", URI: "urn:kafka"}, {Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"}}
	service, l := serveWith(t, kafka.New(eventsourcetest.NewSecrets(map[string]string{"ca": certificateJSON(t, b.Root)}), nil, func(ctx context.Context, region string) (aws.Config, error) {
		c, err := load(ctx, region)
		c.BaseEndpoint = aws.String(tokens.URL)
		return c, err
	}))
	put(t, k, &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(`{"n":1}`)})
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "the record is seen", func() bool { return slices.Equal(l.firsts(topic+"-0"), []string{`k {"n":1}`}) })
}

// guardedRegistry is a registry behind TLS that lets in whoever has the certificate, and shows the token if there is one.
func guardedRegistry(t *testing.T, token string) (at, root string) {
	t.Helper()
	registry := srfake.New()
	t.Cleanup(registry.Close)
	registry.SeedSchema("orders", 1, 7, sr.Schema{Schema: `{"type":"record","name":"Order","fields":[{"name":"n","type":"long"}]}`})
	to, err := url.Parse(registry.URL())
	if err != nil {
		t.Fatal(err)
	}
	pair, root := eventsourcetest.Certificate(t)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(root))
	forward := httputil.NewSingleHostReverseProxy(to)
	guard := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token != "" && r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, `{"error_code":401,"message":"who are you"}`, http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		forward.ServeHTTP(w, r)
	}))
	guard.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if token == "" {
		guard.TLS.ClientCAs, guard.TLS.ClientAuth = trusted, tls.RequireAndVerifyClientCert
	}
	guard.StartTLS()
	t.Cleanup(guard.Close)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	login, err := json.Marshal(map[string]string{"certificate": root, "privateKey": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))})
	if err != nil {
		t.Fatal(err)
	}
	return guard.URL, string(login)
}

// A schema registry lets in by client certificate, and by token. What it refuses is told; a corrected secret helps when
// the source is opened anew, which it asks for.
func TestGuardedRegistries(t *testing.T) {
	t.Parallel()
	token := atomic.Pointer[string]{}
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer"}`, *token.Load())
	}))
	defer endpoint.Close()
	c := cluster(t)
	put(t, client(t, c), &kgo.Record{Topic: "lost", Value: []byte{0, 0, 0, 0, 7, 0x0a}})
	for name, one := range map[string]struct{ token, typ string }{"certificate": {"", "CLIENT_CERTIFICATE_TLS_AUTH"}, "token": {"right", "OAUTHBEARER_AUTH"}} {
		at, own := guardedRegistry(t, one.token)
		var ca struct{ Certificate string }
		if err := json.Unmarshal([]byte(own), &ca); err != nil {
			t.Fatal(err)
		}
		_, other := guardedRegistry(t, "")
		wrong := "wrong"
		token.Store(&wrong)
		known := eventsourcetest.NewSecrets(map[string]string{"ca": certificateJSON(t, ca.Certificate), "login": other})
		if one.token != "" {
			known.Set("login", clientJSON(t, endpoint.URL, "secret"))
		}
		m := selfManaged(c, "lost")
		m.Source.Schema = &eventsource.Schema{URI: at, Attributes: []string{"VALUE"}, Access: []eventsource.Access{{Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"}, {Type: one.typ, URI: "login"}}}
		d := kafka.New(known, nil, load)
		src := open(t, d, m)
		shards(t, src, 1)
		_, err := read(t, src, "lost-0").Next(t.Context(), 1)
		var p *eventsource.ProblemError
		if !errors.Is(err, eventsource.ErrBroken) || !errors.As(err, &p) || p.Code != "EVENT_SOURCE_AUTHN_ERROR" || !strings.Contains(p.Text, "registry refuses the credentials") {
			t.Errorf("%s: %v", name, err)
		}
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		right := "right"
		if token.Store(&right); one.token == "" {
			known.Set("login", own)
		}
		src = open(t, d, m)
		shards(t, src, 1)
		if got := string(eventsourcetest.Next(t, read(t, src, "lost-0"), 1)[0].Event); !strings.Contains(got, `"value":"eyJuIjo1fQ=="`) {
			t.Errorf("%s: read %s", name, got)
		}
	}
}

// S-088: a cluster that asks for a certificate lets in who has the right one.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	pair, root := eventsourcetest.Certificate(t)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(root))
	c := cluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert}))
	own, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	login, err := json.Marshal(map[string]string{"certificate": root, "privateKey": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: own}))})
	if err != nil {
		t.Fatal(err)
	}
	_, other := guardedRegistry(t, "")
	d := kafka.New(eventsourcetest.NewSecrets(map[string]string{"ca": certificateJSON(t, root), "own": string(login), "other": other}), nil, load)
	for name, refused := range map[string]bool{"own": false, "other": true} {
		m := selfManaged(c, "orders", eventsource.Access{Type: "CLIENT_CERTIFICATE_TLS_AUTH", URI: name}, eventsource.Access{Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"})
		src, err := d.Open(t.Context(), m, eventsource.Facts{})
		if !refused {
			if err != nil {
				t.Fatal(err)
			}
			shards(t, src, 3)
			_ = src.Close(t.Context())
			continue
		}
		var p *eventsource.ProblemError
		if !errors.As(err, &p) || p.Code != "EVENT_SOURCE_AUTHN_ERROR" || p.Text != "Server failed to authenticate Lambda" {
			t.Errorf("%v", err)
		}
	}
}
