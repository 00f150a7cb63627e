package poller

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"thaw/eventsource"
)

// owner runs one mapping: its goroutine alone moves the mapping's state, and starts and ends its pollers.
type owner struct {
	s         *Service
	published atomic.Pointer[eventsource.Mapping]
	resting   atomic.Bool // the function is gone
	events    chan news
	gone      chan struct{} // closed with the goroutine's end

	run   *run          // nil: no pollers
	ended chan struct{} // of the run; nil: none
	after eventsource.Event
	wants bool // after is to be told when the run has ended
	kept  kept
}

// news is an event with what belongs to it.
type news struct {
	event  eventsource.Event
	err    error                                     // of SourceFailed
	asked  func(eventsource.State) eventsource.Event // what a user asked, instead of event
	change func(*eventsource.Mapping) error          // of it; nil: none
	answer chan<- answer
}

type answer struct {
	m   *eventsource.Mapping
	err error
}

func newOwner(s *Service, m *eventsource.Mapping) *owner {
	o := &owner{s: s, events: make(chan news, 16), gone: make(chan struct{})}
	o.published.Store(m)
	return o
}

// mapping is the record as it is now.
func (o *owner) mapping() *eventsource.Mapping { return o.published.Load() }

// tell gives the owner an event of pollers or of the server.
func (o *owner) tell(e eventsource.Event, err error) {
	select {
	case o.events <- news{event: e, err: err}:
	case <-o.gone:
	case <-o.s.left: // the owner may wait for the sender's end
	}
}

// ask gives the owner what a user wants and waits until it is stored.
func (o *owner) ask(ctx context.Context, asked func(eventsource.State) eventsource.Event, change func(*eventsource.Mapping) error) (*eventsource.Mapping, error) {
	back := make(chan answer, 1)
	select {
	case o.events <- news{asked: asked, change: change, answer: back}:
	case <-o.gone:
		return nil, ErrNotFound
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case a := <-back:
		return a.m, a.err
	case <-o.gone:
	}
	select {
	case a := <-back: // a mapping that is deleted may be gone at once
		return a.m, a.err
	default:
		return nil, ErrNotFound
	}
}

// loop is the owner's goroutine. It ends with the mapping, or when the server leaves.
func (o *owner) loop() {
	defer o.s.work.Done()
	defer close(o.gone)
	left := o.s.left
	for {
		select {
		case n := <-o.events:
			o.move(n)
		case <-o.ended:
			o.run, o.ended = nil, nil
			o.kept.live.Store(nil)
			if o.wants {
				o.wants = false
				o.next(o.after)
			}
		case <-left: // positions are stored, and the state stays: the next server goes on
			left = nil
			if o.run != nil {
				o.run.drain()
				<-o.ended
			}
			return
		}
		if o.mapping().State == eventsource.Gone {
			o.s.forget(o.mapping().ID)
			o.s.o.Metrics.Gone(o.mapping())
			return
		}
	}
}

// next is a move that the owner itself brings about.
func (o *owner) next(e eventsource.Event) { o.move(news{event: e}) }

// move asks what an event means, and does it.
func (o *owner) move(n news) {
	was := o.mapping()
	if n.asked != nil {
		n.event = n.asked(was.State)
	}
	to, actions, err := eventsource.Next(was.State, n.event)
	m := *was
	if err == nil && n.change != nil {
		err = n.change(&m)
	}
	if err != nil {
		if n.answer != nil {
			n.answer <- answer{err: err}
		} else {
			o.s.o.Log.Debug("event source mapping: event out of turn", "mapping", was.ID, "error", err)
		}
		return
	}
	m.State = to
	switch n.event {
	case eventsource.Opened:
		o.recovered(&m)
		if to == was.State && strings.HasPrefix(was.Result, "PROBLEM") { // the log told of it
			o.s.o.Log.Info("event source mapping: its source is read again", "mapping", was.ID)
		}
	case eventsource.FunctionGone:
		m.Result = "PROBLEM: Function does not exist"
		o.kept.note(OfAbsence, o.s.absence(&m), nil)
	case eventsource.SourceFailed:
		o.failed(&m, n.err)
		o.kept.note(OfSource, "The event source cannot be read.", n.err)
	}
	user := n.asked != nil && n.event != eventsource.TagAsked
	if user {
		m.Reason = eventsource.TraitsOf(m.Kind).Reason
	}
	if user || to != was.State {
		m.Modified = time.Now()
		o.s.o.Log.Info("event source mapping", "mapping", m.ID, "from", was.State.Name(), "to", to.Name(), "event", n.event)
	}
	o.published.Store(&m)
	for _, a := range actions {
		if a == eventsource.Report && m.Result == was.Result {
			continue // said before
		}
		if err := o.do(a, n); err != nil {
			o.published.Store(was)
			if n.answer != nil {
				n.answer <- answer{err: err}
			}
			return
		}
	}
	if n.answer != nil {
		n.answer <- answer{m: &m}
	}
}

