package logsapi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// results waits for a query to end.
func (w *world) results(id *string) *cloudwatchlogs.GetQueryResultsOutput {
	w.t.Helper()
	for {
		out, err := w.client.GetQueryResults(w.t.Context(), &cloudwatchlogs.GetQueryResultsInput{QueryId: id})
		if err != nil {
			w.t.Fatal(err)
		}
		if out.Status != types.QueryStatusRunning {
			return out
		}
		time.Sleep(time.Millisecond)
	}
}

func TestQueries(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	began := w.fill("a", 3000)
	st := w.store.Stream("/other", "s")
	for i := range 10 {
		st.Append(began.Add(time.Duration(i)*time.Second), fmt.Sprintf(`{"level":"ERROR","n":%d}`, i))
	}
	from, to := aws.Int64(began.Unix()), aws.Int64(time.Now().Add(time.Hour).Unix())
	start := func(query string, groups ...string) *string {
		t.Helper()
		out, err := w.client.StartQuery(ctx, &cloudwatchlogs.StartQueryInput{LogGroupNames: groups, StartTime: from, EndTime: to, QueryString: &query})
		if err != nil {
			t.Fatal(err)
		}
		return out.QueryId
	}
	text := func(out *cloudwatchlogs.GetQueryResultsOutput) string {
		var rows []string
		for _, r := range out.Results {
			var cells []string
			for _, c := range r {
				if *c.Field != "@ptr" {
					cells = append(cells, *c.Field+"="+*c.Value)
				}
			}
			rows = append(rows, strings.Join(cells, " "))
		}
		return strings.Join(rows, "; ")
	}
	out := w.results(start(`filter level = "ERROR" | fields n | sort n desc | limit 2`, hello, "/other"))
	if got := text(out); got != "n=9; n=8" || out.Status != types.QueryStatusComplete || out.Statistics.RecordsMatched != 10 || out.Statistics.RecordsScanned != 3010 || out.Statistics.LogGroupsScanned != 2 {
		t.Errorf("%s, %+v", got, out.Statistics)
	}
	id := start(`stats count(*) as n by @log | sort n`, hello, "/other")
	if got := text(w.results(id)); got != "@log=000000000000:/other n=10; @log=000000000000:/aws/lambda/hello n=3000" {
		t.Error(got)
	}
	if got := text(w.results(start(`fields @message | limit 3`, hello))); got != "@message=event 2999\n; @message=event 2998\n; @message=event 2997\n" {
		t.Errorf("the latest first: %q", got)
	}
	if _, err := w.client.StopQuery(ctx, &cloudwatchlogs.StopQueryInput{QueryId: id}); err == nil || !strings.Contains(err.Error(), "InvalidParameterException") {
		t.Errorf("stopping what is done: %v", err)
	}
	list, err := w.client.DescribeQueries(ctx, &cloudwatchlogs.DescribeQueriesInput{Status: types.QueryStatusComplete, LogGroupName: aws.String("/other")})
	if want := fmt.Sprintf(`SOURCE "/aws/lambda/hello" START=%d000 END=%d999 | stats count(*) as n by @log | sort n`, *from, *to); err != nil || len(list.Queries) != 2 || *list.Queries[0].QueryString != want {
		t.Errorf("queries %+v, %v", list, err)
	}
}

func TestQueriesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	for body, want := range map[string]string{
		`{"logGroupName":"none","startTime":1,"endTime":2,"queryString":"fields a"}`:                    `{"__type":"ResourceNotFoundException","message":"Log group 'none' does not exist for account ID '000000000000'"}`,
		`{"logGroupName":"g","startTime":1,"endTime":2,"queryString":"select a"}`:                       `{"__type":"MalformedQueryException","message":"unexpected symbol found select at position 0; wanted one of fields, display, filter, parse, stats, sort, limit, dedup","queryCompileError":{"location":{"startCharOffset":0,"endCharOffset":6},"message":"unexpected symbol found select at position 0; wanted one of fields, display, filter, parse, stats, sort, limit, dedup"}}`,
		`{"logGroupName":"g","startTime":2,"endTime":1,"queryString":"fields a"}`:                       `{"__type":"InvalidParameterException","message":"End time should not be less than start time."}`,
		`{"startTime":1,"endTime":2,"queryString":"fields a"}`:                                          `{"__type":"InvalidParameterException","message":"Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be given."}`,
		`{"logGroupName":"g","startTime":1,"endTime":2}`:                                                `{"__type":"InvalidParameterException","message":"1 validation error detected: Value null at 'queryString' failed to satisfy constraint: Member must not be null"}`,
		`{"logGroupName":"g","startTime":1,"endTime":2,"queryString":"fields a","queryLanguage":"SQL"}`: `{"__type":"InvalidParameterException","message":"Queries in SQL are not implemented by this server."}`,
	} {
		if status, got := w.raw("StartQuery", body); status != 400 || got != want {
			t.Errorf("%s\n got %d %s\nwant %s", body, status, got, want)
		}
	}
	if status, got := w.raw("GetQueryResults", `{"queryId":"none"}`); status != 400 || !strings.Contains(got, "ResourceNotFoundException") {
		t.Errorf("no query: %d %s", status, got)
	}
}

// A query that is stopped ends, and so does one that runs when the server ends.
func TestQueryIsStopped(t *testing.T) {
	w := newWorld(t)
	w.fill("a", 200_000)
	body := `{"logGroupName":"/aws/lambda/hello","startTime":1,"endTime":9999999999,"queryString":"parse @message /(?<x>[a-z ]+)(?<y>[0-9]+)/ | stats count(*) by x, y"}`
	answer := w.ok("StartQuery", body)
	id := strings.TrimSuffix(strings.TrimPrefix(answer, `{"queryId":"`), `"}`)
	if got := w.ok("StopQuery", `{"queryId":"`+id+`"}`); got != `{"success":true}` {
		t.Error(got)
	}
	if out := w.results(&id); out.Status != types.QueryStatusCancelled {
		t.Errorf("status %s", out.Status)
	}
	w.ok("StartQuery", body) // the end of the test waits for it
}
