package logstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/logpattern"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = "/aws/lambda/hello"

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string, maxBytes int64) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func messages(t testing.TB, s *Store, q Query) []string {
	t.Helper()
	events, err := s.Filter(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, e.Message)
	}
	return out
}

func TestEventsAreThereAtOnceAndAfterReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	st := s.Stream(hello, "2026/11/01/[$LATEST]0123")
	st.Append(noon, "one")
	st.Append(noon.Add(time.Second), "two\nin two lines \x01")
	first, err := s.Filter(t.Context(), Query{Group: hello})
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 2 || first[1].Message != "two\nin two lines \x01" || first[0].Time != noon.UnixMilli() || first[0].ID >= first[1].ID ||
		first[0].Stream != "2026/11/01/[$LATEST]0123" || first[0].Arrived == 0 {
		t.Fatalf("events %+v", first)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st.Append(noon, "after the end")

	s = open(t, dir, 0)
	again, err := s.Filter(t.Context(), Query{Group: hello})
	if err != nil || !slices.Equal(again, first) {
		t.Errorf("after reopening %+v (%v), before %+v", again, err, first)
	}
	s.Stream(hello, "b").Append(noon, "three")
	events, _ := s.Filter(t.Context(), Query{Group: hello, After: first[1].ID})
	if len(events) != 1 || events[0].ID <= first[1].ID {
		t.Errorf("after the restart %+v, want one event with an ID above %d", events, first[1].ID)
	}
}

func TestFilter(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	a, b := s.Stream(hello, "a/1"), s.Stream(hello, "b/1")
	for i := range 10 {
		a.Append(noon.Add(time.Duration(i)*time.Minute), fmt.Sprintf("a%d", i))
		b.Append(noon.Add(time.Duration(i)*time.Minute), fmt.Sprintf("b%d", i))
	}
	pattern, err := logpattern.Parse("?a1 ?b9")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		q    Query
		want string
	}{
		{"by stream prefix", Query{StreamPrefix: "a/"}, "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9"},
		{"by stream names", Query{Streams: []string{"b/1", "c"}, Limit: 2}, "b0 b1"},
		{"since is within, until is not", Query{Since: noon.Add(2 * time.Minute), Until: noon.Add(4 * time.Minute)}, "a2 b2 a3 b3"},
		{"the first few", Query{Limit: 3}, "a0 b0 a1"},
		{"the last few", Query{Limit: 3, Newest: true}, "b8 a9 b9"},
		{"the last few of one", Query{Limit: 3, Newest: true, StreamPrefix: "a"}, "a7 a8 a9"},
		{"more than there are", Query{Limit: 30, Newest: true, StreamPrefix: "a", Since: noon.Add(8 * time.Minute)}, "a8 a9"},
		{"by pattern", Query{Pattern: pattern}, "a1 b9"},
		{"nothing", Query{StreamPrefix: "c"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.q.Group = hello
			if got := strings.Join(messages(t, s, tc.q), " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	t.Run("pages by ID", func(t *testing.T) {
		var all []string
		var after uint64
		for {
			page, err := s.Filter(t.Context(), Query{Group: hello, Limit: 7, After: after})
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				all = append(all, e.Message)
			}
			after = page[len(page)-1].ID
		}
		if len(all) != 20 {
			t.Errorf("pages gave %q", all)
		}
	})
	t.Run("a group that never was", func(t *testing.T) {
		if _, err := s.Filter(t.Context(), Query{Group: "/aws/lambda/none"}); !errors.Is(err, ErrNoGroup) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("streams", func(t *testing.T) {
		got, err := s.Streams(t.Context(), hello)
		if err != nil || len(got) != 2 || got[0].Name != "a/1" || got[0].Events != 10 || got[1].First != noon.UnixMilli() || got[1].Last != noon.Add(9*time.Minute).UnixMilli() {
			t.Errorf("streams %+v, error %v", got, err)
		}
	})
}

// TestDeathAtEveryByte stands for kill -9 in the middle of a write: whatever was cut off, the whole lines before are there,
// and what is written later is not glued to the torn one.
func TestDeathAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	for i := range 3 {
		s.Stream(hello, "a").Append(noon, strings.Repeat("x", 20)+fmt.Sprint(i))
	}
	s.Close()
	path := filepath.Join(dir, folder(hello), "0000000000000001.log")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatalf("cut to %d bytes: %v", size, err)
		}
		s.Stream(hello, "a").Append(noon, "after")
		got := messages(t, s, Query{Group: hello})
		s.Close()
		lines := strings.Count(string(whole[:size]), "\n")
		if len(got) != lines+1 || got[lines] != "after" {
			t.Fatalf("cut to %d bytes: %q, want %d old events and a new one", size, got, lines)
		}
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	const bound = segments * minSegment
	s := open(t, dir, bound)
	st := s.Stream(hello, "a")
	for i := range 2000 {
		st.Append(noon.Add(time.Duration(i)*time.Second), fmt.Sprintf("event %04d", i))
		if i%100 == 0 {
			messages(t, s, Query{Group: hello, Limit: 1}) // to disk
		}
	}
	got := messages(t, s, Query{Group: hello})
	if len(got) < 100 || len(got) > 1000 || got[len(got)-1] != "event 1999" {
		t.Fatalf("%d events, last %q", len(got), got[len(got)-1])
	}
	for i, m := range got {
		if want := fmt.Sprintf("event %04d", 2000-len(got)+i); m != want {
			t.Fatalf("event %d is %q, want %q: a hole", i, m, want)
		}
	}
	if g := s.Groups(); len(g) != 1 || g[0].Bytes > bound || g[0].Name != hello {
		t.Errorf("groups %+v, bound %d", g, bound)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, folder(hello), "*.log")); len(files) > segments+1 {
		t.Errorf("segments left: %q", files)
	}
	if got := messages(t, s, Query{Group: hello, Since: noon.Add(1990 * time.Second)}); len(got) != 10 {
		t.Errorf("since the last ten: %q", got)
	}
}

