package guest

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/guest/wire"
)

// heard collects the frames of a guest.
type heard struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(b)
}

// datagrams are those that were sent so far, and how many were dropped.
func (h *heard) datagrams(t *testing.T) (bodies []string, dropped int64) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := wire.NewReader(bytes.NewReader(bytes.Clone(h.b.Bytes()))); ; {
		f, err := r.Next()
		if err != nil {
			return bodies, dropped
		}
		var m wire.Segment
		if f.Kind != wire.KindSegment || f.Decode(&m) != nil {
			t.Fatalf("a frame of kind %d", f.Kind)
		}
		if dropped += m.Dropped; len(f.Body) > 0 {
			bodies = append(bodies, string(f.Body))
		}
	}
}

// What comes before somebody wants it is forgotten, what comes then goes to the server as it is, and a flood costs no
// more than the budget: the rest is counted, and when it is over the next one comes through.
func TestSegments(t *testing.T) {
	t.Parallel()
	h := &heard{}
	s, err := listenSegments("", newOutbox(h, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	c, err := net.Dial("udp", s.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send := func(text string) {
		t.Helper()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send("early")
	s.drain()
	s.want(true)
	send("one")
	send("")
	send("two")
	s.drain()
	if got, dropped := h.datagrams(t); strings.Join(got, " ") != "one two" || dropped != 0 {
		t.Fatalf("%q, %d dropped", got, dropped)
	}
	large := strings.Repeat("x", 40_000)
	var bytes int
	var dropped int64
	for range 10 * wire.SegmentBurst / len(large) {
		send(large)
		s.drain()
	}
	got, dropped := h.datagrams(t)
	for _, d := range got {
		bytes += len(d)
	}
	if dropped == 0 || bytes > 2*wire.SegmentBurst || int64(len(got)-2)+dropped != int64(10*wire.SegmentBurst/len(large)) {
		t.Errorf("%d datagrams of %d bytes came through, %d were dropped", len(got), bytes, dropped)
	}
	for end := time.Now().Add(time.Minute); got[len(got)-1] != "again"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing comes through any more")
		}
		send("again")
		s.drain()
		got, _ = h.datagrams(t)
	}
	s.want(false)
	before := len(got)
	send("late")
	s.drain()
	if got, _ := h.datagrams(t); len(got) != before {
		t.Errorf("nobody wants it: %q", got[before:])
	}
}
