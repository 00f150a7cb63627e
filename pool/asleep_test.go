package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/pool"
	"thaw/sandbox"
)

// faults makes freezes and thaws of real sandboxes fail. A function that is set is asked before the real thing is done.
type faults struct {
	sandbox.Backend
	mu           sync.Mutex
	freeze, thaw func(sandbox.Sandbox) error
	closed       int
}

func (f *faults) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	s, err := f.Backend.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &faultySandbox{s, f}, nil
}

func (f *faults) set(freeze, thaw func(sandbox.Sandbox) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.freeze, f.thaw = freeze, thaw
}

func (f *faults) gone() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

type faultySandbox struct {
	sandbox.Sandbox
	f *faults
}

func (s *faultySandbox) Freeze() error { return s.change(&s.f.freeze, s.Sandbox.Freeze) }
func (s *faultySandbox) Thaw() error   { return s.change(&s.f.thaw, s.Sandbox.Thaw) }

// change does the real thing, unless the fault that is set now fails it.
func (s *faultySandbox) change(set *func(sandbox.Sandbox) error, do func() error) error {
	s.f.mu.Lock()
	fault := *set
	s.f.mu.Unlock()
	if fault != nil {
		if err := fault(s.Sandbox); err != nil {
			return err
		}
	}
	return do()
}

func (s *faultySandbox) Close() error {
	err := s.Sandbox.Close()
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.closed++
	return err
}

// faultyStarter makes environments in faulty sandboxes.
type faultyStarter struct {
	*starter
	f *faults
}

func (s *faultyStarter) Open(_ context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	s.opened.Add(1)
	return execenv.Open(execenv.NewID(), execenv.Options{Backend: s.f, Version: v, Owner: owner, Log: slog.New(slog.DiscardHandler), Sink: discard{},
		Launch: execenv.Launch{Candidates: []string{"/var/task/bootstrap"}, Mounts: []sandbox.Mount{{Source: codeDir, Target: "/var/task"}}}}), nil
}

// asleep is a pool with one environment that has answered once and was frozen.
func asleep(t *testing.T, name string) (*pool.Pool, *faultyStarter, *function.Version) {
	t.Helper()
	s := &faultyStarter{&starter{}, &faults{Backend: backend}}
	p, _ := open(t, pool.Options{Starter: s})
	v := version(name, 1)
	if got := invoke(t, p, v, `{"ID":1}`); !strings.Contains(got, `"N":1`) {
		t.Fatalf("the first answer is %s", got)
	}
	until(t, "the environment is frozen", func() bool { return states(p) == "Frozen" })
	return p, s, v
}

func pid(t *testing.T, answer string) int {
	t.Helper()
	var a struct{ Pid int }
	if err := json.Unmarshal([]byte(answer), &a); err != nil || a.Pid == 0 {
		t.Fatalf("%s: %v", answer, err)
	}
	return a.Pid
}

func states(p *pool.Pool) string {
	var all []string
	for _, e := range p.Environments() {
		all = append(all, e.State)
	}
	return strings.Join(all, " ")
}

func TestAnInvokeWhoseEnvironmentDoesNotThawRunsInAnother(t *testing.T) {
	p, s, v := asleep(t, "no-thaw")
	s.f.set(nil, func(sandbox.Sandbox) error { s.f.set(nil, nil); return errors.New("thaw refused") })
	if got := invoke(t, p, v, `{"ID":2}`); !strings.Contains(got, `"ID":2,"N":1`) {
		t.Errorf("the answer is %s; want the first one of another environment", got)
	}
	until(t, "the one that does not thaw is closed", func() bool { return s.f.gone() == 1 })
	if n := s.opened.Load(); n != 2 {
		t.Errorf("%d environments were made, want 2", n)
	}
	if got := invoke(t, p, v, `{"ID":3}`); !strings.Contains(got, `"ID":3,"N":2`) {
		t.Errorf("the answer after it is %s", got)
	}
}

// Each of many idle environments fails: every invocation finds one that works, and none is run twice or lost.
func TestManyEnvironmentsThatDoNotThaw(t *testing.T) {
	p, s, v := asleep(t, "none-thaws")
	const n = 5
	round := func(ms int) []string {
		var wg sync.WaitGroup
		got := make([]string, n)
		for i := range n {
			wg.Go(func() { got[i] = invoke(t, p, v, fmt.Sprintf(`{"ID":%d,"Ms":%d}`, i, ms)) })
		}
		wg.Wait()
		for i, g := range got {
			if !strings.Contains(g, fmt.Sprintf(`"ID":%d,`, i)) {
				t.Errorf("caller %d got %s", i, g)
			}
		}
		return got
	}
	slept := map[int]bool{} // processes of the environments that will not thaw
	for _, g := range round(1500) {
		slept[pid(t, g)] = true
	}
	until(t, "all are frozen", func() bool { return strings.Trim(states(p), "Frozen ") == "" })
	old := map[sandbox.ID]bool{}
	for _, e := range p.Environments() {
		old[sandbox.ID(e.ID[:16])] = true
	}
	s.f.set(nil, func(sb sandbox.Sandbox) error {
		if old[sb.ID()] {
			return errors.New("thaw refused")
		}
		return nil
	})
	for _, g := range round(0) {
		if slept[pid(t, g)] {
			t.Errorf("an environment that does not thaw answered: %s", g)
		}
	}
	until(t, "those that do not thaw are closed", func() bool { return s.f.gone() >= len(old) })
}

