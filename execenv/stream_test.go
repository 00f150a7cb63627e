package execenv

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a caller that takes what comes, and knows when each MiB of it came.
type counted struct {
	began time.Time
	at    []time.Duration // after the Nth MiB
	fail  error
}

func (*counted) Head(string) error { return nil }

func (c *counted) Chunk(b []byte) error {
	for range len(b) >> 20 {
		c.at = append(c.at, time.Since(c.began))
	}
	return c.fail
}

// E-056: a streamed response has 200 MiB and no byte more: the first 6 at once, the others at 2 MiB a second. The function goes
// on, whatever becomes of what it sends. Source: spec 10.1 (Limits).
func TestStreamsHaveALimitAndARate(t *testing.T) {
	gone := errors.New("the caller went")
	for name, c := range map[string]struct {
		mib  int
		more int // bytes behind
		fail error
		want string // the error's type
		got  int    // MiB that the caller has
		took time.Duration
	}{
		"less than the rate concerns":   {mib: 6, got: 6},
		"as much as there may be":       {mib: 200, got: 200, took: 97 * time.Second},
		"one byte more":                 {mib: 200, more: 1, got: 200, took: 97 * time.Second, want: "Function.ResponseSizeTooLarge"},
		"a caller who goes":             {mib: 200, fail: gone, got: 1},
		"much more than there may be":   {mib: 300, got: 200, took: 97 * time.Second, want: "Function.ResponseSizeTooLarge"},
		"a little more than is at once": {mib: 8, got: 8, took: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink, credited, done := &counted{began: time.Now(), fail: c.fail}, int64(0), make(chan error, 1)
				p := startPump(sink, "text/plain", func(n int64) { credited += n })
				mib := make([]byte, 1<<20)
				for range c.mib {
					p.add(mib)
				}
				if c.more > 0 {
					p.add(mib[:c.more])
				}
				p.finish(func(err error) { done <- err })
				err := <-done
				typ, details := errTypeTooLargeOr(err)
				if typ != c.want || (typ != "") != strings.Contains(details, "(209715200 bytes)") || c.fail != nil && !errors.Is(err, c.fail) {
					t.Errorf("it ends with %v: %q %s", err, typ, details)
				}
				if len(sink.at) != c.got || credited != int64(c.mib<<20+c.more) {
					t.Fatalf("the caller has %d MiB, the function may send %d bytes again", len(sink.at), credited)
				}
				// The piece that is on its way when the rate begins is not held up.
				if took := sink.at[len(sink.at)-1]; took > c.took || took < c.took-time.Second {
					t.Errorf("it took %v, want %v", took, c.took)
				}
			})
		})
	}
}
