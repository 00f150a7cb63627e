package agenda

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thaw/schedule"
)

// BenchmarkSameSecond is how long 10,000 schedules that are due in the same second take to be fired, without what firing
// does: the heap, the ledger and its notes.
func BenchmarkSameSecond(b *testing.B) {
	const n = 10_000
	var offset atomic.Int64
	a, err := Open(Options{Path: filepath.Join(b.TempDir(), "fired"), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(offset.Load())) }})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	e, err := schedule.Parse("cron(* * * * ? *)", schedule.Rules)
	if err != nil {
		b.Fatal(err)
	}
	var wait sync.WaitGroup
	for i := range n {
		key := fmt.Sprintf("arn:aws:events:eu-west-1:000000000000:rule/rule-%d", i)
		a.Set(key, Entry{Timing: &schedule.Timing{Expression: e, Key: key}, Fire: func(context.Context, schedule.Tick) error { wait.Done(); return nil }})
	}
	a.Start()
	for b.Loop() {
		wait.Add(n)
		offset.Add(int64(time.Minute))
		a.poke()
		wait.Wait()
	}
}
