package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"thaw/api"
	"thaw/iam"
)

// other is a service that says what it was given.
type other struct{}

func (other) Name() string   { return "logs" }
func (other) Target() string { return "Logs_20140328." }
func (other) Serve(w http.ResponseWriter, _ *http.Request, operation, region string, body []byte) {
	fmt.Fprintf(w, "%s %s %s", operation, region, body)
}
func (other) Needs(*http.Request, string, string, []byte) []iam.Ask { return nil }
func (other) Refuse(w http.ResponseWriter, code, message string) {
	http.Error(w, code+": "+message, http.StatusTeapot)
}

// TestOtherServices: requests to another service go through the same guard, signatures and bounds, and are refused in its form.
func TestOtherServices(t *testing.T) {
	guarded := false
	w := newWorld(t, func(o *options) {
		o.Options.Services = []api.Service{other{}}
		o.Verify, o.Credentials = true, []api.Credential{{AccessKeyID: "test", SecretAccessKey: "secret"}}
		o.Guard = func(*http.Request) error {
			if guarded {
				return errors.New("not from here")
			}
			return nil
		}
	})
	ask := func(target, service, secret, body string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if target != "" {
			r.Header.Set("X-Amz-Target", target)
		}
		if strings.HasPrefix(body, "Action=") {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		}
		if service != "" {
			sum := sha256.Sum256([]byte(body))
			if err := signer.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "test", SecretAccessKey: secret}, r, hex.EncodeToString(sum[:]), service, "eu-west-3", time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(b)))
	}
	const get = "Logs_20140328.GetLogEvents"
	for name, c := range map[string]struct{ target, service, secret, body, want string }{
		"by its target":                  {get, "logs", "secret", `{"a":1}`, `200 GetLogEvents eu-west-3 {"a":1}`},
		"by the signature alone":         {"", "logs", "secret", `{}`, `200 eu-west-3 {}`},
		"without a signature":            {get, "", "", `{}`, `418 MissingAuthenticationTokenException: Missing Authentication Token`},
		"signed with another key":        {get, "logs", "wrong", `{}`, `418 InvalidSignatureException: The request signature we calculated does not match`},
		"signed for Lambda":              {get, "lambda", "secret", `{}`, `418 InvalidSignatureException: Credential should be scoped to correct service: 'logs'.`},
		"too large":                      {get, "logs", "secret", strings.Repeat("a", 6<<20+1), `418 RequestEntityTooLargeException: Request must be smaller than 6291456 bytes`},
		"for Lambda, which has no /":     {"", "lambda", "secret", `{}`, `404 {"message":"There is no operation POST /."}`},
		"the target of nobody":           {"Other.Thing", "lambda", "secret", `{}`, `404 {"message":"There is no operation POST /."}`},
		"another service that is nobody": {"", "dynamodb", "secret", `{}`, `501 {"Type":"Service","message":"This server does not speak for the service \"dynamodb\"."}`},
		"another one of the Query protocol": {"", "cloudformation", "secret", `Action=DescribeStacks&Version=2010-05-15`,
			`501 <ErrorResponse><Error><Type>Receiver</Type><Code>NotImplementedException</Code><Message>This server does not speak for the service &#34;cloudformation&#34;.</Message></Error><RequestId>`},
	} {
		if got := ask(c.target, c.service, c.secret, c.body); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	guarded = true
	if got := ask(get, "logs", "secret", `{}`); got != "418 AccessDeniedException: not from here" {
		t.Errorf("behind the guard: %s", got)
	}
}

// everyPath is a front for one path, on any host.
type everyPath struct{}

func (everyPath) Serves(r *http.Request) bool                      { return strings.HasPrefix(r.URL.Path, "/front/") }
func (everyPath) ServeHTTP(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "front") }

// A front has its paths on all hosts but those of function URLs, where every path is a function's.
func TestFrontsAndHosts(t *testing.T) {
	w := newWorld(t, func(o *options) { o.Options.Fronts = []api.Front{everyPath{}} })
	for host, want := range map[string]string{"127.0.0.1": "front", "abc.lambda-url.eu-west-1.localhost": `{"Message":null}`, "abc.lambda-url.eu-west-1.localhost:9600": `{"Message":null}`} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/front/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != want {
			t.Errorf("%s: %v %s, want %s", host, err, b, want)
		}
	}
}
