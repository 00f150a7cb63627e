package eventbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"thaw/courier"
	"thaw/eventpattern"
	"thaw/internal/plainjson"
	"thaw/outbox"
	"thaw/schedule"
)

// delivery is what is to be sent before a request is answered.
type delivery struct {
	s        *Server
	ctx      context.Context
	ingested time.Time
	tasks    []func()
	hops     int // into buses
}

// maxHops bounds the buses that one event goes through: a dozen that all send to each other have millions of ways.
const maxHops = 300

// together is how many targets are sent to at once for one request: those that are put on disk share a sync.
const together = 32

// do sends everything, and returns when it is on disk.
func (d *delivery) do() {
	if len(d.tasks) == 1 {
		d.tasks[0]()
		return
	}
	var wait sync.WaitGroup
	places := make(chan struct{}, together)
	for _, task := range d.tasks {
		places <- struct{}{}
		wait.Go(func() {
			task()
			<-places
		})
	}
	wait.Wait()
}

// match finds what an event is for; failed is told, once, if something of it cannot be put on disk.
func (d *delivery) match(k busKey, event json.RawMessage, trace string, failed func(error)) {
	var once sync.Once
	d.follow(k, event, trace, []busKey{k}, func(err error) { once.Do(func() { failed(err) }) })
}

// follow is match for an event that has been in other buses already. It goes into none twice.
func (d *delivery) follow(k busKey, event json.RawMessage, trace string, been []busKey, failed func(error)) {
	d.s.mu.RLock()
	b := d.s.buses[k]
	d.s.mu.RUnlock()
	if b == nil {
		return
	}
	if d.hops++; d.hops > maxHops {
		if d.hops == maxHops+1 {
			d.s.o.Log.Error("an event has gone through as many buses as one may, and goes no further: their rules send to each other", "bus", k.name, "buses", maxHops)
		}
		return
	}
	document, err := eventpattern.Parse(event)
	if err != nil {
		failed(err)
		return
	}
	for _, name := range b.index.Match(document) {
		r := d.s.rule(k, name)
		if r == nil || !r.enabled() {
			continue
		}
		d.rule(r, event, trace, been, "", failed)
	}
}

// rule adds the targets of a rule. id is of a time of its schedule, and makes what is sent the same for the same time.
func (d *delivery) rule(r *Rule, event json.RawMessage, trace string, been []busKey, id string, failed func(error)) {
	for i := range r.Targets {
		t := &r.Targets[i]
		if a, ok := parseARN(t.ARN); ok {
			to := busKey{a.region, a.path}
			switch {
			case slices.Contains(been, to):
				d.s.o.Log.Warn("an event came back to a bus that it has been in, and goes no further", "rule", d.s.ruleARN(r), "bus", to.name)
			case d.s.bus(to) == nil:
				gone := &outbox.Failure{Code: outbox.NoResource, Permanent: true, Err: errors.New("event bus " + to.name + " does not exist")}
				if err := d.s.courier.Dead(d.ctx, d.s.parcel(r, t, event, event, trace), gone); err != nil {
					failed(err)
				}
			default:
				d.follow(to, event, trace, append(slices.Clone(been), to), failed)
			}
			continue
		}
		request := ""
		if id != "" {
			request = sameID(id, time.Time{}, t.ID)
		}
		d.tasks = append(d.tasks, func() {
			if err := d.s.send(d.ctx, r, t, event, trace, request, d.ingested); err != nil {
				failed(err)
			}
		})
	}
}

// send puts what a target gets on disk.
func (s *Server) send(ctx context.Context, r *Rule, t *Target, event json.RawMessage, trace, request string, ingested time.Time) error {
	input := t.input(&about{event, s.ruleARN(r), r.Name, ingested})
	if len(input) > maxMade {
		tooLarge := &outbox.Failure{Code: outbox.InvalidParameter, Permanent: true,
			Err: fmt.Errorf("the input transformer makes more than %d bytes", maxMade)}
		return s.courier.Dead(ctx, s.parcel(r, t, event, event, trace), tooLarge)
	}
	p := s.parcel(r, t, event, input, trace)
	p.RequestID = request
	return s.courier.Send(ctx, p)
}

func (s *Server) parcel(r *Rule, t *Target, event, input []byte, trace string) *courier.Parcel {
	return &courier.Parcel{Letter: s.letter(r, t, event, input, trace), Service: "events.amazonaws.com", Source: s.ruleARN(r), Account: s.o.AccountID}
}

// letter is what the outbox gets of a target.
func (s *Server) letter(r *Rule, t *Target, event, input []byte, trace string) *outbox.Letter {
	l := &outbox.Letter{To: t.ARN, Body: input, Trace: trace, Accepted: s.o.Now(), MaxAttempts: 185, MaxAge: 24 * time.Hour,
		About: map[string]string{"RULE_ARN": s.ruleARN(r), "TARGET_ARN": t.ARN}}
	switch {
	case strings.Contains(t.ARN, ":logs:"):
		l.Group = r.Name // the stream
	case t.SQS != nil:
		l.Group = t.SQS.GroupID
	}
	if p := t.Retry; p != nil {
		if p.Attempts != nil {
			l.MaxAttempts = *p.Attempts
		}
		if p.Age != nil {
			l.MaxAge = time.Duration(*p.Age) * time.Second
		}
	}
	if t.DeadLetter != nil && t.DeadLetter.ARN != "" {
		l.DeadLetter = t.DeadLetter.ARN
		if t.Input != nil || t.InputPath != nil || t.InputTransformer != nil {
			l.Original = event
		}
	}
	return l
}

// fire sends what a rule's schedule has due.
func (s *Server) fire(ctx context.Context, k busKey, name string, t schedule.Tick) (err error) {
	r := s.rule(k, name)
	if r == nil || !r.enabled() {
		return nil
	}
	event := s.scheduled(r, t.At)
	var mu sync.Mutex
	d := &delivery{s: s, ctx: ctx, ingested: s.o.Now()}
	d.rule(r, plainjson.Value(event), "", []busKey{k}, event.ID, func(e error) {
		mu.Lock()
		defer mu.Unlock()
		err = e
	})
	d.do()
	return err
}

// Event is one of this server itself.
type Event struct {
	Bus                        string // ARN
	Source, DetailType, Detail string // Detail is a JSON object
	Resources                  []string
	Time                       time.Time
	Trace                      string
}

// ErrNoBus says that there is no such bus on this server.
var ErrNoBus = errors.New("the event bus does not exist on this server")

// Put returns when what an event is for is on disk.
func (s *Server) Put(ctx context.Context, e *Event) (err error) {
	a, ok := parseARN(e.Bus)
	k := busKey{a.region, a.path}
	if !ok || a.kind != "event-bus" || a.account != s.o.AccountID || s.bus(k) == nil {
		return ErrNoBus
	}
	detail, ok := object(e.Detail)
	if !ok {
		return errors.New("the detail of an event is a JSON object")
	}
	event := newEvent(uuid.NewString(), s.o.AccountID, k.region, e.Time)
	event.Source, event.DetailType, event.Detail = e.Source, e.DetailType, detail
	event.Resources = append(event.Resources, e.Resources...)
	d := &delivery{s: s, ctx: ctx, ingested: s.o.Now()}
	d.match(k, plainjson.Value(event), e.Trace, func(e error) { err = e })
	d.do()
	return err
}