func TestFollowAcrossRotationAndDeletion(t *testing.T) {
	s := open(t, t.TempDir(), segments*minSegment)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := make(chan string)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(seen)
		for e, err := range s.Follow(ctx, Query{Group: hello, Limit: 2, Newest: true}) {
			if err != nil {
				t.Error(err)
				return
			}
			seen <- e.Message
		}
	})
	st := s.Stream(hello, "a")
	for i := range 1000 { // begins before the group is there
		want := fmt.Sprintf("%0100d", i)
		st.Append(noon, want)
		if i%50 != 0 {
			continue // and only now and then waits, so that flushes carry one event or many
		}
		for {
			got, ok := <-seen
			if !ok {
				t.Fatalf("following ended before %s", want)
			}
			if got == want {
				break
			}
		}
	}
	for range 49 {
		<-seen
	}
	if len(s.Groups()) != 1 || s.Groups()[0].Bytes > segments*minSegment {
		t.Fatalf("no rotation: %+v", s.Groups())
	}
	if err := s.DeleteGroup(hello); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteGroup(hello); !errors.Is(err, ErrNoGroup) {
		t.Errorf("deleted twice: %v", err)
	}
	st.Append(noon, "anew")
	if got := <-seen; got != "anew" {
		t.Errorf("after the deletion %q", got)
	}
	cancel()
	wg.Wait()
}

