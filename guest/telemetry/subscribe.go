package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"thaw/guest/platform"
)

// host is the name by which a subscriber is reached.
const host = "sandbox.localdomain"

// apiPort is the platform's own.
const apiPort = 9001

// Bounds and defaults of the buffering. Source: spec 4.1.
const (
	minItems, maxItems, defaultItems = 1000, 10000, 10000
	minBytes, maxBytes, defaultBytes = 262144, 1048576, 262144
	minWait, maxWait, defaultWait    = 25, 30000, 1000
)

// ErrClosed: Init is over.
var ErrClosed = errors.New("subscription is closed")

// wish is a subscription as it was asked for.
type wish struct {
	logs               bool // of the Logs API
	schema             platform.Schema
	types              map[string]bool
	names              []string
	maxItems, maxBytes int
	timeout            time.Duration
	tcp                bool
	port               int
	method, path       string
}

// Subscribe takes the body of a registration call. again: the extension had subscribed before. ErrClosed, or why the
// body is no good.
func (h *Hub) Subscribe(name string, logs bool, body []byte) (types []string, again bool, err error) {
	w, err := read(logs, body)
	if err != nil {
		return nil, false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.open || h.closed {
		return nil, false, ErrClosed
	}
	for _, s := range h.subs {
		if s.name != name {
			continue
		}
		if s.w.logs != logs {
			return nil, false, errors.New("an extension can subscribe to the Telemetry API or to the Logs API, not to both")
		}
		s.w = w
		if c := s.conn; c != nil { // it leads to the destination of before
			c.Close()
		}
		return w.names, true, nil
	}
	s := &subscriber{h: h, name: name, w: w, wake: make(chan struct{}, 1)}
	h.subs = append(h.subs, s)
	h.past.replay(s.putLocked)
	h.goroutine.Go(s.run)
	return w.names, false, nil
}

// Subscriptions are those that there are, for a host that does not know them.
func (h *Hub) Subscriptions(tell func(name string, logs bool, types []string)) {
	h.mu.Lock()
	subs := slices.Clone(h.subs)
	h.mu.Unlock()
	for _, s := range subs {
		tell(s.name, s.w.logs, s.w.names)
	}
}

// read checks a body. E-104
func read(logs bool, body []byte) (*wish, error) {
	var in struct {
		Schema    string   `json:"schemaVersion"`
		Types     []string `json:"types"`
		Buffering *struct {
			Items *int `json:"maxItems"`
			Bytes *int `json:"maxBytes"`
			Wait  *int `json:"timeoutMs"`
		} `json:"buffering"`
		Destination struct {
			Protocol string `json:"protocol"`
			URI      string `json:"URI"`
			Port     int    `json:"port"`
			Method   string `json:"method"`
			Encoding string `json:"encoding"`
		} `json:"destination"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	w := &wish{logs: logs, schema: platform.Schema(in.Schema), types: map[string]bool{}, maxItems: defaultItems, maxBytes: defaultBytes, timeout: defaultWait * time.Millisecond, method: "POST"}
	known := []platform.Schema{platform.Telemetry2022July, platform.Telemetry2022December, platform.Telemetry2025}
	if logs {
		known = []platform.Schema{platform.Logs2020, platform.Logs2021}
		if w.schema == "" {
			w.schema = platform.Logs2020
		}
	}
	if !slices.Contains(known, w.schema) {
		return nil, fmt.Errorf("schemaVersion %q is not one of %v", in.Schema, known)
	}
	if len(in.Types) == 0 {
		return nil, errors.New("types are missing")
	}
	for _, t := range in.Types {
		if t != Platform && t != Function && t != Extension {
			return nil, fmt.Errorf("type %q is not one of platform, function, extension", t)
		}
		if !w.types[t] {
			w.types[t], w.names = true, append(w.names, t)
		}
	}
	if b := in.Buffering; b != nil {
		wait := defaultWait
		for _, x := range []struct {
			name     string
			in, out  *int
			min, max int
		}{{"maxItems", b.Items, &w.maxItems, minItems, maxItems}, {"maxBytes", b.Bytes, &w.maxBytes, minBytes, maxBytes}, {"timeoutMs", b.Wait, &wait, minWait, maxWait}} {
			if x.in == nil {
				continue
			}
			if *x.in < x.min || *x.in > x.max {
				return nil, fmt.Errorf("buffering.%s is %d; it can be %d to %d", x.name, *x.in, x.min, x.max)
			}
			*x.out = *x.in
		}
		w.timeout = time.Duration(wait) * time.Millisecond
	}
	d := in.Destination
	switch d.Protocol {
	case "TCP":
		w.tcp, w.port = true, d.Port
	case "HTTP":
		u, err := url.Parse(d.URI)
		if err != nil || u.Scheme != "http" || u.Hostname() != host && u.Hostname() != "sandbox" {
			return nil, fmt.Errorf("destination.URI %q is not http://%s:PORT/PATH", d.URI, host)
		}
		w.port, _ = strconv.Atoi(u.Port())
		w.path = u.RequestURI()
	default:
		return nil, fmt.Errorf("destination.protocol %q is not HTTP or TCP", d.Protocol)
	}
	switch {
	case w.port < 1 || w.port > 65535 || w.port == apiPort:
		return nil, fmt.Errorf("port %d of the destination: it can be 1 to 65535, but not %d", w.port, apiPort)
	case logs && d.Method == "PUT":
		w.method = "PUT"
	case d.Method != "" && d.Method != "POST":
		return nil, fmt.Errorf("destination.method %q is not POST or PUT", d.Method)
	case d.Encoding != "" && d.Encoding != "JSON":
		return nil, fmt.Errorf("destination.encoding %q is not JSON", d.Encoding)
	}
	return w, nil
}
