package poller

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"thaw/eventsource"
	"thaw/function"
)

// run is the pollers of a mapping with the options of one moment. Its goroutine opens the source, as often as it takes,
// and lets a session read it.
type run struct {
	o       *owner
	s       *Service
	m       *eventsource.Mapping
	traits  eventsource.Traits
	filter  *eventsource.Filter
	reading context.Context // ends when the drain begins
	drain   context.CancelFunc

	delivered atomic.Bool // a batch has succeeded
	failing   atomic.Bool // the source was last heard of with an error
	pollers   atomic.Int32
	inFlight  atomic.Int32
	watched   watched
}

// wanted says whether a record goes on: to the function, or as one that cannot be read.
func (r *run) wanted(rec *eventsource.Record) bool {
	return rec.Unreadable != "" || !rec.Unwanted && (r.filter == nil || r.filter.Passes(rec.Filtered()))
}

// startRun starts the pollers. ended is closed when nothing of them is left.
func startRun(o *owner, m *eventsource.Mapping) (r *run, ended chan struct{}) {
	r = &run{o: o, s: o.s, m: m, traits: eventsource.TraitsOf(m.Kind)}
	r.reading, r.drain = context.WithCancel(o.s.hard)
	r.delivered.Store(m.Result == fine)
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		defer r.drain()
		r.loop()
	}()
	return r, ended
}

// loop opens the source until the drain begins.
func (r *run) loop() {
	var err error
	if r.filter, err = eventsource.NewFilter(r.m.Kind, r.m.Filters); err != nil { // it was compiled before it was stored
		r.o.tell(eventsource.SourceFailed, &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The filter criteria cannot be read.", Err: err})
		<-r.reading.Done()
		return
	}
	for failures := 0; r.reading.Err() == nil; {
		src, err := r.open()
		if err != nil {
			failures++
			r.unwell(err)
			r.pause(r.s.o.Reconnect.After(failures))
			continue
		}
		if r.m.Unwraps() {
			src = eventsource.Unwrapped(src, r.m.Kind)
		}
		failures = 0
		r.well()
		r.o.tell(eventsource.Opened, nil)
		err = r.session(src)
		closing, cancel := context.WithTimeout(context.WithoutCancel(r.s.hard), closeLimit)
		if err := src.Close(closing); err != nil {
			r.s.o.Log.Warn("event source not closed well", "mapping", r.m.ID, "error", err)
		}
		cancel()
		if err != nil && r.reading.Err() == nil {
			r.unwell(err)
			r.pause(r.s.o.Reconnect.First)
		}
	}
}

const (
	openLimit  = time.Minute
	closeLimit = 10 * time.Second
)

func (r *run) open() (*eventsource.Source, error) {
	d := r.s.o.Drivers[r.m.Kind]
	if d == nil {
		return nil, &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "This server cannot read " + string(r.m.Kind) + "."}
	}
	ctx, cancel := context.WithTimeout(r.reading, openLimit)
	defer cancel()
	return d.Open(ctx, r.m, r.s.facts(r.m))
}

// facts are of the function as it is now.
func (s *Service) facts(m *eventsource.Mapping) (f eventsource.Facts) {
	e := s.o.View.Get(m.Function)
	if e == nil {
		return f
	}
	q := m.Qualifier
	if q == "" {
		q = function.Latest
	}
	if v := e.Route(q, 0); v != nil {
		f.Timeout, f.Role = time.Duration(v.Config.TimeoutSeconds)*time.Second, v.Config.Role
	}
	return f
}

// session reads an open source until the drain begins, or until the error says that it has to be opened anew.
func (r *run) session(src *eventsource.Source) error {
	ctx, stop := context.WithCancelCause(r.reading)
	defer stop(nil)
	defer r.watched.open(src)()
	s := &session{run: r, src: src, ctx: ctx, stop: stop, policy: r.policy(src)}
	if src.Queue != nil {
		s.pollQueue()
	} else {
		s.readStream()
	}
	if err := context.Cause(ctx); errors.Is(err, eventsource.ErrBroken) {
		return err
	}
	return nil
}

// session is the time in which a source is open.
type session struct {
	*run
	src    *eventsource.Source
	policy eventsource.Policy
	ctx    context.Context // nothing is begun after its end
	stop   context.CancelCauseFunc
	work   sync.WaitGroup
}

// policy is what the mapping says of batches that fail.
func (r *run) policy(src *eventsource.Source) eventsource.Policy {
	o := r.m.Options
	p := eventsource.Policy{Traits: r.traits, Queue: src.Queue != nil, MaxRetries: o.MaxRetries, MaxAge: -1, Retention: src.Retention, Bisect: o.Bisect,
		Partial: o.Partial, Delays: r.s.o.Delays}
	if o.MaxAge >= 0 && r.m.HasRetries() {
		p.MaxAge = time.Duration(o.MaxAge) * time.Second
	}
	if !r.m.HasRetries() {
		p.MaxRetries = -1
	}
	if p.MaxRetries < 0 && r.traits.Assigns && !p.Queue && o.OnFailure != "" {
		p.MaxRetries = kafkaRetries
	}
	return p
}

// kafkaRetries stands for no bound where a destination waits for what fails. Source: section 6.4, S-090.
const kafkaRetries = 10

// limits are those of a batch.
func (r *run) limits() eventsource.Limits {
	return eventsource.Limits{Count: max(r.m.Options.BatchSize, 1), Window: r.m.Window()}
}

// pause waits, at most until the drain begins.
func (r *run) pause(d time.Duration) { wait(r.reading, d) }

// wait waits, and says whether the whole time has passed.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unwell tells of an error of the source.
func (r *run) unwell(err error) {
	if r.reading.Err() != nil {
		return
	}
	r.failing.Store(true)
	r.o.tell(eventsource.SourceFailed, err)
}

// well takes the word back.
func (r *run) well() {
	if r.failing.CompareAndSwap(true, false) {
		r.o.tell(eventsource.Opened, nil)
	}
}

// trouble decides about an error of a call to the source: whether the call is to be made again, after a pause.
func (s *session) trouble(err error, failures int) (again bool) {
	switch {
	case s.ctx.Err() != nil:
		return false
	case errors.Is(err, eventsource.ErrBroken):
		s.stop(err)
		return false
	}
	s.unwell(err)
	return wait(s.ctx, s.s.o.Reconnect.After(failures))
}
