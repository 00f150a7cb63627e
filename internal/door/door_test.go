package door

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, port string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second)) //nolint:errcheck // a test that hangs ends
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads one answer; its status is 0 when the connection ended instead.
func answer(t *testing.T, c net.Conn) (status int, body string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Fatal("no answer, and the connection is open")
		}
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, string(b) + err.Error()
	}
	return resp.StatusCode, string(b)
}

const get = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

// echo tells how much of a body came, and why no more.
func echo(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if errors.Is(err, ErrStalled) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestTimeout)
	}
	fmt.Fprint(w, n)
}

func TestBodiesEndWhenTheirSenderStalls(t *testing.T) {
	const stall = 600 * time.Millisecond
	_, port := serveTest(t, http.HandlerFunc(echo), Options{MaxConnections: 10, Stall: stall})
	head := func(n int) string {
		return fmt.Sprintf("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", n)
	}
	part := strings.Repeat("x", minProgress)
	for _, c := range []struct {
		name   string
		length int
		part   string
		every  time.Duration
		times  int
		status int
	}{
		{"a slow sender that goes on for many times the limit", 10 * len(part), part, stall / 2, 10, 200},
		{"a sender that stops at once", 10 * len(part), part, 0, 0, 408},
		{"a sender that stops in the middle", 10 * len(part), part, stall / 2, 5, 408},
		{"a sender of a byte now and then", 1000, "x", stall / 4, 8, 408},
		{"a small body that takes nearly the limit", 2, "x", stall / 3, 2, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, port)
			send(t, conn, head(c.length))
			for range c.times {
				time.Sleep(c.every)
				if _, err := io.WriteString(conn, c.part); err != nil && c.status == 200 {
					t.Fatal(err)
				}
			}
			if status, body := answer(t, conn); status != c.status {
				t.Errorf("status %d %s, want %d", status, body, c.status)
			}
		})
	}
	t.Run("chunks that stop", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, port)
		send(t, conn, "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
		if status, body := answer(t, conn); status != 408 {
			t.Errorf("status %d %s", status, body)
		}
	})
}

