package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"thaw/internal/golden"
)

func at(t testing.TB, s string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func must(t testing.TB, s string) *Expression {
	t.Helper()
	e, err := Parse(s, Scheduler)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return e
}

// times are the first n that a schedule is due at.
func times(t *Timing, after time.Time, n int) string {
	var all []string
	for range n {
		tick, ok := t.Next(after)
		if !ok {
			return strings.Join(append(all, "never"), " ")
		}
		all = append(all, tick.Due.In(t.zone()).Format("Mon_2006-01-02T15:04:05Z07:00"))
		after = tick.Due
	}
	return strings.Join(all, " ")
}

// The documents' own examples, and what is special in the dialect. S-110.
func TestExamples(t *testing.T) {
	var b strings.Builder
	after := at(t, "2026-11-20T09:07:30Z") // a Friday
	for _, s := range []string{
		"cron(0 10 * * ? *)", "cron(15 12 * * ? *)", "cron(0 18 ? * MON-FRI *)", "cron(0 8 1 * ? *)", "cron(0/15 * * * ? *)",
		"cron(0/10 * ? * MON-FRI *)", "cron(0/5 8-17 ? * MON-FRI *)", "cron(0 9 ? * 2#1 *)", "cron(0/30 20-2 ? * MON-FRI *)",
		"cron(15 10 ? * 6L 2019-2022)", "cron(15 10 ? * 6L 2026-2028)", "cron(0 12 L * ? *)", "cron(0 12 L-2 * ? *)", "cron(0 12 LW * ? *)", "cron(0 12 15W * ? *)",
		"cron(0 12 1W * ? *)", "cron(0 12 31W * ? *)", "cron(0 12 ? * L *)", "cron(0 12 ? * SUN#5 *)", "cron(0 0 29 2 ? *)", "cron(0 0 29 FEB ? 2100/1)", "cron(0 0 30 2 ? *)",
		"cron(59 23 31 12 ? 2199)", "cron(*/20 0,12 ? jan-mar,dec sat-mon 2026-2030/2)", "cron(5/15 1/6 */10 * ? *)", "cron(0 0 1 1 ? 1970)",
		"rate(1 minute)", "rate(5 minutes)", "rate(1 hour)", "rate(12 hours)", "rate(7 days)", "at(2026-11-20T09:08:00)", "at(2026-11-20T09:07:00)",
	} {
		x := &Timing{Expression: must(t, s), Anchor: at(t, "2026-11-20T09:07:12Z")}
		fmt.Fprintf(&b, "%-45s %s\n", s, times(x, after, 4))
	}
	golden.Equal(t, "testdata/examples.golden", b.String())
}

// What is none. S-110.
func TestRefused(t *testing.T) {
	var b strings.Builder
	for _, s := range []string{
		"", "rate", "rate(5 minutes", "daily()", "at(2026-11-20T09:08:00)", "rate(1 minutes)", "rate(2 minute)", "rate(0 minutes)", "rate(-1 minutes)", "rate(+1 minute)", "rate(1.5 hours)",
		"rate(5)", "rate(5 seconds)", "rate(99999999 days)", "rate(99999999999999999999 minutes)", "cron(* * * * *)", "cron(0 10 * * * *)", "cron(0 10 ? * ? *)", "cron(60 10 * * ? *)", "cron(0 24 * * ? *)",
		"cron(0 10 0 * ? *)", "cron(0 10 32 * ? *)", "cron(0 10 * 13 ? *)", "cron(0 10 ? * 0 *)", "cron(0 10 ? * 8 *)", "cron(0 10 ? * MON#6 *)", "cron(0 10 ? * 3#1,6#3 *)", "cron(0 10 * * ? 2200)",
		"cron(0 10 * * ? 2030-2026)", "cron(*/0 10 * * ? *)", "cron(+5 10 * * ? *)", "cron(1- 10 * * ? *)", "cron(1,,2 10 * * ? *)", "cron(0 10 W * ? *)", "cron(0 10 1-15W * ? *)", "cron(0 10 L-31x * ? *)", "cron(0 10 ? * MONDAY *)",
	} {
		_, err := Parse(s, Rules)
		if err == nil {
			t.Errorf("%s is taken", s)
			continue
		}
		fmt.Fprintf(&b, "%-42s %v\n", s, err)
	}
	golden.Equal(t, "testdata/refused.golden", b.String())
}

// Clocks that leave out an hour, and that show one twice.
func TestDaylightSaving(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here:", err)
	}
	howe, err := time.LoadLocation("Australia/Lord_Howe") // half an hour
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range []struct {
		what, text string
		zone       *time.Location
		after      string
		n          int
	}{
		{"left out", "cron(30 2 ? * * *)", berlin, "2026-03-28T12:00:00Z", 2},
		{"left out, every quarter", "cron(0/15 * ? * * *)", berlin, "2026-03-29T00:40:00Z", 3},
		{"shown twice", "cron(30 2 ? * * *)", berlin, "2026-10-24T12:00:00Z", 2},
		{"shown twice, every quarter", "cron(0/15 * ? * * *)", berlin, "2026-10-25T00:20:00Z", 4},
		{"asked while it is shown again", "cron(0/15 * ? * * *)", berlin, "2026-10-25T01:20:00Z", 2},
		{"half an hour twice", "cron(0/15 * ? * * *)", howe, "2026-04-04T14:20:00Z", 4},
		{"half an hour left out", "cron(0/15 * ? * * *)", howe, "2026-10-03T15:20:00Z", 3},
		{"once, left out", "at(2026-03-29T02:30:00)", berlin, "2026-03-28T12:00:00Z", 1},
		{"once, shown twice", "at(2026-10-25T02:30:00)", berlin, "2026-10-24T12:00:00Z", 2},
		{"a day is 24 hours", "rate(1 day)", berlin, "2026-03-28T12:00:00Z", 2},
	} {
		x := &Timing{Expression: must(t, c.text), Zone: c.zone, Anchor: at(t, "2026-03-01T09:00:00Z")}
		fmt.Fprintf(&b, "%-30s %-24s %s\n", c.what, c.text, times(x, at(t, c.after), c.n))
	}
	golden.Equal(t, "testdata/daylight.golden", b.String())
}

