package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrGone is the reason of every call that was under way, or is made, when the launcher has ended.
var ErrGone = errors.New("launcher has ended")

// Launcher is a running launcher process.
type Launcher struct {
	cmd  *exec.Cmd
	conn *net.UnixConn
	done chan struct{} // closed when the reader has ended

	mu      sync.Mutex // guards what follows
	seq     uint64
	waiting map[uint64]chan Reply
	gone    bool
}

// Open starts the launcher exe. run is the folder for gVisor's own state, lock the locked file, stderr takes what it says when it
// dies (nil: nobody).
func Open(exe string, run, lock, stderr *os.File) (*Launcher, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("launcher socket: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "launcher end")
	defer theirs.Close()
	ours := os.NewFile(uintptr(fds[0]), "server end")
	defer ours.Close() // FileConn duplicates
	c, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("launcher socket: %w", err)
	}
	cmd := exec.Command(exe, "launch")
	// The gofer inherits these: it needs little memory and no variables of ours.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "GOGC=25"}
	cmd.Dir = "/"
	if stderr != nil {
		cmd.Stderr = stderr
	}
	cmd.ExtraFiles = []*os.File{theirs, run, lock}
	// A session of its own: signals of the server's terminal are the server's to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Setsid: true}
	if err := cmd.Start(); err != nil {
		c.Close()
		return nil, fmt.Errorf("launcher %s: %w", exe, err)
	}
	l := &Launcher{cmd: cmd, conn: c.(*net.UnixConn), done: make(chan struct{}), waiting: make(map[uint64]chan Reply)}
	go l.read()
	return l, nil
}

// PID is the launcher's process id.
func (l *Launcher) PID() int { return l.cmd.Process.Pid }

// Gone is closed when the launcher has ended.
func (l *Launcher) Gone() <-chan struct{} { return l.done }

func (l *Launcher) read() {
	defer close(l.done)
	buf := make([]byte, MaxPacket)
	for {
		n, err := l.conn.Read(buf)
		if n == 0 || err != nil {
			break
		}
		var r Reply
		if json.Unmarshal(buf[:n], &r) != nil {
			break // a launcher that cannot speak is as good as gone
		}
		l.mu.Lock()
		ch := l.waiting[r.Seq]
		delete(l.waiting, r.Seq)
		l.mu.Unlock()
		if ch != nil {
			ch <- r
		}
	}
	l.mu.Lock()
	l.gone = true
	for _, ch := range l.waiting {
		close(ch)
	}
	l.waiting = nil
	l.mu.Unlock()
}

// Call sends one request with its descriptors and waits for the reply. When ctx ends first the launcher carries on, and
// the caller has to send OpDestroy.
func (l *Launcher) Call(ctx context.Context, r Request, files ...*os.File) (Reply, error) {
	ch := make(chan Reply, 1)
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return Reply{}, ErrGone
	}
	l.seq++
	r.Seq = l.seq
	l.waiting[r.Seq] = ch
	l.mu.Unlock()
	forget := func() {
		l.mu.Lock()
		delete(l.waiting, r.Seq)
		l.mu.Unlock()
	}
	b, err := json.Marshal(r)
	if err == nil && len(b) > MaxPacket {
		err = fmt.Errorf("%d bytes: %w", len(b), unix.EMSGSIZE)
	}
	if err != nil {
		forget()
		return Reply{}, fmt.Errorf("launcher %s: %w", r.Op, err)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := l.conn.WriteMsgUnix(b, rights, nil); err != nil {
		forget()
		return Reply{}, fmt.Errorf("launcher %s: %w", r.Op, errors.Join(ErrGone, err))
	}
	select {
	case rep, ok := <-ch:
		if !ok {
			return Reply{}, fmt.Errorf("launcher %s: %w", r.Op, ErrGone)
		}
		if rep.Err != "" {
			return rep, fmt.Errorf("launcher %s: %s", r.Op, rep.Err)
		}
		return rep, nil
	case <-ctx.Done():
		forget()
		return Reply{}, fmt.Errorf("launcher %s: %w", r.Op, context.Cause(ctx))
	}
}

// Close ends the launcher, and by that whatever sandboxes it still has, and waits for it.
func (l *Launcher) Close() error {
	l.conn.Close()
	<-l.done
	// It ends by itself; it is killed because nothing that it could still be doing is worth waiting for.
	l.cmd.Process.Kill()
	l.cmd.Wait()
	return nil
}
