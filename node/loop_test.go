package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// callsItself invokes its own function again as often as the event says, with the trace header that AWS's SDKs send.
const callsItself = `const http = require('http')
exports.handler = async (e, c) => {
	console.log('run', e.n, e.chain, process.env._X_AMZN_TRACE_ID)
	if (e.n >= e.most) return 'the end'
	const answer = await new Promise((resolve, reject) => {
		const r = http.request(process.env.SERVER + '/2015-03-31/functions/' + c.functionName + '/invocations', {method: 'POST', headers: {
			'X-Amzn-Trace-Id': process.env._X_AMZN_TRACE_ID, 'X-Amz-Invocation-Type': e.type,
			Authorization: 'AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0'}}, res => {
			let body = ''
			res.on('data', d => body += d).on('end', () => resolve([res.statusCode, res.headers['x-amzn-errortype'], body]))
		}).on('error', reject)
		r.end(JSON.stringify({...e, n: e.n + 1}))
	})
	if (e.type == 'RequestResponse') return answer[0] == 200 ? JSON.parse(answer[2]) : [e.n, ...answer]
}`

// C-126: a function that sends its events to itself runs 16 times; the next event goes to the on-failure destination,
// and is counted. Who waits is told. A function that allows loops goes on.
func TestLoops(t *testing.T) {
	t.Parallel()
	s := openServer(t, "process", t.TempDir())
	defer s.node.Close(context.Background())
	ctx := context.Background()
	f := s.js(callsItself, vars(map[string]string{"SERVER": "http://" + s.node.Addr()}))
	witness := s.js(`exports.handler = async e => console.log('told ' + JSON.stringify(e))`)
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:" + witness.name
	if _, err := s.client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &f.name, MaximumRetryAttempts: aws.Int32(0),
		DestinationConfig: &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: &arn}}}); err != nil {
		t.Fatal(err)
	}
	runs := func(chain string) int { return strings.Count(strings.Join(f.logs(), "\n"), " "+chain+" ") }
	if err := f.send(`{"n":1,"most":40,"chain":"queued","type":"Event"}`); err != nil {
		t.Fatal(err)
	}
	witness.logs(`"condition":"RetriesExhausted","approximateInvokeCount":0},"requestPayload":{"n":17,"most":40,"chain":"queued","type":"Event"}}`)
	if got := runs("queued"); got != 16 {
		t.Errorf("it ran %d times", got)
	}
	if first := strings.Join(f.logs(), "\n"); !strings.Contains(first, "run 1 queued Root=1-") || !strings.Contains(first, ";Lineage=1:") {
		t.Errorf("the trace header:\n%s", first)
	}
	name := fmt.Sprintf("recursive_invocations_dropped_total{function=%q,%s}", f.name, latest)
	until(t, time.Minute, name+" is 1", func() bool { return f.samples()["thaw_lambda_"+name] == 1 })

	var told []any
	if err := json.Unmarshal([]byte(f.invoke(`{"n":1,"most":40,"chain":"waits","type":"RequestResponse"}`).ok(t)), &told); err != nil || len(told) != 4 ||
		told[0] != 16.0 || told[1] != float64(http.StatusBadRequest) || told[2] != "RecursiveInvocationException" ||
		!strings.Contains(told[3].(string), `"Message":"Lambda has detected your function being invoked in a recursive loop`) {
		t.Errorf("who waits is told %v, %v", told, err)
	}
	if _, err := s.client.PutFunctionRecursionConfig(ctx, &lambda.PutFunctionRecursionConfigInput{FunctionName: &f.name, RecursiveLoop: types.RecursiveLoopAllow}); err != nil {
		t.Fatal(err)
	}
	if err := f.send(`{"n":1,"most":20,"chain":"allowed","type":"Event"}`); err != nil {
		t.Fatal(err)
	}
	f.logs("run 20 allowed")
	if got := runs("allowed"); got != 20 {
		t.Errorf("where loops are allowed it ran %d times", got)
	}
}
