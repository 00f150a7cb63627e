package fcapitest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

func (f *Fake) vsock(body []byte) error {
	var in vsock
	if err := f.before(body, vsockFields, &in); err != nil {
		return err
	}
	f.began = true
	if f.ports != nil { // a second call replaces the device
		f.ports.Close()
		f.ports = nil
	}
	if err := f.listen(in.Path); err != nil {
		return refuse("Vsock config error: Cannot create backend for vsock device: Error binding to the host-side Unix socket: %s", addressError(err))
	}
	f.config.Vsock = &in
	return nil
}

// listen opens the device's unix socket. The caller holds the mutex.
func (f *Fake) listen(path string) error {
	l, err := net.Listen("unix", f.path(path))
	if err != nil {
		return err
	}
	f.ports = l
	f.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.conns.Go(func() { f.connect(c) })
		}
	})
	return nil
}

// connect serves one connection: CONNECT PORT, OK and a number, then the port. Source: Firecracker's docs/vsock.md.
func (f *Fake) connect(c net.Conn) {
	defer c.Close()
	f.mu.Lock()
	select {
	case <-f.ended:
		f.mu.Unlock()
		return
	default:
		f.open[c] = true
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.open, c)
		f.mu.Unlock()
	}()
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	var port uint32
	if err != nil {
		return
	}
	if n, err := fmt.Sscanf(line, "CONNECT %d\n", &port); n != 1 || err != nil {
		return
	}
	f.mu.Lock()
	hears, reset := f.state == running && !f.deaf, f.resets > 0
	if hears && reset {
		f.resets--
	}
	f.mu.Unlock()
	if !hears { // nobody answers: the guest does not run
		io.Copy(io.Discard, r) //nolint:errcheck // until the caller gives up
		return
	}
	fmt.Fprintf(c, "OK %d\n", 1073741824)
	if !reset { // the first connection after a restore dies of the transport's reset
		f.guest(port, buffered{c, r}, &f.memory)
	}
}

// buffered is a connection of which some was read already.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// Echo is a guest that listens at every port and answers lines: "set X" writes into memory, "get" reads it, "touch N"
// reads a page of memory that somebody else serves, "write PATH" says what Firecracker's process gets when it opens a file
// of the host to write, anything else comes back.
func Echo(port uint32, c net.Conn, m *Memory) {
	s := bufio.NewScanner(c)
	for s.Scan() {
		answer := fmt.Sprintf("%d: %s", port, s.Text())
		if x, ok := strings.CutPrefix(s.Text(), "set "); ok {
			m.Set(x)
		} else if s.Text() == "get" {
			answer = m.Get()
		} else if n, ok := strings.CutPrefix(s.Text(), "touch "); ok {
			page, _ := strconv.ParseInt(n, 10, 64)
			b, err := m.Touch(page)
			answer = fmt.Sprint(b, err)
		} else if path, ok := strings.CutPrefix(s.Text(), "write "); ok {
			answer = openToWrite(path)
		}
		if _, err := fmt.Fprintln(c, answer); err != nil {
			return
		}
	}
}

func openToWrite(path string) string {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err.Error()
	}
	f.Close()
	return "it may"
}
