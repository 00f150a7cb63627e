package execenv

import (
	"testing"
	"testing/synctest"
	"time"
)

// stopwatch is a caller that notes when how many bytes had come.
type stopwatch struct {
	began time.Time
	sent  int64
	at    map[int64]time.Duration
}

func (s *stopwatch) Head(string) error { return nil }

func (s *stopwatch) Chunk(b []byte) error {
	s.sent += int64(len(b))
	s.at[s.sent] = time.Since(s.began)
	return nil
}

// E-056: the first 6 MB of a stream go as fast as the caller takes them, what follows at 2 MB a second. Where the function
// ran out of time nothing waits any more.
func TestBandwidthOfStreams(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]bool{"a long answer": false, "one whose function ran out of time": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stopwatch{began: time.Now(), at: map[int64]time.Duration{}}
				p := startPump(s, "text/plain", func(int64) {})
				const chunk = 1 << 20
				for range 16 {
					p.add(make([]byte, chunk))
				}
				if cut {
					p.abandon()
				}
				done := make(chan error)
				p.finish(func(err error) { done <- err })
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				for sent, want := range map[int64]time.Duration{6 * chunk: 0, 7 * chunk: 0, 8 * chunk: 500 * time.Millisecond, 12 * chunk: 2500 * time.Millisecond, 16 * chunk: 4500 * time.Millisecond} {
					if cut {
						want = 0
					}
					if got := s.at[sent]; got != want {
						t.Errorf("%d MB were there after %v, want %v", sent/chunk, got, want)
					}
				}
			})
		})
	}
}
