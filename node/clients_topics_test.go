package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// printsMessages is a function that says what a topic sent it.
func printsMessages(s *server) (f *deployed, arn string) {
	s.t.Helper()
	f = s.js(`exports.handler = async e => console.log('got ' + e.Records[0].Sns.Message + ' ' + JSON.stringify(e.Records[0].Sns.MessageAttributes) + ' ' + e.Records[0].Sns.Subject)`)
	out, err := s.client.GetFunctionConfiguration(s.t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &f.name})
	if err != nil {
		s.t.Fatal(err)
	}
	return f, *out.FunctionArn
}

// boto3 makes topics and publishes on a server that verifies signatures; the function gets what its filter lets pass.
func TestClientBoto3Topics(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	f, arn := printsMessages(s)
	story, err := filepath.Abs(filepath.Join("testdata", "clients", "topics.py"))
	if err != nil {
		t.Fatal(err)
	}
	python(t, env, "python").do(story, arn)
	lines := strings.Join(f.logs(`got boto3 one {"amount":{"Type":"Number","Value":"10.0"},"kind":{"Type":"String","Value":"order"},"raw":{"Type":"Binary","Value":"Af8="}} s`, "got boto3 batch 0 ", "got boto3 batch 9 "), "\n")
	if strings.Contains(lines, "dropped") {
		t.Error("a message that the filter does not let pass came through")
	}
}

// AWS's command line: the shorthand forms of attributes, and the next thing to type where the function's policy says no.
func TestClientCommandLineTopics(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	f, arn := printsMessages(s)
	cli := python(t, env, "aws")
	cli.args = []string{"--endpoint-url", s.node.Endpoint(), "--output", "text"}
	do := func(args ...string) string { return strings.TrimSpace(cli.do(append([]string{"sns"}, args...)...)) }
	topic := do("create-topic", "--name", "cli-orders", "--attributes", "DisplayName=cli", "--tags", "Key=a,Value=b", "--query", "TopicArn")
	cli.do("lambda", "add-permission", "--function-name", f.name, "--statement-id", "sns", "--action", "lambda:InvokeFunction", "--principal", "sns.amazonaws.com", "--source-arn", topic)
	sub := do("subscribe", "--topic-arn", topic, "--protocol", "lambda", "--notification-endpoint", arn, "--query", "SubscriptionArn")
	do("publish", "--topic-arn", topic, "--message", "cli one", "--message-attributes", "n={DataType=Number,StringValue=7}")
	do("publish-batch", "--topic-arn", topic, "--publish-batch-request-entries", "Id=1,Message=cli-two", "Id=2,Message=cli-three")
	f.logs(`got cli one {"n":{"Type":"Number","Value":"7"}} null`, "got cli-two ", "got cli-three ")
	if got := do("list-subscriptions-by-topic", "--topic-arn", topic, "--query", "Subscriptions[].SubscriptionArn"); got != sub {
		t.Errorf("subscriptions %q, want %q", got, sub)
	}
	do("unsubscribe", "--subscription-arn", sub)
	do("delete-topic", "--topic-arn", topic)
}

// Terraform makes topics, their policies and subscriptions, has nothing to do in a second plan, changes one, and ends all.
func TestClientTerraformTopics(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	f, arn := printsMessages(s)
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", "clients", "terraform-sns", "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	tf := terraformIn(t, dir, append(env, "TF_VAR_endpoint="+s.node.Endpoint(), "TF_VAR_function="+arn))
	tf.do("apply", "-auto-approve", "-no-color", "-input=false")
	tf.do("apply", "-auto-approve", "-no-color", "-input=false", "-var", "name=More orders")
	if said, words, err := tf.try("plan", "-detailed-exitcode", "-no-color", "-input=false", "-var", "name=More orders"); err != nil { // 2: there are changes
		t.Errorf("a plan behind it: %v\n%s\n%s", err, said, words)
	}
	cli := python(t, env, "aws")
	cli.args = []string{"--endpoint-url", s.node.Endpoint()}
	topic := strings.TrimSpace(tf.do("output", "-raw", "topic"))
	for _, m := range []string{`{"order":{"kind":"old"}}`, `{"order":{"kind":"new"}}`} {
		cli.do("sns", "publish", "--topic-arn", topic, "--message", m)
	}
	if lines := strings.Join(f.logs(`got {"order":{"kind":"new"}}`), "\n"); strings.Contains(lines, "old") {
		t.Error("a message that the filter does not let pass came through")
	}
	tf.do("destroy", "-auto-approve", "-no-color", "-input=false")
	if _, err := s.client.GetPolicy(t.Context(), &lambda.GetPolicyInput{FunctionName: aws.String(f.name)}); err == nil {
		t.Error("the permission is still there")
	}
}
