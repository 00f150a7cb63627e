package logstore

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"thaw/logpattern"
)

// Query says which events are wanted.
type Query struct {
	Group          string
	StreamPrefix   string    // empty: all streams
	StreamPrefixes []string  // when not empty: only those whose name begins with one of them
	Streams        []string  // when not empty: only these
	Since, Until   time.Time // of Event.Time: Since <= Time < Until; zero: no bound
	After          uint64    // only events with a larger ID: where a page ended
	Limit          int       // 0: none
	Newest         bool      // with Limit: the last ones instead of the first
	Pattern        logpattern.Pattern
}

func (q *Query) wants(e *Event) bool {
	return e.ID > q.After &&
		strings.HasPrefix(e.Stream, q.StreamPrefix) &&
		(len(q.StreamPrefixes) == 0 || slices.ContainsFunc(q.StreamPrefixes, func(prefix string) bool { return strings.HasPrefix(e.Stream, prefix) })) &&
		(len(q.Streams) == 0 || slices.Contains(q.Streams, e.Stream)) &&
		(q.Since.IsZero() || e.Time >= q.Since.UnixMilli()) &&
		(q.Until.IsZero() || e.Time < q.Until.UnixMilli()) &&
		q.Pattern.Match(e.Message)
}

// mayHold says whether a segment can have a wanted event.
func (q *Query) mayHold(seg *segment) bool {
	return !seg.scanned ||
		(q.Since.IsZero() || seg.last >= q.Since.UnixMilli()) && (q.Until.IsZero() || seg.first < q.Until.UnixMilli())
}

// Filter gives the events that q wants, in the order of their IDs, with what is still queued. ErrNoGroup when there is no such group.
func (s *Store) Filter(ctx context.Context, q Query) ([]Event, error) {
	if q.Newest && q.Limit > 0 && q.After == 0 && len(q.Streams) == 0 {
		return s.newest(ctx, q)
	}
	if err := s.sync(ctx); err != nil {
		return nil, err
	}
	var out []Event
	r := newReader(s, q)
	defer r.close()
	for {
		e, err := r.next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			if q.Limit > 0 && len(out) > q.Limit {
				out = out[len(out)-q.Limit:]
			}
			return out, nil
		case err != nil:
			return nil, err
		}
		out = append(out, e)
		if q.Limit > 0 && !q.Newest && len(out) == q.Limit {
			return out, nil
		}
		if q.Limit > 0 && len(out) == 2*q.Limit { // the newest are wanted: hold no more than twice as many
			out = slices.Delete(out, 0, q.Limit)
		}
	}
}

// newest gives the events of the latest times, without reading those before them.
func (s *Store) newest(ctx context.Context, q Query) ([]Event, error) {
	p := PageQuery{Group: q.Group, StreamPrefixes: q.StreamPrefixes, Pattern: q.Pattern, Backward: true, Limit: q.Limit}
	if q.StreamPrefix != "" {
		p.StreamPrefixes = []string{q.StreamPrefix}
	}
	if !q.Since.IsZero() {
		p.Since = q.Since.UnixMilli()
	}
	if !q.Until.IsZero() {
		p.Until = q.Until.UnixMilli() - 1
	}
	page, err := s.Page(ctx, p)
	slices.SortFunc(page.Events, func(a, b Event) int { return cmp.Compare(a.ID, b.ID) })
	return page.Events, err
}

// Follow gives the events that q wants, first those that are there and then each new one within some 100 ms, until ctx ends or q.Until
// has passed for an event. A group that is not there yet is waited for. With Limit and Newest, Limit bounds the events that are
// there; otherwise all events.
func (s *Store) Follow(ctx context.Context, q Query) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if q.Newest && q.Limit > 0 {
			old, err := s.Filter(ctx, q)
			if err != nil && !errors.Is(err, ErrNoGroup) {
				yield(Event{}, err)
				return
			}
			for _, e := range old {
				if !yield(e, nil) {
					return
				}
				q.After = e.ID
			}
			q.Newest, q.Limit = false, 0
		}
		if q.After > 0 { // so that what is before is not read
			if _, err := s.index(q.Group); err != nil && !errors.Is(err, ErrNoGroup) {
				yield(Event{}, err)
				return
			}
		}
		r, given := newReader(s, q), 0
		defer r.close()
		for {
			s.mu.Lock()
			news, closed := s.flushed, s.closed
			s.mu.Unlock()
			for {
				e, err := r.next(ctx)
				if errors.Is(err, io.EOF) || errors.Is(err, ErrNoGroup) {
					break
				}
				if err != nil {
					if ctx.Err() == nil {
						yield(Event{}, err)
					}
					return
				}
				if given++; !yield(e, nil) || given == q.Limit {
					return
				}
			}
			if closed {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-news:
			case <-s.done:
			}
		}
	}
}

