package poller

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"thaw/eventsource"
	"thaw/function"
	"thaw/invoke"
)

// Invoker has a function run; *invoke.Invoker does.
type Invoker interface {
	Invoke(ctx context.Context, r *invoke.Request) (*invoke.Result, error)
}

// Sender tells failure destinations that are queues, topics and buckets.
type Sender interface {
	Send(ctx context.Context, destination string, f *eventsource.Failure) error
}

// Metrics is told what happens, by CloudWatch's words. It decides nothing.
type Metrics interface {
	Polled(m *eventsource.Mapping, n int)
	FilteredOut(m *eventsource.Mapping, n int)
	Invoked(m *eventsource.Mapping, n int)
	FailedInvoke(m *eventsource.Mapping, n int)
	Deleted(m *eventsource.Mapping, n int) // from a queue, after success
	Dropped(m *eventsource.Mapping, n int) // given up, with or without a destination
	Delivered(m *eventsource.Mapping, n int)
	IteratorAge(m *eventsource.Mapping, age time.Duration)
	Gone(m *eventsource.Mapping) // it was deleted
}

// Options of a Service. Members without a stated default are required.
type Options struct {
	Records     eventsource.Records
	Checkpoints eventsource.Checkpoints
	Leases      eventsource.Leases
	Drivers     map[eventsource.Kind]eventsource.Driver
	Endpoints   eventsource.Endpoints // nil: none
	Invoker     Invoker
	View        *function.View
	Sender      Sender
	Metrics     Metrics
	Log         *slog.Logger
	Delays      eventsource.Delays // between attempts on a batch; zero: AWSDelays
	Reconnect   eventsource.Delays // between attempts to reach a source; zero: from 1 s to 30 s
	List        time.Duration      // how often shards are listed; 0: 30 s
	Idle        time.Duration      // how often the position of an idle shard is stored, at most; 0: 10 min
}

// Service runs all mappings of this server.
type Service struct {
	o    Options
	hard context.Context // of invokes and of what follows from them; ends when Close has given up
	kill context.CancelFunc
	work sync.WaitGroup
	left chan struct{} // closed when Close begins

	creating sync.Mutex

	mu     sync.Mutex
	owners map[eventsource.ID]*owner
	closed bool
}

var (
	// ErrNotFound is the fact that there is no such mapping.
	ErrNotFound = errors.New("no such event source mapping")
	// ErrClosed is the fact that the server is leaving.
	ErrClosed = errors.New("the server is shutting down")
)

// Open goes on with the mappings that are stored. Functions must be known by now. Close ends it.
func Open(ctx context.Context, o Options) (*Service, error) {
	if o.Delays == (eventsource.Delays{}) {
		o.Delays = eventsource.AWSDelays()
	}
	if o.Reconnect == (eventsource.Delays{}) {
		o.Reconnect = eventsource.Delays{First: time.Second, Limit: 30 * time.Second}
	}
	if o.List == 0 {
		o.List = 30 * time.Second
	}
	if o.Idle == 0 {
		o.Idle = 10 * time.Minute
	}
	s := &Service{o: o, owners: map[eventsource.ID]*owner{}, left: make(chan struct{})}
	s.hard, s.kill = context.WithCancel(context.Background())
	all, err := o.Records.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		s.adopt(m).tell(eventsource.Started, nil)
	}
	s.work.Add(1)
	go s.watchFunctions()
	return s, nil
}

// adopt begins to own a mapping.
func (s *Service) adopt(m *eventsource.Mapping) *owner {
	o := newOwner(s, m)
	s.mu.Lock()
	s.owners[m.ID] = o
	s.mu.Unlock()
	s.work.Add(1)
	go o.loop()
	return o
}

// Close ends all pollers: nothing is begun any more, and invokes in flight are waited for, as long as ctx allows.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.left)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
		s.kill()
		<-done
	}
	s.kill()
	return err
}

// watchFunctions looks once a second whether the functions of mappings that rest are there again.
func (s *Service) watchFunctions() {
	defer s.work.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.left:
			return
		}
		for _, o := range s.all() {
			if o.resting.Load() && s.there(o.mapping()) {
				o.tell(eventsource.FunctionBack, nil)
			}
		}
	}
}

// there says whether something answers to the name of a mapping's function.
func (s *Service) there(m *eventsource.Mapping) bool {
	e := s.o.View.Get(m.Function)
	return e != nil && (m.Qualifier == "" || e.Named(m.Qualifier) != nil)
}

// absence says in words what is missing. The API's word is the same for both.
func (s *Service) absence(m *eventsource.Mapping) string {
	if m.Qualifier != "" && s.o.View.Get(m.Function) != nil {
		return "The function has no version or alias " + string(m.Qualifier) + "."
	}
	return "The function does not exist."
}

