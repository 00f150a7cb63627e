package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/api"
	"thaw/function"
	"thaw/internal/door"
	"thaw/pool"
)

const deniedBody = `{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}`

// urlOf makes a URL and returns its host.
func (w *world) urlOf(qualifier string, in lambda.CreateFunctionUrlConfigInput) string {
	w.t.Helper()
	in.FunctionName = aws.String("orders")
	if qualifier != "" {
		in.Qualifier = &qualifier
	}
	out, err := w.client.CreateFunctionUrlConfig(w.t.Context(), &in)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Trim(strings.TrimPrefix(*out.FunctionUrl, "http://"), "/")
}

func (w *world) permit(qualifier, action string) {
	w.t.Helper()
	in := &lambda.AddPermissionInput{FunctionName: aws.String("orders"), StatementId: aws.String(strings.Trim(strings.TrimPrefix(action, "lambda:"), "*") + "-1"), Action: &action, Principal: aws.String("*")}
	if action == "lambda:InvokeFunction" {
		in.InvokedViaFunctionUrl = aws.Bool(true)
	} else {
		in.FunctionUrlAuthType = types.FunctionUrlAuthTypeNone
	}
	if qualifier != "" {
		in.Qualifier = &qualifier
	}
	if _, err := w.client.AddPermission(w.t.Context(), in); err != nil {
		w.t.Fatal(err)
	}
}

