package node

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// stackOf makes a stack of one function with the server that stands for CloudFormation: argv has its URL.
const stackOf = `
import boto3, json, sys
at = {"endpoint_url": sys.argv[1]}
role = boto3.client("iam", **at).create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
function = {"FunctionName": "sam-shop", "Runtime": "nodejs20.x", "Handler": "index.handler", "Role": role, "Code": {"ZipFile": "exports.handler = 1"}}
boto3.client("cloudformation", **at).create_stack(StackName="shop", TemplateBody=json.dumps({"Resources": {"Shop": {"Type": "AWS::Lambda::Function", "Properties": function}}}))
`

const samTemplate = `AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Resources:
  Shop:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: sam-shop
      CodeUri: src/
      Handler: index.handler
      Runtime: RUNTIME
`

// SAM's commands for functions that are there. ARNs and log groups need this server alone. Names of stacks are CloudFormation's,
// for which another server stands; a function's name alone is looked up there, too, and SAM says so.
func TestClientSAM(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	sam := python(t, append(env, "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT=1", "HOME="+t.TempDir()), "sam")
	f := (&deployedAs{s, "sam-shop"}).create(t)
	if out, words, err := sam.try("remote", "invoke", f.arn, "--event", `{"name": "you"}`); err != nil || !strings.Contains(out, `{"hello":"you","version":"$LATEST"}`) || !strings.Contains(words, "REPORT RequestId") {
		t.Errorf("remote invoke of an ARN: %v\n%s\n%s", err, out, words)
	}
	if _, words, err := sam.try("remote", "invoke", "sam-shop"); err == nil || !strings.Contains(words, "provide full resource ARN") {
		t.Errorf("remote invoke of a name without a stack: %v\n%s", err, words)
	}
	until(t, time.Minute, "sam logs shows the invocation", func() bool {
		return strings.Contains(sam.do("logs", "--cw-log-group", "/aws/lambda/sam-shop"), "REPORT RequestId")
	})

	stacks := moto(t)
	python(t, env, "python").do("-c", stackOf, stacks)
	sam.env = append(sam.env, "AWS_ENDPOINT_URL_CLOUDFORMATION="+stacks)
	for name, text := range map[string]string{"template.yaml": strings.Replace(samTemplate, "RUNTIME", nodejs(t, s), 1), "src/index.js": "exports.handler = async () => 'synced'"} {
		path := filepath.Join(sam.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sam.stdin = "Y\n"
	sam.do("sync", "--code", "--stack-name", "shop", "--s3-bucket", "none", "--no-dependency-layer")
	if out := sam.do("remote", "invoke", "--stack-name", "shop", "--event", "{}"); !strings.Contains(out, `"synced"`) {
		t.Errorf("after sam sync --code: %s", out)
	}
	f.delete(t)
}

const chaliceApp = `from chalice import AuthResponse, Chalice, CORSConfig

app = Chalice(app_name="shop")
app.api.binary_types = ["image/png"]
app.experimental_feature_flags.update(["WEBSOCKETS"])


@app.lambda_function(name="hello")
def hello(event, context):
    return {"hello": event.get("name"), "function": context.function_name}


@app.authorizer()
def judge(request):
    return AuthResponse(routes=["/judged"] if request.token == "open" else [], principal_id="you")


@app.route("/orders/{number}", methods=["GET", "POST"], cors=CORSConfig(allow_origin="https://example.org"))
def orders(number):
    return {"number": number, "query": app.current_request.query_params, "body": app.current_request.json_body}


@app.route("/judged", authorizer=judge)
def judged():
    return {"who": app.current_request.context["authorizer"]["principalId"]}


@app.schedule("rate(12 hours)")
def twice(event):
    print("twice a day")


@app.on_cw_event({"source": ["shop"], "detail": {"total": [{"numeric": [">", 10]}]}})
def placed(event):
    print("placed", event.detail["total"], event.to_dict()["source"])


@app.on_ws_message()
def message(event):
    print("heard", event.body)


@app.on_sns_message(topic="chalice-orders")
def heard(event):
    print("heard", event.message, event.subject)
`

const chaliceConfig = `{"version": "2.0", "app_name": "shop", "manage_iam_role": false, "iam_role_arn": "arn:aws:iam::000000000000:role/any",
	"stages": {"dev": {"api_gateway_stage": "api"}}}`

// Chalice deploys a function, invokes it, reads its log, deploys it again and deletes it, unchanged.
func TestClientChalice(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	chalice := python(t, env, "chalice")
	// Chalice takes the runtime of the Python that it runs in.
	ready(t, s, strings.TrimSpace(python(t, env, "python").do("-c", "import sys; print('python%d.%d' % sys.version_info[:2])")))
	for name, text := range map[string]string{"app.py": chaliceApp, ".chalice/config.json": chaliceConfig, "requirements.txt": ""} {
		path := filepath.Join(chalice.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cli := python(t, env, "aws")
	cli.args = []string{"--endpoint-url", s.node.Endpoint()}
	topic := strings.TrimSpace(cli.do("sns", "create-topic", "--name", "chalice-orders", "--query", "TopicArn", "--output", "text")) // Chalice makes none
	const arn = "arn:aws:lambda:eu-west-1:000000000000:function:shop-dev-hello"
	out := chalice.do("deploy")
	if !strings.Contains(out, "Lambda ARN: "+arn) {
		t.Errorf("deploy: %s", out)
	}
	chaliceAPI(t, s, out)
	chaliceSocket(t, s, out)
	until(t, time.Minute, "the function has heard a message", func() bool {
		return strings.Contains(chalice.do("logs", "-n", "websocket_message"), "heard hello")
	})
	chalice.stdin = `{"name": "you"}`
	if out := chalice.do("invoke", "-n", "hello"); strings.TrimSpace(out) != `{"hello": "you", "function": "shop-dev-hello"}` {
		t.Errorf("invoke: %s", out)
	}
	until(t, time.Minute, "chalice logs shows the invocation", func() bool {
		return strings.Contains(chalice.do("logs", "-n", "hello", "--include-lambda-messages"), "REPORT RequestId")
	})
	if out := chalice.do("deploy"); !strings.Contains(out, "Updating lambda function: shop-dev-hello") {
		t.Errorf("deploy again: %s", out)
	}
	cli.do("sns", "publish", "--topic-arn", topic, "--subject", "orders", "--message", "one")
	(&deployed{s, "shop-dev-heard"}).logs("heard one orders")
	cli.do("events", "put-events", "--entries", `[{"Source":"shop","DetailType":"Placed","Detail":"{\"total\": 25}"}]`)
	(&deployed{s, "shop-dev-placed"}).logs("placed 25 shop")
	if out := cli.do("events", "list-rules", "--name-prefix", "shop-dev-twice", "--query", "Rules[].ScheduleExpression", "--output", "text"); strings.TrimSpace(out) != "rate(12 hours)" {
		t.Error(out)
	}
	if out := chalice.do("delete"); !strings.Contains(out, "Deleting function: "+arn) {
		t.Errorf("delete: %s", out)
	}
	if out := cli.do("events", "list-rules", "--name-prefix", "shop-dev", "--query", "length(Rules)", "--output", "text"); strings.TrimSpace(out) != "0" {
		t.Errorf("%s rules are left", out)
	}
	if out := cli.do("sns", "list-subscriptions-by-topic", "--topic-arn", topic, "--output", "text"); strings.TrimSpace(out) != "" {
		t.Errorf("subscriptions are left: %s", out)
	}
	cli.do("sns", "delete-topic", "--topic-arn", topic)
}

var chaliceURL = regexp.MustCompile(`Rest API URL: https://([a-z0-9]+)\.execute-api`)

var chaliceSocketURL = regexp.MustCompile(`wss://([a-z0-9]+)\.execute-api`)

// chaliceSocket sends a message to the WebSocket API of the app.
func chaliceSocket(t *testing.T, s *server, deployed string) {
	t.Helper()
	m := chaliceSocketURL.FindStringSubmatch(deployed)
	if m == nil {
		t.Fatalf("deploy: %s", deployed)
	}
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.node.Addr()+"/execute-api/"+m[1]+"/api", nil)
	if err != nil {
		t.Fatalf("%v, %v", err, resp)
	}
	defer conn.Close()
	if err := conn.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Error(err)
	}
}

// chaliceAPI sends requests through the REST API that Chalice has imported: routes, CORS and the authorizer.
func chaliceAPI(t *testing.T, s *server, deployed string) {
	t.Helper()
	m := chaliceURL.FindStringSubmatch(deployed)
	if m == nil {
		t.Fatalf("deploy: %s", deployed)
	}
	for _, c := range []struct {
		path, token string
		status      int
		want        string
	}{
		{"/orders/7?a=b", "", 200, `{"number":"7","query":{"a":"b"},"body":null}`},
		{"/judged", "open", 200, `{"who":"you"}`},
		{"/judged", "shut", 403, "not authorized"},
		{"/judged", "", 401, "Unauthorized"},
		{"/none", "", 403, "Missing Authentication Token"},
	} {
		var header []string
		if c.token != "" {
			header = []string{"Authorization", c.token}
		}
		if status, body := throughAPI(t, s, m[1]+"/api"+c.path, header...); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s with %q: %d %s, want %d %s", c.path, c.token, status, body, c.status, c.want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.node.Endpoint()+"/execute-api/"+m[1]+"/api/orders/7", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode != 200 || got != "https://example.org" {
		t.Errorf("a preflight: %d, %q", resp.StatusCode, got)
	}
}