// On a host where no thaw succeeds the caller gets an error that says so, and environments are not made without end.
func TestNothingThaws(t *testing.T) {
	p, s, v := asleep(t, "nothing-thaws")
	s.f.set(func(sandbox.Sandbox) error { time.Sleep(5 * time.Millisecond); return nil }, // so that each invoke comes while it freezes
		func(sandbox.Sandbox) error { return errors.New("thaw refused") })
	for s.opened.Load() < 100 {
		_, err := p.Invoke(context.Background(), request(v, `{"ID":2}`))
		var u *pool.UnavailableError
		if errors.As(err, &u) && u.Phase == "thaw" && strings.Contains(err.Error(), "thaw refused") {
			break
		}
		if err != nil {
			t.Fatalf("the caller is told: %v", err)
		}
	}
	if n := s.opened.Load(); n >= 100 {
		t.Errorf("%d environments were made", n)
	}
}

func TestAnEnvironmentThatDoesNotFreezeGoes(t *testing.T) {
	p, s, v := asleep(t, "no-freeze")
	s.f.set(func(sandbox.Sandbox) error { s.f.set(nil, nil); return errors.New("freeze refused") }, nil)
	if got := invoke(t, p, v, `{"ID":2}`); !strings.Contains(got, `"N":2`) {
		t.Errorf("the answer is %s", got)
	}
	until(t, "it is closed", func() bool { return s.f.gone() == 1 })
	until(t, "it is forgotten", func() bool { return states(p) == "" })
	if got := invoke(t, p, v, `{"ID":3}`); !strings.Contains(got, `"ID":3,"N":1`) {
		t.Errorf("the answer after it is %s", got)
	}
}

// An invoke that comes while the freeze is under way waits for it and runs in the same environment.
func TestAnInvokeDuringTheFreeze(t *testing.T) {
	p, s, v := asleep(t, "while-freezing")
	begun, goOn := make(chan struct{}), make(chan struct{})
	s.f.set(func(sandbox.Sandbox) error { close(begun); <-goOn; return nil }, nil)
	invoke(t, p, v, `{"ID":2}`)
	<-begun
	s.f.set(nil, nil)
	answer := make(chan string)
	go func() { answer <- invoke(t, p, v, `{"ID":3}`) }()
	until(t, "the invoke waits for the thaw", func() bool { return states(p) == "Waking" })
	close(goOn)
	if got := <-answer; !strings.Contains(got, `"ID":3,"N":3`) || s.opened.Load() != 1 {
		t.Errorf("the answer is %s, of %d environments", got, s.opened.Load())
	}
}

// A freeze that fails while an invoke waits leaves the environment running: the invoke runs in it.
func TestAFreezeThatFailsUnderAnInvoke(t *testing.T) {
	p, s, v := asleep(t, "fails-under-invoke")
	begun, goOn := make(chan struct{}), make(chan struct{})
	s.f.set(func(sandbox.Sandbox) error { close(begun); <-goOn; return errors.New("freeze refused") }, nil)
	invoke(t, p, v, `{"ID":2}`)
	<-begun
	s.f.set(nil, nil)
	answer := make(chan string)
	go func() { answer <- invoke(t, p, v, `{"ID":3}`) }()
	until(t, "the invoke waits for the thaw", func() bool { return states(p) == "Waking" })
	close(goOn)
	if got := <-answer; !strings.Contains(got, `"ID":3,"N":3`) {
		t.Errorf("the answer is %s", got)
	}
}

// A thaw that never returns is given up, and ends with the sandbox's close.
func TestAThawThatHangs(t *testing.T) {
	t.Parallel() // it waits for a limit of its own
	p, s, v := asleep(t, "hangs")
	s.f.set(nil, func(sb sandbox.Sandbox) error { s.f.set(nil, nil); <-sb.Exited(); return sandbox.ErrClosed })
	begun := time.Now()
	if got := invoke(t, p, v, `{"ID":2}`); !strings.Contains(got, `"ID":2,"N":1`) {
		t.Errorf("the answer is %s; want the first one of another environment", got)
	}
	if took := time.Since(begun); took < 14*time.Second {
		t.Errorf("it was given up after %v", took)
	}
	until(t, "the one that hangs is closed", func() bool { return s.f.gone() == 1 })
}

// A sandbox that ends while an invoke waits for its thaw has run nothing of the invoke.
func TestASandboxThatEndsUnderAThaw(t *testing.T) {
	p, s, v := asleep(t, "ends")
	s.f.set(nil, func(sb sandbox.Sandbox) error {
		s.f.set(nil, nil)
		if err := syscall.Kill(sb.PIDs()[0], syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		<-sb.Exited()
		return nil // and the real thaw says that there is nothing to thaw
	})
	if got := invoke(t, p, v, `{"ID":2}`); !strings.Contains(got, `"ID":2,"N":1`) {
		t.Errorf("the answer is %s; want the first one of another environment", got)
	}
}
