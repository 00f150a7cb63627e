package eventbridge

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"thaw/internal/golden"
)

// A stack of buses, rules and targets by AWS's own client, whole answers and pages.
func TestStory(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.client
	bus, err := c.CreateEventBus(ctx, &sdk.CreateEventBusInput{Name: aws.String("orders"), Description: aws.String("of the shop"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	if err != nil || *bus.EventBusArn != "arn:aws:events:eu-west-1:123456789012:event-bus/orders" {
		t.Fatal(bus, err)
	}
	if _, err := c.CreateEventBus(ctx, &sdk.CreateEventBusInput{Name: aws.String("orders")}); !errors.As(err, new(*types.ResourceAlreadyExistsException)) {
		t.Error(err)
	}
	described, err := c.DescribeEventBus(ctx, &sdk.DescribeEventBusInput{Name: bus.EventBusArn})
	if err != nil || *described.Description != "of the shop" || described.CreationTime == nil {
		t.Error(described, err)
	}
	for i := range 25 {
		out, err := c.PutRule(ctx, &sdk.PutRuleInput{Name: aws.String(fmt.Sprintf("r%02d", i)), EventBusName: aws.String("orders"), EventPattern: aws.String(`{"source":["app"]}`)})
		if err != nil || *out.RuleArn != fmt.Sprintf("arn:aws:events:eu-west-1:123456789012:rule/orders/r%02d", i) {
			t.Fatal(err)
		}
	}
	var names []string
	for p := (&sdk.ListRulesInput{EventBusName: bus.EventBusArn, Limit: aws.Int32(10)}); ; {
		out, err := c.ListRules(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Rules {
			names = append(names, *r.Name)
		}
		if p.NextToken = out.NextToken; p.NextToken == nil {
			break
		}
	}
	if len(names) != 25 || names[24] != "r24" {
		t.Error(names)
	}
	put, err := c.PutTargets(ctx, &sdk.PutTargetsInput{Rule: aws.String("r01"), EventBusName: aws.String("orders"), Targets: []types.Target{
		{Id: aws.String("f"), Arn: aws.String(fn + "work:live"), RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60)}, DeadLetterConfig: &types.DeadLetterConfig{Arn: aws.String(queue)}},
		{Id: aws.String("q"), Arn: aws.String(queue + ".fifo"), SqsParameters: &types.SqsParameters{MessageGroupId: aws.String("g")}, InputPath: aws.String("$.detail")}}})
	if err != nil || put.FailedEntryCount != 0 {
		t.Fatal(put, err)
	}
	w.open(t) // everything is as it was
	targets, err := c.ListTargetsByRule(ctx, &sdk.ListTargetsByRuleInput{Rule: aws.String("r01"), EventBusName: aws.String("orders")})
	if err != nil || len(targets.Targets) != 2 || *targets.Targets[0].RetryPolicy.MaximumRetryAttempts != 0 || *targets.Targets[1].SqsParameters.MessageGroupId != "g" || targets.Targets[0].Input != nil {
		t.Error(targets, err)
	}
	by, err := c.ListRuleNamesByTarget(ctx, &sdk.ListRuleNamesByTargetInput{TargetArn: aws.String(fn + "work:live"), EventBusName: aws.String("orders")})
	if err != nil || len(by.RuleNames) != 1 || by.RuleNames[0] != "r01" {
		t.Error(by, err)
	}
	removed, err := c.RemoveTargets(ctx, &sdk.RemoveTargetsInput{Rule: aws.String("r01"), EventBusName: aws.String("orders"), Ids: []string{"f", "q", "x"}})
	if err != nil || removed.FailedEntryCount != 1 || *removed.FailedEntries[0].TargetId != "x" {
		t.Error(removed, err)
	}
	rule := "arn:aws:events:eu-west-1:123456789012:rule/orders/r01"
	if _, err := c.TagResource(ctx, &sdk.TagResourceInput{ResourceARN: &rule, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}); err != nil {
		t.Error(err)
	}
	if tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceARN: &rule}); err != nil || len(tags.Tags) != 1 {
		t.Error(tags, err)
	}
	if _, err := c.UntagResource(ctx, &sdk.UntagResourceInput{ResourceARN: &rule, TagKeys: []string{"k"}}); err != nil {
		t.Error(err)
	}
	for i := range 25 {
		if _, err := c.DeleteRule(ctx, &sdk.DeleteRuleInput{Name: aws.String(fmt.Sprintf("r%02d", i)), EventBusName: aws.String("orders")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.DeleteEventBus(ctx, &sdk.DeleteEventBusInput{Name: aws.String("orders")}); err != nil {
		t.Fatal(err)
	}
	if len(w.records.Keys()) != 0 || len(w.api.buses) != 0 {
		t.Error(w.records.Keys(), len(w.api.buses))
	}
}

// What is refused, and in which words.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.ok("CreateEventBus", `{"Name":"orders"}`)
	w.rule("orders", "r", `{"source":["a"]}`, target("1", fn+"a", ""))
	var b strings.Builder
	for _, c := range []string{
		`CreateEventBus {}`, `CreateEventBus {"Name":"a b"}`, `CreateEventBus {"Name":"a/b"}`, `CreateEventBus {"Name":"default"}`, `CreateEventBus {"Name":"p","EventSourceName":"aws.partner/a/b"}`,
		`DescribeEventBus {"Name":"nobus"}`, `DeleteEventBus {"Name":"default"}`, `DeleteEventBus {"Name":"orders"}`, `DeleteEventBus {"Name":"nobus"}`, `UpdateEventBus {"Name":"nobus"}`,
		`PutRule {"Name":"x"}`, `PutRule {"Name":"x","EventPattern":"{"}`, `PutRule {"Name":"x","EventPattern":"{\"a\":[]}"}`, `PutRule {"Name":"x","EventPattern":"{\"a\":[{\"like\":1}]}"}`,
		`PutRule {"Name":"x","ScheduleExpression":"rate(1 minutes)"}`, `PutRule {"Name":"x","ScheduleExpression":"at(2030-01-01T00:00:00)"}`, `PutRule {"Name":"x","EventBusName":"orders","ScheduleExpression":"rate(1 minute)"}`,
		`PutRule {"Name":"x","EventBusName":"nobus","EventPattern":"{\"a\":[1]}"}`, `PutRule {"Name":"x y","State":"ON","EventPattern":"{\"a\":[1]}"}`, `PutRule {"Name":7}`, `PutRule [`,
		`DescribeRule {"Name":"x"}`, `EnableRule {"Name":"x"}`, `DeleteRule {"Name":"x"}`, `DeleteRule {"Name":"r","EventBusName":"orders"}`, `ListTargetsByRule {"Rule":"x"}`, `ListRules {"NextToken":"zzz"}`, `ListRules {"Limit":0}`,
		`PutTargets {"Rule":"r","EventBusName":"orders","Targets":[]}`, `PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1"}]}`, `PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"x"}]}`,
		`PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"arn:aws:kinesis:eu-west-1:1:stream/x"}]}`, `PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"` + queue + `.fifo"}]}`,
		`PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"` + queue + `","Input":"{","InputPath":"$"}]}`, `PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"` + queue + `","Input":"{"}]}`,
		`PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"` + queue + `","InputPath":"detail"}]}`, `PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"` + queue + `","InputTransformer":{"InputTemplate":"<x>"}}]}`,
		`PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"` + queue + `","RetryPolicy":{"MaximumRetryAttempts":186,"MaximumEventAgeInSeconds":59}}]}`,
		`PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"` + queue + `","DeadLetterConfig":{"Arn":"arn:aws:sns:eu-west-1:1:t"}}]}`, `PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"1","Arn":"arn:aws:events:eu-west-1:999999999999:event-bus/other"}]}`,
		`PutTargets {"Rule":"r","EventBusName":"orders","Targets":[{"Id":"2","Arn":"` + queue + `"},{"Id":"3","Arn":"` + queue + `"},{"Id":"4","Arn":"` + queue + `"},{"Id":"5","Arn":"` + queue + `"},{"Id":"6","Arn":"` + queue + `"}]}`,
		`PutTargets {"Rule":"none","Targets":[{"Id":"1","Arn":"` + queue + `"}]}`, `RemovePermission {"StatementId":"x"}`, `PutPermission {"Action":"events:PutEvents"}`, `PutPermission {"Policy":"{}"}`,
		`PutEvents {"Entries":[]}`, `PutEvents {"Entries":[{},{},{},{},{},{},{},{},{},{},{}]}`, `PutEvents {"Entries":[{"Source":"a","DetailType":"b","Detail":"{\"a\":\"` + strings.Repeat("x", 256<<10) + `\"}"}]}`, `PutEvents {"EndpointId":"x","Entries":[{}]}`,
		`PutEvents {"Entries":[{},{"Source":"a"},{"Source":"a","DetailType":"b"},{"Source":"a","DetailType":"b","Detail":"[]"},{"Source":"a","DetailType":"b","Detail":"{"},{"Source":"aws.s3","DetailType":"b","Detail":"{}"},{"Source":"a","DetailType":"b","Detail":"{}","EventBusName":"nobus"}]}`,
		`PutEvents {"Entries":[{"Time":"yesterday"}]}`, `TagResource {"ResourceARN":"arn:x"}`, `TagResource {"ResourceARN":"arn:aws:events:eu-west-1:123456789012:rule/none"}`, `TestEventPattern {"EventPattern":"{\"a\":[1]}","Event":"{}"}`, `TestEventPattern {"EventPattern":"[]","Event":"{}"}`,
		`CreateArchive {}`, `StartReplay {}`, `CreateConnection {}`, `CreatePipe {}`,
	} {
		operation, body, _ := strings.Cut(c, " ")
		if len(c) > 500 {
			c = c[:80] + "..."
		}
		fmt.Fprintf(&b, "%s\n  -> %s\n", c, w.call(operation, body))
	}
	golden.Equal(t, "testdata/refusals.golden", b.String())
}

// Every operation of the service's model is there or refused in words.
func TestOperations(t *testing.T) {
	var model []string
	dir := reflectMethods()
	for _, name := range dir {
		if operations[name] == nil && !strings.Contains(absent, " "+name+" ") {
			model = append(model, name)
		}
	}
	if len(dir) < 50 || len(model) > 0 {
		t.Errorf("%d operations; neither served nor refused: %q", len(dir), model)
	}
}

func TestPermissions(t *testing.T) {
	w := newWorld(t)
	w.ok("PutPermission", `{"Action":"events:PutEvents","Principal":"999999999999","StatementId":"one"}`)
	w.ok("PutPermission", `{"Action":"events:PutEvents","Principal":"*","StatementId":"two","Condition":{"Type":"StringEquals","Key":"aws:PrincipalOrgID","Value":"o-1"}}`)
	w.ok("PutPermission", `{"Action":"events:PutEvents","Principal":"888888888888","StatementId":"one"}`)
	var b strings.Builder
	b.WriteString(indented(t, []byte(w.api.bus(busKey{region, "default"}).Policy)))
	w.ok("RemovePermission", `{"StatementId":"one"}`)
	b.WriteString("\n" + w.call("DescribeEventBus", `{}`))
	w.ok("RemovePermission", `{"RemoveAllPermissions":true}`)
	b.WriteString("\n" + w.call("DescribeEventBus", `{}`) + "\n")
	golden.Equal(t, "testdata/permissions.golden", regexp.MustCompile(`"LastModifiedTime":[0-9.e+]+`).ReplaceAllString(b.String(), `"LastModifiedTime":0`))
}

func TestNeeds(t *testing.T) {
	w := newWorld(t)
	var b strings.Builder
	for _, c := range []string{`PutEvents {"Entries":[{"Source":"a","DetailType":"t"},{"EventBusName":"orders"},{"EventBusName":"arn:aws:events:us-east-1:123456789012:event-bus/x"}]}`, `PutRule {"Name":"r"}`, `PutTargets {"Rule":"r","EventBusName":"b"}`,
		`CreateEventBus {"Name":"b"}`, `PutPermission {"EventBusName":"b"}`, `TagResource {"ResourceARN":"arn:x"}`, `ListRules {}`, `PutRule nonsense`,
		`PutRule {"Name":"r","RoleArn":"arn:aws:iam::123456789012:role/a"}`, `PutTargets {"Rule":"r","Targets":[{"Id":"1"},{"Id":"2","rolearn":"arn:aws:iam::123456789012:role/a"}]}`} {
		operation, body, _ := strings.Cut(c, " ")
		for _, ask := range w.api.Needs(nil, operation, region, []byte(body)) {
			fmt.Fprintln(&b, operation, ask.Action, ask.Resource, ask.Context)
		}
	}
	golden.Equal(t, "testdata/needs.golden", b.String())
}

// The documents' own check of a pattern, with a sample of SAM's.
func TestTestEventPattern(t *testing.T) {
	w := newWorld(t)
	event, err := os.ReadFile("testdata/sam/ScheduledEvent.json")
	if err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]bool{`{"source":["aws.events"],"resources":[{"suffix":"rule/my-schedule"}]}`: true, `{"source":[{"anything-but":"aws.events"}]}`: false, `{"$or":[{"detail":{"x":[1]}},{"detail-type":[{"wildcard":"Sched*ent"}]}]}`: true} {
		out, err := w.client.TestEventPattern(t.Context(), &sdk.TestEventPatternInput{EventPattern: &pattern, Event: aws.String(string(event))})
		if err != nil || out.Result != want {
			t.Errorf("%s: %v %v", pattern, out, err)
		}
	}
}
