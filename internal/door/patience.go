package door

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// ErrStalled is what reading a body gives whose sender has stopped.
var ErrStalled = errors.New("the sender of the request's body has stopped")

// minProgress bytes move the deadline of a body. So a sender cannot hold on by a byte now and then.
const minProgress = 1 << 10

// patient gives the bodies of a handler's requests a deadline that moves with progress. With HTTP/2 answers get one, too:
// a peer that reads one stream and not another keeps the connection's own from running out.
func patient(h http.Handler, stall, writeStall time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor > 1 {
			w = &patientWriter{w, http.NewResponseController(w), writeStall}
		}
		if r.Body == nil || r.Body == http.NoBody {
			h.ServeHTTP(w, r)
			return
		}
		b := &patientBody{ReadCloser: r.Body, control: http.NewResponseController(w), stall: stall, left: stall}
		r.Body = b
		b.control.SetReadDeadline(time.Now().Add(stall)) //nolint:errcheck // the server reads what the handler does not, before it writes a long answer
		h.ServeHTTP(w, r)
		b.leave()
	})
}

// patientBody counts only the time that is spent waiting for the sender: a handler may take its time between two reads.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
	left    time.Duration // to wait for what is missing of minProgress
	gained  int
	ended   bool
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	began := time.Now()
	b.control.SetReadDeadline(began.Add(b.left)) //nolint:errcheck // no connection below, as in a test: then nothing stalls
	n, err := b.ReadCloser.Read(p)
	if b.gained += n; b.gained >= minProgress {
		b.gained, b.left = 0, b.stall
	} else {
		b.left = max(b.left-time.Since(began), 0)
	}
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = ErrStalled
	default:
		// The server now reads in the background whether the peer goes away. That may last as long as the handler works.
		b.ended = true
		b.control.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	}
	return n, err
}

// leave bounds what the server does with the rest of a body that the handler has not read: it swallows a part of it.
func (b *patientBody) leave() {
	if !b.ended {
		b.control.SetReadDeadline(time.Now().Add(min(b.left, refusalTime))) //nolint:errcheck // as above
	}
}

// patientWriter ends a stream whose peer does not read it for too long.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

// Unwrap is for http.ResponseController.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements io.Writer.
func (w *patientWriter) Write(p []byte) (written int, err error) {
	for {
		w.control.SetWriteDeadline(time.Now().Add(w.stall)) //nolint:errcheck // as for reading
		n, err := w.ResponseWriter.Write(p[:min(len(p), writeStep)])
		written += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// FlushError is for http.ResponseController: what was written before may still wait for the peer.
func (w *patientWriter) FlushError() error {
	w.control.SetWriteDeadline(time.Now().Add(w.stall)) //nolint:errcheck // as for reading
	return w.control.Flush()
}

// patientConn ends when its peer reads nothing for too long while there is something to write.
type patientConn struct {
	net.Conn
	stall time.Duration
}

// CloseWrite lets the server close in two steps, so that a client which still sends can read its answer.
func (c *patientConn) CloseWrite() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return nil
}

// writeStep is how much is written under one deadline. It is more than most answers.
const writeStep = 64 << 10

// Write implements net.Conn.
func (c *patientConn) Write(p []byte) (written int, err error) {
	for {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[:min(len(p), writeStep)])
		written += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// refusalTime bounds what is done for a peer that is not served.
const refusalTime = 2 * time.Second

func busyAnswer(body []byte) []byte {
	head := fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nX-Amzn-Errortype: ServiceUnavailableException\r\nRetry-After: 1\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n", len(body))
	return append([]byte(head), body...)
}

// drain tells the peer that nothing follows and swallows what it still sends, within the connection's deadline.
func drain(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		if t.CloseWrite() != nil {
			return
		}
	}
	io.Copy(io.Discard, io.LimitReader(c, 1<<20)) //nolint:errcheck // whatever it was
}