func TestFollowEnds(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	st := s.Stream(hello, "a")
	st.Append(noon, "one")
	st.Append(noon, "two")
	t.Run("at its limit", func(t *testing.T) {
		n := 0
		for range s.Follow(t.Context(), Query{Group: hello, Limit: 2}) {
			n++
		}
		if n != 2 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("with the store, after the last event", func(t *testing.T) {
		var got []string
		for e := range s.Follow(t.Context(), Query{Group: hello}) {
			got = append(got, e.Message)
			if e.Message == "two" {
				st.Append(noon, "three")
				go s.Close()
			}
		}
		if strings.Join(got, " ") != "one two three" {
			t.Errorf("got %q", got)
		}
	})
}

// TestAppendLines: lines that come at once are events like others, also where a segment ends among them, where a long line
// is with them, and where only some have room.
func TestAppendLines(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	st := s.Stream(hello, "a")
	var want []string
	var text strings.Builder
	for i := range 3000 {
		line := fmt.Sprintf("%d %s\t\"\n", i, strings.Repeat("é", i%40))
		want = append(want, line)
		text.WriteString(line)
	}
	st.AppendLines(noon, text.String())
	st.Append(noon, "one\nmessage\n")
	long := strings.Repeat("x", maxMessage-1) + "\n"
	st.AppendLines(noon, "\n"+long+"no end")
	want = append(want, "one\nmessage\n", "\n", long, "no end")
	check := func(s *Store) {
		t.Helper()
		events, err := s.Filter(t.Context(), Query{Group: hello, Limit: len(want) + 1})
		if err != nil || len(events) != len(want) {
			t.Fatalf("%d events, want %d, %v", len(events), len(want), err)
		}
		for i, e := range events {
			if e.Message != want[i] || e.Time != noon.UnixMilli() || i > 0 && e.ID <= events[i-1].ID {
				t.Fatalf("event %d is %.80q with ID %d, want %.80q", i, e.Message, e.ID, want[i])
			}
		}
		rest, err := s.Filter(t.Context(), Query{Group: hello, After: events[1500].ID})
		if err != nil || len(rest) != len(want)-1501 {
			t.Errorf("%d events come after the 1501st, %v", len(rest), err)
		}
		streams, err := s.Streams(t.Context(), hello)
		if err != nil || len(streams) != 1 || streams[0].Events != len(want) {
			t.Errorf("streams %+v, %v", streams, err)
		}
	}
	check(s)
	if files, _ := filepath.Glob(filepath.Join(dir, "*", "*.log")); len(files) < 3 {
		t.Fatalf("segments %q: no one ended among lines", files)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 1<<20)
	check(s)

	s.disk.Lock() // nothing gets to the disk
	st = s.Stream(hello, "b")
	for range streamBytes / (1 << 19) {
		st.AppendLines(noon, strings.Repeat(strings.Repeat("y", 1<<12)+"\n", 60))
	}
	const few = 1000
	st.AppendLines(noon, strings.Repeat("z\n", 100*few))
	s.mu.Lock()
	held, dropped := s.bytes, st.dropped
	s.mu.Unlock()
	s.disk.Unlock()
	if dropped == 0 || dropped > 100*few || held > streamBytes || held < streamBytes-2*eventCost {
		t.Errorf("%d are dropped, %d bytes are queued", dropped, held)
	}
}

// TestSlowDisk holds the promise of Append: it returns while the disk does nothing, memory stays bounded, and the loss is told.
func TestSlowDisk(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	stuck, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.disk.Lock()
	s.delay = func() { once.Do(func() { close(stuck); <-free }) }
	s.disk.Unlock()
	quiet, loud := s.Stream(hello, "quiet"), s.Stream(hello, "loud")
	quiet.Append(noon, "before")
	<-stuck
	big := strings.Repeat("x", 64<<10)
	const n = 2 * streamBytes >> 16
	for range n {
		loud.Append(noon, big)
	}
	quiet.Append(noon, "meanwhile")
	s.mu.Lock()
	held := s.bytes
	s.mu.Unlock()
	if held > streamBytes+1<<20 {
		t.Errorf("%d bytes are queued", held)
	}
	close(free)
	got := messages(t, s, Query{Group: hello, StreamPrefix: "loud"})
	var dropped int
	if _, err := fmt.Sscanf(got[len(got)-1], "[thaw] %d events dropped", &dropped); err != nil {
		t.Fatalf("last event %.80q: %v", got[len(got)-1], err)
	}
	if kept := len(got) - 1; dropped == 0 || kept+dropped != n {
		t.Errorf("%d kept and %d dropped of %d", kept, dropped, n)
	}
	if got := messages(t, s, Query{Group: hello, StreamPrefix: "quiet"}); strings.Join(got, " ") != "before meanwhile" {
		t.Errorf("the quiet stream has %q", got)
	}
}

func TestDiskThatRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	st := s.Stream(hello, "a")
	st.Append(noon, "before")
	messages(t, s, Query{Group: hello})
	path := filepath.Join(dir, folder(hello), "0000000000000001.log")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // whoever runs the test, a folder is no file
		t.Fatal(err)
	}
	st.Append(noon, "lost")
	if err := s.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	st.Append(noon, "after")
	got := messages(t, s, Query{Group: hello})
	if len(got) != 3 || got[0] != "before" || !slices.ContainsFunc(got, func(m string) bool { return strings.HasPrefix(m, "[thaw] 1 events dropped") }) || !slices.Contains(got, "after") {
		t.Errorf("got %q", got)
	}
}

