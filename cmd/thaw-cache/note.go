package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// note tells the server, before the snapshot is made, when the first of what lies in the cache ends: with SnapStart a new
// snapshot is then made in time. Elsewhere, and afterwards, the call is refused, and nobody is told any more. Source:
// docs/snapstart.md, Refresh.
type note struct {
	client *http.Client
	at     string

	off  atomic.Bool // nobody is told any more; set without mu, which a call of before the snapshot may hold
	mu   sync.Mutex
	told time.Time
}

// tell states an end. It returns when that is known, so that a function that has its value has a snapshot that knows of it.
func (n *note) tell(first time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.off.Load() || first.Equal(n.told) || !first.After(time.Now()) {
		return
	}
	body, err := json.Marshal(map[string]time.Time{"expires": first.UTC()})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, n.at, bytes.NewReader(body))
	if err != nil {
		return
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) //nolint:errcheck // no connection is kept
	switch resp.StatusCode {
	case http.StatusAccepted:
		n.told = first
	case http.StatusForbidden, http.StatusNotFound: // the snapshot is made, or there is none
		n.off.Store(true)
	}
}

func (n *note) close() { n.off.Store(true) }
