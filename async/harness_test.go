package async

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"thaw/function"
	"thaw/invoke"
)

// memory is a Store for tests of what the queue decides. The real one is tested beside it, and both together in node.
type memory struct {
	mu       sync.Mutex
	seq      uint64
	events   map[uint64]Event
	progress map[uint64]Progress
	full     bool
}

func newMemory() *memory { return &memory{events: map[uint64]Event{}, progress: map[uint64]Progress{}} }

func (m *memory) Put(_ context.Context, e *Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return ErrFull
	}
	m.seq++
	e.Seq = m.seq
	m.events[e.Seq] = *e
	return nil
}

func (m *memory) Next(_ context.Context, l Lane, from uint64) (*Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found *Event
	for seq, e := range m.events {
		if e.Lane == l && seq >= from && (found == nil || seq < found.Seq) {
			found = &e
		}
	}
	if found == nil {
		return nil, ErrNone
	}
	return found, nil
}

func (m *memory) Progress(_ context.Context, seq uint64, p *Progress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return ErrFull
	}
	m.progress[seq] = *p
	return nil
}

func (m *memory) Known(_ context.Context, seq uint64) (*Progress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.progress[seq]
	if !ok {
		return nil, nil
	}
	p.Targets = slices.Clone(p.Targets)
	return &p, nil
}

func (m *memory) Remove(_ context.Context, seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.events, seq)
	delete(m.progress, seq)
	return nil
}

func (m *memory) Purge(_ context.Context, l Lane) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for seq, e := range m.events {
		if e.Lane == l {
			delete(m.events, seq)
			n++
		}
	}
	return n, nil
}

func (m *memory) Lanes(context.Context) (map[Lane]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lanes := map[Lane]int{}
	for _, e := range m.events {
		lanes[e.Lane]++
	}
	return lanes, nil
}

func (m *memory) Tried(_ context.Context, f func(uint64, *Progress)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for seq, p := range m.progress {
		p.Response = nil
		f(seq, &p)
	}
	return nil
}

func (m *memory) left() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events) + len(m.progress)
}

// sleep lets time pass, and returns when everything has happened that comes with it. The lock is for the race detector,
// which knows nothing of bubbles: what the test has read and written comes before what happens meanwhile.
func (s *scene) sleep(d time.Duration) {
	func() {
		s.mu.Lock()
		defer s.mu.Unlock()
	}()
	time.Sleep(d)
	synctest.Wait()
}

// run is one attempt that reached the invoker.
type run struct {
	fn, id, event string
	at            time.Duration // since the scene began
}

// scene is a queue, functions that answer as the test says, and destinations that note what they get.
type scene struct {
	t        *testing.T
	store    *memory
	view     *function.View
	revision uint64
	queue    *Queue
	begun    time.Time
	answer   func(*invoke.Request) (string, error) // error JSON: begins with !

	mu          sync.Mutex
	runs        []run
	sent        []Message
	send        func(*Message) error
	received    int
	ages        []time.Duration
	dropped     int
	undelivered int
}

func open(t *testing.T) *scene {
	s := &scene{t: t, store: newMemory(), view: function.NewView(), begun: time.Now()}
	s.view.Loaded()
	s.function("f", nil)
	s.start()
	return s
}

func (s *scene) start() {
	q, err := Open(s.t.Context(), Options{Store: s.store, Invoker: s, View: s.view, Sender: s, Metrics: s, Log: slog.New(slog.DiscardHandler), Concurrency: 2})
	if err != nil {
		s.t.Fatal(err)
	}
	s.queue = q
}

// stop ends the queue as a server does that is told to go.
func (s *scene) stop() {
	s.t.Helper()
	if err := s.queue.Close(context.Background()); err != nil {
		s.t.Error(err)
	}
}

func (s *scene) function(name string, edit func(*function.Record)) {
	s.revision++
	r := &function.Record{Key: key(name), Partition: "aws", Incarnation: 1, Epoch: 1, Revision: s.revision,
		Latest: function.VersionRecord{Number: function.Latest, Life: function.Live}}
	if edit != nil {
		edit(r)
	}
	s.view.Apply(function.Change{Revision: s.revision, Key: r.Key, Function: r})
}

func key(name string) function.Key {
	return function.Key{Account: "000000000000", Region: "eu-west-1", Name: name}
}

func config(c function.EventInvoke) func(*function.Record) {
	return func(r *function.Record) { r.EventInvoke = map[function.Qualifier]function.EventInvoke{"$LATEST": c} }
}

func number(n int) *int { return &n }

func (s *scene) accept(fn, id, event string) {
	s.t.Helper()
	e := &Event{Lane: Lane{Key: key(fn)}, RequestID: id, InvokedARN: key(fn).ARN("aws"), Payload: []byte(event)}
	if err := s.queue.Accept(s.t.Context(), e); err != nil {
		s.t.Fatal(err)
	}
}

// Invoke implements Invoker.
func (s *scene) Invoke(_ context.Context, r *invoke.Request) (*invoke.Result, error) {
	s.mu.Lock()
	s.runs = append(s.runs, run{r.Function.Name, r.RequestID, string(r.Event), time.Since(s.begun)})
	answer := s.answer
	s.mu.Unlock()
	text := "null"
	if answer != nil {
		var err error
		if text, err = answer(r); err != nil {
			return nil, err
		}
	}
	o := &function.Outcome{Payload: []byte(text)}
	if text[0] == '!' {
		o.Payload, o.FunctionError = []byte(text[1:]), "Unhandled"
	}
	return &invoke.Result{Outcome: o, Version: &function.Version{Number: function.Latest}}, nil
}

// Send implements Sender.
func (s *scene) Send(_ context.Context, m *Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.send != nil {
		if err := s.send(m); err != nil {
			return err
		}
	}
	s.sent = append(s.sent, *m)
	return nil
}

func (s *scene) Received(Lane)               { s.mu.Lock(); s.received++; s.mu.Unlock() }
func (s *scene) Age(_ Lane, d time.Duration) { s.mu.Lock(); s.ages = append(s.ages, d); s.mu.Unlock() }
func (s *scene) Dropped(Lane)                { s.mu.Lock(); s.dropped++; s.mu.Unlock() }
func (s *scene) Undelivered(Lane, bool)      { s.mu.Lock(); s.undelivered++; s.mu.Unlock() }

// ran is what reached the functions, as text.
func (s *scene) ran() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		out = append(out, fmt.Sprintf("%s %s at %v", r.fn, r.id, r.at))
	}
	return out
}

func (s *scene) wantRuns(want ...string) {
	s.t.Helper()
	if got := s.ran(); !slices.Equal(got, want) {
		s.t.Errorf("what ran:\n got %q\nwant %q", got, want)
	}
}

func (s *scene) wantNothingLeft() {
	s.t.Helper()
	if n := s.store.left(); n > 0 {
		s.t.Errorf("%d things are left in the store", n)
	}
}

var errOut = errors.New("out of reach")
