package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/pool"
)

// ahead makes spares as the starter makes all others: to the pool it is the same where a spare comes from. node tries it with snapshots.
type ahead struct {
	starter
	mu     sync.Mutex
	asked  []time.Time
	vars   map[string]string // of spares, instead of the version's
	refuse func() error
	sparse atomic.Bool // there is no snapshot
}

func (a *ahead) Ready(*function.Version) bool { return !a.sparse.Load() }

func (a *ahead) Restore(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	a.mu.Lock()
	a.asked = append(a.asked, time.Now())
	if a.vars != nil {
		c := *v
		c.Vars = a.vars
		v = &c
	}
	refuse := a.refuse
	a.mu.Unlock()
	if refuse != nil {
		if err := refuse(); err != nil {
			return nil, err
		}
	}
	return a.Open(ctx, v, owner)
}

func (a *ahead) times() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]time.Time(nil), a.asked...)
}

func snapStarted(name string, epoch uint64) *function.Version {
	v := version(name, epoch)
	v.Number, v.SnapStart = "1", true
	return v
}

func withSpares(a *ahead, o pool.Options) pool.Options {
	if o.Spares.Most == 0 {
		o.Spares.Most = 1
	}
	o.Spares.Restorer = a
	return o
}

func TestTheNextConcurrentInvokeFindsASpare(t *testing.T) {
	a := &ahead{}
	p, _ := open(t, withSpares(a, pool.Options{}))
	v, plain := snapStarted("spared", 1), version("unspared", 1)
	invoke(t, p, plain, `{}`)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { invoke(t, p, v, `{"Ms":3000}`) })
		until(t, "the invoke has its environment and a spare is ready", func() bool { c := p.Counts(); return c.InFlight == i+1 && c.Environments == i+3 && c.Spares == 1 })
		if c := p.Counts(); c.Cold != 2 || c.SpareClaims != uint64(i) {
			t.Errorf("after %d invokes at once: %+v", i+1, c)
		}
	}
	marked := 0
	for _, e := range p.Environments() {
		if e.Spare {
			marked++
			if e.Function != "spared" || e.Invokes != 0 {
				t.Errorf("a spare is %+v", e)
			}
		}
	}
	if marked != 1 {
		t.Errorf("%d environments are shown as spares", marked)
	}
	wg.Wait()
	if got := invoke(t, p, v, `{}`); !strings.Contains(got, `"N":2`) {
		t.Errorf("a used environment lay idle, and the answer came from another: %s", got)
	}
	if c := p.Counts(); c.Spares != 1 || c.SpareStarts != 3 || c.SpareFailures != 0 {
		t.Errorf("%+v", c)
	}
}

func TestRisingLoadGetsMoreSparesUpToTheBound(t *testing.T) {
	a := &ahead{}
	p, _ := open(t, withSpares(a, pool.Options{Spares: pool.Spares{Most: 3}}))
	v := snapStarted("rising", 1)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { invoke(t, p, v, `{"Ms":6000}`) })
	}
	until(t, "three spares are ready", func() bool { return p.Counts().Spares == 3 })
	wg.Wait()
	if c := p.Counts(); c.SpareStarts != 3 || c.Environments != 8 {
		t.Errorf("%+v", c)
	}
}

func TestSpareOutlivesIdleExpiryButNotTheWindow(t *testing.T) {
	a := &ahead{}
	p, _ := open(t, withSpares(a, pool.Options{IdleExpiry: 300 * time.Millisecond, Spares: pool.Spares{Most: 1, Window: 8 * time.Second}}))
	v := snapStarted("window", 1)
	end := time.Now().Add(7 * time.Second) // the window begins when the invocation comes
	invoke(t, p, v, `{}`)
	until(t, "a spare took the place of the idle environment", func() bool {
		c := p.Counts()
		return c.Environments == 1 && c.Spares == 1
	})
	for time.Now().Before(end) {
		if c := p.Counts(); c.Idle < 1 {
			t.Fatalf("nothing lies ready within the window: %+v", c)
		}
		time.Sleep(time.Millisecond)
	}
	until(t, "nothing is left after the window", func() bool { return p.Counts().Environments == 0 })
	if n := len(a.times()); n != 1 {
		t.Errorf("%d spares were made", n)
	}
}

