package eventsourcetest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Program is a server that tests start.
type Program struct {
	Args []string
	Env  []string // beside that of the test: NAME=VALUE
	Dir  string
	// Ready says whether the server can be used. It is asked until it can, or until the server has ended.
	Ready func() bool
}

// Process is a started Program. It ends with the test program at the latest, however that ends.
type Process struct {
	program Program
	mu      sync.Mutex
	cmd     *exec.Cmd
	output  *tail
	ended   chan struct{}
}

var processes struct {
	mu   sync.Mutex
	all  []*Process
	dirs []string
}

// Main runs the tests of a package and then ends the servers that they have started:
//
//	func TestMain(m *testing.M) { eventsourcetest.Main(m) }
func Main(m *testing.M) {
	code := m.Run()
	End()
	os.Exit(code)
}

// End ends the servers that were started, and removes their folders.
func End() {
	processes.mu.Lock()
	defer processes.mu.Unlock()
	for _, p := range processes.all {
		p.Kill()
	}
	for _, dir := range processes.dirs {
		os.RemoveAll(dir) //nolint:errcheck // in the folder for such things
	}
	processes.all, processes.dirs = nil, nil
	moto.Lock()
	moto.endpoint = ""
	moto.Unlock()
}

// Dir makes a folder for a server that outlives the test. Main removes it.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "thaw-server-")
	if err != nil {
		t.Fatal(err)
	}
	processes.mu.Lock()
	defer processes.mu.Unlock()
	processes.dirs = append(processes.dirs, dir)
	return dir
}

// Launch starts a server and waits until it is ready. A package has one of each kind: keep it in a sync.OnceValue, and
// call Main. The test fails when it does not start.
func Launch(t testing.TB, p Program) *Process {
	t.Helper()
	s := &Process{program: p}
	processes.mu.Lock()
	processes.all = append(processes.all, s)
	processes.mu.Unlock()
	s.Start(t)
	return s
}

// Start starts a server again that was killed.
func (s *Process) Start(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.output, s.ended = &tail{}, make(chan struct{})
	s.cmd = exec.Command(s.program.Args[0], s.program.Args[1:]...)
	s.cmd.Env, s.cmd.Dir = append(os.Environ(), s.program.Env...), s.program.Dir
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	s.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	began := make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan struct{}) {
		runtime.LockOSThread() // Pdeathsig counts from the end of the thread, which ends with this goroutine
		defer close(ended)
		err := cmd.Start()
		if began <- err; err == nil {
			cmd.Wait() //nolint:errcheck // killed, or its output says why
		}
	}(s.cmd, s.ended)
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); !s.program.Ready(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.ended:
			t.Fatalf("%s has ended:\n%s", s.program.Args[0], s.output)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not become ready:\n%s", s.program.Args[0], s.output)
		}
	}
}

// PID is that of the server.
func (s *Process) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Kill ends the server by SIGKILL and waits for its end.
func (s *Process) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	s.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-s.ended
}

// tail keeps the last of what a server says.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.b = append(w.b, b...); len(w.b) > 16<<10 {
		w.b = bytes.Clone(w.b[len(w.b)-8<<10:])
	}
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.b)
}

// Port finds a port of the loopback that is free now.
func Port(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Listens is a Ready: something answers at the address.
func Listens(address string) func() bool {
	return func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
}
