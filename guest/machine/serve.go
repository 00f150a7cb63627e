package machine

import (
	"errors"
	"fmt"
	"io"
	"time"

	"thaw/guest/control"
	"thaw/guest/wire"
)

// speaker is the guest's end of a connection on control.Port.
type speaker struct {
	c      io.ReadWriteCloser
	w      *wire.Writer
	before *speaker      // that came before; nil: none that is there
	ended  chan struct{} // closed when nobody reads it any more
}

func (s *speaker) outOfMemory(n int64) {
	s.w.Send(control.KindOutOfMemory, control.OutOfMemory{Count: n}, nil)
}

// answering takes a connection on which the host asks. Only the last hears what comes by itself.
func (m *machine) answering(c io.ReadWriteCloser) (serve func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.talk = &speaker{c, wire.NewWriter(c), m.talk, make(chan struct{})}
	s := m.talk
	return func() { m.serve(s) }
}

// resetPatience bounds the wait for the connection before to end. The host has one at a time, so it does.
const resetPatience = 10 * time.Second

// awaitReset waits until the connection before has ended. After a restore that one ends because the kernel resets all
// connections of the vsock device, those too that were made meanwhile. Somewhat late: who answered before would be
// believed, and lost.
func (s *speaker) awaitReset() {
	if s.before == nil {
		return
	}
	select {
	case <-s.before.ended:
	case <-time.After(resetPatience):
		s.before.c.Close()
	}
	s.before = nil
}

// serve answers the host until the connection ends.
func (m *machine) serve(s *speaker) {
	defer func() {
		s.c.Close()
		close(s.ended)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.talk == s {
			m.talk = nil
		}
	}()
	s.awaitReset()
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
	case control.KindFreeze:
		frozen, err := m.freeze()
		return frozen, nil, err
	case control.KindThaw:
		return nil, nil, m.group.thaw()
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