// A body that no handler reads holds nobody either, and what a handler does meanwhile costs its sender no time.
func TestHandlersAndBodies(t *testing.T) {
	const stall = 300 * time.Millisecond
	_, port := serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ignores":
			io.WriteString(w, strings.Repeat("long", 1000))
		case "/dawdles":
			time.Sleep(2 * stall)
			n, err := io.Copy(io.Discard, r.Body)
			time.Sleep(3 * stall) // as an invoke does
			fmt.Fprint(w, n, err, r.Context().Err())
		}
	}), Options{MaxConnections: 10, Stall: stall})
	t.Run("ignored", func(t *testing.T) {
		c := dial(t, port)
		send(t, c, "POST /ignores HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
		if status, body := answer(t, c); status != 200 || len(body) != 4000 {
			t.Errorf("status %d, %d bytes", status, len(body))
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the connection is open: %v", err)
		}
	})
	t.Run("read late", func(t *testing.T) {
		c := dial(t, port)
		send(t, c, "POST /dawdles HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
		if status, body := answer(t, c); status != 200 || body != "3 <nil> <nil>" {
			t.Errorf("status %d %q", status, body)
		}
	})
}

func TestSilentConnectionsEnd(t *testing.T) {
	const limit = 300 * time.Millisecond
	_, port := serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			time.Sleep(4 * limit)
		}
	}), Options{MaxConnections: 10, Head: limit, Idle: limit})
	closed := func(t *testing.T, c net.Conn) {
		t.Helper()
		if b, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q, %v", b, err)
		}
	}
	for name, what := range map[string]string{"without a word": "", "in the middle of a head": "GET / HT", "after an answer": get} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, port)
			send(t, c, what)
			closed(t, c)
		})
	}
	t.Run("but not in the middle of a long invoke", func(t *testing.T) {
		t.Parallel()
		c := dial(t, port)
		send(t, c, strings.Replace(get, "/ ", "/long ", 1))
		if status, _ := answer(t, c); status != 200 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("nor while it is used", func(t *testing.T) {
		t.Parallel()
		c := dial(t, port)
		for range 6 {
			send(t, c, get)
			if status, _ := answer(t, c); status != 200 {
				t.Fatalf("status %d", status)
			}
			time.Sleep(limit / 3)
		}
	})
}

func TestAnswersEndWhenNobodyReads(t *testing.T) {
	const stall = 300 * time.Millisecond
	failed := make(chan error, 1)
	_, port := serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		piece := make([]byte, 1<<20)
		if r.URL.Path == "/slow" { // a stream with pauses longer than the limit
			for range 4 {
				w.Write(piece[:10])
				http.NewResponseController(w).Flush()
				time.Sleep(2 * stall)
			}
			return
		}
		var err error
		for i := 0; i < 1<<10 && err == nil; i++ {
			_, err = w.Write(piece)
		}
		failed <- err
	}), Options{MaxConnections: 10, WriteStall: stall})
	t.Run("nobody reads", func(t *testing.T) {
		c := dial(t, port)
		send(t, c, get)
		select {
		case err := <-failed:
			if e, ok := err.(net.Error); !ok || !e.Timeout() {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("still writing")
		}
	})
	t.Run("a slow reader", func(t *testing.T) {
		c := dial(t, port)
		send(t, c, get)
		buf := make([]byte, 1<<20)
		until := time.Now().Add(6 * stall)
		for time.Now().Before(until) {
			if _, err := io.ReadFull(c, buf); err != nil {
				t.Fatal(err)
			}
			time.Sleep(stall / 6)
		}
		select {
		case err := <-failed:
			t.Errorf("ended: %v", err)
		default:
		}
		c.Close()
		<-failed
	})
	t.Run("a slow stream", func(t *testing.T) {
		c := dial(t, port)
		send(t, c, strings.Replace(get, "/ ", "/slow ", 1))
		if status, body := answer(t, c); status != 200 || len(body) != 40 {
			t.Errorf("status %d, %d bytes", status, len(body))
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	release := make(chan struct{})
	began := make(chan struct{}, 10)
	_, port := serveTest(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			began <- struct{}{}
			<-release
		}
	}), Options{MaxConnections: 3, Busy: []byte(`{"message":"busy"}`)})
	wait := strings.Replace(get, "/ ", "/wait ", 1)

	var idle []net.Conn
	for range 3 {
		c := dial(t, port)
		send(t, c, get)
		if status, _ := answer(t, c); status != 200 {
			t.Fatalf("status %d", status)
		}
		idle = append(idle, c)
		time.Sleep(20 * time.Millisecond) // the next one is idle for less time
	}
	// Each new one takes the place of the one that was idle for longest.
	var busy []net.Conn
	for i := range 3 {
		c := dial(t, port)
		send(t, c, wait)
		<-began
		busy = append(busy, c)
		if n, err := idle[i].Read(make([]byte, 1)); err == nil {
			t.Errorf("idle connection %d got %d bytes", i, n)
		}
		for _, c := range idle[i+1:] {
			c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) //nolint:errcheck // a test
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("one that was idle for less time was closed: %v", err)
			}
			c.SetReadDeadline(time.Now().Add(30 * time.Second)) //nolint:errcheck // a test
		}
	}
	// Nobody is idle: the newest is told.
	c := dial(t, port)
	send(t, c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100000))
	if status, body := answer(t, c); status != 503 || body != `{"message":"busy"}` {
		t.Errorf("status %d %s", status, body)
	}
	close(release)
	for _, c := range busy {
		if status, _ := answer(t, c); status != 200 {
			t.Errorf("status %d", status)
		}
	}
	c = dial(t, port)
	send(t, c, get)
	if status, _ := answer(t, c); status != 200 {
		t.Errorf("status %d when there is room again", status)
	}
}

func TestShutdownWaitsForRequests(t *testing.T) {
	release := make(chan struct{})
	began := make(chan struct{})
	s, port := serveTest(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-release
	}), Options{MaxConnections: 3})
	c := dial(t, port)
	send(t, c, get)
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	<-ctx.Done()
	close(release)
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		t.Error("it still listens")
	}
}