func TestSparesAreReplacedBeforeTheirCredentialsRunOut(t *testing.T) {
	a := &ahead{}
	p, _ := open(t, withSpares(a, pool.Options{IdleExpiry: 400 * time.Millisecond, Spares: pool.Spares{Most: 1, Life: 2 * time.Second}}))
	invoke(t, p, snapStarted("aging", 1), `{}`)
	until(t, "a spare is ready", func() bool { return p.Counts().Spares > 0 })
	until(t, "the third spare is ready", func() bool {
		c := p.Counts()
		if c.Idle == 0 {
			t.Fatalf("nothing lies ready: %+v", c)
		}
		return c.SpareStarts == 3 && c.Spares == 1
	})
	at := a.times()
	for i := 1; i < len(at); i++ {
		if d := at[i].Sub(at[i-1]); d < 2*time.Second {
			t.Errorf("a spare was replaced after %v", d)
		}
	}
}

func TestSpareGivesItsMemoryToRealWork(t *testing.T) {
	var p *pool.Pool
	a := &ahead{}
	p, _ = open(t, withSpares(a, pool.Options{Memory: pool.FixedMemory{Bytes: 4 * 128 << 20, Used: func() int64 { return takenIn(p) }}}))
	v := snapStarted("giving", 1)
	var wg sync.WaitGroup
	wg.Go(func() { invoke(t, p, v, `{"Ms":4000}`) })
	until(t, "a spare is ready", func() bool { return p.Counts().Spares == 1 })
	for i := range 3 { // with the two that are there one more than fits
		wg.Go(func() { invoke(t, p, version(fmt.Sprintf("real-%d", i), 1), `{"Ms":1500}`) })
	}
	until(t, "three real environments run", func() bool { return p.Counts().InFlight == 4 && p.Counts().Waiting == 0 })
	if c := p.Counts(); c.Spares != 0 || c.Throttled != 0 || c.Environments != 4 {
		t.Errorf("%+v", c)
	}
	wg.Wait()
	if n := len(a.times()); n != 1 {
		t.Errorf("spares were made %d times although memory is needed", n)
	}
}

func TestFailingSparesAreTriedEverLater(t *testing.T) {
	a := &ahead{refuse: func() error { return errors.New("no snapshot of this kind") }}
	p, _ := open(t, withSpares(a, pool.Options{}))
	v := snapStarted("failing", 1)
	var wg sync.WaitGroup
	wg.Go(func() { invoke(t, p, v, `{"Ms":5000}`) })
	until(t, "three spares failed", func() bool { return p.Counts().SpareFailures == 3 })
	wg.Wait()
	at := a.times()
	if first, second := at[1].Sub(at[0]), at[2].Sub(at[1]); first < time.Second || second < 2*time.Second {
		t.Errorf("tried again after %v and %v", first, second)
	}
	if c := p.Counts(); c.Environments != 1 || c.Throttled != 0 || c.Waiting != 0 {
		t.Errorf("%+v", c)
	}
}

func TestNoSnapshotNoSpare(t *testing.T) {
	a := &ahead{}
	a.sparse.Store(true)
	p, _ := open(t, withSpares(a, pool.Options{IdleExpiry: 200 * time.Millisecond}))
	invoke(t, p, snapStarted("bare", 1), `{}`)
	until(t, "its environment has gone", func() bool { return p.Counts().Environments == 0 })
	if n := len(a.times()); n != 0 {
		t.Errorf("%d spares were tried", n)
	}
	a.sparse.Store(false)
	until(t, "a spare is there once there is a snapshot", func() bool { return p.Counts().Spares == 1 })
}

