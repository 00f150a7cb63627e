package telemetry

import (
	"errors"
	"testing"
)

// FuzzSubscribe: whatever an extension sends is refused, or is a subscription within its bounds.
func FuzzSubscribe(f *testing.F) {
	f.Add(false, request("2022-12-13", `"platform","function"`, 4711))
	f.Add(true, []byte(`{"types":["function"],"destination":{"protocol":"TCP","port":8081}}`))
	f.Add(false, []byte(`{"schemaVersion":"2022-07-01","types":["extension"],"buffering":{"maxItems":null},"destination":{"protocol":"HTTP","URI":"http://sandbox:80"}}`))
	f.Add(false, []byte(`{"destination":{"URI":"http://[::1"}}`))
	f.Fuzz(func(t *testing.T, logs bool, body []byte) {
		h := New(Options{Dial: func(int) (Conn, error) { return nil, errors.New("nobody listens") }})
		defer h.Close()
		if _, _, err := h.Subscribe("x", logs, body); err != nil {
			return
		}
		w := h.subs[0].w
		if w.port < 1 || w.port > 65535 || w.port == apiPort || len(w.names) == 0 || len(w.names) != len(w.types) ||
			w.maxItems < minItems || w.maxItems > maxItems || w.maxBytes < minBytes || w.maxBytes > maxBytes || w.timeout.Milliseconds() < minWait || w.timeout.Milliseconds() > maxWait {
			t.Errorf("accepted %+v", w)
		}
	})
}
