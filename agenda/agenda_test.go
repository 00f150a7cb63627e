package agenda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"thaw/schedule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an agenda whose clock can be set, and what it fired.
type world struct {
	t    *testing.T
	path string
	a    *Agenda

	mu     sync.Mutex
	offset time.Duration // of the clock that is shown
	fired  []string
	fail   map[string]bool
}

func newWorld(t *testing.T) *world {
	return &world{t: t, path: filepath.Join(t.TempDir(), "schedules", "fired"), fail: map[string]bool{}}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset).UTC()
}

func (w *world) failing(key string, fails bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail[key] = fails
}

func (w *world) set(offset time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += offset
}

func (w *world) entry(key, text string, done func()) Entry {
	e, err := schedule.Parse(text, schedule.Scheduler)
	if err != nil {
		w.t.Fatal(err)
	}
	return Entry{Timing: &schedule.Timing{Expression: e, Key: key, Anchor: w.now()}, Done: done, Fire: func(_ context.Context, t schedule.Tick) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.fail[key] {
			return errors.New("the disk is full")
		}
		w.fired = append(w.fired, key+t.Due.UTC().Format(" 15:04"))
		return nil
	}}
}

func (w *world) open(entries map[string]string) {
	w.t.Helper()
	var err error
	if w.a, err = Open(Options{Path: w.path, Log: slog.New(slog.DiscardHandler), Now: w.now}); err != nil {
		w.t.Fatal(err)
	}
	for key, text := range entries {
		w.a.Load(key, w.entry(key, text, nil))
	}
	w.a.Start()
}

// saw are the firings since the last look.
func (w *world) saw(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.fired)
	if !slices.Equal(w.fired, want) {
		w.t.Errorf("fired %q, want %q", w.fired, want)
	}
	w.fired = nil
}

var minutely = map[string]string{"a": "cron(* * * * ? *)", "b": "cron(0/2 * * * ? *)"}

// S-110: no time comes twice or is left out over restarts, and what was missed is not caught up with.
func TestRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t) // it is midnight
		w.open(minutely)
		time.Sleep(3*time.Minute + 10*time.Second)
		w.saw("a 00:01", "a 00:02", "a 00:03", "b 00:02")
		for range 3 { // in the same minute
			w.a.Close()
			w.a.Close() // as a server does
			w.open(minutely)
		}
		time.Sleep(40 * time.Second)
		w.saw()
		w.a.Close()
		time.Sleep(20 * time.Second) // down at 00:04, for less than a minute
		w.open(minutely)
		time.Sleep(time.Second)
		w.saw("a 00:04", "b 00:04")
		w.a.Close()
		time.Sleep(time.Hour)
		w.open(minutely)
		time.Sleep(time.Minute)
		w.saw("a 01:04", "a 01:05", "b 01:04")
		w.a.Close()
	})
}

// What was taken and not fired when the server ended is fired afterwards, and nothing else again.
func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.open(minutely)
		w.failing("b", true)
		time.Sleep(2*time.Minute + 10*time.Second)
		w.saw("a 00:01", "a 00:02")
		w.a.Close()
		f, err := os.OpenFile(w.path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "f 2 94668492000000") // the kill cut this line off
		f.Close()
		w.failing("b", false)
		time.Sleep(time.Hour)
		w.open(minutely)
		time.Sleep(time.Second)
		w.saw("a 01:02", "b 00:02", "b 01:02")
		w.a.Close()
		w.open(minutely)
		time.Sleep(30 * time.Second)
		w.saw()
		w.a.Close()
	})
}

// Of more schedules than are fired at once some fail, and the server ends meanwhile: each is fired once.
func TestFailuresInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const n = 2*workers + 100
		many := map[string]string{}
		for i := range n {
			key := fmt.Sprintf("schedule-%04d", i)
			many[key] = "cron(0/30 * * * ? *)"
			w.failing(key, i%7 == 3)
		}
		w.open(many)
		time.Sleep(30*time.Minute + 10*time.Second)
		synctest.Wait()
		first := len(w.fired)
		if want := n - (n+3)/7; first != want {
			t.Errorf("%d were fired, want %d", first, want)
		}
		w.a.Close()
		clear(w.fail)
		time.Sleep(5 * time.Minute)
		w.open(many)
		time.Sleep(time.Second)
		synctest.Wait()
		slices.Sort(w.fired)
		if all := len(w.fired); all != n || len(slices.Compact(w.fired)) != n {
			t.Errorf("%d were fired, %d of them before the restart; want each of %d once", all, first, n)
		}
		w.a.Close()
	})
}

// A clock that is set.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.open(minutely)
		time.Sleep(61 * time.Second)
		w.saw("a 00:01")
		w.set(time.Hour) // 01:01:01
		time.Sleep(2 * time.Second)
		w.saw("a 01:01")
		w.set(-30 * time.Minute) // 00:31:03: none of the next half hour comes again
		time.Sleep(30 * time.Minute)
		w.saw()
		time.Sleep(time.Minute)
		w.saw("a 01:02", "b 01:02")
		w.set(365 * 24 * time.Hour) // a mistake
		time.Sleep(2 * time.Minute)
		w.saw("a 01:02", "a 01:03", "a 01:04", "b 01:02", "b 01:04")
		w.set(-365 * 24 * time.Hour)
		time.Sleep(2 * time.Minute)
		w.saw("a 01:05", "a 01:06", "b 01:06")
		w.a.Close()
		w.set(-48 * time.Hour) // while the server is down
		w.open(minutely)
		time.Sleep(time.Minute)
		w.saw("a 01:07")
		w.a.Close()
	})
}

// Schedules that come, change and go, and the last time of one.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.open(nil)
		over := make(chan string, 2)
		w.a.Set("once", w.entry("once", "at(2000-01-01T00:02:00)", func() { over <- "once" }))
		w.a.Set("past", w.entry("past", "at(1999-01-01T00:02:00)", func() { over <- "past" }))
		w.a.Set("x", w.entry("x", "rate(1 minute)", nil))
		w.a.Set("y", w.entry("y", "cron(* * * * ? *)", nil))
		if got := <-over; got != "past" {
			t.Error(got)
		}
		time.Sleep(61 * time.Second)
		w.saw("x 00:01", "y 00:01")
		w.a.Set("y", w.entry("y", "cron(3 * * * ? *)", nil))
		w.a.Remove("x")
		w.a.Remove("x")
		if next := w.a.Next("y"); next.Minute() != 3 || !w.a.Next("x").IsZero() {
			t.Error(next)
		}
		time.Sleep(2 * time.Minute)
		w.saw("once 00:02", "y 00:03")
		if got := <-over; got != "once" {
			t.Error(got)
		}
		w.a.Close()
	})
}

// The file does not grow with time, and one that is nonsense stops nobody.
func TestLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		many := map[string]string{}
		for i := range 300 {
			many[fmt.Sprintf("schedule-%d", i)] = "cron(* * * * ? *)"
		}
		w.open(many)
		time.Sleep(20*time.Minute + time.Second)
		synctest.Wait()
		if len(w.fired) != 300*20 {
			t.Errorf("%d fired", len(w.fired))
		}
		w.a.Close()
		b, err := os.ReadFile(w.path)
		if err != nil || len(b) > 2*rewriteAt {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		w.fired = nil
		if err := os.WriteFile(w.path, []byte("b x\nf 1 2\nd\n\nb 7 1 y\nf 9 9 unquoted\n"+strings.Repeat("z", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		w.open(minutely)
		time.Sleep(time.Minute)
		w.saw("a 00:21") // nobody knows any more that the last minute was
		w.a.Close()
	})
}