// at asks under a host's name. edit may change the request; it is signed when key is set.
func (w *world) at(host, method, path, key string, edit ...func(*http.Request)) (int, http.Header, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	if key != "" {
		secret := aws.Credentials{AccessKeyID: "test", SecretAccessKey: key}
		if err := v4.NewSigner().SignHTTP(w.t.Context(), secret, r, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "lambda", region, time.Now()); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, f := range edit {
		f(r)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func (w *world) wantAt(what string, status int, body string, gotStatus int, h http.Header, got string) {
	w.t.Helper()
	if gotStatus != status || body != "*" && got != body {
		w.t.Errorf("%s: %d %s %v, want %d %s", what, gotStatus, got, h, status, body)
	}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// C-116: who may call a URL without authorization, by policies, qualifiers and --strict.
func TestFunctionURLPermissions(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		w := newWorld(t, func(o *options) { o.Settle, o.Strict = 1, strict })
		w.withVersions("orders", 1)
		w.want(w.do("POST", base+"/orders/aliases", `{"Name":"live","FunctionVersion":"1"}`), 201, "*")
		host, live := w.urlOf("", lambda.CreateFunctionUrlConfigInput{AuthType: "NONE"}), w.urlOf("live", lambda.CreateFunctionUrlConfigInput{AuthType: "NONE"})
		id, _, _ := strings.Cut(host, ".")
		ask := func(what, host, path string, status int, body string) {
			t.Helper()
			got, h, text := w.at(host, "GET", path, "")
			w.wantAt(what, status, body, got, h, text)
			if status == 403 && h.Get("X-Amzn-Errortype") != "AccessDeniedException" {
				t.Errorf("%s: %v", what, h)
			}
		}
		ask("without a policy", host, "/", 403, deniedBody)
		ask("the path form", "", "/lambda-url/"+id+"/", 403, deniedBody)
		ask("no such URL", strings.Replace(host, id, "a"+id[1:]+"a", 1), "/", 403, `{"Message":null}`)
		ask("no such URL, by path", "", "/lambda-url/none", 403, `{"Message":null}`)
		ask("another region", strings.Replace(host, region, "eu-north-1", 1), "/", 403, `{"Message":null}`)
		ask("the API is not on its host", strings.Replace(host, id, "none", 1), base, 403, `{"Message":null}`)

		w.permit("", "lambda:InvokeFunctionUrl")
		if strict {
			ask("with one permission, strict", host, "/", 403, deniedBody)
			w.permit("", "lambda:InvokeFunction")
		}
		ask("with a policy", host, "/", 200, "*")
		ask("the path form", "", "/lambda-url/"+id+"/a", 200, "*")
		ask("upper case", strings.ToUpper(host), "/", 200, "*")
		ask("the alias has a policy of its own", live, "/", 403, deniedBody)
		w.permit("live", "lambda:*")
		ask("the alias", live, "/", 200, "*")
		w.runner.mu.Lock()
		last := w.runner.asked[len(w.runner.asked)-1]
		w.runner.mu.Unlock()
		if last.InvokedARN != ordersARN+":live" || last.Version.Number != "1" {
			t.Errorf("invoked %s, version %s", last.InvokedARN, last.Version.Number)
		}
		if _, err := w.client.DeleteAlias(t.Context(), &lambda.DeleteAliasInput{FunctionName: aws.String("orders"), Name: aws.String("live")}); err != nil {
			t.Fatal(err)
		}
		ask("the alias is gone", live, "/", 403, deniedBody)
		if _, err := w.client.RemovePermission(t.Context(), &lambda.RemovePermissionInput{FunctionName: aws.String("orders"), StatementId: aws.String("InvokeFunctionUrl-1")}); err != nil {
			t.Fatal(err)
		}
		ask("the permission is gone", host, "/", 403, deniedBody)
		if _, err := w.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String("orders")}); err != nil {
			t.Fatal(err)
		}
		ask("the function is gone", host, "/", 403, `{"Message":null}`)
	}
}

// AWS_IAM: signatures where the server has keys, and what stands for them where it has none.
func TestSignedFunctionURLs(t *testing.T) {
	t.Parallel()
	guard := &door.Guard{}
	for name, edit := range map[string]func(*options){
		"keys": func(o *options) {
			o.Verify, o.Credentials = true, []api.Credential{{AccessKeyID: "test", SecretAccessKey: "secret"}}
		},
		"no keys": func(o *options) {
			o.Guard, o.URLDoor = guard.Check, api.URLDoor{Host: guard.CheckHost, Strangers: guard.Check}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *options) { o.Settle = 1; edit(o) })
			w.create("orders")
			w.active("orders")
			host := w.urlOf("", lambda.CreateFunctionUrlConfigInput{AuthType: "AWS_IAM"})
			ask := func(what, path, key string, status int, body string, edit ...func(*http.Request)) string {
				t.Helper()
				// The signer signs the name that stands in the request before the test changes it.
				named := append([]func(*http.Request){}, edit...)
				got, h, text := w.at(host, "GET", path, key, named...)
				w.wantAt(what, status, body, got, h, text)
				return text
			}
			ask("without a signature", "/", "", 403, deniedBody)
			event := ask("signed", "/a?b=c", "secret", 200, "*")
			for _, want := range []string{`"accountId":"` + account + `"`, `"accessKey":"test"`, `"cognitoIdentity":null`, `"userArn":"arn:aws:iam::` + account + `:root"`} {
				if !strings.Contains(event, want) {
					t.Errorf("no %s in %s", want, event)
				}
			}
			if strings.Contains(event, "AWS4-HMAC") {
				t.Errorf("the function could call again as its caller: %s", event)
			}
			if name == "keys" {
				ask("with a wrong key", "/", "wrong", 403, "*")
				ask("what was not signed", "/", "secret", 403, "*", func(r *http.Request) { r.URL.Path = "/other" })
				return
			}
			ask("a web page", "/", "secret", 403, "*", header("Sec-Fetch-Site", "cross-site"))
			ask("a web page", "/", "secret", 403, "*", header("Origin", "https://evil.example"))
		})
	}
}

