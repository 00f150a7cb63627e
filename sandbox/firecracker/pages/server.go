package pages

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// greeting is how long a monitor that has connected may take to send its one message.
const greeting = 30 * time.Second

// Options of a server. Path and Source are required.
type Options struct {
	Path       string // of the socket; must not be there
	UID, GID   int    // the slot's: whom the socket belongs to, and who may connect
	Source     Source
	WorkingSet WorkingSet // copied at once
	Trace      *Trace     // takes what is done; nil: nobody wants to know
}

// Server serves one memory. Its goroutines end with Close, or before; the two that read the source end when it lets them.
type Server struct {
	source  Source
	set     WorkingSet
	trace   *Trace
	uid     int
	path    string
	done    chan struct{} // closed when nothing is served any more
	serving chan struct{} // closed when the monitor's message was good

	mu       sync.Mutex        // guards what follows
	listener *net.UnixListener // its socket is there until it is nil
	conn     *net.UnixConn
	memory   *memory
	closed   bool
	err      error
}

// Listen makes the socket and waits for the monitor in the background. Close ends it, and removes the socket.
func Listen(o Options) (*Server, error) {
	l, err := listen(o.Path)
	if err != nil {
		return nil, fmt.Errorf("page server: %w", err)
	}
	// Nothing that follows links: the folder is the monitor's. Others may connect where the umask lets them, and are refused.
	if o.UID != os.Geteuid() {
		err = os.Lchown(o.Path, o.UID, o.GID)
	}
	if err != nil {
		return nil, fmt.Errorf("page server: %w", errors.Join(err, l.Close(), os.Remove(o.Path)))
	}
	s := &Server{source: o.Source, set: o.WorkingSet, trace: o.Trace, uid: o.UID, path: o.Path, listener: l,
		done: make(chan struct{}), serving: make(chan struct{})}
	if s.trace == nil {
		s.trace = new(Trace)
	}
	go s.run()
	return s, nil
}

// listen makes a socket at a path of any length: an address has 107 bytes, and jails lie deep.
func listen(path string) (*net.UnixListener, error) {
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by that name it is not there any more
	return l, nil
}

// run is the server's life.
func (s *Server) run() {
	defer close(s.done)
	err := s.greet()
	if err == nil {
		close(s.serving)
		err = s.memory.serve(s.set)
		if errors.Is(err, errGone) {
			err = nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.err = err
	}
	s.shutLocked()
}

// greet waits for the monitor and its message. One connection is taken, whoever it is of.
func (s *Server) greet() error {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l == nil {
		return net.ErrClosed
	}
	c, err := l.AcceptUnix()
	if err != nil {
		return fmt.Errorf("page server: %w", err)
	}
	s.mu.Lock()
	s.conn = c
	s.unlistenLocked() // nobody else connects
	closed := s.closed
	s.mu.Unlock()
	defer c.Close()
	if closed {
		return net.ErrClosed
	}
	if err := c.SetReadDeadline(time.Now().Add(greeting)); err != nil {
		return err
	}
	fd, regions, err := receive(c, s.uid, s.source.Size())
	if err != nil {
		return err
	}
	m := newMemory(fd, regions, s.source, s.trace)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = m
	if s.closed {
		return net.ErrClosed
	}
	return nil
}

// shutLocked lets go of all descriptors and of the socket. Caller holds mu.
func (s *Server) shutLocked() {
	s.unlistenLocked()
	if s.conn != nil {
		s.conn.Close() //nolint:errcheck // it may be closed
	}
	if s.memory != nil {
		s.memory.close()
	}
}

// unlistenLocked removes the socket, once: the path may lead somewhere else when the jail is gone.
func (s *Server) unlistenLocked() {
	if s.listener != nil {
		s.listener.Close()
		os.Remove(s.path) //nolint:errcheck // it goes with its jail at the latest
		s.listener = nil
	}
}

// Serving is closed when the monitor has handed over its memory.
func (s *Server) Serving() <-chan struct{} { return s.serving }

// Done is closed when nothing is served any more. Unless Close was called the monitor's process must be ended then: Err says why.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why the server failed; nil while it serves, and when it has ended because of Close or because the memory is gone.
func (s *Server) Err() error {
	select {
	case <-s.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	default:
		return nil
	}
}

// Close ends the server and waits until it has. Whoever touches a page of the memory afterwards that is not there waits
// for ever: the monitor's process has ended before, or ends now. It may be called more than once.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.shutLocked()
	s.mu.Unlock()
	<-s.done
	return nil
}
