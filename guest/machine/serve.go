package machine

import (
	"errors"
	"fmt"
	"io"

	"thaw/guest/control"
	"thaw/guest/wire"
)

// speaker is the guest's end of a connection on control.Port.
type speaker struct {
	c io.ReadWriteCloser
	w *wire.Writer
}

func (s *speaker) outOfMemory(n int64) {
	s.w.Send(control.KindOutOfMemory, control.OutOfMemory{Count: n}, nil)
}

// answering takes a connection on which the host asks. Only the last counts: the one before ends.
func (m *machine) answering(c io.ReadWriteCloser) (serve func()) {
	s := &speaker{c, wire.NewWriter(c)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.talk != nil {
		m.talk.c.Close()
	}
	m.talk = s
	return func() { m.serve(s) }
}

// serve answers the host until the connection ends.
func (m *machine) serve(s *speaker) {
	defer func() {
		s.c.Close()
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.talk == s {
			m.talk = nil
		}
	}()
	r := wire.NewReader(s.c)
	for {
		f, err := r.Next()
		if err != nil {
			return
		}
		answer, after, err := m.answer(f)
		kind := f.Kind
		if err != nil {
			kind, answer = control.KindFault, control.Fault{Text: err.Error()}
		}
		if s.w.Send(kind, answer, nil) != nil {
			return
		}
		if after != nil {
			after()
		}
	}
}

// answer does what the host asks; after is done when it has its answer.
func (m *machine) answer(f wire.Frame) (answer any, after func(), err error) {
	switch f.Kind {
	case control.KindPing:
		return nil, nil, nil
	case control.KindBind:
		var b control.Bind
		if err := f.Decode(&b); err != nil {
			return nil, nil, err
		}
		bound, err := m.bindOnce(&b)
		return bound, func() {
			if err == nil {
				close(m.bound)
			}
		}, err
	case control.KindMemory:
		used, err := m.group.used()
		return control.Memory{Used: used}, nil, err
	case control.KindSave:
		return nil, nil, m.save()
	case control.KindRestored:
		var r control.Restored
		if err := f.Decode(&r); err != nil {
			return nil, nil, err
		}
		return nil, nil, m.restored(&r)
	}
	return nil, nil, fmt.Errorf("frame of kind %d: unknown", f.Kind)
}

// bindOnce is bind for the first that asks.
func (m *machine) bindOnce(b *control.Bind) (control.Bound, error) {
	m.mu.Lock()
	again := m.root
	m.root = true
	m.mu.Unlock()
	if again {
		return control.Bound{}, errors.New("the machine is bound already")
	}
	if err := m.bind(b); err != nil {
		return control.Bound{}, err
	}
	own, err := m.host.ownMemory()
	return control.Bound{Baseline: own}, err
}