func (s *Service) all() []*owner {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*owner, 0, len(s.owners))
	for _, o := range s.owners {
		all = append(all, o)
	}
	return all
}

func (s *Service) owner(id eventsource.ID) (*owner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	o := s.owners[id]
	if o == nil {
		return nil, ErrNotFound
	}
	return o, nil
}

// Get returns a mapping as it is now. ErrNotFound.
func (s *Service) Get(id eventsource.ID) (*eventsource.Mapping, error) {
	o, err := s.owner(id)
	if err != nil {
		return nil, err
	}
	return o.mapping(), nil
}

// List returns all mappings, ordered by their ids.
func (s *Service) List() []*eventsource.Mapping {
	owners := s.all()
	all := make([]*eventsource.Mapping, 0, len(owners))
	for _, o := range owners {
		all = append(all, o.mapping())
	}
	slices.SortFunc(all, func(a, b *eventsource.Mapping) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all
}

// ConflictError refuses a mapping because there is one that excludes it.
type ConflictError struct{ Message string }

func (e *ConflictError) Error() string { return e.Message }

// checkLimit bounds the look at a source that a client waits for.
const checkLimit = 15 * time.Second

// check looks at the source. What cannot be found out now refuses nothing: the mapping will say what is wrong.
func (s *Service) check(ctx context.Context, m *eventsource.Mapping) error {
	d := s.o.Drivers[m.Kind]
	if d == nil {
		return &eventsource.InvalidError{Message: "This server cannot read event sources of the kind " + string(m.Kind) + " yet."}
	}
	facts := s.facts(m)
	if err := m.CheckTimeout(facts); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	err := d.Check(ctx, m, facts)
	if errors.As(err, new(*eventsource.InvalidError)) {
		return err
	}
	if err != nil {
		s.o.Log.Warn("event source mapping: its source cannot be looked at yet", "mapping", m.ID, "error", err)
	}
	return nil
}

// Kind says what a source is. *eventsource.InvalidError.
func (s *Service) Kind(arn string, brokers []string) (eventsource.Kind, error) {
	return eventsource.KindOf(arn, brokers, s.o.Endpoints)
}

// Create stores a mapping and runs it: it is Creating, or Disabled where m says so. *eventsource.InvalidError,
// *ConflictError.
func (s *Service) Create(ctx context.Context, m *eventsource.Mapping) (*eventsource.Mapping, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	n := *m
	n.Created, n.Modified = time.Now(), time.Now()
	if err := s.check(ctx, &n); err != nil {
		return nil, err
	}
	s.creating.Lock() // of two that exclude each other one comes to be
	defer s.creating.Unlock()
	for _, other := range s.List() {
		if text := n.Conflict(other); text != "" && other.State != eventsource.Deleting {
			return nil, &ConflictError{text}
		}
	}
	if n.Source.Topics != nil && n.Source.GroupID == "" { // S-084
		n.Source.GroupID = string(n.ID)
	}
	var err error
	if n.Revision, err = s.o.Records.Put(ctx, &n); err != nil {
		return nil, err
	}
	s.adopt(&n).tell(eventsource.Started, nil)
	return &n, nil
}

// Update changes what change changes, and enables or disables; enabled nil: neither. *eventsource.BadMoveError,
// ErrNotFound, the errors of change.
func (s *Service) Update(ctx context.Context, id eventsource.ID, enabled *bool, change func(*eventsource.Mapping) error) (*eventsource.Mapping, error) {
	return s.ask(ctx, id, func(st eventsource.State) eventsource.Event { return eventsource.Asked(st, enabled) }, change)
}

// Tag changes the tags of a mapping, which goes on as it is.
func (s *Service) Tag(ctx context.Context, id eventsource.ID, change func(tags map[string]string)) error {
	_, err := s.ask(ctx, id, func(eventsource.State) eventsource.Event { return eventsource.TagAsked }, func(m *eventsource.Mapping) error {
		tags := maps.Clone(m.Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		change(tags)
		m.Tags = tags
		return nil
	})
	return err
}

func (s *Service) ask(ctx context.Context, id eventsource.ID, event func(eventsource.State) eventsource.Event, change func(*eventsource.Mapping) error) (*eventsource.Mapping, error) {
	o, err := s.owner(id)
	if err != nil {
		return nil, err
	}
	return o.ask(ctx, event, change)
}

// Delete begins to delete a mapping, and returns it as it is then.
func (s *Service) Delete(ctx context.Context, id eventsource.ID) (*eventsource.Mapping, error) {
	return s.ask(ctx, id, func(eventsource.State) eventsource.Event { return eventsource.DeleteAsked }, nil)
}

// forget ends the ownership of a mapping that is gone.
func (s *Service) forget(id eventsource.ID) {
	s.mu.Lock()
	delete(s.owners, id)
	s.mu.Unlock()
}
