package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// C-052, C-087, C-135: boto3, with all its waiters and paginators of functions.
func TestClientBoto3(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	story, err := filepath.Abs(filepath.Join("testdata", "clients", "story.py"))
	if err != nil {
		t.Fatal(err)
	}
	python(t, env, "python").do(story, shopFile(t), "boto3-shop", nodejs(t, s))
}

// AWS's command line, both versions of it where both are here: C-135.
func TestClientCommandLine(t *testing.T) {
	t.Parallel()
	server, env := forClients(t)
	clis := map[string]tool{"1": python(t, env, "aws")}
	for _, path := range []string{"aws", "/usr/bin/aws"} {
		if path, err := exec.LookPath(path); err == nil {
			if out, err := exec.Command(path, "--version").CombinedOutput(); err == nil && strings.Contains(string(out), "aws-cli/2") {
				clis["2"] = tool{t: t, env: env, dir: t.TempDir(), path: path}
			}
		}
	}
	if len(clis) < 2 {
		t.Log("left out: version 2, which is not here")
	}
	code, runtime := shopFile(t), nodejs(t, server)
	for version, cli := range clis {
		t.Run(version, func(t *testing.T) {
			cli.t, cli.args = t, []string{"--endpoint-url", server.node.Endpoint()} // older ones know no variable for it
			commandLineStory(t, cli, "cli-shop-"+version, code, runtime)
		})
	}
}

func commandLineStory(t *testing.T, cli tool, name, code, runtime string) {
	t.Helper()
	event, answer := filepath.Join(cli.dir, "event.json"), filepath.Join(cli.dir, "answer.json")
	if err := os.WriteFile(event, []byte(`{"name": "you"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	is := func(want string, args ...string) {
		t.Helper()
		if got := strings.TrimSpace(cli.do(append(args, "--output", "text")...)); got != want {
			t.Errorf("%s says %q, want %q", strings.Join(args, " "), got, want)
		}
	}
	is("Pending", "lambda", "create-function", "--function-name", name, "--runtime", runtime, "--handler", "index.handler",
		"--role", "arn:aws:iam::000000000000:role/any", "--zip-file", "fileb://"+code, "--environment", "Variables={GREETING=hello}", "--query", "State")
	is("", "lambda", "wait", "function-active-v2", "--function-name", name)
	is("1", "lambda", "publish-version", "--function-name", name, "--query", "Version")
	is("1", "lambda", "create-alias", "--function-name", name, "--name", "live", "--function-version", "1", "--query", "FunctionVersion")
	is("200\t1", "lambda", "invoke", "--function-name", name, "--qualifier", "live", "--payload", "fileb://"+event, answer, "--query", "[StatusCode,ExecutedVersion]")
	if got, err := os.ReadFile(answer); err != nil || string(got) != `{"hello":"you","greeting":"hello","version":"1"}` {
		t.Errorf("the answer is %s, %v", got, err)
	}
	is("60", "lambda", "put-function-event-invoke-config", "--function-name", name, "--maximum-event-age-in-seconds", "60", "--query", "MaximumEventAgeInSeconds")
	is("NONE", "lambda", "create-function-url-config", "--function-name", name, "--auth-type", "NONE", "--query", "AuthType")
	is("$LATEST\n1", "lambda", "list-versions-by-function", "--function-name", name, "--page-size", "1", "--query", "Versions[].[Version]")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(cli.do("logs", "filter-log-events", "--log-group-name", "/aws/lambda/"+name, "--filter-pattern", "REPORT"), "REPORT RequestId"); {
		if time.Now().After(deadline) {
			t.Fatal("no REPORT comes")
		}
	}
	cli.do("lambda", "delete-function", "--function-name", name) // newer ones print a StatusCode
	if _, words, err := cli.try("lambda", "get-function", "--function-name", name); err == nil || !strings.Contains(words, "ResourceNotFoundException") {
		t.Errorf("get-function of what was deleted: %v, %s", err, words)
	}
}
