package guest

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"thaw/internal/proctree"
)

// killLimit bounds the wait for killed processes; an environment where it is not enough must be discarded.
// Source: aws-lambda-runtime-interface-emulator, internal/lambda/rapid/shutdown.go.
const killLimit = 2 * time.Second

// processes is all that runs in the sandbox but the guest. The guest is the parent of whatever has lost its own: as PID 1 by nature, else as
// child subreaper. So when it has no child left, no process is left.
type processes struct {
	alone bool // we are PID 1: all other processes are ours

	mu      sync.Mutex // held over fork and reaping, so that an exit is never seen before its process is known
	watched map[int]func(syscall.WaitStatus)
	runtime int // process of the runtime; 0: none, or it has ended

	forker chan func() // what is to run on the program's first thread; nil: anywhere

	sig  chan os.Signal
	stop chan struct{}
	done sync.WaitGroup
}

func openProcesses() (*processes, error) {
	p := &processes{alone: os.Getpid() == 1, watched: map[int]func(syscall.WaitStatus){}, sig: make(chan os.Signal, 1), stop: make(chan struct{})}
	if !p.alone {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", err)
		}
	}
	signal.Notify(p.sig, syscall.SIGCHLD)
	quietStops()
	p.done.Go(func() {
		for {
			select {
			case <-p.sig:
				p.reap()
			case <-p.stop:
				return
			}
		}
	})
	return p, nil
}

func (p *processes) close() {
	signal.Stop(p.sig)
	close(p.stop)
	p.done.Wait()
}

// fork runs start, and exited when the process that it returns has ended; nothing is reaped meanwhile. pid 0: there is none.
func (p *processes) fork(start func() (pid int), exited func(syscall.WaitStatus)) (pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.forker == nil {
		pid = start()
	} else {
		done := make(chan struct{})
		p.forker <- func() {
			pid = start()
			close(done)
		}
		<-done
	}
	if pid > 0 {
		p.watched[pid] = exited
	}
	return pid
}

// forkRuntime is fork for the runtime.
func (p *processes) forkRuntime(start func() (pid int), exited func(syscall.WaitStatus)) {
	pid := p.fork(start, exited)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[pid] != nil {
		p.runtime = pid
	}
}

// reap collects all that have ended. none: there is no process left.
func (p *processes) reap() (none bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.ECHILD:
			return true
		case err != nil || pid == 0:
			return false
		case p.watched[pid] != nil:
			exited := p.watched[pid]
			delete(p.watched, pid)
			if pid == p.runtime {
				p.runtime = 0
			}
			exited(status)
		}
	}
}

// signalRuntime sends to the runtime's first process alone: its children may not expect it.
func (p *processes) signalRuntime(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runtime > 0 {
		syscall.Kill(p.runtime, sig)
	}
}

// signalGroup sends to the process group of the runtime.
func (p *processes) signalGroup(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runtime > 0 {
		syscall.Kill(-p.runtime, sig)
	}
}

// killGroup ends the process group of a process that has not been reaped.
func (p *processes) killGroup(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[pid] != nil {
		syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// killAll ends every process and returns how many did not go in time.
func (p *processes) killAll() (left int) {
	deadline := time.Now().Add(killLimit)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		n := p.killOnce()
		if p.reap() {
			return 0
		}
		if time.Now().After(deadline) {
			return max(n, 1)
		}
		time.Sleep(pause)
	}
}

func (p *processes) killOnce() int {
	if p.alone {
		// In one go, for all that exist at this moment; whoever was being born is met in the next round.
		syscall.Kill(-1, syscall.SIGKILL)
		return 1
	}
	self := os.Getpid()
	all := proctree.Descendants(self, nil)
	for _, pid := range all {
		syscall.Kill(pid, syscall.SIGSTOP) // who is stopped makes no more children
	}
	for again := proctree.Descendants(self, nil); len(again) > len(all); again = proctree.Descendants(self, again[:0]) {
		all = append(all[:0], again...)
		for _, pid := range all {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
	for _, pid := range all {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	return len(all)
}
