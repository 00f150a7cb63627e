package node

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/google/uuid"

	"thaw/function"
	"thaw/invoke"
)

// BenchmarkTraceOfInvoke is what the invoker pays for the trace of an invocation: where nobody was told of one, and where
// it is recorded. The sending is beside it.
func BenchmarkTraceOfInvoke(b *testing.B) {
	daemon, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer daemon.Close()
	const given = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	for _, c := range []struct{ name, mode, header, daemon string }{
		{"PassThrough, no header", "PassThrough", "", ""},
		{"PassThrough, a header", "PassThrough", given, ""},
		{"Active, nobody to tell", "Active", given, ""},
		{"Active, recorded", "Active", given, daemon.LocalAddr().String()},
	} {
		b.Run(c.name, func(b *testing.B) {
			t, err := openTraces(b.Context(), Config{XRayDaemon: c.daemon}, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if err != nil {
				b.Fatal(err)
			}
			defer t.Close(context.Background()) //nolint:errcheck // it is measured, not tested
			v := &function.Version{Name: "f", Tracing: c.mode}
			id := uuid.NewString()
			b.ReportAllocs()
			for b.Loop() {
				r := &invoke.Request{Invocation: function.Invocation{RequestID: id, TraceID: c.header}}
				i := r.Invocation
				if ended := t.Begin(v, r, &i); ended != nil {
					ended(&function.Outcome{}, nil)
				}
			}
		})
	}
}
