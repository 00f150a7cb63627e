package firecracker

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"thaw/guest/control"
	"thaw/guest/wire"
)

// controlPair is a host's end of control, and what the guest reads and writes.
func controlPair(t *testing.T, oom func()) (*controls, *wire.Reader, *wire.Writer) {
	t.Helper()
	near, far := net.Pipe()
	c := &controls{conn: near, w: wire.NewWriter(near), oom: oom, ended: make(chan struct{})}
	go c.read()
	t.Cleanup(func() {
		far.Close()
		c.close()
	})
	return c, wire.NewReader(far), wire.NewWriter(far)
}

// Answers find those who asked, in order, whoever has given up meanwhile; what comes by itself is nobody's answer.
func TestAnswersFindThoseWhoAsked(t *testing.T) {
	heard := make(chan struct{}, 1)
	c, r, w := controlPair(t, func() { heard <- struct{}{} })
	short, cancel := context.WithCancelCause(t.Context())
	gaveUp, asked := errors.New("gave up"), make(chan error)
	go func() { asked <- c.ask(short, control.KindMemory, nil, new(control.Memory)) }()
	if f, err := r.Next(); err != nil || f.Kind != control.KindMemory {
		t.Fatalf("frame %+v, %v", f, err)
	}
	cancel(gaveUp)
	if err := <-asked; !errors.Is(err, gaveUp) {
		t.Errorf("who gave up hears %v", err)
	}
	var m control.Memory
	go func() { asked <- c.ask(t.Context(), control.KindMemory, nil, &m) }()
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	w.Send(control.KindMemory, control.Memory{Used: 1}, nil) // late, for the first
	w.Send(control.KindOutOfMemory, control.OutOfMemory{Count: 1}, nil)
	w.Send(control.KindMemory, control.Memory{Used: 2}, nil)
	if err := <-asked; err != nil || m.Used != 2 {
		t.Errorf("the second hears %d, %v", m.Used, err)
	}
	<-heard
	go func() { asked <- c.ask(t.Context(), control.KindSave, nil, nil) }()
	r.Next()
	w.Send(control.KindFault, control.Fault{Text: "no room"}, nil)
	if err := <-asked; err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a fault is %v", err)
	}
}

// A connection that ends answers everybody, and a guest that does not read holds nobody for longer than they wait.
func TestAControlConnectionThatBreaks(t *testing.T) {
	c, r, w := controlPair(t, nil)
	asked := make(chan error)
	for range 2 {
		go func() { asked <- c.ask(t.Context(), control.KindPing, nil, nil) }()
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	w.Send(control.KindBind, nil, nil) // no answer to a ping
	if err := <-asked; !errors.Is(err, wire.ErrFrame) {
		t.Errorf("another kind of answer is %v", err)
	}
	w.Send(control.KindPing, nil, nil)
	if err := <-asked; err != nil {
		t.Error(err)
	}
	w.Send(control.KindPing, nil, nil) // which nobody has asked for
	<-c.ended
	if err := c.ask(t.Context(), control.KindPing, nil, nil); !errors.Is(err, wire.ErrFrame) {
		t.Errorf("a later request says %v", err)
	}

	c, _, _ = controlPair(t, nil)
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.ask(short, control.KindPing, nil, nil); err == nil {
		t.Error("a request that nobody reads succeeds")
	}
}
