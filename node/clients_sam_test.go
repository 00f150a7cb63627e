package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

const chaliceApp = `from chalice import Chalice

app = Chalice(app_name="shop")


@app.lambda_function(name="hello")
def hello(event, context):
    return {"hello": event.get("name"), "function": context.function_name}
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
	const arn = "arn:aws:lambda:eu-west-1:000000000000:function:shop-dev-hello"
	if out := chalice.do("deploy"); !strings.Contains(out, "Lambda ARN: "+arn) {
		t.Errorf("deploy: %s", out)
	}
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
	if out := chalice.do("delete"); !strings.Contains(out, "Deleting function: "+arn) {
		t.Errorf("delete: %s", out)
	}
}
