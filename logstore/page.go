package logstore

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"thaw/logpattern"
)

// At is a place in the order of a group's events: their Time, then their ID.
type At struct {
	Time int64
	ID   uint64
}

func (a At) compare(b At) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID)) }

// EventID is a place as an ID of the form that CloudWatch Logs gives its events.
func (a At) EventID() string { return fmt.Sprintf("3%018d%037d", a.Time, a.ID) }

// At is the event's place.
func (e *Event) At() At { return At{e.Time, e.ID} }

// PageQuery says which events a page is made of, in the order of their times.
type PageQuery struct {
	Group          string
	Streams        []string // when not empty: only these
	StreamPrefixes []string // when not empty: only those whose name begins with one of them
	Since, Until   int64    // Since <= Event.Time <= Until, in Unix milliseconds; 0: no bound
	Pattern        logpattern.Pattern
	Start          At   // only events behind it, or with Backward before it; zero: all
	Backward       bool // the last events instead of the first; they are in the order of their times all the same
	Limit          int
	Bytes          int64         // of messages and eventOverhead for each; a page has one event at least
	Patience       time.Duration // when it is over, the page is what was found; 0: never
}

// eventOverhead is what an event counts beside its message. Source: PutLogEvents, "Constraints".
const eventOverhead = 26

// Page is some events. More says that behind Next there may be others.
type Page struct {
	Events  []Event
	Next    At
	More    bool
	Records int   // that were looked at
	Scanned int64 // bytes that were looked at
}

// place is a block, and where it is.
type place struct {
	block
	num     uint64
	edition int
	path    string
}

// errAnew says that a file was written anew since its blocks were looked up.
var errAnew = errors.New("segment was written anew")

// Page gives a page of a group's events. ErrNoGroup.
func (s *Store) Page(ctx context.Context, q PageQuery) (Page, error) {
	if err := s.sync(ctx); err != nil {
		return Page{}, err
	}
	for {
		g, err := s.index(q.Group)
		if err != nil {
			return Page{}, err
		}
		pg := &pager{s: s, g: g, q: q, needs: q.Pattern.Needs(), names: interned{}, wanted: map[string]bool{}, files: map[uint64]*os.File{}}
		page, err := pg.run(ctx)
		pg.close()
		if !errors.Is(err, errAnew) {
			return page, err
		}
	}
}

// pager makes one page.
type pager struct {
	s      *Store
	g      *group
	q      PageQuery
	needs  []string
	names  interned
	wanted map[string]bool // streams
	files  map[uint64]*os.File
	buf    []byte
	best   nearest
	page   Page
}

// run reads the blocks in the order of their first times, until no other can have an event that belongs into the page.
func (p *pager) run(ctx context.Context) (Page, error) {
	began := time.Now()
	places := p.places()
	p.best.backward = p.q.Backward
	for i, at := range places {
		if p.full() && p.beyond(at) {
			break
		}
		if i > 0 && p.q.Patience > 0 && time.Since(began) > p.q.Patience {
			if next, ok := p.cutAt(at); ok {
				return p.part(next), nil
			}
		}
		if ctx.Err() != nil {
			return Page{}, context.Cause(ctx)
		}
		if err := p.read(at); err != nil {
			return Page{}, err
		}
	}
	return p.whole(), nil
}

// places are the blocks that may hold wanted events, nearest first.
func (p *pager) places() []place {
	p.s.disk.Lock()
	defer p.s.disk.Unlock()
	p.q.Since = max(p.q.Since, p.g.oldest(time.Now()))
	var all []place
	for _, seg := range p.g.segs {
		for _, b := range seg.blocks {
			if p.mayHold(&b) {
				all = append(all, place{b, seg.num, seg.edition, p.g.path(seg.num)})
			}
		}
	}
	slices.SortFunc(all, func(a, b place) int {
		if p.q.Backward {
			return cmp.Or(cmp.Compare(b.last, a.last), cmp.Compare(b.num, a.num), cmp.Compare(b.offset, a.offset))
		}
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.num, b.num), cmp.Compare(a.offset, b.offset))
	})
	return all
}

func (p *pager) mayHold(b *block) bool {
	if b.last < p.q.Since || p.q.Until > 0 && b.first > p.q.Until {
		return false
	}
	if start := p.q.Start; start != (At{}) && (!p.q.Backward && b.last < start.Time || p.q.Backward && b.first > start.Time) {
		return false
	}
	return slices.ContainsFunc(b.streams, p.wants)
}

// wants says whether events of a stream are asked for.
func (p *pager) wants(stream string) bool {
	want, known := p.wanted[stream]
	if !known {
		want = (len(p.q.Streams) == 0 || slices.Contains(p.q.Streams, stream)) && (len(p.q.StreamPrefixes) == 0 ||
			slices.ContainsFunc(p.q.StreamPrefixes, func(prefix string) bool { return strings.HasPrefix(stream, prefix) }))
		p.wanted[stream] = want
	}
	return want
}

// full says that the page would hold no more, and has one event beside that shows that there is more.
func (p *pager) full() bool {
	return len(p.best.events) > 1 && (len(p.best.events) > p.q.Limit || p.q.Bytes > 0 && p.best.bytes-cost(p.best.events[0]) >= p.q.Bytes)
}

