package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// extension speaks the Extensions API. Source: AWS Lambda Developer Guide, Extensions API.
type extension struct {
	api  string // host:port
	name string // of the file
	id   string
}

// event is what event/next answers.
type event struct {
	EventType  string `json:"eventType"`
	DeadlineMs int64  `json:"deadlineMs"`
}

// run registers, and hands each invocation on, until the shutdown. When invoked returns, the environment may be frozen.
func (x *extension) run(ctx context.Context, invoked func(deadline time.Time)) error {
	body, err := json.Marshal(map[string][]string{"events": {"INVOKE", "SHUTDOWN"}})
	if err != nil {
		return err
	}
	if _, err := x.call(ctx, http.MethodPost, "register", body); err != nil {
		return err
	}
	for {
		answer, err := x.call(ctx, http.MethodGet, "event/next", nil)
		if err != nil {
			return err
		}
		var e event
		if err := json.Unmarshal(answer, &e); err != nil {
			return fmt.Errorf("event/next: %w", err)
		}
		switch e.EventType {
		case "SHUTDOWN":
			return nil
		case "INVOKE":
			invoked(time.UnixMilli(e.DeadlineMs))
		}
	}
}

// call has no end of its own: event/next answers when there is an event, maybe in days.
func (x *extension) call(ctx context.Context, method, what string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+x.api+"/2020-01-01/extension/"+what, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Lambda-Extension-Name", x.name)
	if x.id != "" {
		req.Header.Set("Lambda-Extension-Identifier", x.id)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s %s", what, resp.Status, answer)
	}
	if id := resp.Header.Get("Lambda-Extension-Identifier"); id != "" {
		x.id = id
	}
	return answer, nil
}
