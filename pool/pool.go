package pool

// The pool is the owner of every environment. One lock guards who is idle, who waits and who is counted; nothing slow happens under it:
// environments are started and stopped by goroutines of their own, and told about by their drivers' short calls.
//
//	Invoke -> limits -> an idle environment, most recently used first        -> its outcome
//	                 -> else a place in the queue, and a start that is wanted -> admission -> memory -> Open
//
// A start that is no longer wanted when its turn comes (the queue was served by environments that came back) is not made.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"thaw/execenv"
	"thaw/function"
)

// ErrSuperseded says that the request's version was replaced before it could run: resolve it again.
var ErrSuperseded = errors.New("version was superseded")

// ErrClosed refuses invocations of a pool that drains.
var ErrClosed = errors.New("the server is shutting down")

// Starter makes environments. Open returns at once; failures arrive through the Owner.
type Starter interface {
	Open(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error)
}

// Options say what the pool may use.
type Options struct {
	Starter Starter
	Log     *slog.Logger
	// ColdStarts is how many environments may be initialising at once before more are admitted only as the cores are idle. 0: one per core.
	ColdStarts int
	// IdleExpiry ends environments that were not used for so long. The service says "a period". Default 10 minutes.
	IdleExpiry time.Duration
	// MaxEnvironments bounds how many there are, whatever the limits of functions say. Default 1,000.
	MaxEnvironments int
	Provider        Provider // of provisioned concurrency; nil: Starter makes it, too
	Spares          Spares
	Now             func() time.Time // what lives are counted by; nil: time.Now
	Memory          Memory           // nil: the host's
	Cores           Cores            // nil: the host's
}

// Pool hands environments to invocations.
type Pool struct {
	o         Options
	admission *admission
	memory    *budget

	mu       sync.Mutex
	sets     map[setKey]*set
	members  map[*member]bool
	floor    map[versionKey]uint64 // versions below this epoch are superseded; with no number: all versions of the function
	flight   concurrency
	envs     int
	yielding time.Time // no spare is made before
	closed   bool
	drained  chan struct{} // closed when closed and nothing is left

	stop      context.CancelFunc
	ctx       context.Context
	janitor   sync.WaitGroup
	colds     atomic.Uint64
	warms     atomic.Uint64
	throttles atomic.Uint64

	provision chan struct{} // buffered: provisioned concurrency is to be looked at

	nudged                                  chan struct{} // buffered: spares are to be looked at soon
	spareStarts, spareClaims, spareFailures atomic.Uint64
}

type versionKey struct{ function, number string }

type setKey struct {
	versionKey
	epoch uint64
}

// set is the environments of one version at one epoch.
type set struct {
	key     setKey
	version *function.Version
	idle    []*member // last one is the most recently used
	waiters []*waiter // oldest first
	wanted  int       // starts under way, not offered yet
	ending  int       // environments whose caller was answered and which will be offered in a moment
	all     int
	retired bool

	provisioned provisioned

	use       usage
	want      int       // how many should lie ready, as of the last look
	opening   int       // spares among wanted
	failed    int       // spares in a row that came to nothing
	notBefore time.Time // is the next spare made
}

// member is one environment of a set.
type member struct {
	set      *set
	env      *execenv.Environment // set before it is offered
	starting bool                 // not offered yet
	idle     bool
	ending   bool      // answered, not offered yet
	back     bool      // offered since it was claimed last
	claims   uint64    // how many invocations it was given to
	stopping bool      // asked to go, or gone
	since    time.Time // idle since
	outdated bool      // of a generation that was replaced: goes when it is back
	allotted bool      // part of the version's provisioned concurrency
	ahead    bool      // a spare: nobody has claimed it yet
	made     time.Time // when its start began
	ends     time.Time // when the snapshot that it was restored from ends, by the monotonic clock; zero: never, or not offered yet
}

