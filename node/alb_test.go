package node

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/admin"
	"thaw/alb"
)

// A load balancer in front of a function, on a server that asks policies: it is refused until the function's policy lets
// its target group in, and then answers with what the function says, also after a restart.
func TestLoadBalancer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := func(c *Config) { c.AccessKeyID, c.SecretAccessKey = "test", "test" }
	s := openServerWith(t, "process", dir, keys)
	f := s.js(`exports.handler = async e => ({ statusCode: 200, headers: { 'content-type': 'text/plain', 'x-from': e.requestContext.elb.targetGroupArn }, body: e.httpMethod + ' ' + e.path + ' ' + (e.isBase64Encoded ? 'base64 ' : '') + e.body })`)
	set, err := json.Marshal(alb.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	add := func() (admin.MadeTrigger, error) {
		return s.node.triggers.Add(t.Context(), admin.NewTrigger{Kind: "alb", Name: "shop", Function: "arn:aws:lambda:eu-west-1:000000000000:function:" + f.name, Settings: set})
	}
	if _, err := add(); err == nil || !strings.Contains(err.Error(), "--principal elasticloadbalancing.amazonaws.com") {
		t.Fatalf("without a permission: %v", err)
	}
	if _, err := s.client.AddPermission(t.Context(), &lambda.AddPermissionInput{FunctionName: &f.name, StatementId: aws.String("alb"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("elasticloadbalancing.amazonaws.com")}); err != nil {
		t.Fatal(err)
	}
	made, err := add()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(at string) {
		t.Helper()
		resp, err := http.Post(at+"a%20b?x=1", "application/octet-stream", strings.NewReader("hi")) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || string(b) != "POST /a%20b base64 aGk=" || resp.Header.Get("X-From") != made.From {
			t.Errorf("%v %d %s %v", err, resp.StatusCode, b, resp.Header)
		}
	}
	ask(made.At)
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = openServerWith(t, "process", dir, keys)
	defer s.node.Close(context.Background())
	ask("http://" + s.node.Addr() + alb.Path + "shop/")
}
