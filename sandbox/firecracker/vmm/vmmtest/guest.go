package vmmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/guest/control"
	"thaw/guest/wire"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/firecracker/vmm/vmmtest/ask"
)

// guest is a machine and the connection to its agent.
type guest struct {
	testing.TB
	vmm.Machine
	slot vmm.Slot
	conn net.Conn // nil: none
	r    *wire.Reader
	w    *wire.Writer
}

// answerLimit bounds what an agent that runs is asked for; helloLimit its first answer on a connection, which may be dead.
const (
	answerLimit = time.Minute
	helloLimit  = 5 * time.Second
)

// call connects to the agent, to its first answer. A connection that was made right after a restore may die with its
// first word: the guest notices then that it was somewhere else.
func (g *guest) call(ctx context.Context) error {
	for {
		c, err := g.Dial(ctx, control.Port)
		if err != nil {
			return err
		}
		g.conn, g.r, g.w = c, wire.NewReader(c), wire.NewWriter(c)
		_, body, err := g.try(time.Now().Add(helloLimit), ask.Echo, ask.Question{}, []byte("hello"))
		if err == nil && string(body) == "hello" {
			return nil
		}
		g.hangUp()
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

func (g *guest) hangUp() {
	if g.conn != nil {
		g.conn.Close()
		g.conn = nil
	}
}

// end closes the machine, and says whether anything of it is left.
func (g *guest) end() {
	g.Helper()
	g.hangUp()
	pids := g.PIDs()
	if err := g.Close(); err != nil {
		g.Errorf("close: %v", err)
	}
	select {
	case <-g.Exited():
	default:
		g.Error("the machine was closed, and has not exited")
	}
	for _, pid := range pids {
		if alive(pid) {
			g.Errorf("the machine was closed, and its process %d runs", pid)
		}
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := bytes.Cut(b, []byte(") "))
	return len(state) > 0 && state[0] != 'Z'
}

// try asks the agent until the deadline.
func (g *guest) try(end time.Time, kind wire.Kind, q ask.Question, body []byte) (a ask.Answer, answer []byte, err error) {
	if err := g.conn.SetDeadline(end); err != nil {
		return a, nil, err
	}
	if err := g.w.Send(kind, q, body); err != nil {
		return a, nil, err
	}
	return g.listen(kind)
}

func (g *guest) listen(kind wire.Kind) (a ask.Answer, answer []byte, err error) {
	f, err := g.r.Next()
	switch {
	case err != nil:
		return a, nil, err
	case f.Kind != kind:
		return a, nil, fmt.Errorf("question %d, answer %d", kind, f.Kind)
	}
	if err := f.Decode(&a); err != nil {
		return a, nil, err
	}
	if a.Err != "" {
		return a, nil, errors.New(a.Err)
	}
	return a, f.Body, nil
}

// ask asks the agent, which must have an answer.
func (g *guest) ask(kind wire.Kind, q ask.Question, body []byte) (ask.Answer, []byte) {
	g.Helper()
	a, answer, err := g.try(time.Now().Add(answerLimit), kind, q, body)
	if err != nil {
		g.Fatalf("question %d: %v", kind, err)
	}
	return a, answer
}

func (g *guest) fill(mib int, with string) {
	g.Helper()
	g.ask(ask.Fill, ask.Question{Text: with, Length: mib << 20}, nil)
}

func (g *guest) sum() string {
	g.Helper()
	a, _ := g.ask(ask.Sum, ask.Question{}, nil)
	return a.Text
}

func (g *guest) read(path string, at int64, n int) (string, int64) {
	g.Helper()
	a, b := g.ask(ask.Read, ask.Question{Text: path, Offset: at, Length: n}, nil)
	return string(b), a.Size
}

func (g *guest) write(path string, at int64, text string) error {
	g.Helper()
	_, _, err := g.try(time.Now().Add(answerLimit), ask.Write, ask.Question{Text: path, Offset: at}, []byte(text))
	return err
}

// words keeps what a machine says, for a test that fails.
type words struct {
	mu sync.Mutex
	b  strings.Builder
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}
