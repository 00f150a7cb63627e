package snapstart

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/snapshot"
)

// making is the making of one generation, from the write of the record that named it.
type making struct {
	s    *Service
	l    *life
	v    *function.Version // nil: nobody has had it since the start
	next *snapshot.Meta    // ID and generation

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when it is over
	err    error         // then: why it is not current

	production
	copied  Copy // of the verification
	adopted bool // it is the pool's
	placed  bool // among the makers

	why       error // the failure that the record gets
	unwritten error // why it did not
}

// production is what the steps learn and hand on.
type production struct {
	key                        snapshot.Key
	primes                     []execenv.Prime
	dir                        string // of the plain files
	sink                       *folderSink
	made                       execenv.Made
	born, began, saved, stored time.Time
	usual                      func() // ends what tidyHeap began
	writer                     *snapshot.Writer
	meta                       *snapshot.Meta // as committed
}

// makeLocked begins a making. It is called by a write, between begin and done of the life.
func (s *Service) makeLocked(l *life, next *snapshot.Meta) *making {
	m := &making{s: s, l: l, v: l.version, next: next, done: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancelCause(l.ctx)
	l.work.Add(1)
	l.making = m
	if !s.goLocked(m.run) { // the next start finds the record and says that it was interrupted
		m.err = context.Cause(s.ctx)
		m.over()
	}
	return m
}

// over ends it; Service.mu is held.
func (m *making) over() {
	if m.l.making == m {
		m.l.making = nil
	}
	m.cancel(nil)
	close(m.done)
	m.l.work.Done()
}

func (m *making) run() {
	m.err = m.attempt()
	m.s.tidy(m.ctx)
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	m.over()
}

// attempt performs the ritual; environments begin when there is a place among the makers.
func (m *making) attempt() error {
	s, began := m.s, m.s.o.Now()
	place := step{name: "place", do: m.takePlace, end: m.leavePlace}
	err := inOrder(m.ctx, slices.Insert(m.ritual(), 1, place), func(step string, err error) {
		m.why = err
		s.o.Log.Debug("making of a snapshot ends early", "fn", m.l.id.Function, "qualifier", m.l.id.Number, "snapshot", m.next.ID, "step", step, "error", err)
	})
	switch {
	case err == nil:
		s.o.Log.Info("snapshot is current", "fn", m.v.Name, "qualifier", m.v.Number, "snapshot", m.next.ID, "generation", m.next.Generation, "duration", s.o.Now().Sub(began))
		return nil
	case m.l.deleted():
		return errDeleted
	}
	return errors.Join(err, m.unwritten)
}

func (m *making) takePlace(ctx context.Context) error {
	select {
	case m.s.makers <- struct{}{}:
		m.placed = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *making) leavePlace() {
	if m.placed {
		<-m.s.makers
	}
}

// wait waits until it is over, and ends it when ctx does.
func (m *making) wait(ctx context.Context) error {
	select {
	case <-m.done:
	case <-ctx.Done():
		m.cancel(context.Cause(ctx))
		<-m.done
	}
	return m.err
}

// policy is the one that counts now.
func (m *making) policy() snapshot.Policy {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return m.l.policy()
}

// folderSink writes the parts of a snapshot as files.
type folderSink struct {
	dir  string
	note string // empty: nothing was to be said

	mu    sync.Mutex
	parts map[string]string // paths
}

// Create implements sandbox.SnapshotSink.
func (f *folderSink) Create(part string) (io.WriteCloser, error) {
	path := filepath.Join(f.dir, part)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parts[part] = path
	return file, nil
}

// Note implements sandbox.SnapshotSink.
func (f *folderSink) Note(text string) { f.note = text }
