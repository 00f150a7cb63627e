package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"thaw/internal/door"
)

// Bodies come at the pace of their senders. What is small is read into memory that grows with what has come, not with
// what was announced. What is big is read into a file, and into memory when it is whole: so a slow or a stalled sender
// keeps no place that others wait for.
const (
	bigBody = 8 << 20
	// maxUploads big bodies are on their way at the same time; another waits uploadWait for its turn. They bound the
	// disk that is used, to 4.5 GB.
	maxUploads = 64
	uploadWait = 10 * time.Second
	// maxBigBodies requests with a big body are in memory at the same time; the others wait. Nobody but this server
	// decides how long.
	maxBigBodies = 4
	firstRead    = 256 << 10 // of a small body
)

// uploadPattern names the files of big bodies. They lose their names at once, so that they go with the process.
const uploadPattern = "upload-*"

// sweepUploads makes the folder, and removes what a death between making a file and removing its name left.
func sweepUploads(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("uploads: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, uploadPattern))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("uploads: %w", err)
	}
	return nil
}

func noRelease() {}

// readBody reads the whole body, at most limit bytes. release must be called when the body is not needed any more.
func (c *call) readBody(limit int64) (release func(), err error) {
	n := c.r.ContentLength
	switch {
	case n == 0:
		return noRelease, nil
	case n > limit:
		return nil, c.tooLarge(n)
	case n > bigBody, n < 0 && limit > bigBody:
		return c.upload(limit)
	case n > 0:
		c.body, err = readGrowing(c.r.Body, n)
	default:
		var b bytes.Buffer
		var read int64
		read, err = io.Copy(&b, io.LimitReader(c.r.Body, limit+1))
		if read > limit {
			return nil, c.tooLarge(-1)
		}
		c.body = b.Bytes()
	}
	if err != nil {
		return nil, c.unread(err)
	}
	return noRelease, nil
}

// readGrowing reads n bytes. What is allocated is at most about twice what has come.
func readGrowing(r io.Reader, n int64) ([]byte, error) {
	b := make([]byte, 0, min(n, firstRead))
	for {
		k, err := io.ReadFull(r, b[len(b):cap(b)])
		b = b[:len(b)+k]
		if err != nil || int64(len(b)) == n {
			return b, err
		}
		grown := make([]byte, len(b), min(n, 2*int64(cap(b))))
		copy(grown, b)
		b = grown
	}
}

// upload reads a big body by way of a file.
func (c *call) upload(limit int64) (release func(), err error) {
	wait := time.NewTimer(uploadWait)
	defer wait.Stop()
	select {
	case c.s.uploads <- struct{}{}:
		defer func() { <-c.s.uploads }()
	case <-wait.C:
		return nil, &Error{Code: "TooManyRequestsException", Message: "Too many uploads at the same time.", RetryAfter: 1}
	case <-c.r.Context().Done():
		return nil, context.Cause(c.r.Context())
	}
	f, err := os.CreateTemp(c.s.Uploads, uploadPattern)
	if err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	n, err := io.Copy(writerOnly{f}, io.LimitReader(c.r.Body, limit+1))
	switch {
	case n > limit:
		return nil, c.tooLarge(-1)
	case errors.As(err, new(*os.PathError)):
		return nil, fmt.Errorf("upload: %w", err)
	case err != nil:
		return nil, c.unread(err)
	case c.r.ContentLength > 0 && n < c.r.ContentLength:
		return nil, c.unread(io.ErrUnexpectedEOF)
	}
	select {
	case c.s.bigBodies <- struct{}{}:
	case <-c.r.Context().Done():
		return nil, context.Cause(c.r.Context())
	}
	release = func() { <-c.s.bigBodies }
	c.body = make([]byte, n)
	if _, err := f.ReadAt(c.body, 0); err != nil && !errors.Is(err, io.EOF) {
		release()
		return nil, fmt.Errorf("upload: %w", err)
	}
	return release, nil
}

// writerOnly keeps io.Copy from a file's ReadFrom, whose errors do not tell the file's own from the sender's.
type writerOnly struct{ io.Writer }

// unread is the answer to a body that did not come whole.
func (c *call) unread(err error) error {
	c.w.Header().Set("Connection", "close")
	if errors.Is(err, door.ErrStalled) {
		return fail("RequestTimeoutException", "The body did not come: its sender has stopped in the middle of it.")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fail("SerializationException", "The body ended before its Content-Length.")
	}
	return fail("SerializationException", "The body could not be read.")
}

// swallow reads what a refused request's client still sends, in bounds: most clients read no answer before they have
// sent everything. It returns how much that was.
func (c *call) swallow() int64 {
	n := c.r.ContentLength
	if n == 0 || c.r.Body == nil || c.r.Header.Get("Expect") != "" { // one that expects to be asked has sent nothing yet
		return 0
	}
	end := time.Now().Add(swallowTime)
	var swallowed int64
	buf := make([]byte, 32<<10)
	for swallowed < drainLimit && time.Now().Before(end) {
		k, err := c.r.Body.Read(buf)
		swallowed += int64(k)
		if err != nil {
			break
		}
	}
	c.w.Header().Set("Connection", "close")
	return swallowed
}

const swallowTime = 30 * time.Second