func TestRetiredVersionsLoseTheirSparesAtOnce(t *testing.T) {
	a := &ahead{}
	p, _ := open(t, withSpares(a, pool.Options{}))
	v, other := snapStarted("leaves", 1), snapStarted("stays", 1)
	var wg sync.WaitGroup
	wg.Go(func() { invoke(t, p, v, `{"Ms":1000}`) })
	until(t, "a spare is ready", func() bool { return p.Counts().Spares == 1 })
	wg.Wait()
	p.Retire(v.UnqualifiedARN(), "1", 2)
	until(t, "nothing of it is left", func() bool { return p.Counts().Environments == 0 })
	wg.Go(func() { invoke(t, p, other, `{"Ms":1000}`) })
	until(t, "another version has its spare", func() bool { return p.Counts().Spares == 1 })
	wg.Wait()
	for _, e := range p.Environments() {
		if e.Function == "leaves" {
			t.Errorf("a retired version has %+v", e)
		}
	}
}

func TestASpareThatIsBeingMadeGoesWithItsVersion(t *testing.T) {
	a := &ahead{vars: map[string]string{"INIT": "8s"}}
	p, _ := open(t, withSpares(a, pool.Options{}))
	v := snapStarted("early", 1)
	invoke(t, p, v, `{"Ms":300}`)
	go p.Invoke(context.Background(), request(v, `{"Ms":300}`))
	until(t, "a spare is being made", func() bool { return p.Counts().SpareStarts == 1 && p.Counts().Environments == 2 })
	began := time.Now()
	p.Retire(v.UnqualifiedARN(), "", 2)
	until(t, "it has gone", func() bool { return p.Counts().Environments == 0 })
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it went after %v: when its Init was over", took)
	}
	if n := p.Counts().SpareFailures; n != 0 {
		t.Errorf("%d failures are counted for what was asked to go", n)
	}
}

func TestWhoComesWhileASpareIsMadeGetsIt(t *testing.T) {
	a := &ahead{vars: map[string]string{"INIT": "1s"}}
	p, _ := open(t, withSpares(a, pool.Options{}))
	v := snapStarted("meanwhile", 1)
	var wg sync.WaitGroup
	wg.Go(func() { invoke(t, p, v, `{"Ms":3000}`) })
	until(t, "a spare is being made", func() bool { return p.Counts().SpareStarts == 1 })
	invoke(t, p, v, `{"Ms":1}`)
	if c := p.Counts(); c.Cold != 1 || c.Environments > 1+int(c.SpareStarts) { // the next spare may be under way
		t.Errorf("a start of its own was made: %+v", c)
	}
	wg.Wait()
}

func TestWhoWaitsForASpareThatFailsGetsAStart(t *testing.T) {
	hold := make(chan struct{})
	a := &ahead{refuse: func() error { <-hold; return errors.New("lost on the way") }}
	p, _ := open(t, withSpares(a, pool.Options{}))
	v := snapStarted("orphan", 1)
	var wg sync.WaitGroup
	wg.Go(func() { invoke(t, p, v, `{"Ms":2000}`) })
	until(t, "a spare is being made", func() bool { return p.Counts().SpareStarts == 1 })
	wg.Go(func() { invoke(t, p, v, `{}`) })
	until(t, "an invocation waits for it", func() bool { return p.Counts().Waiting == 1 })
	close(hold)
	wg.Wait()
	if c := p.Counts(); c.SpareFailures != 1 || c.Cold != 2 {
		t.Errorf("%+v", c)
	}
}

