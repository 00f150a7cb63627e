package machine

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"thaw/guest"
)

// connect offers one end of a connection to the stream, and returns the other.
func connect(s *stream) net.Conn {
	ours, theirs := net.Pipe()
	s.offer(theirs)
	return ours
}

func read(t *testing.T, s *stream, want string, wantErr error) {
	t.Helper()
	b := make([]byte, 16)
	n, err := s.Read(b)
	if string(b[:n]) != want || !errors.Is(err, wantErr) {
		t.Errorf("read %q, %v; want %q, %v", b[:n], err, want, wantErr)
	}
}

func TestStreamGoesOnWhileItIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stream
		s.init()
		first := connect(&s)
		s.wait()
		s.quiet(false)
		go first.Write([]byte("one"))
		read(t, &s, "one", nil)

		s.quiet(true)
		go func() {
			first.Close()
			synctest.Wait()
			dead := connect(&s) // the one that a restore kills
			go dead.Write([]byte("half a fra"))
			synctest.Wait()
			dead.Close()
			synctest.Wait()
			last := connect(&s)
			last.Write([]byte("restored"))
			last.Close()
		}()
		read(t, &s, "", guest.ErrRenewed)
		read(t, &s, "half a fra", nil)
		read(t, &s, "", guest.ErrRenewed)
		read(t, &s, "restored", nil)
		s.quiet(false)
		read(t, &s, "", io.EOF)
	})
}

func TestNewConnectionReplacesTheOldWhileTheStreamIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stream
		s.init()
		first := connect(&s)
		seconds := make(chan net.Conn, 1)
		go func() {
			synctest.Wait()
			second := connect(&s)
			second.Write([]byte("two"))
			seconds <- second
		}()
		read(t, &s, "", guest.ErrRenewed)
		read(t, &s, "two", nil)
		if _, err := first.Write([]byte("x")); err == nil {
			t.Error("the old connection is still open")
		}
		s.quiet(false)
		third := connect(&s)
		if _, err := third.Write([]byte("x")); err == nil {
			t.Error("a second connection was taken while the first is in use")
		}
		(<-seconds).Close()
		read(t, &s, "", io.EOF)
	})
}

// Two that wait to be taken when a machine goes on are taken in their order: the host has given up the first.
func TestLastConnectionCounts(t *testing.T) {
	m := &machine{bound: make(chan struct{})}
	m.stream.init()
	for port, take := range map[string]taker{"control": m.answering, "stream": m.stream.offer} {
		first, theirs := net.Pipe()
		second, last := net.Pipe()
		for _, c := range []net.Conn{theirs, last} {
			go take(c)()
		}
		if _, err := first.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: the first connection: %v", port, err)
		}
		second.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := second.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the second connection: %v", port, err)
		}
		second.Close()
	}
}

func TestStreamEndsWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stream
		s.init()
		c := connect(&s)
		s.quiet(false)
		c.Close()
		read(t, &s, "", io.EOF)
		read(t, &s, "", io.EOF)
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("a write after the end succeeded")
		}
	})
}