func TestLongMessagesAreSplitBetweenCharacters(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	long := strings.Repeat("é", maxMessage) // two bytes each
	s.Stream(hello, "a").Append(noon, "x"+long)
	got := messages(t, s, Query{Group: hello})
	if len(got) != 3 || strings.Join(got, "") != "x"+long {
		t.Errorf("%d events", len(got))
	}
}

func TestNamesAreSafe(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	names := []string{"/aws/lambda/a", "..", ".", "../../etc/passwd", "a/b", "a%2Fb", strings.Repeat("n", 512), strings.Repeat("n", 511) + "m", "ü\x00\n", "name"}
	for _, n := range names {
		s.Stream(n, "../"+n).Append(noon, n)
	}
	s.sync(t.Context())
	s.Close()
	s = open(t, dir, 0)
	if len(s.Groups()) != len(names) {
		t.Errorf("groups %+v", s.Groups())
	}
	for _, n := range names {
		if got := messages(t, s, Query{Group: n}); len(got) != 1 || got[0] != n {
			t.Errorf("%.40q has %.80q", n, got)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
		t.Errorf("something stands outside of the folder: %v", entries)
	}
}

func TestManyWritersAndReaders(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	const writers, each = 8, 500
	var wg sync.WaitGroup
	followed := make([]int, 2)
	for i := range followed {
		wg.Go(func() {
			for range s.Follow(t.Context(), Query{Group: hello, Limit: writers * each}) {
				followed[i]++
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			st := s.Stream(hello, fmt.Sprint(w))
			defer st.Close()
			for i := range each {
				st.Append(noon, fmt.Sprint(i))
				if i%100 == 0 {
					s.Filter(t.Context(), Query{Group: hello, Limit: 3, Newest: true})
				}
			}
		})
	}
	wg.Wait()
	if followed[0] != writers*each || followed[1] != writers*each {
		t.Errorf("followers saw %v, want %d each", followed, writers*each)
	}
	events, err := s.Filter(t.Context(), Query{Group: hello})
	if err != nil || len(events) != writers*each {
		t.Fatalf("%d events, error %v", len(events), err)
	}
	next := map[string]int{}
	for i, e := range events {
		if e.Message != fmt.Sprint(next[e.Stream]) {
			t.Fatalf("stream %s: %s out of order", e.Stream, e.Message)
		}
		next[e.Stream]++
		if i > 0 && e.ID <= events[i-1].ID {
			t.Fatal("IDs do not grow")
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), 0)
	st := s.Stream(hello, "a")
	b.ReportAllocs()
	for b.Loop() {
		st.Append(noon, "END RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95")
	}
}
