package logstore

import (
	"fmt"
	"log/slog"
	"os"
	"time"
)

// write is the writer goroutine. It sleeps while the queue is empty.
func (s *Store) write() {
	defer close(s.done)
	look := time.NewTicker(expireEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			s.expireAll(time.Now())
		case <-s.stop:
			s.flush()
			return
		case ask := <-s.asks:
			s.flush()
			close(ask)
		case <-s.wake:
			gather := time.NewTimer(flushAfter)
			select {
			case <-gather.C:
				s.flush()
			case <-s.soon:
				s.flush()
			case ask := <-s.asks:
				s.flush()
				close(ask)
			case <-s.stop:
				s.flush()
				gather.Stop()
				return
			}
			gather.Stop()
		}
	}
}

// flush takes the queue to disk.
func (s *Store) flush() {
	defer s.settle()
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.delay != nil {
		s.delay()
	}
	s.mu.Lock()
	for _, st := range s.lossy {
		now := time.Now()
		s.enqueueLocked(st, Event{
			Time: now.UnixMilli(), Arrived: now.UnixMilli(), Stream: st.name,
			Message: fmt.Sprintf("[thaw] %d events dropped: the log folder was slower than the function", st.dropped),
		}, now)
		st.dropped = 0
	}
	s.lossy = nil
	batch := s.queue
	s.queue, s.bytes = nil, 0
	for _, q := range batch {
		q.to.bytes = 0
	}
	s.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	for _, part := range byGroup(batch) {
		group := part[0].to.group
		if left, err := s.writeGroup(group, part); err != nil {
			if !s.failing { // once, not twenty times a second
				s.log.Warn("function logs are dropped", "group", group, "events", len(left), "err", err)
			}
			s.failing = true
			s.lose(left)
		} else if s.failing {
			s.failing = false
			s.log.Info("function logs are kept again", "group", group)
		}
	}
	s.mu.Lock()
	close(s.flushed)
	s.flushed = make(chan struct{})
	s.mu.Unlock()
}

// lose counts events that could not be written, to be told in the next batch that can. It does not wake the writer: a
// full disk would keep it busy.
func (s *Store) lose(part []queued) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range part {
		if q.to.dropped == 0 {
			s.lossy = append(s.lossy, q.to)
		}
		q.to.dropped++
	}
}

// byGroup splits a batch, keeping the order within each group.
func byGroup(batch []queued) [][]queued {
	at := map[string]int{}
	var parts [][]queued
	for _, q := range batch {
		i, ok := at[q.to.group]
		if !ok {
			i = len(parts)
			at[q.to.group] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], q)
	}
	return parts
}

// writeGroup appends events to the group's newest segment, turning to a new one where they fill it. With an error it
// returns those that are not written. s.disk is held.
func (s *Store) writeGroup(name string, part []queued) ([]queued, error) {
	g, err := s.groupFor(name)
	if err != nil {
		return part, err
	}
	var buf []byte
	var ends []int // of the lines in buf
	for len(part) > 0 {
		seg := g.newest()
		if seg == nil || seg.size >= s.segmentBytes() || g.Retention > 0 && time.Since(seg.began) > g.segmentAge() {
			seg = g.begin()
		}
		buf, ends = buf[:0], ends[:0]
		rest := part
		for len(rest) > 0 && len(buf) < writeBytes && seg.size+int64(len(buf)) < s.segmentBytes() {
			e := rest[0].event
			buf = append(appendRecord(buf, recordOf(e)), '\n')
			ends = append(ends, len(buf))
			rest = rest[1:]
		}
		if err := appendTo(g.path(seg.num), seg.size, buf); err != nil {
			return part, err
		}
		if seg.scanned {
			seg.seeAll(part, ends)
		}
		seg.size += int64(len(buf))
		part = rest
		s.progressed()
	}
	return nil, g.trim(s.maxBytes, s.log)
}

// seeAll notes events that were written at the segment's end.
func (seg *segment) seeAll(part []queued, ends []int) {
	begin := 0
	for i, end := range ends {
		e := &part[i].event
		l := line{id: e.ID, time: e.Time, arrived: e.Arrived}
		seg.see(&l, e.Stream, int64(len(e.Message)), seg.size+int64(begin), int64(end-begin))
		begin = end
	}
}

// appendTo writes b at offset, or leaves the file as it was.
func appendTo(path string, offset int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	_, err = f.WriteAt(b, offset)
	if err != nil {
		err = fmt.Errorf("segment: %w", err)
		if e := f.Truncate(offset); e != nil {
			err = fmt.Errorf("%w; and cut it back: %w", err, e)
		}
	}
	if e := f.Close(); err == nil && e != nil {
		err = fmt.Errorf("segment: %w", e)
	}
	return err
}

func (s *Store) segmentBytes() int64 { return max(s.maxBytes/segments, minSegment) }

// trim removes the oldest segments while the group is larger than its bound; the newest stays.
func (g *group) trim(bound int64, log *slog.Logger) error {
	var total int64
	for _, seg := range g.segs {
		total += seg.size
	}
	for total > bound && len(g.segs) > 1 {
		old := g.segs[0]
		if err := os.Remove(g.path(old.num)); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("oldest segment: %w", err)
		}
		log.Debug("log segment dropped", "group", g.name, "bytes", old.size)
		total -= old.size
		g.segs = g.segs[1:]
	}
	return nil
}
