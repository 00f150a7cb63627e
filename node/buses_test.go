package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	bridge "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedules "github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"thaw/internal/childtest"
	"thaw/internal/wholebody"
)

func eventsOf(addr string) *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://" + addr), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// sendTo has a rule send to targets.
func sendTo(t *testing.T, c *eventbridge.Client, rule, pattern string, targets ...bridge.Target) {
	t.Helper()
	_, err := c.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: &rule, EventPattern: &pattern})
	if err == nil {
		_, err = c.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &rule, Targets: targets})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func putEvent(t *testing.T, c *eventbridge.Client, source, detail string) {
	t.Helper()
	out, err := c.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []bridge.PutEventsRequestEntry{{Source: &source, DetailType: aws.String("test"), Detail: &detail}}})
	if err != nil || out.FailedEntryCount != 0 {
		t.Fatal(out, err)
	}
}

func functionARN(name string) *string {
	return aws.String("arn:aws:lambda:eu-west-1:000000000000:function:" + name)
}

// putsEvents puts an event that invokes its own function again, with the trace header that AWS's SDKs send.
const putsEvents = `const http = require('http')
exports.handler = async (e) => {
	console.log('run', e.detail.n)
	if (e.detail.n >= 40) return
	const entry = {Source: 'loop', DetailType: 't', Detail: JSON.stringify({n: e.detail.n + 1})}
	await new Promise((done, fail) => http.request(process.env.SERVER, {method: 'POST', headers: {'X-Amzn-Trace-Id': process.env._X_AMZN_TRACE_ID, 'X-Amz-Target': 'AWSEvents.PutEvents',
		'Content-Type': 'application/x-amz-json-1.1', Authorization: 'AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/events/aws4_request, SignedHeaders=host, Signature=0'}},
		r => r.resume().on('end', done)).on('error', fail).end(JSON.stringify({Entries: [entry]})))
}`

// Events reach functions, log groups and topics; a loop through a bus ends; destinations of this server's own that are buses
// are found there; a schedule fires, and goes when it has.
func TestBusesAndSchedules(t *testing.T) {
	t.Parallel()
	s := openServer(t, "process", t.TempDir())
	defer s.node.Close(context.Background())
	ctx, c := t.Context(), eventsOf(s.node.Addr())

	witness := s.js(`exports.handler = async (e) => console.log('got', JSON.stringify(e))`)
	if err := s.node.logs.CreateGroup(ctx, "/aws/events/all", nil); err != nil {
		t.Fatal(err)
	}
	sendTo(t, c, "all", `{"source":["shop"]}`, bridge.Target{Id: aws.String("f"), Arn: functionARN(witness.name), InputPath: aws.String("$.detail")},
		bridge.Target{Id: aws.String("l"), Arn: aws.String("arn:aws:logs:eu-west-1:000000000000:log-group:/aws/events/all")})
	putEvent(t, c, "shop", `{"order": 7}`)
	witness.logs(`got {"order":7}`)
	until(t, time.Minute, "the log group has the event", func() bool {
		lines, err := s.node.linesOf(ctx, "/aws/events/all", "all")
		return err == nil && len(lines) == 1 && strings.Contains(lines[0], `"detail":{"order":7}`)
	})

	loop := s.js(putsEvents, vars(map[string]string{"SERVER": "http://" + s.node.Addr()}))
	sendTo(t, c, "loop", `{"source":["loop"]}`, bridge.Target{Id: aws.String("f"), Arn: functionARN(loop.name)})
	putEvent(t, c, "loop", `{"n": 1}`)
	name := fmt.Sprintf("thaw_lambda_recursive_invocations_dropped_total{function=%q,%s}", loop.name, latest)
	until(t, time.Minute, name+" is 1", func() bool { return loop.samples()[name] == 1 })
	if got := strings.Join(loop.logs("run 16"), "\n"); strings.Contains(got, "run 17") {
		t.Error(got)
	}

	answers := s.js(`exports.handler = async () => ({ well: 'done' })`)
	if _, err := s.client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &answers.name, DestinationConfig: &types.DestinationConfig{
		OnSuccess: &types.OnSuccess{Destination: aws.String("arn:aws:events:eu-west-1:000000000000:event-bus/default")}}}); err != nil {
		t.Fatal(err)
	}
	sendTo(t, c, "told", `{"source":["lambda"],"detail-type":[{"suffix":"Success"}]}`, bridge.Target{Id: aws.String("f"), Arn: functionARN(witness.name), InputPath: aws.String("$.detail.responsePayload")})
	if err := answers.send(`{}`); err != nil {
		t.Fatal(err)
	}
	witness.logs(`got {"well":"done"}`)

	planned := scheduler.New(scheduler.Options{Region: "eu-west-1", BaseEndpoint: aws.String(s.node.Endpoint()), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	if _, err := planned.CreateSchedule(ctx, &scheduler.CreateScheduleInput{Name: aws.String("soon"), ActionAfterCompletion: schedules.ActionAfterCompletionDelete,
		ScheduleExpression: aws.String("at(" + time.Now().UTC().Add(2*time.Second).Format("2006-01-02T15:04:05") + ")"), FlexibleTimeWindow: &schedules.FlexibleTimeWindow{Mode: schedules.FlexibleTimeWindowModeOff},
		Target: &schedules.Target{Arn: functionARN(witness.name), RoleArn: aws.String("arn:aws:iam::000000000000:role/any")}}); err != nil {
		t.Fatal(err)
	}
	witness.logs(`"source":"aws.scheduler"`, `"detail":"{}"`)
	until(t, time.Minute, "the schedule is deleted", func() bool {
		_, err := planned.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: aws.String("soon")})
		return err != nil
	})
	list, err := s.node.triggers.List(ctx)
	if err != nil || len(list) != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, tr := range list {
		if tr.Events == 0 || tr.Last.IsZero() || !tr.Managed || tr.Kind != "rule" {
			t.Errorf("%+v", tr)
		}
	}
}