func TestBounds(t *testing.T) {
	start, end := at(t, "2026-11-21T00:00:00Z"), at(t, "2026-11-21T02:00:00Z")
	x := &Timing{Expression: must(t, "rate(1 hour)"), Anchor: start, FromAnchor: true, Start: start, End: end}
	if got := times(x, at(t, "2026-11-20T00:00:00Z"), 4); got != "Sat_2026-11-21T00:00:00Z Sat_2026-11-21T01:00:00Z Sat_2026-11-21T02:00:00Z never" {
		t.Error(got)
	}
	once := &Timing{Expression: must(t, "at(2026-11-25T00:00:00)"), Start: start, End: end}
	if got := times(once, start, 2); got != "Wed_2026-11-25T00:00:00Z never" {
		t.Error("bounds are not for what is due once:", got)
	}
	late := &Timing{Expression: must(t, "cron(0 12 * * ? *)"), Since: at(t, "2026-11-20T12:03:00Z"), Window: 15 * time.Minute, Key: "a"}
	if tick, _ := late.Next(late.Since); tick.At != at(t, "2026-11-21T12:00:00Z") {
		t.Error("a time before the schedule was made:", tick)
	}
}

// Each time has one moment in its window, whoever asks from wherever.
func TestWindows(t *testing.T) {
	x := &Timing{Expression: must(t, "cron(* * * * ? *)"), Window: 15 * time.Minute, Key: "arn"}
	from, seen, last := at(t, "2026-11-20T00:00:00Z"), map[time.Time]time.Time{}, time.Time{}
	for range 600 {
		tick, ok := x.Next(from)
		if !ok || !tick.Due.After(from) || tick.Due.Before(tick.At) || !tick.Due.Before(tick.At.Add(x.Window)) {
			t.Fatal(tick)
		}
		if again, _ := x.Next(from.Add(-0)); again != tick {
			t.Fatal(again, tick)
		}
		seen[tick.At], last = tick.Due, tick.Due
		from = tick.Due
	}
	for minute := range 580 {
		if at := at(t, "2026-11-20T00:01:00Z").Add(time.Duration(minute) * time.Minute); seen[at].IsZero() {
			t.Errorf("the time %v is lost; the last was due at %v", at, last)
		}
	}
}

// FuzzNext holds times against the plainest way to find them: looking at every minute.
func FuzzNext(f *testing.F) {
	for _, s := range []string{"cron(0/15 8-17 ? * MON-FRI *)", "cron(0 12 L * ? *)", "cron(5 4 15W * ? *)", "cron(0 9 ? * 2#1 *)", "rate(5 minutes)", "at(2026-11-20T09:08:00)", "cron(0 0 LW 2 ? 2028)"} {
		f.Add(s, int64(1_790_000_000))
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		e, err := Parse(s, Scheduler)
		if err != nil {
			return
		}
		after := time.Unix(unix%7_000_000_000, 0).UTC()
		x := &Timing{Expression: e, Anchor: after}
		tick, ok := x.Next(after)
		if ok && !tick.Due.After(after) {
			t.Fatalf("%s after %v: %v", s, after, tick)
		}
		if e.cron == nil || after.Unix() < 0 {
			return
		}
		minute := after.Truncate(time.Minute).Add(time.Minute)
		for range 3000 { // two days
			if e.cron.names(minute) {
				if !ok || tick.At != minute {
					t.Fatalf("%s after %v: %v, %v; want %v", s, after, tick.At, ok, minute)
				}
				return
			}
			minute = minute.Add(time.Minute)
		}
		if ok && (tick.At.Before(minute) || !e.cron.names(tick.At)) {
			t.Fatalf("%s after %v: %v", s, after, tick.At)
		}
	})
}

// names says whether a minute is one of the expression.
func (c *cron) names(t time.Time) bool {
	y := t.Year()
	if y < firstYear || y > lastYear {
		return false
	}
	in := c.days.in(y, t.Month())
	return c.years.has(y-firstYear) && c.months.has(int(t.Month())) && in.has(t.Day()) && c.hours.has(t.Hour()) && c.minutes.has(t.Minute())
}
