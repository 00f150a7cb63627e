package eventsourcetest

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

//go:embed testdata/oauth.mjs
var oauthProgram []byte

// OAuth is an OpenID provider. It gives tokens, as signed JWTs, to the client lambda with the secret secret, for the
// audience that it asks for.
type OAuth struct {
	Issuer       string
	Token, Keys  string // addresses of tokens, and of the keys that they are signed with
	TimeOfTokens time.Duration
}

// StartOAuth starts one whose tokens last so long.
func StartOAuth(t testing.TB, ttl time.Duration) *OAuth {
	t.Helper()
	packages := Node(t, "oidc-provider@9.13.3")
	dir, port := Dir(t), Port(t)
	program := filepath.Join(dir, "oauth.mjs")
	if err := os.WriteFile(program, oauthProgram, 0o600); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	Launch(t, Program{Args: []string{"node", program, packages, strconv.Itoa(port), strconv.Itoa(int(ttl.Seconds()))}, Dir: dir, Ready: Listens(at)})
	return &OAuth{Issuer: "http://" + at, Token: "http://" + at + "/token", Keys: "http://" + at + "/jwks", TimeOfTokens: ttl}
}

// Listener is a listener of Kafka that lets in those who show a token for the audience. It has them show another one each
// so often.
func (o *OAuth) Listener(audience string, again time.Duration) KafkaListener {
	const handler = "org.apache.kafka.common.security.oauthbearer.OAuthBearer"
	return KafkaListener{
		Settings: []string{
			"sasl.enabled.mechanisms=OAUTHBEARER",
			"oauthbearer.sasl.jaas.config=" + handler + "LoginModule required ;",
			"oauthbearer.sasl.server.callback.handler.class=" + handler + "ValidatorCallbackHandler",
			"oauthbearer.connections.max.reauth.ms=" + strconv.Itoa(int(again.Milliseconds())),
			"sasl.oauthbearer.jwks.endpoint.url=" + o.Keys,
			"sasl.oauthbearer.expected.audience=" + audience,
			"sasl.oauthbearer.expected.issuer=" + o.Issuer,
		},
		Flags: []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + o.Keys},
	}
}