// TestServeBuses is the child of TestKillLosesNoAcceptedEvent: "URL DIR" in, its address out.
func TestServeBuses(t *testing.T) {
	queues, dir, _ := strings.Cut(childtest.Arg(t), " ")
	for k, v := range map[string]string{"AWS_ENDPOINT_URL_SQS": queues, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"} {
		os.Setenv(k, v) //nolint:usetesting // it is a process of its own
	}
	s := openServer(t, "process", dir)
	fmt.Println(s.node.Addr())
	<-s.node.Drained()
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// queueOf stands for SQS, as far as messages are sent: it refuses while it is down.
type queueOf struct {
	mu   sync.Mutex
	down bool
	got  map[string]int // how often each body came
}

func (q *queueOf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ MessageBody, QueueName string }
	body, err := io.ReadAll(r.Body)
	q.mu.Lock()
	defer q.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch {
	case err != nil || json.Unmarshal(body, &in) != nil || q.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetQueueUrl"):
		fmt.Fprintf(w, `{"QueueUrl":"http://%s/000000000000/%s"}`, r.Host, in.QueueName)
	default:
		q.got[in.MessageBody]++
		fmt.Fprint(w, `{"MessageId":"1"}`)
	}
}

// Events that PutEvents has accepted reach a function and a queue although the server is killed at once, and the queue was
// not there. Rules and schedules are as they were.
func TestKillLosesNoAcceptedEvent(t *testing.T) {
	t.Parallel()
	q := &queueOf{down: true, got: map[string]int{}}
	queues := httptest.NewServer(q)
	defer queues.Close()
	dir, told := t.TempDir(), t.TempDir()+"/told"
	p := childtest.Start(t, "TestServeBuses", queues.URL+" "+dir)
	s := &server{t: t, client: clientOf(p.Line()), kind: "process"}
	addr := *s.client.Options().BaseEndpoint
	c := eventsOf(strings.TrimPrefix(addr, "http://"))
	name := "tells"
	if _, err := s.client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.Runtime(nodeRuntime(t)), Handler: aws.String("index.handler"), Role: aws.String("arn:aws:iam::000000000000:role/r"),
		Environment: &types.Environment{Variables: map[string]string{"TOLD": told}},
		Code:        &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.js": `exports.handler = async (e) => require('fs').appendFileSync(process.env.TOLD, e.detail.n + '\n')`})}}); err != nil {
		t.Fatal(err)
	}
	(&deployed{s, name}).wait()
	sendTo(t, c, "both", `{"source":["shop"]}`, bridge.Target{Id: aws.String("f"), Arn: functionARN(name)},
		bridge.Target{Id: aws.String("q"), Arn: aws.String("arn:aws:sqs:eu-west-1:000000000000:q"), InputPath: aws.String("$.detail.n")})
	if _, err := c.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("yearly"), ScheduleExpression: aws.String("cron(0 0 1 1 ? *)")}); err != nil {
		t.Fatal(err)
	}
	const events = 20
	for n := range events {
		putEvent(t, c, "shop", fmt.Sprintf(`{"n":%d}`, n))
	}
	p.Kill()
	q.mu.Lock()
	q.down = false
	q.mu.Unlock()
	p = childtest.Start(t, "TestServeBuses", queues.URL+" "+dir)
	c = eventsOf(p.Line())
	until(t, 2*time.Minute, "the queue has all messages, and the function all events", func() bool {
		b, err := os.ReadFile(told)
		q.mu.Lock()
		defer q.mu.Unlock()
		seen := map[string]bool{}
		for line := range strings.Lines(string(b)) {
			seen[strings.TrimSpace(line)] = true
		}
		return err == nil && len(q.got) == events && len(seen) == events
	})
	if out, err := c.ListRules(t.Context(), &eventbridge.ListRulesInput{}); err != nil || len(out.Rules) != 2 || *out.Rules[1].ScheduleExpression != "cron(0 0 1 1 ? *)" {
		t.Error(out, err)
	}
}
