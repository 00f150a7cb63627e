package scheduler

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"thaw/internal/golden"
	"thaw/push/pushtest"
)

const role = "arn:aws:iam::123456789012:role/s"

func to(arn, more string) string {
	return `"FlexibleTimeWindow":{"Mode":"OFF"},"Target":{"Arn":"` + arn + `","RoleArn":"` + role + `"` + more + `}`
}

// Groups and schedules by AWS's own client.
func TestStory(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.client
	group, err := c.CreateScheduleGroup(ctx, &sdk.CreateScheduleGroupInput{Name: aws.String("nightly"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	if err != nil || *group.ScheduleGroupArn != "arn:aws:scheduler:eu-west-1:123456789012:schedule-group/nightly" {
		t.Fatal(group, err)
	}
	start := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	in := &sdk.CreateScheduleInput{Name: aws.String("report"), GroupName: aws.String("nightly"), ScheduleExpression: aws.String("cron(0 3 * * ? *)"), ScheduleExpressionTimezone: aws.String("Europe/Berlin"),
		FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: aws.Int32(15)}, StartDate: &start, EndDate: aws.Time(start.AddDate(1, 0, 0)),
		Description: aws.String("of the night"), ClientToken: aws.String("token-1"), Target: &types.Target{Arn: aws.String(fn + "work"), RoleArn: aws.String(role), Input: aws.String(`{"a":1}`),
			RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(3)}, DeadLetterConfig: &types.DeadLetterConfig{Arn: aws.String(queue)}}}
	for range 2 { // the same token: the same schedule
		if out, err := c.CreateSchedule(ctx, in); err != nil || *out.ScheduleArn != "arn:aws:scheduler:eu-west-1:123456789012:schedule/nightly/report" {
			t.Fatal(out, err)
		}
	}
	in.ClientToken = aws.String("token-2")
	if _, err := c.CreateSchedule(ctx, in); !errors.As(err, new(*types.ConflictException)) {
		t.Error(err)
	}
	w.open(t) // everything is as it was
	got, err := c.GetSchedule(ctx, &sdk.GetScheduleInput{Name: aws.String("report"), GroupName: aws.String("nightly")})
	if err != nil || !got.StartDate.Equal(start) || *got.FlexibleTimeWindow.MaximumWindowInMinutes != 15 || *got.Target.Input != `{"a":1}` || *got.Target.RetryPolicy.MaximumRetryAttempts != 3 || *got.ScheduleExpressionTimezone != "Europe/Berlin" {
		t.Errorf("%+v, %v", got, err)
	}
	if next := w.agenda.Next(*got.Arn); next.Before(start) || next.After(start.Add(27*time.Hour)) {
		t.Error("due at", next)
	}
	if _, err := c.UpdateSchedule(ctx, &sdk.UpdateScheduleInput{Name: in.Name, GroupName: in.GroupName, ScheduleExpression: aws.String("rate(5 minutes)"), State: types.ScheduleStateDisabled,
		FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff}, Target: in.Target}); err != nil {
		t.Fatal(err)
	}
	if got, err = c.GetSchedule(ctx, &sdk.GetScheduleInput{Name: aws.String("report"), GroupName: aws.String("nightly")}); err != nil || got.Description != nil || got.StartDate != nil || !w.agenda.Next(*got.Arn).IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range 30 {
		w.ok(fmt.Sprintf(`POST /schedules/s%02d {"ScheduleExpression":"rate(1 day)",%s}`, i, to(queue, "")))
	}
	var names []string
	for p := sdk.NewListSchedulesPaginator(c, &sdk.ListSchedulesInput{MaxResults: aws.Int32(7), NamePrefix: aws.String("s")}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range out.Schedules {
			names = append(names, *x.Name)
		}
	}
	if len(names) != 30 || !slices.IsSorted(names) {
		t.Error(names)
	}
	if out, err := c.ListSchedules(ctx, &sdk.ListSchedulesInput{GroupName: aws.String("nightly"), State: types.ScheduleStateDisabled}); err != nil || len(out.Schedules) != 1 {
		t.Error(out, err)
	}
	if _, err := c.TagResource(ctx, &sdk.TagResourceInput{ResourceArn: group.ScheduleGroupArn, Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("d")}}}); err != nil {
		t.Error(err)
	}
	if _, err := c.UntagResource(ctx, &sdk.UntagResourceInput{ResourceArn: group.ScheduleGroupArn, TagKeys: []string{"a"}}); err != nil {
		t.Error(err)
	}
	if out, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: group.ScheduleGroupArn}); err != nil || len(out.Tags) != 1 || *out.Tags[0].Key != "c" {
		t.Error(out, err)
	}
	if out, err := c.ListScheduleGroups(ctx, &sdk.ListScheduleGroupsInput{}); err != nil || len(out.ScheduleGroups) != 2 {
		t.Error(out, err)
	}
	if _, err := c.DeleteScheduleGroup(ctx, &sdk.DeleteScheduleGroupInput{Name: aws.String("nightly")}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetSchedule(ctx, &sdk.GetScheduleInput{Name: aws.String("report"), GroupName: aws.String("nightly")}); !errors.As(err, new(*types.ResourceNotFoundException)) {
		t.Error("the group's schedules are there:", err)
	}
	if _, err := c.DeleteSchedule(ctx, &sdk.DeleteScheduleInput{Name: aws.String("s00")}); err != nil {
		t.Error(err)
	}
	if len(w.records.Keys()) != 29 {
		t.Error(len(w.records.Keys()))
	}
}

