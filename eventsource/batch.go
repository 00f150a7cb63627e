package eventsource

import (
	"strconv"
	"time"

	"thaw/internal/plainjson"
)

// Limits say when a batch is full. A batch goes out at Count records, when Window has passed since its first, or before
// the event would take more than Bytes. Source: section 1.3.
type Limits struct {
	Count  int
	Window time.Duration // 0: as soon as there are records
	Bytes  int           // of the event; 0: 6 MB
}

// Batcher collects records into the next batch. It has no clock and no lock.
type Batcher struct {
	envelope Envelope
	limits   Limits
	records  []*Record
	groups   map[string]bool
	size     int
	first    time.Time
}

// NewBatcher makes an empty one.
func NewBatcher(e Envelope, l Limits) *Batcher {
	if l.Bytes == 0 {
		l.Bytes = maxEvent
	}
	b := &Batcher{envelope: e, limits: l}
	b.empty()
	return b
}

func (b *Batcher) empty() {
	b.records, b.size, b.first = nil, len(b.envelope.Head)+len(b.envelope.Tail)+len("[]"), time.Time{}
	if b.envelope.Groups {
		b.groups = map[string]bool{}
	}
}

// Oversized says that a record fits into no event at all.
func (b *Batcher) Oversized(r *Record) bool {
	return len(b.envelope.Head)+len(b.envelope.Tail)+len("[]")+b.envelope.cost(r, true) > b.limits.Bytes
}

// Put adds a record that came at a time. false: it does not fit any more, and the batch has to be taken first.
func (b *Batcher) Put(r *Record, now time.Time) bool {
	size := b.size + b.envelope.cost(r, !b.groups[r.Group])
	if len(b.records) >= b.limits.Count || len(b.records) > 0 && size > b.limits.Bytes {
		return false
	}
	if len(b.records) == 0 {
		b.first = now
	}
	if b.groups != nil {
		b.groups[r.Group] = true
	}
	b.records, b.size = append(b.records, r), size
	return true
}

// Len is how many records there are.
func (b *Batcher) Len() int { return len(b.records) }

// Records are those that there are. The caller changes none.
func (b *Batcher) Records() []*Record { return b.records }

// Ready says that the batch goes out at this time.
func (b *Batcher) Ready(now time.Time) bool {
	return len(b.records) > 0 && (len(b.records) >= b.limits.Count || !now.Before(b.first.Add(b.limits.Window)))
}

// Due is when the batch goes out whatever else comes; false: it is empty.
func (b *Batcher) Due() (time.Time, bool) { return b.first.Add(b.limits.Window), len(b.records) > 0 }

// Take returns the batch and begins the next.
func (b *Batcher) Take() []*Record {
	all := b.records
	b.empty()
	return all
}

// Forget removes the records that drop names.
func (b *Batcher) Forget(drop func(*Record) bool) {
	all, first := b.records, b.first
	b.empty()
	for _, r := range all {
		if !drop(r) {
			b.Put(r, first)
		}
	}
}

// cost is what a record adds to an event; fresh: it is the first of its group.
func (e Envelope) cost(r *Record, fresh bool) int {
	if !e.Groups || !fresh {
		return r.Size()
	}
	return r.Size() + len(strconv.Quote(r.Group)) + len(":[],")
}

// Event puts records into the event that the function gets.
func (e Envelope) Event(records []*Record) []byte {
	size := len(e.Head) + len(e.Tail) + len("[]")
	for _, r := range records {
		size += r.Size()
	}
	out := append(make([]byte, 0, size), e.Head...)
	if !e.Groups {
		return append(appendList(out, records, ""), e.Tail...)
	}
	out = append(out, '{')
	seen := map[string]bool{}
	for _, r := range records {
		if seen[r.Group] {
			continue
		}
		if len(seen) > 0 {
			out = append(out, ',')
		}
		seen[r.Group] = true
		out = append(out, plainjson.Value(r.Group)...)
		out = append(out, ':')
		out = appendList(out, records, r.Group)
	}
	return append(append(out, '}'), e.Tail...)
}

// appendList appends those of a group as a JSON list.
func appendList(out []byte, records []*Record, group string) []byte {
	out = append(out, '[')
	n := 0
	for _, r := range records {
		if group != "" && r.Group != group {
			continue
		}
		if n > 0 {
			out = append(out, ',')
		}
		out = append(out, r.Event...)
		n++
	}
	return append(out, ']')
}
