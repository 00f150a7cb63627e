package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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
	// Provisioned is told of each invocation of a version with provisioned concurrency, and whether all of that was in use. It
	// must not block; nil: nobody asks.
	Provisioned func(r function.Resource, spilled bool)
	// RequestRate is how many requests a second a function takes for each unit of its concurrency; 0: any number.
	RequestRate int
}

// Pool hands environments to invocations. The lock and what it guards: see the package comment.
type Pool struct {
	o         Options
	admission *admission
	totals    totals
	tasks     tasks

	mu       sync.Mutex
	memory   *budget
	sets     map[setKey]*set
	members  map[*member]bool      // those that hold something: placed or adopted, and not gone
	in       tally                 // of all members
	floor    map[versionKey]uint64 // versions below this epoch are superseded; with no number: all versions of the function
	flight   concurrency
	rates    rates
	yielding time.Time // no spare is made before
	closed   bool
	drained  chan struct{} // closed when closed and nothing is left

	provision chan struct{} // buffered: provisioned concurrency is to be looked at
	nudged    chan struct{} // buffered: spares are to be looked at soon
}

// tasks are what the pool does beside the calls that it gets.
type tasks struct {
	ctx    context.Context // ends when the pool drains
	stop   context.CancelFunc
	loops  sync.WaitGroup // those that run until the pool drains
	starts sync.WaitGroup // one for each start; added to under the pool's lock while it is not closed
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
	p := &Pool{o: o, sets: map[setKey]*set{}, members: map[*member]bool{}, floor: map[versionKey]uint64{}, flight: newConcurrency(), rates: newRates(o.RequestRate), drained: make(chan struct{}),
		provision: make(chan struct{}, 1), nudged: make(chan struct{}, 1)}
	p.tasks.ctx, p.tasks.stop = context.WithCancel(context.Background())
	p.admission = newAdmission(o.ColdStarts, o.Cores)
	p.memory = &budget{source: o.Memory, pending: map[*member]int64{}}
	p.tasks.loops.Add(2)
	go p.expire()
	go p.keepProvisioned()
	if p.makesSpares() {
		p.tasks.loops.Add(1)
		go p.keepSpares()
	}
	return p
}

// Invoke runs one invocation and returns how it ended. *ThrottledError and ErrSuperseded: nothing ran. When ctx ends, an invocation that has
// reached a function goes on without its caller, as on the service; one that waits for an environment is forgotten.
func (p *Pool) Invoke(ctx context.Context, r *Request) (*function.Outcome, error) {
	release, err := p.admit(r)
	if err != nil {
		return nil, err
	}
	inv := r.Invocation
	var sink *detachable
	if r.Stream != nil {
		sink = &detachable{to: r.Stream}
		inv.Stream = sink
	}
	for refused := 0; ; {
		t, err := p.claim(ctx, r)
		if err != nil {
			release()
			return nil, err
		}
		outcome := t.env.Invoke(&inv)
		select {
		case o := <-outcome:
			if errors.Is(o.Err, execenv.ErrNotTaken) { // it went before anything of the invocation ran
				p.told(t, NotTaken)
				if t.n == 1 { // and it was new: those that were idle come to an end by themselves
					refused++
				}
				if refused < maxRefused {
					continue
				}
				release()
				return nil, &UnavailableError{Phase: "thaw", Env: string(t.env.ID()), Err: fmt.Errorf("%d new environments in a row took no invoke; the last one: %w", refused, o.Err)}
			}
			p.told(t, CallerAnswered)
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

// maxRefused is how many new environments may refuse an invocation one after the other. One that is lost between the
// claim and the call is chance; when all are, the host can neither freeze nor thaw, and making more of them would never
// end.
const maxRefused = 10

func result(r *Request, o function.Outcome) (*function.Outcome, error) {
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
	return &o, nil
}

// admit counts the invocation against its limits. release uncounts it.
func (p *Pool) admit(r *Request) (release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	s, full := p.flight.take(r)
	if full == "" && !s.owned && !p.rates.request(s.version.function, r.Limits.own(), p.o.Now()) {
		p.flight.give(s)
		if full = FunctionRate; !s.unreserved {
			full = ReservedRate
		}
	}
	if full != "" {
		p.totals.throttles.Add(1)
		return nil, &ThrottledError{Reason: full}
	}
	if r.Limits.Provisioned > 0 && p.o.Provisioned != nil {
		p.o.Provisioned(s.named, !s.owned)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.flight.give(s)
		p.checkDrainedLocked()
	}, nil
}
