package logstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/logpattern"
)

// jumbled fills a group with events whose times run about, in three streams and in many blocks, and gives them in the
// order of their times.
func jumbled(t testing.TB, s *Store, n int) []Event {
	t.Helper()
	for i := range n {
		st := s.Stream(hello, fmt.Sprintf("s%d", i%3))
		if i%500 == 0 {
			<-st.Room()
		}
		at := noon.Add(time.Duration(i)*time.Millisecond + time.Duration(rand.IntN(2000))*time.Millisecond)
		st.Append(at, fmt.Sprintf(`{"n":%d,"level":"%s","pad":"%s"}`, i, []string{"INFO", "ERROR"}[i%7/6], strings.Repeat("é\"\n", 30)))
	}
	events, err := s.Filter(t.Context(), Query{Group: hello})
	if err != nil || len(events) != n {
		t.Fatalf("%d events, %v", len(events), err)
	}
	slices.SortFunc(events, func(a, b Event) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID)) })
	return events
}

// paged gathers all pages of q.
func paged(t testing.TB, s *Store, q PageQuery) (all []Event, pages int) {
	t.Helper()
	for {
		page, err := s.Page(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if q.Backward {
			all = append(page.Events, all...)
		} else {
			all = append(all, page.Events...)
		}
		if len(page.Events) > q.Limit || !page.More {
			return all, pages
		}
		q.Start = page.Next
	}
}

// TestPagesAreInTheOrderOfTimes: all pages together are what was asked for, once and in order, whatever order the
// events came in and wherever a page ends.
func TestPagesAreInTheOrderOfTimes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 8*1<<20)
	want := jumbled(t, s, 12_000)
	if s.Close(); true { // what an earlier server wrote is found as well
		s = open(t, dir, 8*1<<20)
	}
	late, err := logpattern.Parse(`{ $.level = "ERROR" && $.n > 5000 }`)
	if err != nil {
		t.Fatal(err)
	}
	since, until := want[3000].Time, want[9000].Time
	for _, tc := range []struct {
		name string
		q    PageQuery
		keep func(e Event) bool
	}{
		{"everything", PageQuery{Limit: 10_000}, func(Event) bool { return true }},
		{"by bytes", PageQuery{Limit: 10_000, Bytes: 100_000}, func(Event) bool { return true }},
		{"one event a page is more than the bytes", PageQuery{Limit: 10_000, Bytes: 1, Since: want[11_990].Time}, func(e Event) bool { return e.Time >= want[11_990].Time }},
		{"a stream", PageQuery{Limit: 700, Streams: []string{"s1", "none"}}, func(e Event) bool { return e.Stream == "s1" }},
		{"prefixes", PageQuery{Limit: 700, StreamPrefixes: []string{"s0", "s2"}}, func(e Event) bool { return e.Stream != "s1" }},
		{"between times", PageQuery{Limit: 700, Since: since, Until: until}, func(e Event) bool { return e.Time >= since && e.Time <= until }},
		{"a pattern", PageQuery{Limit: 100, Pattern: late}, func(e Event) bool { return late.Match(e.Message) }},
		{"no patience", PageQuery{Limit: 10_000, Pattern: late, Patience: 1}, func(e Event) bool { return late.Match(e.Message) }},
	} {
		for _, backward := range []bool{false, true} {
			t.Run(fmt.Sprint(tc.name, backward), func(t *testing.T) {
				q := tc.q
				q.Group, q.Backward = hello, backward
				got, pages := paged(t, s, q)
				expected := slices.DeleteFunc(slices.Clone(want), func(e Event) bool { return !tc.keep(e) })
				if !slices.Equal(got, expected) {
					t.Errorf("%d events in %d pages, want %d", len(got), pages, len(expected))
				}
				if len(expected) > q.Limit && pages == 1 {
					t.Error("one page")
				}
			})
		}
	}
	if _, err := s.Page(t.Context(), PageQuery{Group: "/none", Limit: 1}); !errors.Is(err, ErrNoGroup) {
		t.Errorf("no group: %v", err)
	}
}