func TestASpareKeepsNoRealStartWaiting(t *testing.T) {
	a := &ahead{vars: map[string]string{"INIT": "6s"}}
	p, _ := open(t, withSpares(a, pool.Options{ColdStarts: 1, Cores: busyCores{}}))
	v := snapStarted("slow", 1)
	var wg sync.WaitGroup
	wg.Go(func() { invoke(t, p, v, `{"Ms":1000}`) })
	until(t, "a spare is being made", func() bool { return p.Counts().SpareStarts == 1 })
	invoke(t, p, version("real", 1), `{}`)
	if c := p.Counts(); c.Spares != 0 {
		t.Errorf("the real start came after the spare: %+v", c)
	}
	wg.Wait()
}

func TestASpareThatDiesIsReplaced(t *testing.T) {
	a := &ahead{}
	p, _ := open(t, withSpares(a, pool.Options{}))
	v := snapStarted("dying", 1)
	var wg sync.WaitGroup
	wg.Go(func() { invoke(t, p, v, `{"Ms":3000}`) })
	until(t, "a spare is ready", func() bool { return p.Counts().Spares == 1 })
	for _, e := range p.Environments() {
		if e.Spare {
			for _, pid := range e.PIDs {
				kill(t, pid)
			}
		}
	}
	until(t, "another one is ready", func() bool { c := p.Counts(); return c.SpareStarts == 2 && c.Spares == 1 })
	if c := p.Counts(); c.SpareFailures != 1 {
		t.Errorf("%+v", c)
	}
	wg.Wait()
}

// Whatever happens in whatever order: every invocation is answered by its own version, the numbers add up, and a closed pool leaves nothing.
func TestSparesInRandomSequences(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var failing atomic.Bool
	a := &ahead{refuse: func() error {
		if failing.Load() {
			return errors.New("not now")
		}
		return nil
	}}
	p, _ := open(t, withSpares(a, pool.Options{IdleExpiry: 200 * time.Millisecond, MaxEnvironments: 12, Spares: pool.Spares{Most: 2, Window: time.Second}}))
	epochs := [3]uint64{1, 1, 1}
	var wg sync.WaitGroup
	var answered, refused atomic.Int64
	invokes := int64(0)
	for i := range 150 {
		n := r.IntN(3)
		v := snapStarted(fmt.Sprintf("random-%d", n), epochs[n])
		switch k := r.IntN(20); {
		case k < 14:
			invokes++
			event := fmt.Sprintf(`{"ID":%d,"Ms":%d}`, i, r.IntN(40))
			wg.Go(func() {
				res, err := p.Invoke(context.Background(), request(v, event))
				switch {
				case errors.Is(err, pool.ErrSuperseded), errors.As(err, new(*pool.ThrottledError)):
					refused.Add(1)
				case err != nil:
					t.Errorf("invoke %s: %v", event, err)
				case !strings.Contains(string(res.Payload), fmt.Sprintf(`"ID":%d,`, i)):
					t.Errorf("invoke %s: %s", event, res.Payload)
				default:
					answered.Add(1)
				}
			})
		case k == 14:
			epochs[n]++
			p.Retire(v.UnqualifiedARN(), "1", epochs[n])
		case k == 15:
			p.Outdate(v.UnqualifiedARN(), "1", "another")
		case k == 16:
			failing.Store(!failing.Load())
		case k == 17:
			a.sparse.Store(!a.sparse.Load())
		default:
			time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
		}
		if c := p.Counts(); c.Environments > 12 || c.Spares > c.Idle || c.Idle > c.Environments || c.SpareClaims > c.Warm || c.Spares > 6 {
			t.Fatalf("after step %d: %+v", i, c)
		}
		if err := p.Recount(); err != nil {
			t.Fatalf("after step %d: %v", i, err)
		}
	}
	wg.Wait()
	if answered.Load()+refused.Load() != invokes || answered.Load() == 0 {
		t.Errorf("%d invokes, %d answered, %d refused", invokes, answered.Load(), refused.Load())
	}
	until(t, "everything has gone after the window", func() bool { c := p.Counts(); return c.Environments == 0 && c.Waiting == 0 && c.InFlight == 0 })
}

func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill %d: %v", pid, err)
	}
}
