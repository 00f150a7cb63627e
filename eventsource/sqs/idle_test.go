package sqs

import (
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/poller"
	"thaw/function"
)

// A thousand mappings of queues that have nothing take at most 2 % of a core and 150 MB. (THAW_TEST_IDLE is how many
// seconds are measured; it is the whole process that is, so nothing else runs.)
func TestAThousandIdleMappings(t *testing.T) {
	seconds, err := strconv.Atoi(os.Getenv("THAW_TEST_IDLE"))
	if err != nil {
		t.Skip("it takes a minute to measure: THAW_TEST_IDLE=60")
	}
	s := elasticMQ(t)
	store := eventsourcetest.NewStore().Server()
	view := function.NewView()
	view.Loaded()
	service, err := poller.Open(t.Context(), poller.Options{Records: store, Checkpoints: store, Leases: store, Drivers: map[eventsource.Kind]eventsource.Driver{eventsource.SQS: s.driver},
		View: view, Metrics: eventsourcetest.NoMetrics{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const mappings = 1000
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for i := w; i < mappings; i += 8 {
				m, err := eventsource.New(eventsource.SQS, &eventsource.Request{})
				if err != nil {
					t.Error(err)
					return
				}
				m.ID, m.Source.ARN = eventsource.ID(strconv.Itoa(i)), s.queue(t, false, nil)
				if _, err := service.Create(t.Context(), m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	eventsourcetest.Until(t, "all are enabled", func() bool {
		for _, m := range service.List() {
			if m.State != eventsource.Enabled {
				return false
			}
		}
		return true
	})
	runtime.GC()
	before := used(t)
	time.Sleep(time.Duration(seconds) * time.Second)
	after := used(t)
	share := 100 * (after - before).Seconds() / float64(seconds)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	mb := pages * os.Getpagesize() >> 20
	t.Logf("%d idle mappings: %.2f %% of a core, %d MB", mappings, share, mb)
	if share > 2 || mb > 150 {
		t.Error("that is more than 2 % and 150 MB")
	}
	if err := service.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// used is the processor time of this process.
func used(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