func TestStreamsAreMadeAndDeleted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 8*1<<20)
	ctx := t.Context()
	all := jumbled(t, s, 3000)
	followed := make(chan Event)
	following, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(followed)
		for e := range s.Follow(following, Query{Group: hello, StreamPrefix: "s0"}) {
			followed <- e
		}
	}()
	for range 1000 {
		<-followed
	}
	if err := s.DeleteStream(ctx, hello, "s1"); err != nil {
		t.Fatal(err)
	}
	s.Stream(hello, "s0").Append(noon, "after")
	if e := <-followed; e.Message != "after" { // neither lost nor twice what was before
		t.Errorf("followed %q", e.Message)
	}
	stop()
	for _, err := range []error{s.DeleteStream(ctx, hello, "s1"), s.DeleteStream(ctx, hello, "never")} {
		if !errors.Is(err, ErrNoStream) {
			t.Errorf("deleting what is not there: %v", err)
		}
	}
	if err := s.CreateStream(ctx, hello, "s0"); !errors.Is(err, ErrStreamExists) {
		t.Errorf("made twice: %v", err)
	}
	if err := errors.Join(s.CreateStream(ctx, hello, "empty"), s.CreateStream(ctx, hello, "s1")); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateStream(ctx, "/none", "a"); !errors.Is(err, ErrNoGroup) {
		t.Errorf("a stream in no group: %v", err)
	}
	s.Close()
	for path := range strings.SplitSeq(strings.Join(must(filepath.Glob(filepath.Join(dir, "*", "*.log"))), "\n"), "\n") {
		if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), `"s":"s1"`) {
			t.Errorf("%s still has events of the stream, or %v", path, err)
		}
	}
	s = open(t, dir, 8*1<<20)
	got, _ := paged(t, s, PageQuery{Group: hello, Limit: 5000})
	if want := len(all)*2/3 + 1; len(got) != want {
		t.Errorf("%d events are left, want %d", len(got), want)
	}
	streams, err := s.Streams(ctx, hello)
	var names []string
	for _, info := range streams {
		names = append(names, fmt.Sprint(info.Name, info.Events))
	}
	if err != nil || strings.Join(names, " ") != "empty0 s01001 s10 s21000" {
		t.Errorf("streams %q, %v", names, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestGroupsAreMadeAndConfigured(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	ctx := t.Context()
	if err := s.CreateGroup(ctx, hello, map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateGroup(ctx, hello, nil); !errors.Is(err, ErrGroupExists) {
		t.Errorf("made twice: %v", err)
	}
	if err := s.Configure(ctx, "/none", func(*Group) {}); !errors.Is(err, ErrNoGroup) {
		t.Errorf("configured what is not there: %v", err)
	}
	if err := s.Configure(ctx, hello, func(g *Group) { g.Retention, g.Tags["c"] = 7, "d" }); err != nil {
		t.Fatal(err)
	}
	before, err := s.Group(ctx, hello)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	after, err := open(t, dir, 0).Group(ctx, hello)
	if err != nil || after.Retention != 7 || len(after.Tags) != 2 || !after.Created.Equal(before.Created) {
		t.Errorf("after reopening %+v, before %+v, %v", after, before, err)
	}
}

// TestRetentionIsCarriedOut: events past their retention are not shown from the first moment on, and their segments go.
func TestRetentionIsCarriedOut(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	st := s.Stream(hello, "a")
	st.Append(time.Now().Add(-25*time.Hour), "yesterday's")
	s.sync(t.Context())
	s.disk.Lock()
	s.groups[hello].begin()
	s.disk.Unlock()
	st.Append(time.Now().Add(-25*time.Hour), "another of yesterday's")
	st.Append(time.Now().Add(-23*time.Hour), "today's")
	if got := messages(t, s, Query{Group: hello}); len(got) != 3 {
		t.Fatalf("before there is a retention: %q", got)
	}
	if err := s.Configure(t.Context(), hello, func(g *Group) { g.Retention = 1 }); err != nil {
		t.Fatal(err)
	}
	if got := messages(t, s, Query{Group: hello}); len(got) != 1 || got[0] != "today's" {
		t.Errorf("shown: %q", got)
	}
	if got, _ := paged(t, s, PageQuery{Group: hello, Limit: 10}); len(got) != 1 {
		t.Errorf("paged: %+v", got)
	}
	files := func() []string { return must(filepath.Glob(filepath.Join(dir, "*", "*.log"))) }
	if got := files(); len(got) != 1 {
		t.Errorf("files: %q", got)
	}
	s.expireAll(time.Now().Add(2 * time.Hour)) // as the writer does now and then
	if got := files(); len(got) != 0 {
		t.Errorf("files when all is past: %q", got)
	}
	st.Append(time.Now(), "new")
	if got := messages(t, s, Query{Group: hello}); len(got) != 1 || got[0] != "new" {
		t.Errorf("afterwards: %q", got)
	}
	s.Close()
	old := time.Now().Add(-48 * time.Hour)
	for _, path := range files() {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, 0) // which has not read them
	s.expireAll(time.Now())
	if got := files(); len(got) != 0 {
		t.Errorf("files of an earlier server: %q", got)
	}
}

// FuzzLine: a record comes back as it was, also by encoding/json, which older servers wrote with.
func FuzzLine(f *testing.F) {
	f.Add(uint64(1), int64(2), "s", "m\n\"\\\u2028<\x00é")
	f.Add(uint64(1), int64(-2), "s\"x", "")
	f.Add(uint64(1), int64(2), "s", "a\xffb\xf0\x9f\x99\x80\x7f\x01\b\f")
	f.Fuzz(func(t *testing.T, id uint64, at int64, stream, message string) {
		e := Event{ID: id, Time: at, Arrived: at, Stream: strings.ToValidUTF8(stream, "?"), Message: strings.ToValidUTF8(message, "\ufffd")}
		encoded, _ := queued{to: &Stream{name: e.Stream}, id: id, time: at, arrived: at, text: e.Message, lines: 1}.take(nil, 1)
		encoded = bytes.TrimSuffix(encoded, []byte("\n"))
		var r record
		if err := json.Unmarshal(encoded, &r); err != nil || (Event{ID: r.ID, Time: r.Time, Stream: r.Stream, Message: r.Message, Arrived: r.Arrived}) != e {
			t.Errorf("%+v became %s, %v", e, encoded, err)
		}
		l, ok := parseLine(encoded)
		if got := l.event(string(l.stream)); !ok || got != e {
			t.Errorf("%+v came back as %+v, %v", e, got, ok)
		}
		parseLine([]byte(message))
	})
}

// BenchmarkPage looks for the few events of a million that a JSON pattern selects.
func BenchmarkPage(b *testing.B) {
	s := open(b, b.TempDir(), 1<<30)
	st := s.Stream(hello, "a")
	for i := range 1_000_000 {
		if i%500 == 0 {
			<-st.Room()
		}
		level := "INFO"
		if i%100_000 == 0 {
			level = "ERROR"
		}
		st.Append(noon.Add(time.Duration(i)*time.Millisecond), fmt.Sprintf(`{"timestamp":"2026-11-01T12:00:00Z","level":"%s","requestId":"8f507cfc-0000-4697-b07a-ac58fc914c95","n":%d,"message":"an order came in"}`+"\n", level, i))
	}
	for _, text := range []string{`{ $.level = "ERROR" }`, `{ $.n > 999990 }`, `ERROR`, ``} {
		p, err := logpattern.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				page, err := s.Page(b.Context(), PageQuery{Group: hello, Limit: 10_000, Bytes: 1 << 20, Pattern: p})
				if err != nil || len(page.Events) == 0 {
					b.Fatalf("%d events, %v", len(page.Events), err)
				}
			}
		})
	}
}
