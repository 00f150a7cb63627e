package eventbridge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"thaw/internal/golden"
	"thaw/outbox"
	"thaw/push/pushtest"
)

// What functions and others get of an event, on which conditions, and what becomes of what cannot be sent.
func TestDelivery(t *testing.T) {
	w := newWorld(t)
	w.ok("CreateEventBus", `{"Name":"orders"}`)
	w.rule("default", "all", `{"source":["shop"],"detail":{"total":[{"numeric":[">",100]}]}}`,
		target("f", fn+"work", ""), target("q", queue, `,"InputPath":"$.detail","RetryPolicy":{"MaximumRetryAttempts":2}`),
		target("t", "arn:aws:sns:eu-west-1:123456789012:topic", `,"InputTransformer":{"InputPathsMap":{"t":"$.detail.total"},"InputTemplate":"total <t>"}`),
		target("l", "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/events/all", ""), target("b", "arn:aws:events:eu-west-1:123456789012:event-bus/orders", ""))
	w.rule("default", "off", `{"source":["shop"]}`, target("f", fn+"off", ""))
	w.ok("DisableRule", `{"Name":"off"}`)
	w.rule("default", "bad", `{"source":["shop"]}`, target("a", fn+"denied", `,"Input":"{}","DeadLetterConfig":{"Arn":"`+queue+`-dead"}`), target("b", fn+"none", `,"DeadLetterConfig":{"Arn":"`+queue+`-dead"}`), target("c", fn+"none", ""))
	w.rule("orders", "on", `{"detail-type":["Placed"]}`, target("f", fn+"onward:live", `,"InputTransformer":{"InputTemplate":"just text"}`), target("back", "arn:aws:events:eu-west-1:123456789012:event-bus/default", ""))
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	out, err := w.client.PutEvents(t.Context(), &sdk.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{Source: aws.String("shop"), DetailType: aws.String("Placed"), Detail: aws.String(`{ "total" : 200.0, "who": "é<>&" }`), Resources: []string{"arn:r"}, Time: &at, TraceHeader: aws.String("Root=1-5759e988-bd862e3fe1be46a994272793")},
		{Source: aws.String("shop"), DetailType: aws.String("Placed"), Detail: aws.String(`{"total":50}`), Time: &at}}})
	if err != nil || out.FailedEntryCount != 0 || len(out.Entries) != 2 {
		t.Fatal(out, err)
	}
	invoked, letters := w.sinks.Take()
	var lines []string
	for _, d := range invoked {
		lines = append(lines, fmt.Sprintf("%s for %s by %s, trace %q\n  %s", functionName(d.Function), d.Source, d.Service, d.TraceID, d.Payload))
	}
	for _, l := range letters {
		lines = append(lines, fmt.Sprintf("%s, at most 1+%d times, group %q, attributes %v\n  %s", l.To, l.MaxAttempts, l.Group, l.Attributes, l.Body))
	}
	for i := range lines {
		for n, e := range out.Entries {
			lines[i] = strings.ReplaceAll(lines[i], *e.EventId, fmt.Sprintf("ID-%d", n+1))
		}
	}
	slices.Sort(lines)
	golden.Equal(t, "testdata/delivery.golden", strings.Join(lines, "\n")+"\n")
}

// An event that cannot be put on disk is told as such, and harms no other.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	w.rule("default", "full", `{"source":["full"]}`, target("f", fn+"full", ""))
	w.rule("default", "box", `{"source":["box"]}`, target("f", "arn:aws:sqs:eu-west-1:123456789012:full", ""))
	got := w.call("PutEvents", `{"Entries":[{"Source":"full","DetailType":"t","Detail":"{}"},{"Source":"ok","DetailType":"t","Detail":"{}"},{"Source":"box","DetailType":"t","Detail":"{}"}]}`)
	if strings.Count(got, `"ErrorCode":"InternalFailure"`) != 2 || !strings.Contains(got, `"FailedEntryCount":2`) || strings.Count(got, `"EventId"`) != 1 {
		t.Error(got)
	}
}

