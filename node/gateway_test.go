package node

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	gw "github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/internal/wholebody"
)

const apiFunction = `exports.handler = async e => {
  if (e.type === "REQUEST") return { isAuthorized: e.identitySource[0] === "open sesame", context: { who: "ali" } };
  if (e.rawPath === "/image") return { statusCode: 200, headers: { "content-type": "image/png" }, isBase64Encoded: true, body: "iVBORw==" };
  if (e.rawPath === "/nonsense") return { statusCode: "many" };
  return e;
};`

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// S-106: an HTTP API on a server that verifies signatures, as AWS's client makes it: the function's policy lets it invoke
// or not, a Lambda authorizer and signatures decide, the access log can be read, and a restart changes nothing.
func TestHTTPAPI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log lockedLog
	config := func(c *Config) { c.AccessKeyID, c.SecretAccessKey = "AKIDEXAMPLE", "secret" }
	c := testConfig("process", dir)
	config(&c)
	open := func() *server {
		n, err := Open(t.Context(), c, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		if err != nil {
			t.Fatal(err)
		}
		s := &server{t: t, node: n, kind: "process"}
		s.client = lambda.New(lambda.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://" + n.Addr()), RetryMaxAttempts: 1, HTTPClient: wholebody.Client(nil),
			Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")})
		return s
	}
	s := open()
	defer func() { s.closeServer() }()
	f := s.js(apiFunction)
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:" + f.name
	keys := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")
	client := apigatewayv2.New(apigatewayv2.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://" + s.node.Addr()), RetryMaxAttempts: 1, HTTPClient: wholebody.Client(nil), Credentials: keys})
	logs := cloudwatchlogs.New(cloudwatchlogs.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://" + s.node.Addr()), RetryMaxAttempts: 1, HTTPClient: wholebody.Client(nil), Credentials: keys})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/access/api")})
	must(err)
	api, err := client.CreateApi(t.Context(), &apigatewayv2.CreateApiInput{Name: aws.String("shop"), ProtocolType: gw.ProtocolTypeHttp})
	must(err)
	in, err := client.CreateIntegration(t.Context(), &apigatewayv2.CreateIntegrationInput{ApiId: api.ApiId, IntegrationType: gw.IntegrationTypeAwsProxy, IntegrationUri: &arn, PayloadFormatVersion: aws.String("2.0")})
	must(err)
	auth, err := client.CreateAuthorizer(t.Context(), &apigatewayv2.CreateAuthorizerInput{ApiId: api.ApiId, Name: aws.String("a"), AuthorizerType: gw.AuthorizerTypeRequest, EnableSimpleResponses: aws.Bool(true),
		AuthorizerUri:                  aws.String("arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/" + arn + "/invocations"),
		AuthorizerPayloadFormatVersion: aws.String("2.0"), IdentitySource: []string{"$request.header.X-Word"}, AuthorizerResultTtlInSeconds: aws.Int32(0)})
	must(err)
	for key, kind := range map[string]gw.AuthorizationType{"ANY /{proxy+}": gw.AuthorizationTypeNone, "GET /secret": gw.AuthorizationTypeCustom, "GET /signed": gw.AuthorizationTypeAwsIam} {
		route := &apigatewayv2.CreateRouteInput{ApiId: api.ApiId, RouteKey: &key, Target: aws.String("integrations/" + *in.IntegrationId), AuthorizationType: kind}
		if kind == gw.AuthorizationTypeCustom {
			route.AuthorizerId = auth.AuthorizerId
		}
		_, err := client.CreateRoute(t.Context(), route)
		must(err)
	}
	_, err = client.CreateStage(t.Context(), &apigatewayv2.CreateStageInput{ApiId: api.ApiId, StageName: aws.String("$default"), AutoDeploy: aws.Bool(true),
		AccessLogSettings: &gw.AccessLogSettings{DestinationArn: aws.String("arn:aws:logs:eu-west-1:000000000000:log-group:/access/api"), Format: aws.String("$context.routeKey $context.status $context.authorizer.who")}})
	must(err)

	host := strings.TrimPrefix(*api.ApiEndpoint, "http://")
	ask := func(path string, edit func(*http.Request)) (int, http.Header, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.node.Addr()+path, nil)
		must(err)
		r.Host = host
		if edit != nil {
			edit(r)
		}
		resp, err := http.DefaultClient.Do(r)
		must(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		must(err)
		return resp.StatusCode, resp.Header, string(b)
	}
	want := func(status int, body, path string, edit func(*http.Request)) string {
		t.Helper()
		got, h, text := ask(path, edit)
		if got != status || body != "*" && text != body {
			t.Fatalf("%s: %d %s %v, want %d %s\n%s", path, got, text, h, status, body, log.String())
		}
		return text
	}
	want(500, `{"message":"Internal Server Error"}`, "/a", nil)
	if text := log.String(); !strings.Contains(text, "aws lambda add-permission --function-name "+arn) || !strings.Contains(text, "--principal apigateway.amazonaws.com --source-arn arn:aws:execute-api:eu-west-1:000000000000:"+*api.ApiId+"/$default/GET/*") {
		t.Errorf("the log does not say what to type: %s", text)
	}
	_, err = f.client.AddPermission(t.Context(), &lambda.AddPermissionInput{FunctionName: &f.name, StatementId: aws.String("api"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("apigateway.amazonaws.com"), SourceArn: aws.String("arn:aws:execute-api:eu-west-1:000000000000:" + *api.ApiId + "/*/*/*")})
	must(err)
	var e struct {
		RouteKey       string
		PathParameters map[string]string
	}
	must(json.Unmarshal([]byte(want(200, "*", "/a/b", nil)), &e))
	if e.RouteKey != "ANY /{proxy+}" || e.PathParameters["proxy"] != "a/b" {
		t.Errorf("%+v", e)
	}
	want(200, "\x89PNG", "/image", nil)
	want(500, `{"message":"Internal Server Error"}`, "/nonsense", nil)
	want(401, `{"message":"Unauthorized"}`, "/secret", nil)
	// An authorizer needs a permission of its own.
	word := func(w string) func(*http.Request) { return func(r *http.Request) { r.Header.Set("X-Word", w) } }
	want(500, `{"message":"Internal Server Error"}`, "/secret", word("open sesame"))
	_, err = f.client.AddPermission(t.Context(), &lambda.AddPermissionInput{FunctionName: &f.name, StatementId: aws.String("authorizer"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("apigateway.amazonaws.com"), SourceArn: aws.String("arn:aws:execute-api:eu-west-1:000000000000:" + *api.ApiId + "/authorizers/" + *auth.AuthorizerId)})
	must(err)
	if text := want(200, "*", "/secret", word("open sesame")); !strings.Contains(text, `"authorizer":{"lambda":{"who":"ali"}}`) {
		t.Error(text)
	}
	want(403, `{"message":"Forbidden"}`, "/secret", word("open barley"))

	signed := func(secret string) func(*http.Request) {
		return func(r *http.Request) {
			key := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: secret}
			must(v4.NewSigner().SignHTTP(t.Context(), key, r, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "execute-api", "eu-west-1", time.Now()))
		}
	}
	want(403, `{"message":"Forbidden"}`, "/signed", nil)
	want(403, `{"message":"Forbidden"}`, "/signed", signed("wrong"))
	if text := want(200, "*", "/signed", signed("secret")); !strings.Contains(text, `"userArn":"arn:aws:iam::000000000000:root"`) || strings.Contains(text, "AWS4-HMAC") {
		t.Error(text)
	}

	s.closeServer()
	s = open()
	want(200, "*", "/a/b", nil)
	want(403, `{"message":"Forbidden"}`, "/secret", word("open barley"))
	logs = cloudwatchlogs.New(cloudwatchlogs.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://" + s.node.Addr()), RetryMaxAttempts: 1, HTTPClient: wholebody.Client(nil), Credentials: keys})
	var lines []string
	for deadline := time.Now().Add(time.Minute); len(lines) < 12 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out, err := logs.FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/access/api")})
		must(err)
		lines = nil
		for _, l := range out.Events {
			lines = append(lines, strings.TrimSpace(*l.Message))
		}
	}
	got := strings.Join(lines, "\n")
	for _, line := range []string{"ANY /{proxy+} 500 -", "ANY /{proxy+} 200 -", "GET /secret 401 -", "GET /secret 200 ali", "GET /secret 403 -", "GET /signed 403 -", "GET /signed 200 -"} {
		if !strings.Contains(got, line) {
			t.Errorf("the access log has no %q:\n%s", line, got)
		}
	}
}
