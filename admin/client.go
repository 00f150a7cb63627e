package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"thaw/logstore"
)

// ErrNotRunning is the fact that no server has the data folder.
var ErrNotRunning = errors.New("no server runs on this data folder")

// ErrNotOurs is the fact that the server belongs to another user, who alone may use this door. The Lambda API may be
// open to others.
var ErrNotOurs = errors.New("its server belongs to another user; type the command with sudo, or as that user")

// Client talks to the server of a data folder.
type Client struct {
	dataDir string
	http    *http.Client
}

// Dial gives a client; it connects at each call.
func Dial(dataDir string) *Client {
	return &Client{dataDir, &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dataDir) },
		DisableKeepAlives: true,
	}}}
}

// Health asks the server what it is. Errors of every method: ErrNotRunning when there is none.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	return h, c.get(ctx, "health", &h)
}

// Environments lists the server's environments.
func (c *Client) Environments(ctx context.Context) (list []Environment, err error) {
	return list, c.get(ctx, "environments", &list)
}

// Functions lists the server's functions.
func (c *Client) Functions(ctx context.Context) (list []Function, err error) {
	return list, c.get(ctx, "functions", &list)
}

// Config decodes the effective configuration into v.
func (c *Client) Config(ctx context.Context, v any) error { return c.get(ctx, "config", v) }

// Groups lists the log groups.
func (c *Client) Groups(ctx context.Context) (list []logstore.Group, err error) {
	return list, c.get(ctx, "logs/groups", &list)
}

// Streams lists the streams of a group.
func (c *Client) Streams(ctx context.Context, group string) (list []logstore.StreamInfo, err error) {
	return list, c.get(ctx, "logs/streams?"+url.Values{"group": {group}}.Encode(), &list)
}

// Drain asks the server to finish what runs and to end.
func (c *Client) Drain(ctx context.Context) error {
	body, err := c.do(ctx, http.MethodPost, "drain")
	if err != nil {
		return err
	}
	return body.Close()
}

// LogQuery is what Logs can be asked; times and limit as in logstore.Query.
type LogQuery struct {
	logstore.Query
	PatternText string // instead of Query.Pattern
	Follow      bool
}

// Logs gives events as the store's Filter or Follow does.
func (c *Client) Logs(ctx context.Context, q LogQuery) iter.Seq2[logstore.Event, error] {
	v := url.Values{"group": {q.Group}, "prefix": {q.StreamPrefix}, "pattern": {q.PatternText}}
	if !q.Since.IsZero() {
		v.Set("since", strconv.FormatInt(q.Since.UnixMilli(), 10))
	}
	if !q.Until.IsZero() {
		v.Set("until", strconv.FormatInt(q.Until.UnixMilli(), 10))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.After > 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	if q.Newest {
		v.Set("newest", "1")
	}
	if q.Follow {
		v.Set("follow", "1")
	}
	return func(yield func(logstore.Event, error) bool) {
		body, err := c.do(ctx, http.MethodGet, "logs?"+v.Encode())
		if err != nil {
			yield(logstore.Event{}, err)
			return
		}
		defer body.Close()
		lines := json.NewDecoder(body)
		for {
			var line struct {
				logstore.Event
				problem
			}
			err := lines.Decode(&line)
			switch {
			case errors.Is(err, io.EOF) || err != nil && ctx.Err() != nil:
				return
			case err == nil && line.Error != "":
				err = errors.New(line.Error)
			}
			if !yield(line.Event, err) || err != nil {
				return
			}
		}
	}
}

func (c *Client) get(ctx context.Context, what string, v any) error {
	body, err := c.do(ctx, http.MethodGet, what)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	return nil
}

// ask makes a call about the snapshots of a version.
func (c *Client) ask(ctx context.Context, method, what, version string, body []byte, v any) error {
	answer, err := c.send(ctx, method, "snapshots/"+what+"?"+url.Values{"version": {version}}.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(v); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, what string) (io.ReadCloser, error) {
	return c.send(ctx, method, what, nil)
}

func (c *Client) send(ctx context.Context, method, what string, content io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://thaw/v1/"+what, content)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w; type: thaw server", c.dataDir, ErrNotRunning)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%s: %w", c.dataDir, ErrNotOurs)
	}
	if err != nil {
		return nil, fmt.Errorf("server of %s: %w", c.dataDir, err)
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var p problem
	if json.NewDecoder(bytes.NewReader(text)).Decode(&p) != nil || p.Error == "" {
		p.Error = resp.Status
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w", p.Error, fs.ErrNotExist)
	}
	return nil, errors.New(p.Error)
}