// The trace of a function that puts events goes on, by which loops are found: its SDK sends it in the request's header.
func TestTraceOfTheRequest(t *testing.T) {
	w := newWorld(t)
	w.rule("default", "r", `{"source":["a"]}`, target("f", fn+"f", ""))
	r := newRequest("X-Amzn-Trace-Id", "Root=1;Lineage=1:abcdef01:3")
	w.api.Serve(newRecorder(), r, "PutEvents", region, []byte(`{"Entries":[{"Source":"a","DetailType":"t","Detail":"{}"}]}`))
	if invoked, _ := w.sinks.Take(); len(invoked) != 1 || invoked[0].TraceID != "Root=1;Lineage=1:abcdef01:3" {
		t.Errorf("%+v", invoked)
	}
}

// S-110: the event of a schedule has the members of SAM's sample and the documents', and no minute twice.
func TestScheduledRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, records: &pushtest.Documents{}, sinks: &pushtest.Sinks{}, now: func() time.Time { return time.Now().UTC() }}
		w.open(t)
		w.ok("PutRule", `{"Name":"every-minute","ScheduleExpression":"rate(1 minute)"}`)
		w.ok("PutTargets", `{"Rule":"every-minute","Targets":[`+target("f", fn+"work", "")+`,`+target("q", queue, `,"Input":"{\"just\":\"this\"}"`)+`]}`)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		invoked, letters := w.sinks.Take()
		if len(invoked) != 1 || len(letters) != 1 || string(letters[0].Body) != `{"just":"this"}` {
			t.Fatal(invoked, letters)
		}
		golden.Equal(t, "testdata/scheduled.golden", indented(t, invoked[0].Payload)+"\n")
		sam, err := os.ReadFile(filepath.Join("testdata", "sam", "ScheduledEvent.json"))
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]any
		if json.Unmarshal(sam, &want) != nil || json.Unmarshal(invoked[0].Payload, &got) != nil {
			t.Fatal("no JSON")
		}
		for name := range want {
			if fmt.Sprintf("%T", got[name]) != fmt.Sprintf("%T", want[name]) {
				t.Errorf("%s is %v, in SAM's sample %v", name, got[name], want[name])
			}
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.ok("PutRule", `{"Name":"every-minute","ScheduleExpression":"rate(1 minute)","Description":"the same schedule"}`)
		if invoked, _ = w.sinks.Take(); len(invoked) != 2 || invoked[0].RequestID == invoked[1].RequestID {
			t.Fatal(invoked)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		w.ok("DisableRule", `{"Name":"every-minute"}`)
		if invoked, _ = w.sinks.Take(); len(invoked) != 1 {
			t.Error("a rule that is only described anew went on otherwise:", len(invoked))
		}
		time.Sleep(5 * time.Minute)
		w.ok("EnableRule", `{"Name":"every-minute"}`)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if invoked, _ = w.sinks.Take(); len(invoked) != 1 {
			t.Error("disabled for five minutes:", len(invoked))
		}
		w.ok("RemoveTargets", `{"Rule":"every-minute","Ids":["f","q"]}`)
		w.ok("DeleteRule", `{"Name":"every-minute"}`)
		time.Sleep(5 * time.Minute)
		if invoked, _ = w.sinks.Take(); len(invoked) != 0 {
			t.Error("deleted:", len(invoked))
		}
		w.agenda.Close()
	})
}

