package node

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// publishesToItself publishes to the topic that it is subscribed to, with the trace header that AWS's SDKs send.
const publishesToItself = `const http = require('http')
exports.handler = async e => {
	const m = JSON.parse(e.Records[0].Sns.Message)
	console.log('run ' + m.n)
	if (m.fail) throw new Error('no')
	await new Promise((resolve, reject) => {
		const r = http.request(process.env.SERVER + '/', {method: 'POST', headers: {'X-Amzn-Trace-Id': process.env._X_AMZN_TRACE_ID, 'Content-Type': 'application/x-www-form-urlencoded',
			Authorization: 'AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/sns/aws4_request, SignedHeaders=host, Signature=0'}}, res => {
			res.resume().on('end', () => res.statusCode == 200 ? resolve() : reject(new Error('status ' + res.statusCode)))
		}).on('error', reject)
		r.end(new URLSearchParams({Action: 'Publish', Version: '2010-03-31', TopicArn: process.env.TOPIC, Message: JSON.stringify({n: m.n + 1})}).toString())
	})
}`

// C-126: a function that publishes to its own topic runs 16 times; the next message goes to the on-failure destination, a
// topic of this server, and by that to a function. What another function fails goes to such a topic by its dead-letter
// queue. All of it survives a restart between subscribing and publishing.
func TestTopicsAsDestinationsAndLoops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	topic := "arn:aws:sns:eu-west-1:000000000000:loop"
	failures := "arn:aws:sns:eu-west-1:000000000000:failures"
	f := s.js(publishesToItself, vars(map[string]string{"TOPIC": topic}))
	witness := s.js(`exports.handler = async e => console.log('told ' + e.Records[0].Sns.Message + JSON.stringify(e.Records[0].Sns.MessageAttributes))`)
	arnOf := func(name string) string { return "arn:aws:lambda:eu-west-1:000000000000:function:" + name }
	topics := topicsAt(s.node.Addr())
	for name, fn := range map[string]string{"loop": f.name, "failures": witness.name} {
		out, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topics.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: out.TopicArn, Protocol: aws.String("lambda"), Endpoint: aws.String(arnOf(fn))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.client.PutFunctionEventInvokeConfig(t.Context(), &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &f.name, MaximumRetryAttempts: aws.Int32(0),
		DestinationConfig: &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: &failures}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	next := openServer(t, "process", dir)
	*s = *next
	defer s.node.Close(context.Background())
	topics = topicsAt(s.node.Addr())
	if _, err := s.client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name,
		Environment: &types.Environment{Variables: map[string]string{"TOPIC": topic, "SERVER": "http://" + s.node.Addr()}}, DeadLetterConfig: &types.DeadLetterConfig{TargetArn: &failures}}); err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionUpdatedV2Waiter(s.client).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{`{"n":1}`, `{"n":100,"fail":true}`} {
		if _, err := topics.Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: &m}); err != nil {
			t.Fatal(err)
		}
	}
	logs := strings.Join(witness.logs(`"condition":"RetriesExhausted","approximateInvokeCount":0}`, `\"n\":17`, `"ErrorCode":{"Type":"Number","Value":"200"}`, `"Value":"no"`), "\n")
	if !strings.Contains(logs, `"responsePayload":{"errorType":"Error","errorMessage":"no"`) {
		t.Errorf("%s", logs)
	}
	if got := strings.Count(strings.Join(f.logs("run 16"), "\n"), "run "); got != 17 {
		t.Errorf("it ran %d times, want 16 and once", got)
	}
}
