package node

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/access"
)

// What a function of each runtime does with the AWS SDK that it finds, told nothing but names: it invokes what its event
// names, and says who it is.
const (
	callerJS = `
const { LambdaClient, InvokeCommand, ListFunctionsCommand } = require('@aws-sdk/client-lambda')
const { STSClient, GetCallerIdentityCommand } = require('@aws-sdk/client-sts')
const tried = async f => { try { return await f() } catch (e) { return e.name + ': ' + e.message } }
exports.handler = async e => {
	const lambda = new LambdaClient({ maxAttempts: 1 }), invoke = async FunctionName =>
		Buffer.from((await lambda.send(new InvokeCommand({ FunctionName, Payload: '{}' }))).Payload).toString()
	return {
		who: await tried(async () => (await new STSClient({}).send(new GetCallerIdentityCommand({}))).Arn),
		allowed: await tried(() => invoke(e.allowed)), denied: await tried(() => invoke(e.denied)),
		list: await tried(() => lambda.send(new ListFunctionsCommand({}))),
		made: process.env.AWS_LAMBDA_INITIALIZATION_TYPE, key: !!process.env.AWS_ACCESS_KEY_ID,
	}
}`
	callerPython = `
import boto3, os
from botocore.exceptions import ClientError
from botocore.config import Config
def tried(f):
    try: return f()
    except ClientError as e: return e.response['Error']['Code'] + ': ' + e.response['Error']['Message']
def handler(e, c):
    l = boto3.client('lambda', config=Config(retries={'total_max_attempts': 1}))
    def invoke(name): return l.invoke(FunctionName=name, Payload=b'{}')['Payload'].read().decode()
    return {
        'who': tried(lambda: boto3.client('sts').get_caller_identity()['Arn']),
        'allowed': tried(lambda: invoke(e['allowed'])), 'denied': tried(lambda: invoke(e['denied'])),
        'list': tried(lambda: str(l.list_functions())),
        'made': os.environ.get('AWS_LAMBDA_INITIALIZATION_TYPE'), 'key': 'AWS_ACCESS_KEY_ID' in os.environ,
    }`
)

// E-121, E-123: functions call the API of their server as their role and may do what that may, nothing else: with the
// credentials in their variables, and after a restore with those of the credentials endpoint. No key is configured: what
// comes from the loopback needs none, what comes from a function does.
func TestFunctionsCallAsTheirRole(t *testing.T) {
	t.Parallel()
	runtimesDir := "" // the SDKs are fetched once
	for _, kind := range sandboxes {
		if kind == "gvisor" && os.Geteuid() != 0 {
			t.Log("left out: gvisor, which needs root")
			continue
		}
		dir := ownDir(t)
		if runtimesDir != "" {
			if err := os.Symlink(runtimesDir, filepath.Join(dir, "runtimes")); err != nil {
				t.Fatal(err)
			}
		}
		runtimesDir = filepath.Join(dir, "runtimes")
		s := openServerWith(t, kind, dir, func(c *Config) { c.Offline, c.FunctionAPI = false, freePort(t) })
		t.Run(kind, func(t *testing.T) {
			defer s.node.Close(context.Background())
			(&server{t: t, node: s.node, client: s.client, kind: kind}).callAsRoles(t)
		})
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *server) callAsRoles(t *testing.T) {
	js := installed(t, s, "nodejs")
	ready(t, s, js)
	callee := s.deploy(js, map[string]string{"index.js": `exports.handler = async () => 'called'`})
	other := s.deploy(js, map[string]string{"index.js": `exports.handler = async () => 'called'`})
	as := func(role string) option {
		return func(in *lambda.CreateFunctionInput) { in.Role = aws.String("arn:aws:iam::000000000000:role/" + role) }
	}
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:"
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"` + arn + callee.name + `"}}`
	if _, err := s.node.access.PutRole(access.Role{Name: "caller", Policy: []byte(policy)}); err != nil {
		t.Fatal(err)
	}
	type told struct {
		Who, Allowed, Denied, List, Made string
		Key                              bool
	}
	event := `{"allowed":"` + callee.name + `","denied":"` + other.name + `"}`
	check := func(what, function, role, body string, want told) {
		t.Helper()
		var got told
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v in %s", what, err, body)
		}
		who := "arn:aws:sts::000000000000:assumed-role/" + role + "/" + function
		none := func(name, action, resource string) string {
			return "AccessDeniedException: User: " + who + " is not authorized to perform: lambda:" + action + " on resource: " + resource + " because no identity-based policy allows the lambda:" + action + " action"
		}
		want.Who, want.Denied, want.List = who, none("", "InvokeFunction", arn+other.name), none("", "ListFunctions", "*")
		if want.Allowed == "" {
			want.Allowed = none("", "InvokeFunction", arn+callee.name)
		}
		if got != want {
			t.Errorf("%s:\n%+v\nwant\n%+v", what, got, want)
		}
	}
	callers := map[string]*deployed{"nodejs": s.deploy(js, map[string]string{"index.js": callerJS}, as("caller"))}
	if s.kind == "gvisor" {
		callers["python"] = s.deploy(ready(t, s, "python3.11", "python3.12"), // clients of older ones know no SnapStart
			map[string]string{"index.py": callerPython}, as("caller"))
	}
	for what, f := range callers {
		check(what, f.name, "caller", f.invoke(event).ok(t), told{Allowed: `"called"`, Made: "on-demand", Key: true})
	}
	f := s.deploy(js, map[string]string{"index.js": callerJS}, as("nobody"))
	check("a role without a policy", f.name, "nobody", f.invoke(event).ok(t), told{Made: "on-demand", Key: true})
	if s.kind != "gvisor" {
		return
	}
	for what, f := range callers {
		if _, err := s.client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}}); err != nil {
			t.Fatal(err)
		}
		if err := lambda.NewFunctionUpdatedV2Waiter(s.client).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &f.name}); err != nil {
			t.Fatal(err)
		}
		f.active()
		check(what+", restored", f.name, "caller", f.invokeVersion("1", event).ok(t), told{Allowed: `"called"`, Made: "snap-start"})
	}
	// A change of the role counts at once, for credentials that are in use, too.
	if _, err := s.node.access.PutRole(access.Role{Name: "caller", Policy: []byte(strings.Replace(policy, "Allow", "Deny", 1))}); err != nil {
		t.Fatal(err)
	}
	if got := callers["nodejs"].invoke(event).ok(t); !strings.Contains(got, "with an explicit deny in an identity-based policy") {
		t.Errorf("after the role has changed: %s", got)
	}
}
