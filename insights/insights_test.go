package insights

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// events are a minute apart; the latest comes first, as a store gives them.
func events(messages ...string) []Event {
	var all []Event
	for i, m := range messages {
		at := noon.Add(time.Duration(i) * time.Minute).UnixMilli()
		all = append([]Event{{Time: at, Ingested: at + 5, Message: m, Stream: fmt.Sprintf("s%d", i%2), Log: "0:g", Ptr: fmt.Sprintf("p%d", i)}}, all...)
	}
	return all
}

func run(t testing.TB, query string, of []Event) string {
	t.Helper()
	q, err := Parse(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	r := q.Start(0)
	for _, e := range of {
		if !r.Add(e) {
			break
		}
	}
	var rows []string
	for _, row := range r.Rows() {
		var cells []string
		for _, c := range row {
			if c.Field != "@ptr" {
				cells = append(cells, c.Field+"="+strings.TrimSpace(c.Value))
			}
		}
		rows = append(rows, strings.Join(cells, " "))
	}
	return strings.Join(rows, "; ")
}

func TestQueries(t *testing.T) {
	orders := events(
		`{"level":"INFO","n":1,"user":{"name":"ada"},"tags":["a","b"],"ms":10}`,
		`{"level":"ERROR","n":2,"user":{"name":"bob"},"detail.type":"x","ms":20}`,
		`{"level":"ERROR","n":10,"user":{"name":"ada"},"ok":true,"ms":30}`,
		"plain user=eve took 12 ms\n",
		"REPORT RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 64 MB\tInit Duration: 99.5 ms\t\n",
	)
	for _, tc := range []struct{ query, want string }{
		{`fields @timestamp, n | filter level = "ERROR"`, "@timestamp=2026-11-01 12:02:00.000 n=10; @timestamp=2026-11-01 12:01:00.000 n=2"},
		{`fields n | filter level = 'ERROR' and n > 3`, "n=10"},
		{`fields n | filter n >= 2 or user.name = "ada" | sort n asc`, "n=1; n=2; n=10"},
		{`fields n | sort n desc | limit 1`, "n=10"},
		{`FIELDS n | FILTER isPresent(n) AND NOT level IN ["INFO", "WARN"] | SORT n`, "n=2; n=10"},
		{`fields n | filter level not in ["INFO"]`, "; ; n=10; n=2"},
		{`filter @message like /pl[a]in/ | display @message`, "@message=plain user=eve took 12 ms"},
		{`filter @message like "plain"`, "@timestamp=2026-11-01 12:03:00.000 @message=plain user=eve took 12 ms"},
		{`filter @message =~ /^{/ | filter level not like /ERR/ | fields n`, "n=1"},
		{"fields `detail.type` as kind | filter ispresent(kind)", "kind=x"},
		{`fields tags.1, ok | filter tags.0 = "a" or ok = 1 | sort n`, "tags.1=b; ok=1"},
		{`parse @message "user=* took * ms" as user, took | filter ispresent(took) | fields user, took * 2 + 1 as more`, "user=eve more=25"},
		{`parse @message /user=(?<who>\w+)/ | filter who = "eve" | display who, toupper(concat(who, "!"))`, `who=eve toupper(concat(who, "!"))=EVE!`},
		{`stats count(*) by level`, "count(*)=2; level=ERROR count(*)=2; level=INFO count(*)=1"},
		{`stats count() by bin(2m) | sort bin(2m)`, "bin(2m)=2026-11-01 12:00:00.000 count()=2; bin(2m)=2026-11-01 12:02:00.000 count()=2; bin(2m)=2026-11-01 12:04:00.000 count()=1"},
		{`stats count(n) as c by user.name | sort c desc | limit 1`, "user.name=ada c=2"},
		{`stats sum(ms), avg(ms), min(ms), max(ms), pct(ms, 50), stddev(ms), count_distinct(level)`, "sum(ms)=60 avg(ms)=20 min(ms)=10 max(ms)=30 pct(ms, 50)=20 stddev(ms)=8.165 count_distinct(level)=2"},
		{`stats earliest(n) as first, latest(n) as last | fields last - first as d`, "d=9"},
		{`stats count() by level | sort count() desc, level | filter ispresent(level)`, "level=ERROR count()=2; level=INFO count()=1"},
		{`stats count(*) | filter 1 = 2`, ""},
		{`filter 1 = 2 | stats count(*)`, "count(*)=0"},
		{`filter @type = "REPORT" | fields @requestId, @duration, @billedDuration, @maxMemoryUsed / 1000000 as MB, @initDuration`,
			"@requestId=8f507cfc-0000-4697-b07a-ac58fc914c95 @duration=12.34 @billedDuration=13 MB=64 @initDuration=99.5"},
		{`fields user.name | filter ispresent(user.name) | dedup user.name`, "user.name=ada; user.name=bob"},
		{`fields @logStream, @log | limit 1`, "@logStream=s0 @log=0:g"},
		{`fields datefloor(@timestamp, 1h) as hour, strlen(@message) as l | limit 1 # a comment`, "hour=2026-11-01 12:00:00.000 l=164"},
		{`fields n | filter (n = 1 or n = 2) and (-n < -1)`, "n=2"},
	} {
		if got := run(t, tc.query, orders); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.query, got, tc.want)
		}
	}
}

