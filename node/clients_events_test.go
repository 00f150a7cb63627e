package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"thaw/access"
	"thaw/internal/wholebody"
)

// Terraform makes a bus, rules with targets and schedules, changes them, has nothing to do then, and takes them away;
// AWS's command line puts events, on a server that verifies signatures: the function's policy lets the rule in.
func TestClientTerraformEvents(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", "clients", "terraform-events", "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	zip := filepath.Join(dir, "tells.zip")
	for name, content := range map[string][]byte{filepath.Join(dir, "main.tf"): text, zip: zipOf(t, map[string]string{"index.js": `exports.handler = async (e) => console.log(JSON.stringify(e))`})} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tf := terraformIn(t, dir, append(env, "TF_VAR_endpoint="+s.node.Endpoint(), "TF_VAR_zip="+zip, "TF_VAR_runtime="+nodejs(t, s)))
	apply := []string{"apply", "-auto-approve", "-no-color", "-input=false"}
	tf.do(apply...)
	cli := python(t, env, "aws")
	cli.args = []string{"--endpoint-url", s.node.Endpoint()}
	if out := cli.do("events", "put-events", "--entries", `[{"Source":"shop","DetailType":"Placed","Detail":"{\"total\": 25}","EventBusName":"tf-shop"},{"Source":"shop","DetailType":"Placed","Detail":"{\"total\": 5}","EventBusName":"tf-shop"}]`,
		"--query", "FailedEntryCount", "--output", "text"); strings.TrimSpace(out) != "0" {
		t.Error(out)
	}
	f := &deployed{s, "tf-events"}
	f.logs("order of 25")
	if out := cli.do("events", "test-event-pattern", "--event-pattern", `{"source":["shop"],"detail":{"a":[{"prefix":"x"}]}}`, "--event",
		`{"id":"1","account":"1","source":"shop","time":"2026-11-20T09:00:00Z","region":"r","resources":[],"detail-type":"t","detail":{"a":"xy"}}`, "--query", "Result", "--output", "text"); strings.TrimSpace(out) != "True" {
		t.Error(out)
	}
	changed := []string{"-var", "minutes=20"}
	tf.do(append(apply, changed...)...)
	if said, words, err := tf.try(append([]string{"plan", "-detailed-exitcode", "-no-color", "-input=false"}, changed...)...); err != nil { // 2: there are changes
		t.Errorf("a plan behind it: %v\n%s\n%s", err, said, words)
	}
	if out := cli.do("events", "list-rules", "--query", "Rules[?Name=='tf-often'].ScheduleExpression", "--output", "text"); strings.TrimSpace(out) != "rate(20 minutes)" {
		t.Error(out)
	}
	if out := cli.do("scheduler", "get-schedule", "--name", "tf-nightly", "--group-name", "tf-shop", "--query", "ScheduleExpression", "--output", "text"); strings.TrimSpace(out) != "cron(20 3 ? * MON-FRI *)" {
		t.Error(out)
	}
	s.scheduleByRole(t, f)
	tf.do("destroy", "-auto-approve", "-no-color", "-input=false")
	if out := cli.do("scheduler", "list-schedule-groups", "--name-prefix", "tf", "--output", "text") + cli.do("events", "list-event-buses", "--name-prefix", "tf", "--output", "text"); strings.TrimSpace(out) != "" {
		t.Errorf("after destroy there is %s", out)
	}
}

// scheduleByRole has a schedule invoke a function whose policy says nothing of schedules, as a role that may and that
// EventBridge Scheduler may take.
func (s *server) scheduleByRole(t *testing.T, f *deployed) {
	t.Helper()
	_, err := s.node.access.PutRole(access.Role{Name: "may-invoke", Policy: []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"}]}`),
		Trust: []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"scheduler.amazonaws.com"}}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	c := scheduler.New(scheduler.Options{Region: "eu-west-1", BaseEndpoint: aws.String(s.node.Endpoint()), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")})
	at := time.Now().UTC().Add(2 * time.Second).Format("2006-01-02T15:04:05")
	for _, role := range []string{"nobody", "may-invoke"} {
		_, err := c.CreateSchedule(context.Background(), &scheduler.CreateScheduleInput{Name: aws.String("by-" + role), ScheduleExpression: aws.String("at(" + at + ")"), ActionAfterCompletion: types.ActionAfterCompletionDelete,
			FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
			Target:             &types.Target{Arn: aws.String("arn:aws:lambda:eu-west-1:000000000000:function:" + f.name), RoleArn: aws.String("arn:aws:iam::000000000000:role/" + role), Input: aws.String(`{"name":"by ` + role + `"}`)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	f.logs("by may-invoke")
	until(t, time.Minute, "both schedules are completed and deleted", func() bool {
		out, err := c.ListSchedules(context.Background(), &scheduler.ListSchedulesInput{NamePrefix: aws.String("by-")})
		return err == nil && len(out.Schedules) == 0
	})
	if strings.Contains(strings.Join(f.logs(), "\n"), "by nobody") {
		t.Error("a schedule invoked the function as a role that is not there")
	}
}
