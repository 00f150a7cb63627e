package outer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stringsOf reads a file of strings that end in NUL.
func stringsOf(name string) ([]string, error) {
	b, err := os.ReadFile(name)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}

// sender sends frames; it has one port and several goroutines.
type sender struct {
	mu   sync.Mutex
	port *os.File
}

func (s *sender) send(kind byte, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return writeFrame(s.port, kind, body)
}

// Write sends what the program has printed.
func (s *sender) Write(b []byte) (int, error) { return len(b), s.send(frameOutput, b) }

// runJob runs the program, in a control group of its own as a service of a host has one, and tells the runner how it
// ended.
func runJob() error {
	port, err := openPort()
	if err != nil {
		return err
	}
	to := &sender{port: port}
	code, err := runProgram(to)
	if err != nil {
		to.send(frameNote, []byte(err.Error()))
		return err
	}
	back, err := stringsOf(backFile)
	for _, name := range back {
		b, rerr := os.ReadFile(name)
		if errors.Is(rerr, fs.ErrNotExist) {
			continue
		}
		err = errors.Join(err, rerr, to.send(frameFile, fileBody(name, b)))
	}
	if err := errors.Join(err, to.send(frameExit, exitBody(code))); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // the runner ends the machine as soon as it has the exit code
	return nil
}

// ownGroup is the program's control group.
const ownGroup = "/sys/fs/cgroup/system.slice/test.service"

func runProgram(to *sender) (code int, err error) {
	args, err1 := stringsOf(argsFile)
	vars, err2 := stringsOf(varsFile)
	kind, err3 := stringsOf(kindFile)
	err4 := os.MkdirAll(ownGroup, 0o755)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return 0, err
	}
	group, err := os.Open(ownGroup)
	if err != nil {
		return 0, err
	}
	defer group.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	if err := to.send(frameBegan, nil); err != nil {
		return 0, err
	}
	vars = append([]string{"PATH=" + searchPath, "HOME=/root", "TMPDIR=/tmp", KindVar + "=" + strings.Join(kind, "")}, vars...)
	p, err := os.StartProcess(programThere, append([]string{programThere}, args...), &os.ProcAttr{
		Dir: workThere, Env: vars, Files: []*os.File{nil, w, w}, Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}})
	w.Close()
	if err != nil {
		return 0, err
	}
	printed := make(chan struct{})
	go func() { defer close(printed); copyOutput(to, r) }()
	code, err = reapUntil(p.Pid)
	select {
	case <-printed:
	case <-time.After(2 * time.Second): // a process that the program left behind holds the pipe
	}
	return code, err
}

func copyOutput(to *sender, from *os.File) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			to.Write(b[:n])
		}
		if err != nil {
			return
		}
	}
}

// reapUntil waits for all children, as PID 1 has to, until one has ended.
func reapUntil(pid int) (code int, err error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case got == pid && status.Signaled():
			return 128 + int(status.Signal()), nil // as a shell says it
		case got == pid:
			return status.ExitStatus(), nil
		}
	}
}

// KindVar is the variable in which a program finds the kind of machine that it runs in.
const KindVar = "THAW_OUTER_MACHINE"