// Each operation of AWS's client is there.
func TestOperations(t *testing.T) {
	c := reflect.TypeFor[*sdk.Client]()
	for i := range c.NumMethod() {
		name := c.Method(i).Name
		there := name == "Options"
		for _, o := range operations {
			there = there || o.name == name
		}
		if !there {
			t.Error(name, "is missing")
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.ok(`POST /schedules/there {"ScheduleExpression":"rate(1 day)",` + to(queue, "") + `}`)
	var b strings.Builder
	for _, r := range []string{
		`POST /schedules/x {}`, `POST /schedules/x [`, `POST /schedules/a%20b {"ScheduleExpression":"rate(1 day)",` + to(queue, "") + `}`, `POST /schedules/there {"ScheduleExpression":"rate(1 day)",` + to(queue, "") + `}`,
		`POST /schedules/x {"ScheduleExpression":"daily",` + to(queue, "") + `}`, `POST /schedules/x {"ScheduleExpression":"at(tomorrow)",` + to(queue, "") + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)","ScheduleExpressionTimezone":"Mars/Olympus",` + to(queue, "") + `}`,
		`POST /schedules/x {"ScheduleExpression":"rate(1 day)","GroupName":"none",` + to(queue, "") + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)","State":"ON","ActionAfterCompletion":"X",` + to(queue, "") + `}`,
		`POST /schedules/x {"ScheduleExpression":"rate(1 day)","FlexibleTimeWindow":{"Mode":"FLEXIBLE"},"Target":{"Arn":"` + queue + `","RoleArn":"` + role + `"}}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)","FlexibleTimeWindow":{"Mode":"OFF","MaximumWindowInMinutes":5},"Target":{"Arn":"` + queue + `","RoleArn":"` + role + `"}}`,
		`POST /schedules/x {"ScheduleExpression":"rate(1 day)","StartDate":1800000000,"EndDate":1700000000,` + to(queue, "") + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)","FlexibleTimeWindow":{"Mode":"OFF"},"Target":{"Arn":"x"}}`,
		`POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to("x", "") + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to("arn:aws:ecs:eu-west-1:1:cluster/x", "") + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to(universal+"ec2:stopInstances", "") + `}`,
		`POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to(universal+"lambda:invoke", "") + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to(queue+".fifo", "") + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to("arn:aws:events:eu-west-1:123456789012:event-bus/default", "") + `}`,
		`POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to(fn+"f", `,"Input":"{"`) + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to(fn+"f", `,"RetryPolicy":{"MaximumRetryAttempts":186,"MaximumEventAgeInSeconds":1}`) + `}`, `POST /schedules/x {"ScheduleExpression":"rate(1 day)",` + to(fn+"f", `,"DeadLetterConfig":{"Arn":"arn:aws:sns:eu-west-1:123456789012:t"}`) + `}`,
		`PUT /schedules/none {"ScheduleExpression":"rate(1 day)",` + to(queue, "") + `}`, `GET /schedules/none`, `DELETE /schedules/none`, `GET /schedules?ScheduleGroup=none`, `GET /schedules?NextToken=x`, `GET /schedules?MaxResults=101`, `GET /schedules?MaxResults=x`,
		`POST /schedule-groups/default {}`, `GET /schedule-groups/none`, `DELETE /schedule-groups/default`, `DELETE /schedule-groups/none`, `GET /tags/arn:aws:scheduler:eu-west-1:123456789012:schedule%2Fdefault%2Fthere`, `GET /tags/arn:aws:scheduler:eu-west-1:123456789012:schedule-group%2Fnone`, `PATCH /schedules/x`, `GET /`,
	} {
		fmt.Fprintf(&b, "%s\n  -> %s\n", r, w.call(r))
	}
	golden.Equal(t, "testdata/refusals.golden", b.String())
}

// S-111: placeholders are replaced, and the default document has a detail that is a string; what each kind of target gets.
func TestWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, records: &pushtest.Documents{}, sinks: &sinks{}, now: func() time.Time { return time.Now().UTC() }}
		w.open(t)
		at := `"ScheduleExpression":"at(2000-01-01T01:01:00)","ScheduleExpressionTimezone":"Europe/Berlin",`
		w.ok(`POST /schedules/default-document {` + at + to(fn+"work", "") + `}`)
		w.ok(`POST /schedules/placeholders {` + at + to(fn+"work:live", `,"Input":"{\"arn\":\"<aws.scheduler.schedule-arn>\",\"at\":\"<aws.scheduler.scheduled-time>\",\"id\":\"<aws.scheduler.execution-id>\",\"n\":<aws.scheduler.attempt-number>}"`) + `}`)
		w.ok(`POST /schedules/queue {` + at + to(queue+".fifo", `,"Input":"text for <aws.scheduler.scheduled-time>","SqsParameters":{"MessageGroupId":"g"},"RetryPolicy":{"MaximumRetryAttempts":0}`) + `}`)
		w.ok(`POST /schedules/bus {` + at + to("arn:aws:events:eu-west-1:123456789012:event-bus/b", `,"Input":"{\"d\":1}","EventBridgeParameters":{"DetailType":"t","Source":"s"}`) + `}`)
		w.ok(`POST /schedules/universal-invoke {` + at + to(universal+"lambda:invoke", `,"Input":"{\"FunctionName\":\"work\",\"Qualifier\":\"1\",\"Payload\":\"{\\\"x\\\":\\\"<aws.scheduler.scheduled-time>\\\"}\"}"`) + `}`)
		w.ok(`POST /schedules/universal-queue {` + at + to(universal+"sqs:sendMessage", `,"Input":"{\"QueueUrl\":\"http://localhost/123456789012/q\",\"MessageBody\":\"m\"}"`) + `}`)
		w.ok(`POST /schedules/universal-topic {` + at + to(universal+"sns:publish", `,"Input":"{\"TopicArn\":\"arn:aws:sns:eu-west-1:123456789012:t\",\"Message\":\"m\"}"`) + `}`)
		w.ok(`POST /schedules/universal-events {` + at + to(universal+"eventbridge:putEvents", `,"Input":"{\"Entries\":[{\"Source\":\"a\",\"DetailType\":\"b\",\"Detail\":\"{}\"}]}"`) + `}`)
		w.ok(`POST /schedules/dead {` + at + to(fn+"denied", `,"Input":"{}","DeadLetterConfig":{"Arn":"`+queue+`-dead"}`) + `}`)
		w.ok(`POST /schedules/dead-bus {` + at + to("arn:aws:events:eu-west-1:123456789012:event-bus/none", `,"EventBridgeParameters":{"DetailType":"t","Source":"s"},"DeadLetterConfig":{"Arn":"`+queue+`-dead"}`) + `}`)
		w.ok(`POST /schedules/off {"State":"DISABLED",` + at + to(fn+"off", "") + `}`)
		time.Sleep(time.Hour)
		synctest.Wait()
		w.agenda.Close()
		invoked, letters := w.sinks.Take()
		var lines []string
		for _, d := range invoked {
			lines = append(lines, fmt.Sprintf("%s for %s by %s as %s\n  %s", d.Function, d.Source, d.Service, d.Role, d.Payload))
		}
		for _, l := range letters {
			lines = append(lines, fmt.Sprintf("%s, at most 1+%d times, group %q, attributes %v\n  %s", l.To, l.MaxAttempts, l.Group, l.Attributes, l.Body))
		}
		for _, e := range w.sinks.events {
			lines = append(lines, fmt.Sprintf("event %+v", e))
		}
		slices.Sort(lines)
		golden.Equal(t, "testdata/sent.golden", regexp.MustCompile(` m=\+[0-9.]+`).ReplaceAllString(strings.Join(lines, "\n"), "")+"\n")
	})
}

// What goes to a topic or a bus is what the schedule's role may send, and the dead-letter queue is told of the rest.
func TestRoleOfTopicsAndBuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, records: &pushtest.Documents{}, sinks: &sinks{}, now: func() time.Time { return time.Now().UTC() }}
		w.open(t)
		var asked []string
		w.api.o.May = func(by, action, resource string) bool {
			asked = append(asked, by+" "+action+" "+resource)
			return strings.HasSuffix(resource, "may")
		}
		const topic, bus = "arn:aws:sns:eu-west-1:123456789012:", "arn:aws:events:eu-west-1:123456789012:event-bus/"
		dead := `,"DeadLetterConfig":{"Arn":"` + queue + `-dead"}`
		for i, target := range []string{to(topic+"may", dead), to(topic+"not", dead), to(bus+"may", `,"EventBridgeParameters":{"DetailType":"t","Source":"s"}`+dead), to(bus+"not", `,"EventBridgeParameters":{"DetailType":"t","Source":"s"}`+dead),
			to(universal+"sns:publish", `,"Input":"{\"TopicArn\":\"`+topic+`none\",\"Message\":\"m\"}"`+dead), to(universal+"eventbridge:putEvents", `,"Input":"{\"Entries\":[{\"Source\":\"a\",\"DetailType\":\"b\",\"Detail\":\"{}\",\"EventBusName\":\"none2\"}]}"`+dead)} {
			w.ok(fmt.Sprintf(`POST /schedules/s%d {"ScheduleExpression":"at(2000-01-01T00:%02d:00)",%s}`, i, 10+i, target))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		w.agenda.Close()
		_, letters := w.sinks.Take()
		sent := []string{}
		for _, l := range letters {
			sent = append(sent, l.To+" "+l.Attributes["ERROR_CODE"])
		}
		for _, e := range w.sinks.events {
			sent = append(sent, e.Bus)
		}
		const no = queue + "-dead NO_PERMISSIONS"
		if want := []string{topic + "may ", no, no, no, no, bus + "may"}; !slices.Equal(sent, want) {
			t.Errorf("sent %q, want %q", sent, want)
		}
		for _, want := range []string{"sns:Publish " + topic + "not", "events:PutEvents " + bus + "not", "sns:Publish " + topic + "none", "events:PutEvents " + bus + "none2"} {
			if !slices.Contains(asked, role+" "+want) {
				t.Errorf("%s was not asked: %q", want, asked)
			}
		}
	})
}

// An event that no bus can take is not tried again for a day, which would hold up the schedules of others, and no schedule
// sends events as AWS.
func TestEventsThatNoBusTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, records: &pushtest.Documents{}, sinks: &sinks{}, now: func() time.Time { return time.Now().UTC() }}
		w.open(t)
		entries := []string{`\"Source\":\"a\",\"Detail\":\"no JSON\"`, `\"Source\":\"a\",\"Detail\":\"null\"`, `\"Source\":\"a\"`, `\"Source\":\"aws.s3\",\"Detail\":\"{}\"`}
		for i, e := range entries {
			w.ok(fmt.Sprintf(`POST /schedules/s%d {"ScheduleExpression":"at(2000-01-01T00:01:00)",%s}`, i,
				to(universal+"eventbridge:putEvents", `,"Input":"{\"Entries\":[{\"DetailType\":\"b\",`+e+`}]}","DeadLetterConfig":{"Arn":"`+queue+`-dead"}`)))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		w.agenda.Close()
		if _, letters := w.sinks.Take(); len(letters) != len(entries) || len(w.sinks.events) > 0 {
			t.Errorf("%d dead letters of %d, events %v", len(letters), len(entries), w.sinks.events)
		}
	})
}