// do performs an action. Only Save can fail, and it comes first.
func (o *owner) do(a eventsource.Action, n news) error {
	switch a {
	case eventsource.Save:
		return o.save(n.answer == nil)
	case eventsource.Open:
		o.resting.Store(false)
		o.begin()
	case eventsource.Reopen:
		o.finish(eventsource.Started)
	case eventsource.Settle:
		o.next(eventsource.Settled)
	case eventsource.Report:
		o.s.o.Log.Warn("event source mapping: "+o.mapping().Result, "mapping", o.mapping().ID, "error", n.err)
	case eventsource.Rest:
		o.resting.Store(true)
		if o.run != nil {
			o.run.drain()
		}
	case eventsource.Drain:
		o.resting.Store(false)
		o.finish(eventsource.DrainFinished)
	case eventsource.Remove:
		o.remove()
	}
	return nil
}

// begin starts pollers; where some are still ending, when they have ended.
func (o *owner) begin() {
	if o.run != nil {
		if o.run.reading.Err() != nil {
			o.wants, o.after = true, eventsource.Started
		}
		return
	}
	o.run, o.ended = startRun(o, o.mapping())
	o.kept.live.Store(o.run)
}

// finish ends the pollers, and lets the event follow.
func (o *owner) finish(e eventsource.Event) {
	if o.run == nil {
		o.wants = false
		o.next(e)
		return
	}
	o.wants, o.after = true, e
	o.run.drain()
}

// save stores the record, if insist says so as often as it takes. The new revision is in what is published, so that the
// next save has it.
func (o *owner) save(insist bool) error {
	m := *o.mapping()
	for pause := o.s.o.Reconnect.First; ; pause = min(2*pause, o.s.o.Reconnect.Limit) {
		revision, err := o.s.o.Records.Put(o.s.hard, &m)
		if err == nil {
			m.Revision = revision
			o.published.Store(&m)
			return nil
		}
		if !insist || errors.Is(err, eventsource.ErrStale) || o.s.hard.Err() != nil {
			return err
		}
		o.s.o.Log.Error("event source mapping cannot be stored", "mapping", m.ID, "error", err)
		select {
		case <-time.After(pause):
		case <-o.s.left:
			return err
		}
	}
}

// remove deletes what is stored, as often as it takes: the next server begins with the same.
func (o *owner) remove() {
	id := o.mapping().ID
	for {
		err := o.s.o.Checkpoints.Drop(o.s.hard, id)
		if err == nil {
			err = o.s.o.Records.Delete(o.s.hard, id)
		}
		if err == nil {
			o.next(eventsource.Removed)
			return
		}
		o.s.o.Log.Error("event source mapping cannot be removed", "mapping", id, "error", err)
		select {
		case <-time.After(o.s.o.Reconnect.First):
		case <-o.s.left:
			return
		}
	}
}

const (
	nothingYet = "No records processed"
	fine       = "OK"
)

// recovered takes the word of a problem with the source back.
func (o *owner) recovered(m *eventsource.Mapping) {
	t := eventsource.TraitsOf(m.Kind)
	m.Reason, m.Result = t.Reason, ""
	if t.Result {
		m.Result = nothingYet
		if o.run != nil && o.run.delivered.Load() {
			m.Result = fine
		}
	}
}

// failed says what is wrong with the source.
func (o *owner) failed(m *eventsource.Mapping, err error) {
	var p *eventsource.ProblemError
	text := "PROBLEM: Connection error. The event source cannot be read."
	if errors.As(err, &p) {
		text = "PROBLEM: " + p.Text
		if p.Code != "" {
			m.Reason = p.Code
		}
	}
	m.Result = text
}

// result says how the last batch ended.
func (o *owner) result(text string) {
	for {
		was := o.published.Load()
		if !eventsource.TraitsOf(was.Kind).Result || was.Result == text {
			return
		}
		m := *was
		m.Result = text
		if o.published.CompareAndSwap(was, &m) {
			return
		}
	}
}
