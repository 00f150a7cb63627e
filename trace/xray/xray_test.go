package xray

import (
	"net"
	"strings"
	"testing"
	"time"

	"thaw/trace"
)

// Each document is a datagram of its own, and so is what a function sent; a daemon that is not there is an error.
func TestSend(t *testing.T) {
	t.Parallel()
	daemon, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Dial(daemon.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context()) //nolint:errcheck // a socket
	sent := "{\"format\": \"json\", \"version\": 1}\n{\"name\":\"mine\"}"
	ours := &trace.Segment{Origin: trace.Service, ID: "53995c3f42cd8ad8", Root: "1-5759e988-bd862e3fe1be46a994272793", Begin: time.Unix(1, 0), End: time.Unix(2, 0), Of: trace.Of{Name: "f"}}
	if err := s.Send(t.Context(), []trace.Item{{Segment: ours}, {Datagram: []byte(sent)}}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	for _, want := range []string{"{\"format\":\"json\",\"version\":1}\n{\"name\":\"f\",\"id\":\"53995c3f42cd8ad8\"", sent} {
		daemon.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // a socket
		n, _, err := daemon.ReadFrom(b)
		if err != nil || !strings.HasPrefix(string(b[:n]), want) {
			t.Errorf("%q, %v; want %q", b[:n], err, want)
		}
	}
	daemon.Close()
	for end := time.Now().Add(time.Minute); err == nil && time.Now().Before(end); {
		err = s.Send(t.Context(), []trace.Item{{Datagram: []byte(sent)}}) // the kernel tells of it with a later one
	}
	if err == nil {
		t.Error("nobody is there, and nobody says so")
	}
}