// On a loopback without credentials the API is closed to web pages, and a URL that is meant to be open is open.
func TestOpenFunctionURLsBesideAClosedAPI(t *testing.T) {
	t.Parallel()
	guard := &door.Guard{}
	w := newWorld(t, func(o *options) {
		o.Settle, o.Guard, o.URLDoor = 1, guard.Check, api.URLDoor{Host: guard.CheckHost, Strangers: guard.Check}
	})
	w.create("orders")
	w.active("orders")
	host := w.urlOf("", lambda.CreateFunctionUrlConfigInput{AuthType: "NONE", Cors: &types.Cors{AllowOrigins: []string{"https://a.example"}, AllowMethods: []string{"PUT"},
		AllowHeaders: []string{"x-a"}, AllowCredentials: aws.Bool(true), MaxAge: aws.Int32(9)}})
	w.permit("", "lambda:InvokeFunctionUrl")
	id, _, _ := strings.Cut(host, ".")
	page := []func(*http.Request){header("Origin", "https://a.example"), header("Sec-Fetch-Site", "cross-site")}
	question := append([]func(*http.Request){header("Access-Control-Request-Method", "PUT"), header("Access-Control-Request-Headers", "x-a")}, page...)

	got, h, text := w.at("", "GET", base, "", page...)
	w.wantAt("the API", 403, "*", got, h, text)
	w.runner.mu.Lock()
	w.runner.answer = func(context.Context, *pool.Request) (*function.Outcome, error) {
		return &function.Outcome{Payload: []byte(`{"statusCode":200,"headers":{"Access-Control-Allow-Origin":"*","Content-Security-Policy":"default-src 'none'"},"body":"b"}`)}, nil
	}
	w.runner.mu.Unlock()
	for _, c := range []struct{ host, path string }{{host, "/"}, {"", "/lambda-url/" + id + "/"}} {
		got, h, text := w.at(c.host, "PUT", c.path, "", page...)
		w.wantAt("a page", 200, "b", got, h, text)
		if h.Get("Access-Control-Allow-Origin") != "https://a.example" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" {
			t.Errorf("%s: %v", c.path, h)
		}
		policies := strings.Join(h["Content-Security-Policy"], "|")
		if !strings.HasSuffix(policies, "default-src 'none'") || (c.host == "") != strings.HasPrefix(policies, "sandbox allow-scripts") || strings.Contains(policies, "same-origin") {
			t.Errorf("%s: policies %s", c.path, policies)
		}
		w.runner.mu.Lock()
		before := len(w.runner.asked)
		w.runner.mu.Unlock()
		got, h, text = w.at(c.host, "OPTIONS", c.path, "", question...)
		w.wantAt("a preflight", 200, "", got, h, text)
		if h.Get("Access-Control-Allow-Methods") != "PUT" || h.Get("Access-Control-Allow-Headers") != "x-a" || h.Get("Access-Control-Max-Age") != "9" {
			t.Errorf("preflight: %v", h)
		}
		w.runner.mu.Lock()
		if len(w.runner.asked) != before {
			t.Error("a preflight reached the function")
		}
		w.runner.mu.Unlock()
		got, h, text = w.at(c.host, "OPTIONS", c.path, "")
		w.wantAt("OPTIONS of a program", 200, "b", got, h, text)
		got, h, text = w.at(c.host, "GET", c.path, "", header("Origin", "https://evil.example"))
		w.wantAt("another page", 200, "b", got, h, text)
		if h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("another page may read: %v", h)
		}
		got, h, text = w.at(c.host, "GET", c.path, "", header("Connection", "Upgrade"), header("Upgrade", "websocket"))
		w.wantAt("a WebSocket", 400, `{"Message":"Function URLs do not take WebSockets."}`, got, h, text)
	}
	got, h, text = w.at("evil.example", "GET", "/lambda-url/"+id+"/", "")
	w.wantAt("a page whose name was made to lead here", 403, "*", got, h, text)
	got, h, text = w.at("", "GET", "/lambda-url/"+id+"/../../metrics", "")
	w.wantAt("no path leads out", 200, "b", got, h, text)
}

// What a function and the pool can do wrong, as a caller sees it.
func TestFunctionURLFailures(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	w.create("orders")
	w.active("orders")
	host := w.urlOf("", lambda.CreateFunctionUrlConfigInput{AuthType: "NONE"})
	w.permit("", "lambda:InvokeFunctionUrl")
	for name, c := range map[string]struct {
		outcome *function.Outcome
		err     error
		status  int
		body    string
	}{
		"a function error": {&function.Outcome{Payload: []byte(`{"errorMessage":"secret"}`), FunctionError: "Unhandled"}, nil, 502, "Internal Server Error"},
		"no HTTP response": {&function.Outcome{Payload: []byte(`{"statusCode":"x"}`)}, nil, 502, "Internal Server Error"},
		"throttled":        {nil, &pool.ThrottledError{}, 429, `{"Message":"Rate Exceeded."}`},
		"the platform":     {nil, errors.New("secret"), 502, "Internal Server Error"},
		"a collected stream": {&function.Outcome{Payload: []byte("{\"statusCode\":201}\x00\x00\x00\x00\x00\x00\x00\x00b"),
			ContentType: "application/vnd.awslambda.http-integration-response"}, nil, 201, "b"},
	} {
		w.runner.mu.Lock()
		w.runner.answer = func(context.Context, *pool.Request) (*function.Outcome, error) { return c.outcome, c.err }
		w.runner.mu.Unlock()
		got, h, text := w.at(host, "GET", "/", "")
		w.wantAt(name, c.status, c.body, got, h, text)
	}
}
