package broker

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestBroker(t *testing.T) {
	t.Parallel()
	o := Options{Name: "test", Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), MaxMemory: 1 << 20, MaxStore: 1 << 30, MaxMessage: 2 << 20}
	b, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if a := b.ns.Addr(); a != nil {
		t.Errorf("listens on %v", a)
	}
	if _, err := b.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for n, ok := range map[int]bool{2<<20 - 1024: true, 2<<20 + 1: false} {
		if _, err := b.JS.Publish(t.Context(), "s", make([]byte, n)); (err == nil) != ok {
			t.Errorf("a message of %d bytes: %v", n, err)
		}
	}
	b.Stop()
	if b, err = Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	s, err := b.JS.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("after a restart there are %d messages", n)
	}
	(*Broker)(nil).Stop()
}