// Rates begin at once, bounds and completion hold, and what has ended is deleted if it is to be.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, records: &pushtest.Documents{}, sinks: &sinks{}, now: func() time.Time { return time.Now().UTC() }}
		w.open(t)
		day := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
		w.ok(`POST /schedules/now {"ScheduleExpression":"rate(1 minute)",` + to(fn+"now", "") + `}`)
		w.ok(fmt.Sprintf(`POST /schedules/bounded {"ScheduleExpression":"rate(1 minute)","StartDate":%d,"EndDate":%d,"ActionAfterCompletion":"DELETE",%s}`, day+600, day+720, to(fn+"bounded", "")))
		w.ok(`POST /schedules/once {"ScheduleExpression":"at(2000-01-01T00:05:00)","ActionAfterCompletion":"DELETE",` + to(fn+"once", "") + `}`)
		w.ok(`POST /schedules/kept {"ScheduleExpression":"at(2000-01-01T00:05:00)",` + to(fn+"kept", "") + `}`)
		w.ok(`POST /schedules/past {"ScheduleExpression":"at(1999-01-01T00:05:00)",` + to(fn+"past", "") + `}`)
		time.Sleep(20*time.Minute + 30*time.Second)
		synctest.Wait()
		count := map[string]int{}
		invoked, _ := w.sinks.Take()
		for _, d := range invoked {
			count[d.Function.Unqualified().Name()]++
		}
		if want := map[string]int{"now": 21, "bounded": 3, "once": 1, "kept": 1}; !reflect.DeepEqual(count, want) {
			t.Error(count, want)
		}
		if w.api.schedule(key{region, "default", "once"}) != nil || w.api.schedule(key{region, "default", "bounded"}) != nil || w.api.schedule(key{region, "default", "kept"}) == nil {
			t.Error("what is completed is not deleted, or what is to stay is")
		}
		w.ok(`PUT /schedules/now {"ScheduleExpression":"rate(1 minute)","Description":"the same times",` + to(fn+"now", "") + `}`)
		w.ok(`PUT /schedules/kept {"ScheduleExpression":"at(2000-01-01T00:25:00)",` + to(fn+"again", "") + `}`)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if invoked, _ = w.sinks.Take(); len(invoked) != 6 {
			t.Error(len(invoked))
		}
		w.agenda.Close()
	})
}

