// Package agent is what this program adds to gVisor inside a sandbox's own process: the server from which a restore
// reads its snapshot, the control of its tasks and clocks, and hooks in the kernel (a file each, which says why).
package agent

import (
	"fmt"
	"runtime/debug"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/state/stateipc"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/pkg/urpc"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
	"thaw/cmd/thaw-sandbox/internal/statefile"
	"thaw/sandbox/gvisor/launch"
)

// Install puts everything in its place, and answers launcher and server. It comes before gVisor's own command line, which
// makes the kernel.
func Install() error {
	debug.SetGCPercent(GCPercent)
	loadSeccomp()
	hookMount()
	hookPlatform()
	installForkID()
	installLayout()
	installFiles()
	installForks()
	return serveSockets(takeSockets())
}

// # How a sandbox is restored
//
// gVisor's restore asks a server for three files, over a protocol for checkpoints kept elsewhere (package stateipc).
// That server is in the sandbox's own process, so that the pages of a function are charged to the function's cgroup,
// and nothing but the sandbox has to be scheduled:
//
//	launcher                    runsc-sandbox
//	  Agent.Arm(socket)  ---->    Agent: serves the socket's end, knows no snapshot yet; gets memory ready for a likely one (reserve.go)
//	  containerManager.Restore -> gVisor: reads the header (ours, the same for all), starts the platform, installs seccomp, asks for more
//	  Agent.Parked       ---->    returns now: everything that is the same for all restores is done
//	  Agent.Give(files)  ---->    checks them; pages begin to load
//	  Agent.Go           ---->    the kernel's state begins to load, while the launcher mounts the function's files
//	  Agent.Bound        ---->    the end of the state may be read: what follows it opens those files
//	  <- containerManager.Restore returns: the guest runs
//	  Agent.Learned      ---->    later, before a freeze: what the next restore of this snapshot is told (touch.go, reserve.go)
//
// The agent works under gVisor's own seccomp filter: nothing here may open, create or look up anything after Arm.

// Agent answers the launcher (urpc allows no other exported methods on it).
type Agent struct{ agent }

type agent struct {
	src source
}

// Arm is called before containerManager.Restore.
func (a *Agent) Arm(args *calls.ArmArgs, _ *struct{}) error {
	fd, err := args.ReleaseFD(0)
	if err != nil {
		return err
	}
	widen()
	mapProgram()
	warmHeap()
	pauseCollector()
	a.src.head = args.Header
	a.src.reserve.want = readRanges(args.Layout)
	srv, err := stateipc.NewAsyncFileServer(&files{src: &a.src})
	if err != nil {
		fd.Close()
		return err
	}
	sock, err := unet.NewSocket(fd.Release())
	if err != nil {
		return err
	}
	s := urpc.NewServer()
	s.Register(srv)
	s.StartHandling(sock)
	return nil
}

// Parked returns when gVisor waits for what Give brings, or has failed.
func (a *Agent) Parked(_, _ *struct{}) error {
	a.src.mu.Lock()
	defer a.src.mu.Unlock()
	for !a.src.parked && a.src.err == nil {
		a.src.news.Wait()
	}
	return a.src.err
}

// Abandon ends every wait of the agent's callers: the restore has ended.
func (a *Agent) Abandon(_, _ *struct{}) error {
	a.src.fail(fmt.Errorf("abandoned"))
	return nil
}

// Give checks a snapshot and lets its pages load.
func (a *Agent) Give(args *calls.GiveArgs, out *statefile.Made) error {
	m, err := a.src.give(args)
	if err != nil {
		a.src.fail(err)
		return err
	}
	*out = *m
	return nil
}

// Go lets the kernel's state load.
func (a *Agent) Go(args *calls.GoArgs, _ *struct{}) error {
	a.src.mu.Lock()
	defer a.src.mu.Unlock()
	if a.src.made == nil {
		return fmt.Errorf("nothing was given")
	}
	a.src.mark(markGo)
	touched.learn(readTouches(args.Touched))
	forkID.enter(a.src.made.Generation+1, a.src.made.Programs)
	a.src.going = true
	a.src.news.Broadcast()
	return nil
}

// Bound lets the end of the kernel's state load: the function's files are in their places.
func (a *Agent) Bound(_, _ *struct{}) error {
	a.src.mu.Lock()
	defer a.src.mu.Unlock()
	a.src.bound = true
	a.src.mark(markBound)
	a.src.news.Broadcast()
	return nil
}

// Marks are what a restore has passed, each with the time since Give and the processor time that the sandbox had used by then.
func (a *Agent) Marks(_ *struct{}, out *[]launch.Mark) error {
	a.src.mu.Lock()
	defer a.src.mu.Unlock()
	a.src.mark(markDone)
	*out = a.src.marks
	time.AfterFunc(trimAfter, a.src.trim)
	return nil
}

// Learned may be called once the kernel runs.
func (a *Agent) Learned(args *calls.LearnedArgs, out *calls.Learned) error {
	*out = calls.Learned{Touched: touched.all(), Layout: a.src.reserve.layout()}
	if args.Last {
		touched.stop()
	}
	return nil
}

// Trim gives back what the restore needed once. It returns when that is done.
func (a *Agent) Trim(_, _ *struct{}) error {
	a.src.trim()
	return nil
}

// trimAfter is for a sandbox that is not frozen soon after its restore; the server asks for Trim before it freezes one.
const trimAfter = 2 * time.Second

func (s *source) trim() {
	s.trimOnce.Do(func() {
		narrow()
		s.mu.Lock()
		s.state, s.meta, s.head, s.blocks = nil, nil, nil, nil // all has been read
		s.mu.Unlock()
		resumeCollector()
	})
}