// past says why no invoke may start in a member any more: what it was restored from has come to its end, or its credentials would within the invoke.
// Empty: one may.
func (m *member) past(now time.Time) string {
	id, end := m.env.Snapshot()
	switch {
	case !end.IsZero() && (!now.Round(0).Before(end) || !m.ends.IsZero() && !now.Before(m.ends)):
		return "snapshot expired"
	case (id != "" || m.ahead) && age(m.made, now) >= execenv.CredentialsLife-m.set.version.Timeout:
		return "credentials expired"
	}
	return ""
}

// knowEnd notes a snapshot's end in a form that a wall clock that is set back does not move. The end itself is a wall time, which goes on while the host sleeps.
func (m *member) knowEnd(now time.Time) {
	if _, end := m.env.Snapshot(); m.ends.IsZero() && !end.IsZero() {
		m.ends = now.Add(end.Sub(now.Round(0)))
	}
}

// age is how long ago since was, by the clock that says more: Go's monotonic clock stands still while the host sleeps, and a wall clock can be set back.
func age(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// waiter is an invocation without an environment.
type waiter struct {
	got chan grant // buffered
}

type grant struct {
	m    *member
	turn uint64
	err  error
}

// Open makes a pool; Close ends it.
func Open(o Options) *Pool {
	if o.IdleExpiry == 0 {
		o.IdleExpiry = 10 * time.Minute
	}
	if o.MaxEnvironments == 0 {
		o.MaxEnvironments = 1000
	}
	if o.Spares.Window == 0 {
		o.Spares.Window = time.Hour
	}
	if o.Spares.Life == 0 {
		o.Spares.Life = execenv.CredentialsLife / 2
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Memory == nil {
		o.Memory = hostMemory{}
	}
	if o.Cores == nil {
		o.Cores = &hostCores{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{o: o, sets: map[setKey]*set{}, members: map[*member]bool{}, floor: map[versionKey]uint64{}, flight: newConcurrency(),
		provision: make(chan struct{}, 1), drained: make(chan struct{}), ctx: ctx, stop: cancel, nudged: make(chan struct{}, 1)}
	p.admission = newAdmission(o.ColdStarts, o.Cores)
	p.memory = &budget{source: o.Memory, pending: map[*member]int64{}}
	p.janitor.Add(2)
	go p.expire()
	go p.keepProvisioned()
	if p.spares() {
		p.janitor.Add(1)
		go p.keepSpares()
	}
	return p
}

// Invoke runs one invocation and returns how it ended. *ThrottledError and ErrSuperseded: nothing ran. When ctx ends, an invocation that has
// reached a function goes on without its caller, as on the service; one that waits for an environment is forgotten.
func (p *Pool) Invoke(ctx context.Context, r *Request) (*Result, error) {
	release, err := p.admit(r)
	if err != nil {
		return nil, err
	}
	inv := &execenv.Invocation{RequestID: r.RequestID, InvocationID: rand.Text(), InvokedARN: r.InvokedARN, Event: r.Event, ContentType: r.ContentType,
		ClientContext: r.ClientContext, TraceID: r.TraceID, Tail: r.Tail}
	var sink *detachable
	if r.Stream != nil {
		sink = &detachable{to: r.Stream}
		inv.Stream = sink
	}
	for refused := 0; ; {
		m, turn, err := p.claim(ctx, r)
		if err != nil {
			release()
			return nil, err
		}
		outcome := m.env.Invoke(inv)
		select {
		case o := <-outcome:
			if errors.Is(o.Err, execenv.ErrNotTaken) { // it went before anything of the invocation ran
				if turn == 1 { // and it was new: those that were idle come to an end by themselves
					refused++
				}
				if refused < maxRefused {
					continue
				}
				release()
				return nil, &UnavailableError{Phase: "thaw", Env: string(m.env.ID()), Err: fmt.Errorf("%d new environments in a row took no invoke; the last one: %w", refused, o.Err)}
			}
			p.answered(m, turn)
			release()
			return result(r, o)
		case <-ctx.Done():
			sink.detach()
			go func() { // it still counts against the limits while it runs
				<-outcome
				release()
			}()
			return nil, context.Cause(ctx)
		}
	}
}

// maxRefused is how many new environments may refuse an invocation one after the other. One that is lost between the claim and the call is
// chance; when all are, the host can neither freeze nor thaw, and making more of them would never end.
const maxRefused = 10

func result(r *Request, o execenv.Outcome) (*Result, error) {
	if o.Err != nil {
		var s *execenv.SandboxError
		if errors.As(o.Err, &s) {
			return nil, &UnavailableError{Phase: s.Phase, Env: string(s.Env), Err: s.Err}
		}
		return nil, &UnavailableError{Phase: "invoke", Err: o.Err}
	}
	if r.Stream != nil && !o.Streamed && o.FunctionError == "" { // a buffered response to a streaming caller goes as one block
		if err := r.Stream.Head(o.ContentType); err != nil {
			return nil, err
		}
		if err := r.Stream.Chunk(o.Payload); err != nil {
			return nil, err
		}
		o.Payload = nil
	}
	return &Result{Payload: o.Payload, ContentType: o.ContentType, FunctionError: o.FunctionError, LogTail: o.LogTail,
		StreamErrorType: o.StreamErrorType, StreamErrorDetails: o.StreamErrorDetails}, nil
}

// admit counts the invocation against its limits. release uncounts it.
func (p *Pool) admit(r *Request) (release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	s, full := p.flight.take(r)
	if full != "" {
		p.throttles.Add(1)
		return nil, &ThrottledError{Reason: full}
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.flight.give(s)
		p.checkDrainedLocked()
	}, nil
}

// answerGrace is how long an invocation waits for an environment that has just answered and is about to be offered, before another one is
// started: a caller who sends one invocation after the other needs one environment, not two. Measured: a runtime is back in next
// within 2 ms when the host is idle; the least cold start takes many times the grace.
const answerGrace = 25 * time.Millisecond

// claim returns an environment that nobody else has, and the number of its turn: an idle one, or the first that comes back or is made.
func (p *Pool) claim(ctx context.Context, r *Request) (*member, uint64, error) {
	v, key := r.Version, keyOf(r.Version)
	p.mu.Lock()
	if p.supersededLocked(key) {
		p.mu.Unlock()
		return nil, 0, ErrSuperseded
	}
	s := p.setLocked(key, v)
	s.use.last, s.use.limit = p.o.Now(), r.Limits.Reserved
	for n := len(s.idle); n > 0; n = len(s.idle) {
		why := s.idle[n-1].past(s.use.last)
		if why == "" {
			break
		}
		p.letGoLocked(s.idle[n-1], why)
	}
	if n := len(s.idle); n > 0 {
		m := s.idle[n-1]
		s.idle = s.idle[:n-1]
		m.idle, m.back = false, false
		m.claims++
		turn := m.claims
		if m.ahead {
			p.spareClaims.Add(1)
		}
		p.claimedLocked(m)
		if len(s.idle) < s.want {
			p.nudge()
		}
		p.mu.Unlock()
		p.warms.Add(1)
		return m, turn, nil
	}
	w := &waiter{got: make(chan grant, 1)}
	s.waiters = append(s.waiters, w)
	if len(s.waiters) <= s.ending {
		t := time.AfterFunc(answerGrace, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.wantLocked(s)
		})
		defer t.Stop()
	} else {
		s.use.missed(s.use.last, p.o.Spares.Most)
		p.wantLocked(s)
		p.nudge()
	}
	p.mu.Unlock()
	select {
	case g := <-w.got:
		return g.m, g.turn, g.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	s.forgetLocked(w)
	p.mu.Unlock()
	select {
	case g := <-w.got: // it came in the same moment: give it back
		if g.m != nil {
			p.offered(g.m)
		}
	default:
	}
	return nil, 0, context.Cause(ctx)
}

// wantLocked starts an environment unless enough are on their way for those who wait.
func (p *Pool) wantLocked(s *set) {
	if s.wanted >= len(s.waiters) || s.retired || p.closed {
		return
	}
	s.wanted++
	p.colds.Add(1)
	go p.start(s)
}

// answered notes that the invocation of a turn has its answer while the environment is still at work.
func (p *Pool) answered(m *member, turn uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.claims == turn && !m.idle && !m.stopping && !m.ending && !m.back {
		m.ending = true
		m.set.ending++
	}
}

func keyOf(v *function.Version) setKey {
	return setKey{versionKey{v.UnqualifiedARN(), v.Number}, v.Epoch}
}

// supersededLocked says that no environment of an epoch may be made any more: it was retired.
func (p *Pool) supersededLocked(key setKey) bool {
	return key.epoch < max(p.floor[key.versionKey], p.floor[versionKey{function: key.function}])
}

func (p *Pool) setLocked(key setKey, v *function.Version) *set {
	s := p.sets[key]
	if s == nil {
		s = &set{key: key, version: v}
		p.sets[key] = s
	}
	return s
}

func (s *set) forgetLocked(w *waiter) {
	for i, x := range s.waiters {
		if x == w {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			return
		}
	}
}

// start makes one environment for a set, when its turn comes and if it is still wanted then.
func (p *Pool) start(s *set) {
	unwanted := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.wanted > len(s.waiters) || s.retired || p.closed {
			s.wanted--
			p.dropEmptyLocked(s)
			p.checkDrainedLocked()
			return true
		}
		return false
	}
	done, err := p.admission.enter(p.ctx)
	if err != nil {
		p.startFailed(s, ErrClosed)
		return
	}
	if unwanted() {
		done()
		return
	}
	m := &member{set: s, starting: true, made: p.o.Now()}
	if err := p.makeRoom(m, func() bool { return true }); err != nil {
		done()
		p.startFailed(s, err)
		return
	}
	o := &owner{p: p, m: m, admitted: sync.OnceFunc(done)}
	if _, err := p.o.Starter.Open(p.ctx, s.version, o); err != nil {
		o.Gone(nil, &UnavailableError{Phase: "place", Err: err})
	}
}

// startFailed answers the oldest waiter of the set: an environment that was wanted will not come.
func (p *Pool) startFailed(s *set, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.wanted--
	p.failOldestLocked(s, err)
	p.dropEmptyLocked(s)
	p.checkDrainedLocked()
}

func (p *Pool) failOldestLocked(s *set, err error) {
	if len(s.waiters) == 0 || s.wanted >= len(s.waiters) {
		return // somebody else's start serves it
	}
	if s.retired {
		err = ErrSuperseded
	}
	w := s.waiters[0]
	s.waiters = s.waiters[1:]
	if t := (*ThrottledError)(nil); errors.As(err, &t) {
		p.throttles.Add(1)
	}
	w.got <- grant{err: err}
}

// offered puts an environment where the next invocation finds it, or lets it go when nothing may run in it any more.
func (p *Pool) offered(m *member) {
	p.mu.Lock()
	if m.stopping {
		p.mu.Unlock()
		return
	}
	s := m.set
	p.readyLocked(m)
	now := p.o.Now()
	m.knowEnd(now)
	if s.retired || p.closed || m.env.Spent() || m.outdated || m.past(now) != "" {
		m.stopping = true
		p.mu.Unlock()
		go m.env.Stop("superseded, used up or draining")
		p.mu.Lock()
		if m.allotted && m.claims == 0 && m.env.Spent() {
			p.provisionFailedLocked(s, nil)
		}
		if m.ahead && m.env.Spent() {
			p.spareLostLocked(s, errors.New("its runtime ended"))
		}
		p.wantLocked(s) // who waits needs another one
		p.mu.Unlock()
		return
	}
	if len(s.waiters) > 0 {
		w := s.waiters[0]
		s.waiters = s.waiters[1:]
		m.claims++
		m.back = false
		turn := m.claims
		p.claimedLocked(m)
		p.mu.Unlock()
		p.nudge()
		w.got <- grant{m: m, turn: turn}
		return
	}
	m.idle, m.since = true, now
	if m.allotted {
		s.provisioned.reason = ""
	}
	if m.ahead {
		s.idle = slices.Insert(s.idle, 0, m)
		if len(s.idle) < s.want {
			p.nudge()
		}
	} else {
		s.idle = append(s.idle, m)
	}
	p.mu.Unlock()
}

// readyLocked ends the start of a member, or its last invocation.
func (p *Pool) readyLocked(m *member) {
	m.back = true
	if m.ending {
		m.ending = false
		m.set.ending--
	}
	p.memory.settled(m)
	if m.starting {
		m.starting = false
		if m.allotted {
			m.set.provisioned.opening--
		} else {
			m.set.wanted--
		}
		if m.ahead {
			m.set.opening--
		}
	}
}

func (p *Pool) unlistLocked(m *member) {
	if !m.idle {
		return
	}
	m.idle = false
	for i, x := range m.set.idle {
		if x == m {
			m.set.idle = append(m.set.idle[:i], m.set.idle[i+1:]...)
			return
		}
	}
}

// owner hears of the environment of a member until it is gone. Its driver may speak before Open has returned.
type owner struct {
	p        *Pool
	m        *member
	admitted func() // gives the place among the cold starts back
}

// Opened makes e the environment of the member: the first one, or the Init that a failed restore has become. A stop that was asked for before it was there
// reaches it now.
func (o *owner) Opened(e *execenv.Environment) {
	p, m := o.p, o.m
	p.mu.Lock()
	defer p.mu.Unlock()
	m.env = e
	m.stopping = m.stopping || p.closed || m.set.retired && (m.ahead || m.allotted)
	if m.stopping {
		go e.Stop("nobody wants the environment any more")
	}
}

func (o *owner) Offered(*execenv.Environment) {
	o.admitted()
	o.p.offered(o.m)
}

func (o *owner) Withdrawn(*execenv.Environment) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.unlistLocked(o.m)
}

// Gone forgets an environment; one that never became ready answers the invocation that it was meant for.
func (o *owner) Gone(e *execenv.Environment, err error) {
	o.admitted()
	p, m := o.p, o.m
	p.mu.Lock()
	defer p.mu.Unlock()
	s, neverReady := m.set, m.starting
	asked := m.stopping || s.retired || p.closed
	p.readyLocked(m)
	p.unlistLocked(m)
	m.stopping = true
	delete(p.members, m)
	s.all--
	if m.allotted {
		p.lookAtProvisioned()
	}
	p.envs--
	switch {
	case asked:
	case m.ahead:
		p.spareLostLocked(s, err)
	case m.allotted && m.claims == 0:
		if err == nil {
			err = errors.New("environment ended")
		}
		p.provisionFailedLocked(s, err)
	}
	switch {
	case !neverReady:
	case m.ahead, m.allotted:
		p.wantLocked(s) // nobody's, so nobody is told; who came meanwhile gets a start of their own
	default:
		if err == nil {
			err = errors.New("environment ended before it was ready")
		}
		if r := (*execenv.RestoreError)(nil); errors.As(err, &r) {
			err = &RestoreFailedError{Timeout: r.Timeout, ErrorType: r.ErrorType, Message: r.Message}
		} else if u := (*UnavailableError)(nil); !errors.As(err, &u) {
			err = &UnavailableError{Phase: "create", Env: string(e.ID()), Err: err}
		}
		p.failOldestLocked(s, err)
	}
	p.dropEmptyLocked(s)
	p.checkDrainedLocked()
}

func (p *Pool) dropEmptyLocked(s *set) {
	if s.all == 0 && s.wanted == 0 && len(s.waiters) == 0 && p.sets[s.key] == s && s.provisioned.target == 0 && p.wantsLocked(s, p.o.Now()) == 0 {
		delete(p.sets, s.key)
	}
}
