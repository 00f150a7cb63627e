package logstore

import (
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	day = 24 * time.Hour
	// expireEvery is the interval at which groups are looked at for events past their retention. Readers do not see
	// such events in any case.
	expireEvery = 10 * time.Minute
)

// segmentAge bounds the time that one segment covers in a group with a retention: so much longer than asked for its
// oldest event may stay on disk.
func (g *group) segmentAge() time.Duration { return time.Duration(g.Retention) * day / 16 }

// oldest is the time before which events of a group are past its retention, in Unix milliseconds.
func (g *group) oldest(now time.Time) int64 {
	if g.Retention == 0 {
		return 0
	}
	return now.Add(-time.Duration(g.Retention) * day).UnixMilli()
}

func (s *Store) expireAll(now time.Time) {
	s.disk.Lock()
	defer s.disk.Unlock()
	for _, g := range s.groups {
		if err := s.expire(g, now); err != nil {
			s.log.Warn("log events past their retention are kept", "group", g.name, "err", err)
		}
	}
}

// expire removes the segments whose events are all past the group's retention. s.disk is held.
func (s *Store) expire(g *group, now time.Time) error {
	before := g.oldest(now)
	for len(g.segs) > 0 && before > 0 {
		old := g.segs[0]
		last := old.last
		if !old.scanned {
			last = old.began.UnixMilli() // of the file's last write: no event is of a much later time
		}
		if old.size == 0 && len(g.segs) == 1 || last >= before {
			return nil
		}
		if len(g.segs) == 1 {
			g.begin() // numbers are never used again
		}
		if err := os.Remove(g.path(old.num)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("log group %s: %w", g.name, err)
		}
		s.log.Debug("log segment is past its retention", "group", g.name, "bytes", old.size)
		g.segs = g.segs[1:]
	}
	return nil
}
