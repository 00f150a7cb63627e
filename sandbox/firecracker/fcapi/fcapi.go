// Package fcapi is a thin client of Firecracker's API: only the calls that are used here, with the fields that are set.
// Firecracker refuses fields that it does not know, and its releases know different ones (see Features).
//
// The calls, and when they are allowed:
//
//	not started  MachineConfig BootSource Drive NetworkInterface Vsock Entropy (any order, again and again)  -> Start -> running
//	not started  LoadSnapshot, before any of the above   -> running, or paused
//	running      Pause  -> paused
//	paused       Resume -> running; CreateSnapshot
//
// A LoadSnapshot that fails ends Firecracker's process; whatever else it refuses changes nothing.
package fcapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Client speaks to one process of Firecracker. Calls may be made from any goroutine; Firecracker answers one at a time.
type Client struct {
	http    *http.Client
	version Version
}

// New makes a client of the process that listens at a unix socket. It does not connect yet.
func New(socket string, v Version) *Client {
	return Over(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}, v)
}

// Over makes a client of the process that dial connects to.
func Over(dial func(context.Context) (net.Conn, error), v Version) *Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		// One connection: Firecracker's server takes ten, and each costs a descriptor on both sides.
		MaxConnsPerHost: 1, DisableCompression: true,
	}
	return &Client{version: v, http: &http.Client{Transport: t}}
}

// Close lets go of the connection. Firecracker goes on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// FaultError is a refusal of Firecracker.
type FaultError struct {
	Call    string // PUT /drives/code
	Status  int    // of HTTP
	Message string // Firecracker's own words
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("Firecracker refuses %s: %s (status %d)", e.Call, e.Message, e.Status)
}

// UnsupportedError says that a call or a field is not of this release.
type UnsupportedError struct {
	What    string
	Version Version
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("Firecracker %v has no %s", e.Version, e.What)
}

// bodyLimit bounds an answer, in bytes; the longest that is asked for has some hundred.
const bodyLimit = 1 << 20

// call makes one call. in and out may be nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	call := method + " " + path
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s: %w", call, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://firecracker"+path, body)
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s: Firecracker does not answer: %w", call, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return fmt.Errorf("%s: Firecracker's answer: %w", call, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &FaultError{Call: call, Status: resp.StatusCode, Message: faultMessage(answer)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: Firecracker's answer: %w", call, err)
	}
	return nil
}

// faultMessage is what an answer says of the reason. Requests that are no HTTP get "error", and that is no proper JSON.
func faultMessage(answer []byte) string {
	var f struct {
		Message string `json:"fault_message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(answer, &f) == nil && f.Message+f.Error != "" {
		return f.Message + f.Error
	}
	return strings.TrimSpace(string(answer[:min(len(answer), 500)]))
}

// Version asks the process which release it is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var out struct {
		Version string `json:"firecracker_version"`
	}
	if err := c.call(ctx, http.MethodGet, "/version", nil, &out); err != nil {
		return Version{}, err
	}
	return ParseVersion(out.Version)
}

// States of an instance.
const (
	NotStarted = "Not started"
	Running    = "Running"
	Paused     = "Paused"
)

// State asks for the state of the machine.
func (c *Client) State(ctx context.Context) (string, error) {
	var out struct {
		State string `json:"state"`
	}
	err := c.call(ctx, http.MethodGet, "/", nil, &out)
	return out.State, err
}
