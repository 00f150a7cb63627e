package guest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/guest/wire"
)

// cost is what arrived so far.
func (r *running) cost() (n int64) {
	for _, l := range r.Logs() {
		n += wire.LogCost([]byte(l.Text))
	}
	return n
}

// settled waits until nothing more arrives, and says how much that was.
func (r *running) settled() int64 {
	for last := int64(-1); ; time.Sleep(200 * time.Millisecond) {
		n := r.cost()
		if n == last && n > 0 {
			return n
		}
		last = n
	}
}

// credit gives the guest room for as much output as has arrived, as a server does; until the returned function is called.
func (r *running) credit() (stop func()) {
	done := make(chan struct{})
	var credits sync.WaitGroup
	credits.Go(func() {
		for given := int64(0); ; {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				if cost := r.cost(); cost > given {
					r.Send(wire.KindLogCredit, wire.LogCredit{Cost: cost - given}, nil)
					given = cost
				}
			}
		}
	})
	return func() { close(done); credits.Wait() }
}

// overdraw is what one reading of each pipe may cost beyond the window: lines of ten bytes.
const overdraw = 2 * 16 << 10 * 14

// TestWindow: output stays in its pipe until the server has credited what came before, and no end of a process depends on it.
func TestWindow(t *testing.T) {
	write := func(then string) *running {
		r := create(t, script(t, `seq 100000000 100039999; echo written >&2; `+then)) // 400 KB in 40,000 lines: twenty windows
		s := r.start(1)
		s.LogWindow = wire.LogWindow
		r.Start(s)
		return r
	}
	within := func(t *testing.T, n, limit int64) {
		t.Helper()
		if n < limit-wire.LogWindow || n > limit+overdraw {
			t.Errorf("output that costs %d arrived; want about %d", n, limit)
		}
	}
	t.Run("credit", func(t *testing.T) {
		r := write(`curl -sS "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"`)
		var given int64 = wire.LogWindow
		within(t, r.settled(), given)
		for range 3 {
			r.Send(wire.KindLogCredit, wire.LogCredit{Cost: 100 << 10}, nil)
			given += 100 << 10
		}
		time.Sleep(100 * time.Millisecond) // nothing to wait for: no more than that may come
		within(t, r.settled(), given)
		credited := r.credit()
		r.Ready()
		credited()
		if got := r.Output(wire.LogStderr); got != "written\n" {
			t.Errorf("stderr has %q", got)
		}
		lines := strings.Split(strings.TrimSuffix(r.Output(wire.LogStdout), "\n"), "\n")
		for i, l := range lines {
			if l != fmt.Sprint(100000000+i) {
				t.Fatalf("line %d is %q", i, l)
			}
		}
		if len(lines) != 40000 {
			t.Errorf("%d lines arrived before Ready", len(lines))
		}
	})
	t.Run("more than a window at the end", func(t *testing.T) { // of nothing but empty lines, all in the pipe when next is called
		r := create(t, script(t, `head -c 60000 /dev/zero | tr '\0' '\n'; curl -sS "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"`))
		s := r.start(1)
		s.LogWindow = wire.LogWindow
		credited := r.credit()
		r.Start(s)
		r.Ready()
		credited()
		if got := r.Output(wire.LogStdout); len(got) != 60000 {
			t.Errorf("%d bytes arrived before Ready", len(got))
		}
	})
	t.Run("kill", func(t *testing.T) { // with the writer waiting, and with the pipe full
		r := write("sleep 1000")
		r.settled()
		began := time.Now()
		r.Kill(1, 0)
		if took := time.Since(began); took > patience/2 {
			t.Errorf("the kill took %v", took)
		}
		s := r.start(2)
		s.LogWindow = wire.LogWindow
		r.Start(s)
		r.Send(wire.KindLogCredit, wire.LogCredit{Cost: 100 * wire.LogWindow}, nil) // more than is owed
		r.settled()
		r.Kill(2, 0)
	})
	t.Run("exit", func(t *testing.T) { // of a process that has a child which goes on writing
		r := create(t, script(t, `yes & sleep 1; exit 7`))
		s := r.start(1)
		s.LogWindow = wire.LogWindow
		r.Start(s)
		var e wire.Exited
		if r.Take(wire.KindExited, &e); e.Code != 7 {
			t.Errorf("exit %+v", e)
		}
		r.Kill(1, 0)
	})
	t.Run("snapshot", func(t *testing.T) {
		r := write("sleep 1000")
		before := r.settled()
		r.Send(wire.KindQuiesce, nil, nil)
		r.Take(wire.KindQuiesced, nil)
		r.Send(wire.KindRestored, wire.Restored{UnixNanos: time.Now().UnixNano(), Entropy: make([]byte, 64), EnvID: "e"}, nil)
		for r.cost() == before {
			time.Sleep(time.Millisecond)
		}
		within(t, r.settled(), before+wire.LogWindow)
		r.Kill(1, 0)
	})
}