// Now is an ID for Query.After: only what comes from now on.
func (s *Store) Now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.lastID, uint64(time.Now().UnixNano())) //nolint:gosec // after 1970
}

// sync returns when all that was appended before is on disk.
func (s *Store) sync(ctx context.Context) error {
	ask := make(chan struct{})
	select {
	case s.asks <- ask:
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-ask:
	case <-s.done: // the writer flushed once more when it ended
	}
	return nil
}

// reader goes through the segments of a group. At the end it can be asked again later, and goes on from there.
type reader struct {
	s       *Store
	q       Query
	g       *group // that it reads; another one when the group was deleted and begun anew
	num     uint64 // segment
	offset  int64
	edition int    // of the segment
	seen    uint64 // ID of the last event that was read
	oldest  int64  // Time before which events are past their retention
	file    *os.File
	lines   *bufio.Reader
	names   interned
	needs   []string // of the pattern
	limit   int64    // how much of the segment is known to be whole lines
}

func newReader(s *Store, q Query) *reader { return &reader{s: s, q: q, needs: q.Pattern.Needs()} }

// next gives the next wanted event, or io.EOF when there is none yet.
func (r *reader) next(ctx context.Context) (Event, error) {
	for {
		if r.file == nil {
			if err := r.open(); err != nil {
				return Event{}, err
			}
		}
		for r.offset < r.limit {
			if ctx.Err() != nil {
				r.close()
				return Event{}, context.Cause(ctx)
			}
			raw, err := readLine(r.lines)
			if err != nil {
				r.close()
				return Event{}, fmt.Errorf("log group %s: segment %d: %w", r.q.Group, r.num, err)
			}
			r.offset += int64(len(raw))
			if needless(r.needs, raw) {
				continue
			}
			l, ok := parseLine(bytes.TrimSuffix(raw, []byte("\n")))
			if !ok || l.id <= r.seen || l.time < r.oldest {
				continue // a line that a crash of the machine spoiled, the rest is still good; or one that was read before its file was written anew
			}
			r.seen = l.id
			if e := l.event(r.names.of(l.stream)); r.q.wants(&e) {
				return e, nil
			}
		}
		r.close()
	}
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// open finds the segment to read from: the one that it stood in when that has grown, else the next. io.EOF when there is nothing new.
func (r *reader) open() error {
	r.s.disk.Lock()
	defer r.s.disk.Unlock()
	g := r.s.groups[r.q.Group]
	if g != r.g {
		r.g, r.num, r.offset, r.names = g, 0, 0, interned{}
	}
	if g == nil {
		return fmt.Errorf("%s: %w", r.q.Group, ErrNoGroup)
	}
	r.oldest = g.oldest(time.Now())
	for _, seg := range g.segs {
		switch {
		case seg.num == r.num && seg.edition != r.edition:
			r.edition, r.offset = seg.edition, 0
		case seg.num < r.num, seg.num == r.num && r.offset >= seg.size:
			continue
		case seg.num > r.num:
			r.num, r.offset, r.edition = seg.num, seg.behind(r.q.After), seg.edition
			if r.offset >= seg.size {
				continue
			}
		}
		if !r.q.mayHold(seg) {
			r.offset = seg.size
			continue
		}
		f, err := os.Open(g.path(seg.num))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = f.Seek(r.offset, io.SeekStart)
		}
		if err != nil {
			return fmt.Errorf("log group %s: %w", r.q.Group, err)
		}
		r.file, r.limit = f, seg.size
		r.lines = bufio.NewReaderSize(io.LimitReader(f, seg.size-r.offset), 64<<10)
		return nil
	}
	return io.EOF
}
