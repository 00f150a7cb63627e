// Package origin asks those who have the values: HTTP servers, files, Parameter Store and Secrets Manager.
package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"thaw/cmd/thaw-cache/internal/cache"
)

// MaxBody bounds what an origin may answer.
const MaxBody = 4 << 20

// maxTTL bounds what a server may say of how long its answer is good.
const maxTTL = 24 * time.Hour

// Error is one that the function is told. No error has the value, a query or a credential in it.
type Error struct {
	Status int
	Text   string
}

func (e *Error) Error() string { return e.Text }

// whole reads a body of at most MaxBody.
func whole(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
	if err != nil {
		return nil, &Error{http.StatusBadGateway, "the origin's answer broke off"}
	}
	if len(b) > MaxBody {
		return nil, &Error{http.StatusBadGateway, fmt.Sprintf("the origin's answer has more than %d bytes", MaxBody)}
	}
	return b, nil
}

// plain takes the address, which may hold a secret, out of an error of package http.
func plain(what string, err error) error {
	if u := new(url.Error); errors.As(err, &u) {
		err = u.Err
	}
	status := http.StatusBadGateway
	if errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusGatewayTimeout
	}
	return &Error{status, what + ": " + err.Error()}
}

// HTTP fetches a URL. ttl is how long an answer is good that does not say so.
func HTTP(client *http.Client, address string, ttl time.Duration) (cache.Fetch, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &Error{http.StatusBadRequest, "url is not an http or https URL"}
	}
	return func(ctx context.Context, old *cache.Value) (*cache.Value, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, &Error{http.StatusBadRequest, "url is not an http or https URL"}
		}
		if old != nil && old.Validator != "" {
			req.Header.Set("If-None-Match", old.Validator)
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, plain("the origin does not answer", err)
		}
		defer resp.Body.Close()
		good := life(resp.Header, ttl)
		if resp.StatusCode == http.StatusNotModified && old != nil {
			same := *old
			same.TTL = good
			return &same, nil
		}
		body, err := whole(resp.Body)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout:
			return nil, &Error{http.StatusBadGateway, "the origin answers " + strconv.Itoa(resp.StatusCode)}
		case resp.StatusCode != http.StatusOK:
			good = 0 // the answer, for now
		}
		return &cache.Value{
			Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Body: body, TTL: good, Validator: resp.Header.Get("ETag"),
		}, nil
	}, nil
}

// life is how long an answer is good: what Cache-Control says, less the time for which others have kept it.
func life(h http.Header, otherwise time.Duration) time.Duration {
	good := otherwise
	for _, word := range strings.Split(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(word)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				good = time.Duration(n) * time.Second
				if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
					good -= time.Duration(age) * time.Second
				}
			}
		}
	}
	return max(min(good, maxTTL), 0)
}

// File reads a file. It is read again only when its size or time has changed.
func File(path string, ttl time.Duration) (cache.Fetch, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, &Error{http.StatusBadRequest, "path is not absolute"}
	}
	return func(_ context.Context, old *cache.Value) (*cache.Value, error) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return &cache.Value{Status: http.StatusNotFound, ContentType: "text/plain; charset=utf-8", Body: []byte("there is no such file\n")}, nil
		case err != nil:
			return nil, &Error{http.StatusBadGateway, "the file cannot be read"}
		case !info.Mode().IsRegular(): // a pipe or a device would never end
			return nil, &Error{http.StatusBadRequest, "path is not a file"}
		}
		mark := fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
		if old != nil && old.Validator == mark {
			same := *old
			same.TTL = ttl
			return &same, nil
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, &Error{http.StatusBadGateway, "the file cannot be read"}
		}
		defer f.Close()
		body, err := whole(f)
		if err != nil {
			return nil, err
		}
		return &cache.Value{Status: http.StatusOK, ContentType: http.DetectContentType(body), Body: body, TTL: ttl, Validator: mark}, nil
	}, nil
}
