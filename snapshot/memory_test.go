package snapshot_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"thaw/function"
	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

// heldMB is what the process has of the host for Go's heap and runtime.
func heldMB() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()-s[1].Value.Uint64()) >> 20
}

// Functions are refreshed again and again, two at a time: pages stream through, and what is held to compare them with
// is bounded, however many functions there are.
func TestMakingSnapshotsTakesLittleMemory(t *testing.T) {
	const functions, generations, limit, pages = 3, 2, 150, 32 << 20 / snapshot.PageSize
	defer debug.SetGCPercent(debug.SetGCPercent(snapshot.GCPercent)) // as the server does
	dir := t.TempDir()
	path := func(f int) string { return filepath.Join(dir, string(rune('a'+f))) }
	memory := make([][]byte, functions)
	for f := range functions {
		memory[f] = snapshottest.Memory(uint64(f+1), pages)
	}
	s := openStore(t, folder(t, t.TempDir()), func(o *snapshot.Options) { o.Workers, o.PackPages = 2, 0 })
	for g := uint64(1); g <= generations; g++ {
		for f := range functions {
			if g > 1 {
				b, err := os.ReadFile(path(f))
				if err != nil {
					t.Fatal(err)
				}
				memory[f] = snapshottest.Rebuilt(b, g)
			}
			if err := os.WriteFile(path(f), memory[f], 0o600); err != nil {
				t.Fatal(err)
			}
			memory[f] = nil
		}
		runtime.GC()
		debug.FreeOSMemory()
		idle := heldMB()
		peak, stop := idle, make(chan struct{})
		var watch sync.WaitGroup
		watch.Go(func() {
			for tick := time.Tick(2 * time.Millisecond); ; {
				select {
				case <-stop:
					return
				case <-tick:
					peak = max(peak, heldMB())
				}
			}
		})
		begin := time.Now()
		makers := make(chan struct{}, 2)
		var wg sync.WaitGroup
		for f := range functions {
			makers <- struct{}{}
			wg.Go(func() {
				defer func() { <-makers }()
				m := meta(1, g)
				m.Key.Function += function.ARN(rune('a' + f))
				makeFrom(t, s, m, path(f))
			})
		}
		wg.Wait()
		close(stop)
		watch.Wait()
		t.Logf("generation %d: %d MB when idle, %d MB more while %d snapshots are made, %v", g, idle, peak-idle, functions, time.Since(begin))
		if peak-idle > limit {
			t.Errorf("generation %d: %d MB more than when idle, the limit is %d", g, peak-idle, limit)
		}
	}
}

func makeFrom(t *testing.T, s *snapshot.Store, m snapshot.Meta, path string) {
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	w, err := s.Begin(context.Background(), m)
	if err != nil {
		t.Error(err)
		return
	}
	defer w.Close()
	if err := w.Add("pages", f); err != nil {
		t.Error(err)
	}
	if _, err := w.Commit(nil); err != nil {
		t.Error(err)
	}
}