// Whoever gives a schedule a role must be allowed to pass it: a schedule does what its role may. The names of members are
// as JSON's reader takes them.
func TestNeeds(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/schedules/x", `{"GroupName":"g","Target":{"Arn":"a","RoleArn":"` + role + `"}}`,
			"scheduler:CreateSchedule " + w.api.arn(key{region, "g", "x"}) + "; iam:PassRole " + role + " [scheduler.amazonaws.com]"},
		{"PUT", "/schedules/x", `{"target":{"rolearn":"` + role + `"}}`,
			"scheduler:UpdateSchedule " + w.api.arn(key{region, defaultGroup, "x"}) + "; iam:PassRole " + role + " [scheduler.amazonaws.com]"},
		{"GET", "/schedules/x", "", "scheduler:GetSchedule " + w.api.arn(key{region, defaultGroup, "x"})},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
		var got []string
		for _, ask := range w.api.Needs(r, "", region, []byte(c.body)) {
			one := ask.Action + " " + ask.Resource
			if to := ask.Context["iam:passedtoservice"]; to != nil {
				one += fmt.Sprint(" ", to)
			}
			got = append(got, one)
		}
		if have := strings.Join(got, "; "); have != c.want {
			t.Errorf("%s %s %s:\n%s\nwant\n%s", c.method, c.path, c.body, have, c.want)
		}
	}
}
