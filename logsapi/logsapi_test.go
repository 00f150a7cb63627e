package logsapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// C-136: pages go on with nextToken, event IDs are unique, and grow.
func TestFilterLogEventsPages(t *testing.T) {
	w := newWorld(t)
	w.fill("a", 600)
	w.fill("b", 600)
	var last string
	seen := 0
	for pages := cloudwatchlogs.NewFilterLogEventsPaginator(w.client, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupIdentifier: aws.String("arn:aws:logs:eu-west-1:000000000000:log-group:" + hello), Limit: aws.Int32(100),
		FilterPattern: aws.String(`event -"event 7"`)}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) > 100 || page.SearchedLogStreams == nil {
			t.Errorf("a page of %d events", len(page.Events))
		}
		for _, e := range page.Events {
			if *e.EventId <= last || len(*e.EventId) != 56 {
				t.Errorf("event ID %s after %s", *e.EventId, last)
			}
			last = *e.EventId
			seen++
		}
	}
	if want := 2 * (600 - 11); seen != want {
		t.Errorf("%d events, want %d", seen, want)
	}
	t.Run("a token is of its request", func(t *testing.T) {
		var page struct{ NextToken string }
		if err := json.Unmarshal([]byte(w.ok("FilterLogEvents", `{"logGroupName":"/aws/lambda/hello","limit":1}`)), &page); err != nil || page.NextToken == "" {
			t.Fatalf("token %q, %v", page.NextToken, err)
		}
		w.ok("FilterLogEvents", `{"logGroupName":"/aws/lambda/hello","limit":7,"nextToken":"`+page.NextToken+`"}`)
		if status, got := w.raw("FilterLogEvents", `{"logGroupName":"/aws/lambda/hello","filterPattern":"x","nextToken":"`+page.NextToken+`"}`); status != 400 {
			t.Errorf("another pattern: %d %s", status, got)
		}
	})
	t.Run("the end is part of it", func(t *testing.T) {
		began := w.fill("c", 10).UnixMilli()
		answer := w.ok("FilterLogEvents", fmt.Sprintf(`{"logGroupName":"/aws/lambda/hello","logStreamNames":["c"],"startTime":%d,"endTime":%d}`, began+2, began+4))
		if n := strings.Count(answer, `"eventId"`); n != 3 {
			t.Errorf("%d events: %s", n, answer)
		}
		answer = w.ok("GetLogEvents", fmt.Sprintf(`{"logGroupName":"/aws/lambda/hello","logStreamName":"c","startTime":%d,"endTime":%d}`, began+2, began+4))
		if n := strings.Count(answer, `"message"`); n != 2 {
			t.Errorf("%d events of GetLogEvents: %s", n, answer)
		}
	})
}

