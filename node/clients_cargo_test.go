package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/eventsource/eventsourcetest"
)

// cargo lambda builds a function, deploys it with a URL, invokes it, and deploys a version behind an alias.
func TestClientCargoLambda(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	if out, err := exec.Command("cargo", "--version").CombinedOutput(); err != nil {
		t.Skipf("there is no cargo here: %v: %s", err, out)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "clients", "rust"))); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(eventsourcetest.Python(t, "--no-deps", "cargo-lambda==1.9.2"), "bin", "cargo-lambda")
	cargo := tool{t: t, env: env, dir: dir, path: program, args: []string{"lambda"}}
	cargo.do("build", "--release", "--compiler", "cargo")
	deploy := []string{"deploy", "--endpoint-url", s.node.Endpoint(), "--iam-role", "arn:aws:iam::000000000000:role/any", "-o", "json"}
	if out := cargo.do(append(deploy, "--env-var", "GREETING=hello", "--enable-function-url")...); !strings.Contains(out, "function:cargo-shop") || !strings.Contains(out, ".lambda-url.eu-west-1.") {
		t.Errorf("deploy: %s", out)
	}
	if out := cargo.do("invoke", "--remote", "--endpoint-url", s.node.Endpoint(), "--data-ascii", `{"name":"you"}`, "cargo-shop"); strings.TrimSpace(out) != `{"greeting":"hello","event":{"name":"you"}}` {
		t.Errorf("invoke: %s", out)
	}
	cargo.do(append(deploy, "--alias", "live")...)
	alias, err := s.client.GetAlias(t.Context(), &lambda.GetAliasInput{FunctionName: aws.String("cargo-shop"), Name: aws.String("live")})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: alias.AliasArn, Payload: []byte(`{}`)})
	if err != nil || *out.ExecutedVersion != *alias.FunctionVersion {
		t.Errorf("the alias leads to %s, and %+v answers, %v", *alias.FunctionVersion, out, err)
	}
	if _, err := s.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String("cargo-shop")}); err != nil {
		t.Error(err)
	}
}
