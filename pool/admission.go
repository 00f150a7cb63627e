package pool

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Cores tells how busy the host's cores are.
type Cores interface {
	// Idle is the share of the cores' time since the last call in which they had nothing to do, 0 to 1; -1 when it is not known.
	Idle() float64
}

// admission lets cold starts through as the cores allow: as many at once as there are cores, and more while those that run do not need
// them (an Init that waits for a network holds no core). First come, first served. Waiting here is not Init time: nothing of the
// function runs yet.
type admission struct {
	cores Cores
	limit int

	mu      sync.Mutex
	running int
	spares  int // starts ahead of demand; they are no reason to keep a real one waiting
	queue   []chan struct{}
	watch   bool // the goroutine that looks at the cores runs
}

// crowd is how many times the limit may run when the cores stay idle; it bounds what a burst of sleeping Inits costs in memory.
const crowd = 32

// glance is how often the cores are looked at while somebody waits.
const glance = 50 * time.Millisecond

func newAdmission(limit int, cores Cores) *admission {
	if limit <= 0 {
		limit = runtime.GOMAXPROCS(0)
	}
	return &admission{cores: cores, limit: limit}
}

// enter waits for a place; leave gives it back and must be called once.
func (a *admission) enter(ctx context.Context) (leave func(), err error) {
	a.mu.Lock()
	if a.running < a.limit {
		a.running++
		a.mu.Unlock()
		return a.leave, nil
	}
	turn := make(chan struct{})
	a.queue = append(a.queue, turn)
	if !a.watch {
		a.watch = true
		go a.look()
	}
	a.mu.Unlock()
	select {
	case <-turn:
		return a.leave, nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, t := range a.queue {
		if t == turn {
			a.queue = append(a.queue[:i], a.queue[i+1:]...)
			return nil, context.Cause(ctx)
		}
	}
	a.leaveLocked() // its turn came in the same moment
	return nil, context.Cause(ctx)
}

// spare gives a place to a start ahead of demand, when one is free that no real start needs, and half of the cores stay
// without such work; errUnwanted when there is none. leave gives it back and must be called once.
func (a *admission) spare(context.Context) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) > 0 || a.running+a.spares >= a.limit || a.spares >= max(1, a.limit/2) {
		return nil, errUnwanted
	}
	a.spares++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.spares--
	}, nil
}

func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaveLocked()
}

func (a *admission) leaveLocked() {
	a.running--
	for a.running < a.limit && len(a.queue) > 0 {
		a.nextLocked()
	}
}

func (a *admission) nextLocked() {
	close(a.queue[0])
	a.queue = a.queue[1:]
	a.running++
}

// look admits one more whenever a good part of the cores had nothing to do since the last look. It ends with the queue.
func (a *admission) look() {
	t := time.NewTicker(glance)
	defer t.Stop()
	a.cores.Idle() // begins the first interval
	for range t.C {
		idle := a.cores.Idle()
		a.mu.Lock()
		if len(a.queue) == 0 {
			a.watch = false
			a.mu.Unlock()
			return
		}
		if idle > 0.3 && a.running < crowd*a.limit {
			a.nextLocked()
			for n := 1; n < a.limit && idle > 0.6 && len(a.queue) > 0; n++ {
				a.nextLocked()
			}
		}
		a.mu.Unlock()
	}
}