// beyond says that all of a block lies behind what a full page holds.
func (p *pager) beyond(at place) bool {
	farthest := p.best.events[0].Time
	if p.q.Backward {
		return at.last < farthest
	}
	return at.first > farthest
}

// cutAt is the place up to which all events are known when reading stops before a block. Not ok: it is not behind the start.
func (p *pager) cutAt(at place) (At, bool) {
	if p.q.Backward {
		next := At{at.last + 1, 0}
		return next, p.q.Start == (At{}) || next.compare(p.q.Start) < 0
	}
	next := At{at.first - 1, ^uint64(0)}
	return next, next.compare(p.q.Start) > 0
}

// part is the page of what is known up to next.
func (p *pager) part(next At) Page {
	p.best.events = slices.DeleteFunc(p.best.events, func(e Event) bool {
		order := e.At().compare(next)
		return p.q.Backward && order < 0 || !p.q.Backward && order > 0
	})
	page := p.whole()
	if !page.More {
		page.Next, page.More = next, true
	}
	return page
}

// whole is the page of all that was found.
func (p *pager) whole() Page {
	events := p.best.events
	slices.SortFunc(events, func(a, b Event) int {
		if p.q.Backward {
			return b.At().compare(a.At())
		}
		return a.At().compare(b.At())
	})
	n, size := 0, int64(0)
	for n < len(events) && n < p.q.Limit && (n == 0 || p.q.Bytes == 0 || size+cost(events[n]) <= p.q.Bytes) {
		size += cost(events[n])
		n++
	}
	p.page.More = n < len(events)
	p.page.Events = events[:n]
	if n > 0 {
		p.page.Next = events[n-1].At()
	}
	if p.q.Backward {
		slices.Reverse(p.page.Events)
	}
	return p.page
}

func (p *pager) read(at place) error {
	f, err := p.open(at)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the oldest segment, which has gone meanwhile
	}
	if err != nil {
		return err
	}
	p.buf = slices.Grow(p.buf[:0], int(at.size))[:at.size]
	if _, err := f.ReadAt(p.buf, at.offset); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("log group %s: %w", p.q.Group, err)
	}
	p.page.Scanned += at.size
	for rest := p.buf; len(rest) > 0; {
		raw, more, _ := bytes.Cut(rest, []byte("\n"))
		rest = more
		p.page.Records++
		if needless(p.needs, raw) {
			continue
		}
		if l, ok := parseLine(raw); ok {
			p.look(&l)
		}
	}
	return nil
}

// needless says that a line has none of the texts that every wanted message has. Where a message has backslashes, they
// are doubled in its line, and nothing is known.
func needless(needs []string, raw []byte) bool {
	return len(needs) > 0 && !slices.ContainsFunc(needs, func(text string) bool { return bytes.Contains(raw, []byte(text)) }) &&
		!bytes.Contains(raw, []byte(`\\`))
}

func (p *pager) look(l *line) {
	at := At{l.time, l.id}
	if at.Time < p.q.Since || p.q.Until > 0 && at.Time > p.q.Until {
		return
	}
	if p.q.Start != (At{}) {
		if order := at.compare(p.q.Start); p.q.Backward && order >= 0 || !p.q.Backward && order <= 0 {
			return
		}
	}
	if p.full() && !p.best.nearer(at, p.best.events[0].At()) {
		return
	}
	stream := p.names.of(l.stream)
	if !p.wants(stream) {
		return
	}
	e := l.event(stream)
	if !p.q.Pattern.Match(e.Message) {
		return
	}
	heap.Push(&p.best, e)
	for len(p.best.events) > p.q.Limit+1 || p.full() && p.q.Bytes > 0 && p.best.bytes-cost(p.best.events[0]) > p.q.Bytes+maxMessage {
		heap.Pop(&p.best)
	}
}

// open gives the file of a block, if it is still the one that was looked up.
func (p *pager) open(at place) (*os.File, error) {
	if f := p.files[at.num]; f != nil {
		return f, nil
	}
	p.s.disk.Lock()
	defer p.s.disk.Unlock()
	for _, seg := range p.g.segs {
		if seg.num == at.num && seg.edition != at.edition {
			return nil, errAnew
		}
	}
	f, err := os.Open(at.path)
	if err != nil {
		return nil, err
	}
	p.files[at.num] = f
	return f, nil
}

func (p *pager) close() {
	for _, f := range p.files {
		f.Close()
	}
}

// nearest is a heap of the events that are nearest to the start of a page; the farthest of them is on top.
type nearest struct {
	events   []Event
	bytes    int64
	backward bool
}

func cost(e Event) int64 { return int64(len(e.Message)) + eventOverhead }

func (h *nearest) nearer(a, b At) bool {
	if h.backward {
		return a.compare(b) > 0
	}
	return a.compare(b) < 0
}

func (h *nearest) Len() int           { return len(h.events) }
func (h *nearest) Less(i, j int) bool { return h.nearer(h.events[j].At(), h.events[i].At()) }
func (h *nearest) Swap(i, j int)      { h.events[i], h.events[j] = h.events[j], h.events[i] }
func (h *nearest) Push(x any) {
	e := x.(Event)
	h.bytes += cost(e)
	h.events = append(h.events, e)
}

func (h *nearest) Pop() any {
	n := len(h.events) - 1
	e := h.events[n]
	h.events[n] = Event{}
	h.events = h.events[:n]
	h.bytes -= cost(e)
	return e
}
