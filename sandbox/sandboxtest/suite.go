// Package sandboxtest is the conformance suite of sandbox backends: what every one must do, tried with the real guest and real processes.
//
// A backend's test calls Run with a function that opens it, and RemovePrograms at the end of its TestMain. Options, and
// -short, make it smaller for sandboxes that take seconds to make.
package sandboxtest

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

// Run runs the whole suite. open makes a backend in a folder of its own, with GuestExe as guest; the suite closes it.
func Run(t *testing.T, open func(t testing.TB) sandbox.Backend) { Options{}.Run(t, open) }

// Run runs the suite as the options say.
func (o Options) Run(t *testing.T, open func(t testing.TB) sandbox.Backend) {
	s := &suite{open: open, opt: o.fitted(t)}
	asleep := s.sleepers(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"an event goes in and the response comes out", roundTrip},
		{"payloads up to the limit pass, larger responses are refused", payloadLimit},
		{"a streamed response flows as fast as it is taken", streaming},
		{"output comes before the call that follows it", outputOrder},
		{"exits and signals are reported with the last words", exits},
		{"what cannot be launched is an exit that says why", launchErrors},
		{"the runtime has its user, folder, limits and an empty input", insideView},
		{"freeze stops threads and timers, thaw lets them go on", freezing},
		{"kill leaves no descendant, keeps /tmp and loses memory", killing},
		{"a kill with patience lets the runtime handle SIGTERM", terminating},
		{"out of memory ends the runtime", outOfMemory},
		{"mounts are read-only", readOnly},
		{"an image is mounted like a folder, and goes with its sandbox", images},
		{"files of the host are not there", noHostFiles},
		{"/tmp has its size and mode", tmpSize},
		{"a sandbox whose stream ends goes away", streamEnd},
		{"a sandbox whose guest dies says so", guestDeath},
		{"close works at any moment, more than once", closing},
		{"twenty sandboxes at once keep to themselves", twenty},
		{"names are checked", names},
		{"nothing is left behind", leaks},
	} {
		s.run(t, c.name, func(t *testing.T) { c.run(t, s) })
	}
	s.run(t, "a sandbox answers after 12, 45 and 130 s of being frozen", asleep.wake)
}

type suite struct {
	open func(t testing.TB) sandbox.Backend
	opt  Options
	ids  int
}

// backend opens a backend that is closed with the test.
func (s *suite) backend(t testing.TB) sandbox.Backend {
	t.Helper()
	b := s.open(t)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the backend: %v", err)
		}
	})
	return b
}

// box is a sandbox with the suite's bootstrap in /var/task, and its host end.
type box struct {
	sandbox.Sandbox
	*Host
	backend sandbox.Backend
	spec    sandbox.Spec
}

func (s *suite) spec(t testing.TB) sandbox.Spec {
	_, bootstrap := programs(t)
	s.ids++
	return sandbox.Spec{
		ID: sandbox.ID(fmt.Sprintf("suite-%d-%d", time.Now().UnixNano(), s.ids)), MemoryMiB: s.opt.MemoryMiB, TmpMiB: 64,
		Mounts: []sandbox.Mount{{Source: filepath.Dir(bootstrap), Target: "/var/task"}},
	}
}

func (s *suite) create(t testing.TB, b sandbox.Backend, spec sandbox.Spec) *box {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sb, err := b.Create(ctx, spec)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	x := &box{Sandbox: sb, Host: NewHost(t, sb), backend: b, spec: spec}
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		x.AwaitEnd()
	})
	return x
}

// start is the Start of the suite's bootstrap.
func (x *box) start(generation uint64, vars ...string) wire.Start {
	caps := x.backend.Capabilities()
	s := wire.Start{
		Generation: generation,
		Candidates: []string{x.HostPath("/var/task/bootstrap")},
		Dir:        x.HostPath("/var/task"),
		UID:        caps.UID, GID: caps.GID,
		Vars:   append([]string{"PATH=/usr/bin:/bin"}, vars...),
		NoFile: 1024,
	}
	if !caps.ManyPerHost {
		s.APIHost = "127.0.0.1:9001"
	}
	if caps.Mounts {
		s.TmpBytes = int64(x.spec.TmpMiB) << 20
	}
	return s
}

// running is a sandbox whose runtime is parked in its first next.
func (s *suite) running(t testing.TB) *box {
	t.Helper()
	x := s.create(t, s.backend(t), s.spec(t))
	x.Hello()
	x.Start(x.start(1))
	x.Ready()
	return x
}
