package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// readsLogs prints the lines that a subscription brings.
const readsLogs = `
const zlib = require('zlib')
exports.handler = async e => {
	const m = JSON.parse(zlib.gunzipSync(Buffer.from(e.awslogs.data, 'base64')))
	for (const l of m.logEvents) console.log('from', m.logGroup, m.messageType, m.subscriptionFilters.join(), l.message.trim())
}`

// What one function logs goes to another, by a filter that boto3 made, on a server that asks policies; a filter is there
// after a restart, and goes on where it was.
func TestSubscriptionFilters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := func(c *Config) { c.AccessKeyID, c.SecretAccessKey = "test", "test" }
	s := openServerWith(t, "process", dir, keys)
	from := s.js(`exports.handler = async e => console.log('ERROR', e.n)`)
	to := s.js(readsLogs)
	if a := from.invoke(`{"n":"before"}`); a.err != nil {
		t.Fatal(a.err)
	}
	from.logs("ERROR before")
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:"
	p := python(t, append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION=eu-west-1"), "python3")
	program := filepath.Join(p.dir, "p.py")
	if err := os.WriteFile(program, []byte(`
import boto3, sys
at, group, own, to = sys.argv[1:]
logs, functions = boto3.client('logs', endpoint_url=at), boto3.client('lambda', endpoint_url=at)
put = lambda name, arn: logs.put_subscription_filter(logGroupName=group, filterName=name, filterPattern='ERROR', destinationArn=arn)
def refused(f):
    try: f()
    except logs.exceptions.ClientError as e: return e.response['Error']['Code'] + ': ' + e.response['Error']['Message']
print(refused(lambda: put('errors', to)))
functions.add_permission(FunctionName=to, StatementId='logs', Action='lambda:InvokeFunction', Principal='logs.amazonaws.com',
    SourceArn='arn:aws:logs:eu-west-1:000000000000:log-group:' + group + ':*')
put('errors', to)
print(refused(lambda: put('loop', own)))
print(refused(lambda: put('stream', 'arn:aws:kinesis:eu-west-1:000000000000:stream/s')))
f, = logs.describe_subscription_filters(logGroupName=group)['subscriptionFilters']
print(f['filterName'], f['filterPattern'], f['destinationArn'] == to, f['distribution'])
`), 0o600); err != nil {
		t.Fatal(err)
	}
	out := strings.Split(p.do(program, "http://"+s.node.Addr(), "/aws/lambda/"+from.name, arn+from.name, arn+to.name), "\n")
	for i, want := range []string{"InvalidParameterException: Could not execute the lambda function.", "InvalidParameterException: What arn:", "vendor kinesis cannot be used", "errors ERROR True ByLogStream"} {
		if i >= len(out) || !strings.Contains(out[i], want) {
			t.Errorf("boto3 was told %q, want %q", out, want)
		}
	}
	from.invoke(`{"n":"first"}`)
	to.logs("CONTROL_MESSAGE", "from /aws/lambda/"+from.name+" DATA_MESSAGE errors", "ERROR first")
	if strings.Contains(strings.Join(to.logs(), ""), "ERROR before") {
		t.Error("what was logged before the filter came, too")
	}
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = openServerWith(t, "process", dir, keys)
	defer s.node.Close(context.Background())
	from, to = &deployed{s, from.name}, &deployed{s, to.name}
	from.invoke(`{"n":"second"}`)
	to.logs("ERROR second")
	until(t, time.Minute, "the position is kept", func() bool {
		list, err := s.node.triggers.List(t.Context())
		return err == nil && len(list) == 1 && list[0].Kind == "logs"
	})
	if n := strings.Count(strings.Join(to.logs(), ""), "ERROR first"); n != 1 {
		t.Errorf("the first line came %d times", n)
	}
	if _, err := s.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String(to.name)}); err != nil {
		t.Error(err)
	}
}
