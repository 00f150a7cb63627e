package firecracker

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func awaitSlots(t *testing.T, b *Backend, n int) (names []string) {
	t.Helper()
	until(t, "as many slots as asked for", func() bool {
		b.work.mu.Lock()
		defer b.work.mu.Unlock()
		names = names[:0]
		for _, s := range b.work.slots.Ready {
			names = append(names, s.name)
		}
		return len(names) >= n
	})
	return names
}

func TestSlotsAreMadeAgain(t *testing.T) {
	b := open(t, func(o *Options) { o.Slots = 2 })
	if n := b.Capabilities().BlankReady; n != 2 {
		t.Errorf("it says that it keeps %d", n)
	}
	for range 2 {
		before := awaitSlots(t, b, 2)
		x := create(t, b, "taken")
		if !slices.Contains(before, x.name) {
			t.Errorf("machine %s was in none of the slots %q", x.name, before)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("also one whose monitor died", func(t *testing.T) {
		awaitSlots(t, b, 2)
		b.work.mu.Lock()
		victim := b.work.slots.Ready[0]
		b.work.mu.Unlock()
		unix.Kill(victim.PIDs()[0], unix.SIGKILL)
		<-victim.Exited()
		if x := create(t, b, "after"); x.Sandbox == victim {
			t.Error("Create returned a dead one")
		}
		awaitSlots(t, b, 2)
	})
}