// Buses that all send to each other have millions of ways through them: an event takes a bounded number.
func TestBusesThatSendToEachOther(t *testing.T) {
	w := newWorld(t)
	const buses = 12
	arn := func(i int) string { return fmt.Sprintf("arn:aws:events:%s:%s:event-bus/b%d", region, account, i) }
	for i := range buses {
		w.ok("CreateEventBus", fmt.Sprintf(`{"Name":"b%d"}`, i))
	}
	for i := range buses {
		for rule := range 3 { // a rule has five targets at most
			name := fmt.Sprintf(`"EventBusName":"b%d"`, i)
			w.ok("PutRule", fmt.Sprintf(`{"Name":"r%d",%s,"EventPattern":"{\"source\":[\"s\"]}"}`, rule, name))
			var targets []string
			for to := rule * 4; to < rule*4+4; to++ {
				if to != i {
					targets = append(targets, fmt.Sprintf(`{"Id":"%d","Arn":%q,"RoleArn":"arn:aws:iam::%s:role/r"}`, to, arn(to), account))
				}
			}
			w.ok("PutTargets", fmt.Sprintf(`{"Rule":"r%d",%s,"Targets":[%s]}`, rule, name, strings.Join(targets, ",")))
		}
	}
	w.ok("PutRule", `{"Name":"last","EventBusName":"b0","EventPattern":"{\"source\":[\"s\"]}"}`)
	w.ok("PutTargets", fmt.Sprintf(`{"Rule":"last","EventBusName":"b0","Targets":[{"Id":"q","Arn":%q}]}`, queue))
	w.ok("PutEvents", `{"Entries":[{"Source":"s","DetailType":"t","Detail":"{}","EventBusName":"b0"}]}`)
	if _, letters := w.sinks.Take(); len(letters) != 1 {
		t.Errorf("%d letters", len(letters))
	}
}

// What a transformer makes is bounded: of a template that names the event again and again the dead-letter queue is told.
func TestTransformersAreBounded(t *testing.T) {
	w := newWorld(t)
	template := `[` + strings.TrimSuffix(strings.Repeat("<aws.events.event.json>,", 300), ",") + `]`
	w.ok("PutRule", `{"Name":"r","EventPattern":"{\"source\":[\"s\"]}"}`)
	w.ok("PutTargets", fmt.Sprintf(`{"Rule":"r","Targets":[{"Id":"q","Arn":%q,"InputTransformer":{"InputTemplate":%q},"DeadLetterConfig":{"Arn":"%s-dead"}}]}`, queue, template, queue))
	w.ok("PutEvents", fmt.Sprintf(`{"Entries":[{"Source":"s","DetailType":"t","Detail":"{\"a\":\"%s\"}"}]}`, strings.Repeat("x", 200<<10)))
	_, letters := w.sinks.Take()
	if len(letters) != 1 || letters[0].To != queue+"-dead" || len(letters[0].Body) > 256<<10 || letters[0].Attributes["ERROR_CODE"] != outbox.InvalidParameter {
		for _, l := range letters {
			t.Errorf("%s %d bytes %v", l.To, len(l.Body), l.Attributes)
		}
	}
}

// Rules with rates that are made in the same second are due one after the other, each as long after it was made as its
// rate says, over restarts too.
func TestRatesCountFromTheMoment(t *testing.T) {
	w := newWorld(t)
	var clock atomic.Int64
	clock.Store(time.Now().Truncate(time.Second).UnixNano())
	w.now = func() time.Time { return time.Unix(0, clock.Load()) }
	w.open(t)
	made := map[string]time.Time{}
	for _, name := range []string{"a", "b", "c"} {
		at := time.Unix(0, clock.Add(int64(7*time.Millisecond)))
		w.ok("PutRule", `{"Name":"`+name+`","ScheduleExpression":"rate(1 hour)"}`)
		made["arn:aws:events:"+region+":"+account+":rule/"+name] = at
	}
	for _, when := range []string{"at first", "after a restart"} {
		for arn, at := range made {
			if next := w.agenda.Next(arn); !next.Equal(at.Add(time.Hour)) {
				t.Errorf("%s: %s is made at %v and due at %v", when, arn, at, next)
			}
		}
		w.open(t)
	}
}