func TestWrongQueries(t *testing.T) {
	for _, text := range []string{"", "| |", "select 1", "fields", "fields @message |  nothing", "filter", "filter a =", "filter a = \"x", "filter (a = 1", "filter a like", "limit 0", "limit x", "limit 10001",
		"stats count(", "stats foo(a)", "stats count() by", "sort", "parse @message", `parse @message "a * b"`, `parse @message "a" as b`, "filter a like /[/", "filter a in 1", "filter foo(a)", "fields bin(x)",
		"fields strlen()", "fields n n", "fields ;", "filter " + strings.Repeat("(", 1000), "filter " + strings.Repeat("-", 1000) + "1"} {
		q, err := Parse(text)
		var e *Error
		if err == nil {
			t.Errorf("%.60q was taken as %+v", text, q)
		} else if !errors.As(err, &e) || e.Start > e.End || e.End > len(text) {
			t.Errorf("%.60q: %+v", text, err)
		}
	}
}

// TestBounds: what a hostile function wrote costs no more than the bounds.
func TestBounds(t *testing.T) {
	q, err := Parse("fields @message | sort @message desc")
	if err != nil {
		t.Fatal(err)
	}
	r := q.Start(0)
	big := strings.Repeat("x", 256<<10)
	for range 1000 {
		r.Add(Event{Message: big})
	}
	var size int
	for _, row := range r.Rows() {
		size += len(row[0].Value)
	}
	if size > maxRunBytes || size < maxRunBytes/4 {
		t.Errorf("%d bytes of rows", size)
	}
	if r.Matched != 1000 {
		t.Errorf("%d matched", r.Matched)
	}
}

func FuzzQuery(f *testing.F) {
	f.Add(`fields a, b as c | filter a like /x/ and not b in [1, "2"] | sort c desc | limit 3`, `{"a":"x","b":{"c":[1]}}`)
	f.Add("parse @message \"a * b *\" as x, y | stats count(), pct(x, 9) by bin(5m), `y.z`", "a 1 b 2")
	f.Fuzz(func(t *testing.T, query, message string) {
		q, err := Parse(query)
		if err != nil {
			if !errors.As(err, new(*Error)) {
				t.Errorf("error of the type %T", err)
			}
			return
		}
		r := q.Start(10)
		r.Add(Event{Time: 1, Message: message})
		r.Add(Event{Time: 2, Message: "REPORT RequestId: x\tDuration: 1 ms"})
		if n := len(r.Rows()); n > 10 {
			t.Errorf("%d rows", n)
		}
	})
}
