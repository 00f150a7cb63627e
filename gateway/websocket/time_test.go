package websocket

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	ws "github.com/gorilla/websocket"
)

// onPipe is the answer to a request whose transport is a pipe, so that time can be a test's.
type onPipe struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (p *onPipe) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return p.conn, bufio.NewReadWriter(bufio.NewReader(p.conn), bufio.NewWriter(p.conn)), nil
}

// pipe opens a connection within the test's own time.
func (w *world) pipe() *client {
	w.t.Helper()
	server, mine := net.Pipe()
	go func() {
		br := bufio.NewReader(server)
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		r.RemoteAddr = "10.0.0.1:1"
		w.s.o.APIs.ServeHTTP(&onPipe{httptest.NewRecorder(), server}, r)
	}()
	d := ws.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return mine, nil }}
	conn, _, err := d.DialContext(w.t.Context(), "ws://localhost/execute-api/"+api+"/prod", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &client{w.t, conn}
}

// lasted is how long a connection lasts, and the status of its end, while a client does something now and then.
func lasted(t *testing.T, every time.Duration, do func(*client) error) (time.Duration, int) {
	t.Helper()
	var took time.Duration
	status := 0
	synctest.Test(t, func(t *testing.T) {
		w := newTimedWorld(t)
		began := time.Now()
		c := w.pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				if _, _, err := c.ReadMessage(); err != nil {
					var closed *ws.CloseError
					if errors.As(err, &closed) {
						status = closed.Code
					}
					took = time.Since(began)
					c.Close()
					return
				}
			}
		}()
		if do != nil {
			for over := false; !over; {
				select {
				case <-ended:
					over = true
				case <-time.After(every):
					over = do(c) != nil
				}
			}
		}
		<-ended
		if err := w.s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n := len(w.seen("DISCONNECT")); n != 1 {
			t.Errorf("%d ends were told", n)
		}
	})
	return took, status
}

// A connection ends after ten minutes in which nothing came or went, and after two hours whatever comes. Pings count, and
// are answered.
func TestIdleAndOldConnectionsEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		every time.Duration
		do    func(*client) error
		want  time.Duration
	}{
		{"nothing", 0, nil, 10 * time.Minute},
		{"pings", 9 * time.Minute, func(c *client) error { return c.WriteControl(ws.PingMessage, []byte("p"), time.Now().Add(time.Second)) }, 2 * time.Hour},
		{"messages", 9 * time.Minute, func(c *client) error { return c.WriteMessage(ws.TextMessage, []byte("m")) }, 2 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			if took, status := lasted(t, c.every, c.do); status != 1001 || took < c.want || took > c.want+time.Second {
				t.Errorf("it ended after %v with %d, want %v", took, status, c.want)
			}
		})
	}
}

// A client that is gone without a word is ended when its time is over, though it answers no close frame.
func TestHalfOpenConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimedWorld(t)
		c := w.pipe()
		time.Sleep(10*time.Minute + 6*time.Second) // and the grace; nobody reads
		synctest.Wait()
		if n := w.s.Connections(); n != 0 {
			t.Errorf("%d connections", n)
		}
		got := w.seen("DISCONNECT")
		if len(got) != 1 || got[0]["requestContext"].(map[string]any)["disconnectStatusCode"] != 1001.0 {
			t.Errorf("%v", got)
		}
		c.Close()
		if err := w.s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
