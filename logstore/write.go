package logstore

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
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
		s.enqueueLocked(queued{
			to: st, time: now.UnixMilli(), arrived: now.UnixMilli(), lines: 1,
			text: fmt.Sprintf("[thaw] %d events dropped: the log folder was slower than the function", st.dropped),
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
				s.log.Warn("function logs are dropped", "group", group, "events", events(left), "err", err)
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
		q.to.dropped += q.lines
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

// events counts what is queued.
func events(part []queued) (n int) {
	for _, q := range part {
		n += q.lines
	}
	return n
}

// writeGroup appends events to the group's newest segment, turning to a new one where they fill it. With an error it
// returns those that are not written. s.disk is held.
func (s *Store) writeGroup(name string, part []queued) ([]queued, error) {
	g, err := s.groupFor(name)
	if err != nil {
		return part, err
	}
	buf, runs := s.buf, s.runs
	defer func() {
		clear(runs[:cap(runs)])
		if cap(buf) <= 2*writeBytes { // one write's worth is kept for the next
			s.buf, s.runs = buf[:0], runs[:0]
		}
	}()
	for len(part) > 0 {
		seg := g.newest()
		if seg == nil || seg.size >= s.segmentBytes() || g.Retention > 0 && time.Since(seg.began) > g.segmentAge() {
			seg = g.begin()
		}
		limit := int(min(writeBytes, s.segmentBytes()-seg.size))
		buf, runs = buf[:0], runs[:0]
		next, head := 0, part[0]
		for len(buf) < limit {
			r := run{queued: head, begin: len(buf)}
			buf, head = head.take(buf, limit)
			r.lines, r.end = r.lines-head.lines, len(buf)
			r.text = r.text[:len(r.text)-len(head.text)]
			runs = append(runs, r)
			if head.lines > 0 {
				break
			}
			if next++; next == len(part) {
				break
			}
			head = part[next]
		}
		if err := appendTo(g.path(seg.num), seg.size, buf); err != nil {
			return part, err
		}
		if seg.scanned {
			seg.seeAll(runs)
		}
		seg.size += int64(len(buf))
		if part = part[next:]; len(part) > 0 {
			part[0] = head
		}
		s.progressed()
	}
	return nil, g.trim(s.maxBytes, s.log)
}

// run is what is written of one queued, and where in the buffer that is.
type run struct {
	queued
	begin, end int
}

// take appends the events as they stand in a segment, until b has so many bytes, and returns those that are left.
func (q queued) take(b []byte, limit int) ([]byte, queued) {
	place := appendPlace(make([]byte, 0, 256), q.time, q.arrived, q.to.name)
	for q.lines > 0 {
		message := q.text
		if q.lines > 1 {
			message = message[:strings.IndexByte(message, '\n')+1]
		}
		b = append(strconv.AppendUint(append(b, recordBegin...), q.id, 10), place...)
		b = append(escape(b, message), recordEnd+"\n"...)
		q.id, q.text, q.lines = q.id+1, q.text[len(message):], q.lines-1
		if len(b) >= limit {
			break
		}
	}
	return b, q
}

// seeAll notes events that were written at the segment's end.
func (seg *segment) seeAll(runs []run) {
	for _, r := range runs {
		l := line{id: r.id + uint64(r.lines-1), time: r.time, arrived: r.arrived}
		seg.see(&l, r.to.name, r.lines, int64(len(r.text)), seg.size+int64(r.begin), int64(r.end-r.begin))
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
