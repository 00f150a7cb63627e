package guest

import (
	"syscall"
	"time"

	"thaw/guest/wire"
)

// lastNews is how much of a shutdown's budget telemetry may take before SHUTDOWN is delivered; it goes on afterwards.
const lastNews = 200 * time.Millisecond

// kill ends a generation.
func (g *Guest) kill(k wire.Kill) {
	g.mu.Lock()
	gen := g.gen
	g.mu.Unlock()
	answer := wire.Killed{Generation: k.Generation}
	if gen != nil && gen.number == k.Generation {
		if !gen.condemn() {
			return
		}
		gen.shutDown(k)
		answer.Left = g.procs.killAll()
		gen.out.hurry()
		if answer.Left == 0 {
			<-gen.gone
		}
		// Only now: closing earlier would answer parked calls, and clients complain about that. E-102
		gen.api.Close()
		g.api.end()
		gen.out.close()
		gen.hub.Close()
		g.mu.Lock()
		g.gen = nil
		g.mu.Unlock()
		g.note(freeAbove)
		g.giveBack()
	}
	g.box.send(wire.KindKilled, answer, nil)
}

// condemn says that from now on no exit is news and no process is started; false: that was said before.
func (n *generation) condemn() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.killed {
		return false
	}
	n.killed = true
	if l := n.waiting; l != nil {
		n.waiting = nil
		l.close()
		close(n.gone) // it was never started
	}
	return true
}

// shutDown lets the processes end by themselves within the budget: the runtime by SIGTERM, and then the extensions by SHUTDOWN.
// What the runtime leaves of its share is the extensions'. E-096 to E-101. Source: spec 1.9.
func (n *generation) shutDown(k wire.Kill) {
	if k.BudgetMs == 0 {
		return
	}
	began := time.Now()
	end := began.Add(time.Duration(k.BudgetMs) * time.Millisecond)
	n.guest.procs.signalGroup(syscall.SIGTERM)
	n.hub.Flush(lastNews) // before those who want it are told to end
	if !within(time.Until(began.Add(time.Duration(k.RuntimeMs)*time.Millisecond)), n.gone) {
		n.guest.procs.signalGroup(syscall.SIGKILL)
	}
	n.mu.Lock()
	exts := n.exts
	n.mu.Unlock()
	others := n.api.Shutdown(k.Reason, end.UnixMilli())
	for _, c := range exts {
		for _, name := range others {
			if c.name == name { // E-099
				n.guest.procs.killGroup(c.pid)
			}
		}
	}
	for _, c := range exts {
		if !within(time.Until(end), c.gone) {
			return
		}
	}
}

// within waits for the end of something, at most so long, and says whether it came.
func within(limit time.Duration, end <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-end:
		return true
	case <-timer.C:
		return false
	}
}
