package gvisor

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

func TestAFrozenSandboxUsesNoProcessor(t *testing.T) {
	t.Run("with the host's cgroups", func(t *testing.T) { frozenUsesNoProcessor(t, open(t, nil)) })
	t.Run("with cgroup version 2 alone", func(t *testing.T) {
		frozenUsesNoProcessor(t, open(t, func(o *Options) { o.onlyV2 = true }))
	})
}

func frozenUsesNoProcessor(t *testing.T, b *Backend) {
	if !b.groups.V2() {
		t.Skip("this host has no cgroup v2")
	}
	g := create(t, b, sandbox.Spec{})
	g.must("spin 3")
	cpu := func() time.Duration {
		d, err := g.Sandbox.(*Sandbox).group.CPUTime()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	start := cpu()
	until(t, "a spinning sandbox uses the processor", func() bool { return cpu() > start+20*time.Millisecond })
	for range 3 {
		clock := number(t, g.must("clock"))
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		before := cpu()
		time.Sleep(100 * time.Millisecond) // the time in which nothing must happen
		if after := cpu(); after != before {
			t.Errorf("a frozen sandbox used %v of processor time", after-before)
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
		if went := number(t, g.must("clock")) - clock; went < int64(100*time.Millisecond) {
			t.Errorf("the monotonic clock went on by %v while 100ms passed", time.Duration(went))
		}
		start = cpu()
		until(t, "a thawed sandbox spins on", func() bool { return cpu() > start+20*time.Millisecond })
	}
}

func number(tb testing.TB, s string) int64 {
	tb.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestTmpIsNotMemory(t *testing.T) {
	b := open(t, nil)
	g := create(t, b, sandbox.Spec{MemoryMiB: 64, TmpMiB: 256})
	before, err := g.MemoryUsed()
	if err != nil {
		t.Fatal(err)
	}
	const fits = 250 << 20 // far more than the memory limit, and what the platform needs itself
	if got := number(t, g.must("write /tmp/large %d", fits)); got != fits {
		t.Errorf("wrote %d of %d bytes", got, fits)
	}
	after, err := g.MemoryUsed()
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown > 16<<20 {
		t.Errorf("memory used grew by %d bytes with %d in /tmp", grown, fits)
	}
	if got := g.do("write /tmp/more %d", 20<<20); !strings.Contains(got, "no space left") {
		t.Errorf("270 MiB into a /tmp of 256: %s", got)
	}
	select {
	case <-g.MemoryExceeded():
		t.Error("a full /tmp was taken for a full memory")
	default:
	}
	g.must("remove /tmp/large")
	g.must("write /tmp/again %d", fits)
	if got := g.must("echo alive"); got != "echo alive" {
		t.Errorf("echo answered %q", got)
	}
}

func TestMemoryLimit(t *testing.T) {
	b := open(t, nil)
	if !b.Capabilities().LimitsMem {
		t.Skip("this host has no memory cgroup")
	}
	t.Run("what is within it passes", func(t *testing.T) {
		g := create(t, b, sandbox.Spec{ID: "within", MemoryMiB: 128})
		g.must("alloc %d", 110<<20)
		used, err := g.MemoryUsed()
		if err != nil {
			t.Fatal(err)
		}
		if used < 105<<20 || used > 128<<20 {
			t.Errorf("%d bytes used with 110 MiB allocated", used)
		}
		select {
		case <-g.MemoryExceeded():
			t.Error("exceeded")
		default:
		}
	})
	t.Run("beyond it the owner is told, and a guest that kills goes on", func(t *testing.T) {
		g := create(t, b, sandbox.Spec{ID: "told", MemoryMiB: 128})
		for round := range 2 {
			g.send(wire.KindInvoke, wire.Invoke{RequestID: "r"}, fmt.Sprintf("alloc %d", 170<<20))
			select {
			case <-g.MemoryExceeded():
			case <-g.Exited():
				t.Fatalf("round %d: it ended: %+v", round, g.Exit())
			case <-time.After(patience):
				t.Fatal("nobody was told")
			}
			// The test's guest frees what it holds when its runtime would be killed.
			g.expect(wire.KindResponse)
			g.send(wire.KindOutOfMemory, nil, "")
			g.expect(wire.KindExited)
			until(t, "the limit is back", func() bool {
				used, err := g.MemoryUsed()
				return err == nil && used < 100<<20
			})
			if got := g.must("echo alive"); got != "echo alive" {
				t.Errorf("echo answered %q", got)
			}
		}
	})
	t.Run("a guest that does not kill ends", func(t *testing.T) {
		g := create(t, b, sandbox.Spec{ID: "stubborn", MemoryMiB: 128})
		g.send(wire.KindInvoke, wire.Invoke{RequestID: "r"}, fmt.Sprintf("alloc %d", 1<<30))
		select {
		case <-g.Exited():
		case <-time.After(patience):
			t.Fatal("it lives on")
		}
		if e := g.Exit(); !e.OutOfMemory || e.Asked {
			t.Errorf("exit %+v, want out of memory", e)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}