func TestGetLogEventsGoesBothWays(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.fill("a", 25)
	get := func(in cloudwatchlogs.GetLogEventsInput) (texts []string, forward, backward string) {
		t.Helper()
		in.LogGroupName, in.LogStreamName, in.Limit = aws.String(hello), aws.String("a"), aws.Int32(10)
		out, err := w.client.GetLogEvents(ctx, &in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Events {
			texts = append(texts, strings.TrimSpace(strings.TrimPrefix(*e.Message, "event ")))
		}
		return texts, *out.NextForwardToken, *out.NextBackwardToken
	}
	is := func(what string, got []string, first, n int) {
		t.Helper()
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(first+i))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	with := func(token string) cloudwatchlogs.GetLogEventsInput {
		return cloudwatchlogs.GetLogEventsInput{NextToken: &token}
	}
	page, forward, backward := get(cloudwatchlogs.GetLogEventsInput{})
	is("without a word, the newest", page, 15, 10)
	page, again, _ := get(with(forward))
	is("onwards from the end", page, 0, 0)
	if again != forward {
		t.Errorf("at the end %s became %s", forward, again)
	}
	page, _, backward = get(with(backward))
	is("backwards", page, 5, 10)
	page, forward, backward = get(with(backward))
	is("backwards to the beginning", page, 0, 5)
	page, onwards, same := get(with(backward))
	is("backwards from the beginning", page, 0, 0)
	if same != backward {
		t.Errorf("at the beginning %s became %s", backward, same)
	}
	page, _, _ = get(with(onwards))
	is("onwards from before the beginning", page, 0, 10)
	page, forward, _ = get(with(forward))
	is("onwards", page, 5, 10)
	page, forward, _ = get(with(forward))
	is("onwards to the end", page, 15, 10)
	w.fill("a", 1)
	page, _, _ = get(with(forward))
	is("what came meanwhile", page, 0, 1)
	page, _, _ = get(cloudwatchlogs.GetLogEventsInput{StartFromHead: aws.Bool(true)})
	is("from the head", page, 0, 10)
}

func TestGetLogEventsOfAnEmptyStream(t *testing.T) {
	w := newWorld(t)
	w.ok("CreateLogGroup", `{"logGroupName":"/aws/lambda/hello"}`)
	w.ok("CreateLogStream", `{"logGroupName":"/aws/lambda/hello","logStreamName":"a"}`)
	for _, body := range []string{`{"logGroupName":"/aws/lambda/hello","logStreamName":"a"`, `{"logGroupName":"/aws/lambda/hello","logStreamName":"a","startFromHead":true`} {
		var page struct{ NextForwardToken, NextBackwardToken string }
		if err := json.Unmarshal([]byte(w.ok("GetLogEvents", body+"}")), &page); err != nil {
			t.Fatal(err)
		}
		w.fill("a", 1)
		if got := w.ok("GetLogEvents", body+`,"nextToken":"`+page.NextForwardToken+`"}`); !strings.Contains(got, "event 0") {
			t.Errorf("onwards: %s", got)
		}
		if got := w.ok("GetLogEvents", body+`,"nextToken":"`+page.NextBackwardToken+`"}`); strings.Contains(got, "event 0") {
			t.Errorf("backwards: %s", got)
		}
		w.ok("DeleteLogStream", `{"logGroupName":"/aws/lambda/hello","logStreamName":"a"}`)
		w.ok("CreateLogStream", `{"logGroupName":"/aws/lambda/hello","logStreamName":"a"}`)
	}
}

func TestGroupsAndStreams(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for i := range 120 {
		w.ok("CreateLogGroup", fmt.Sprintf(`{"logGroupName":"/g/%03d","tags":{"n":"%d"}}`, i, i))
	}
	var names []string
	pages := cloudwatchlogs.NewDescribeLogGroupsPaginator(w.client, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/g/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page.LogGroups {
			names = append(names, *g.LogGroupName)
		}
		last := names[len(names)-1] // C-138: the item that the marker points at goes
		w.ok("DeleteLogGroup", `{"logGroupName":"`+last+`"}`)
	}
	if len(names) != 120 || !slices.IsSorted(names) {
		t.Errorf("%d groups", len(names))
	}
	for pattern, want := range map[string]int{"^/g/0": 98, "g/00|^/g/01": 20, "^none|^g/0": 0} { // 049 and 099 went
		if n := strings.Count(w.ok("ListLogGroups", `{"limit":1000,"logGroupNamePattern":"`+pattern+`"}`), `"logGroupName":"/g/`); n != want {
			t.Errorf("%d groups for %s, want %d", n, pattern, want)
		}
	}
	w.ok("PutRetentionPolicy", `{"logGroupName":"/g/001","retentionInDays":14}`)
	got := w.ok("DescribeLogGroups", `{"logGroupNamePrefix":"/g/001"}`)
	const arn = "arn:aws:logs:eu-west-1:000000000000:log-group:/g/001"
	var one struct {
		LogGroups []struct{ CreationTime int64 }
	}
	if err := json.Unmarshal([]byte(got), &one); err != nil || len(one.LogGroups) != 1 {
		t.Fatalf("%s, %v", got, err)
	}
	want := fmt.Sprintf(`{"logGroups":[{"arn":"%s:*","creationTime":%d,"deletionProtectionEnabled":false,"logGroupArn":"%s","logGroupClass":"STANDARD","logGroupName":"/g/001","metricFilterCount":0,"retentionInDays":14,"storedBytes":0}]}`, arn, one.LogGroups[0].CreationTime, arn)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	w.ok("DeleteRetentionPolicy", `{"logGroupName":"/g/001"}`)
	if got := w.ok("DescribeLogGroups", `{"logGroupNamePattern":"g/001"}`); got != strings.Replace(strings.Replace(strings.Replace(want, `,"retentionInDays":14`, "", 1), `,"storedBytes":0`, "", 1), `"deletionProtectionEnabled":false,`, "", 1) {
		t.Errorf("by pattern %s", got)
	}
	for i := range 5 {
		w.fill(fmt.Sprintf("s%d", 4-i), 1)
		time.Sleep(2 * time.Millisecond) // so that their times differ
	}
	for order, want := range map[string]string{`"descending":true`: "s4 s3 s2 s1 s0", `"orderBy":"LastEventTime"`: "s4 s3 s2 s1 s0", `"orderBy":"LastEventTime","descending":true`: "s0 s1 s2 s3 s4",
		`"logStreamNamePrefix":"s1"`: "s1"} {
		var got []string
		token := ""
		for {
			var page struct {
				LogStreams []struct{ LogStreamName, ARN string }
				NextToken  string
			}
			if err := json.Unmarshal([]byte(w.ok("DescribeLogStreams", `{"logGroupName":"/aws/lambda/hello","limit":2,`+order+token+`}`)), &page); err != nil {
				t.Fatal(err)
			}
			for _, s := range page.LogStreams {
				got = append(got, s.LogStreamName)
			}
			if page.NextToken == "" {
				break
			}
			token = `,"nextToken":"` + page.NextToken + `"`
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", order, got, want)
		}
	}
}

func TestTags(t *testing.T) {
	w := newWorld(t)
	const arn = `"resourceArn":"arn:aws:logs:eu-west-1:000000000000:log-group:g"`
	is := func(want string) {
		t.Helper()
		for _, got := range []string{w.ok("ListTagsForResource", `{`+arn+`}`), w.ok("ListTagsLogGroup", `{"logGroupName":"g"}`)} {
			if got != `{"tags":`+want+`}` {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	w.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	is(`{}`)
	w.ok("TagResource", `{`+arn+`,"tags":{"a":"1","b":"2"}}`)
	w.ok("TagLogGroup", `{"logGroupName":"g","tags":{"c":"3"}}`)
	is(`{"a":"1","b":"2","c":"3"}`)
	w.ok("UntagResource", `{`+arn+`,"tagKeys":["a"]}`)
	w.ok("UntagLogGroup", `{"logGroupName":"g","tags":["b","none"]}`)
	is(`{"c":"3"}`)
	var many []string
	for i := range 50 {
		many = append(many, fmt.Sprintf(`"k%d":""`, i))
	}
	if status, got := w.raw("TagResource", `{`+arn+`,"tags":{`+strings.Join(many, ",")+`}}`); status != 400 || !strings.Contains(got, "TooManyTagsException") {
		t.Errorf("51 tags: %d %s", status, got)
	}
}

func TestPutLogEvents(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	group, stream := aws.String("g"), aws.String("s")
	w.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	w.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"s"}`)
	now := time.Now()
	put := func(texts ...any) *cloudwatchlogs.PutLogEventsOutput {
		t.Helper()
		in := &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream}
		for i := 0; i < len(texts); i += 2 {
			in.LogEvents = append(in.LogEvents, types.InputLogEvent{Timestamp: aws.Int64(now.Add(texts[i].(time.Duration)).UnixMilli()), Message: aws.String(texts[i+1].(string))})
		}
		out, err := w.client.PutLogEvents(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const day = 24 * time.Hour
	hostile := "🙀 - 参よ \x1b[31m\x00\u2028<&>" + strings.Repeat("x", 100_000)
	if out := put(-time.Second, "late", time.Duration(0), hostile); out.RejectedLogEventsInfo != nil || *out.NextSequenceToken == "" {
		t.Errorf("rejected %+v", out.RejectedLogEventsInfo)
	}
	put(-time.Hour, "earlier") // came last, is shown first
	if r := put(-14*day-time.Hour, "too old", -13*day-2*time.Hour, "old").RejectedLogEventsInfo; r == nil || aws.ToInt32(r.TooOldLogEventEndIndex) != 1 || r.TooNewLogEventStartIndex != nil {
		t.Errorf("too old: %+v", r)
	}
	if r := put(time.Hour, "soon", 3*time.Hour, "too new").RejectedLogEventsInfo; r == nil || aws.ToInt32(r.TooNewLogEventStartIndex) != 1 {
		t.Errorf("too new: %+v", r)
	}
	out, err := w.client.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: group, LogStreamName: stream})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range out.Events {
		got = append(got, *e.Message)
	}
	if want := []string{"old", "earlier", "late", hostile, "soon"}; !slices.Equal(got, want) {
		t.Errorf("got %.300q", got)
	}
	w.ok("PutRetentionPolicy", `{"logGroupName":"g","retentionInDays":1}`)
	if r := put(-36*time.Hour, "expired", -20*time.Hour, "kept").RejectedLogEventsInfo; r == nil || aws.ToInt32(r.ExpiredLogEventEndIndex) != 1 {
		t.Errorf("expired: %+v", r)
	}
	if got := w.ok("FilterLogEvents", `{"logGroupName":"g"}`); strings.Contains(got, `"old"`) || !strings.Contains(got, `"kept"`) {
		t.Errorf("past the retention: %.300s", got)
	}
}
