package kafka

import (
	"context"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"thaw/eventsource"
)

// partition is the eventsource.Reader of one, for as long as it is assigned to this server.
type partition struct {
	s       *stream
	number  int32
	revoked chan struct{}
	failed  chan error // why nothing comes
	more    chan struct{}

	mu     sync.Mutex
	buffer []*kgo.Record
	bytes  int
	paused bool
	high   int64 // the end of the partition, when it was fetched last
	after  int64 // nothing up to here is wanted
	next   int64 // behind what Next has returned
	marks  int64 // behind the last mark of a transaction, which is no record but has an offset
	epochs epochs
}

// epochs remember the leader epoch of what was returned, which a commit tells the cluster. Most partitions have one.
type epochs []kgo.EpochOffset

func newPartition(s *stream, number int32) *partition {
	return &partition{s: s, number: number, revoked: make(chan struct{}), failed: make(chan error, 1), more: make(chan struct{}, 1), after: -1}
}

func size(r *kgo.Record) int { return len(r.Key) + len(r.Value) + 100 }

// put adds what was fetched, and has no more fetched when there is enough.
func (p *partition) put(all []*kgo.Record, high int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.high = high
	for _, r := range all {
		if r.Attrs.IsControl() {
			p.marks = r.Offset + 1
		} else if r.Offset > p.after {
			p.buffer = append(p.buffer, r)
			p.bytes += size(r)
		}
	}
	if !p.paused && (p.bytes > maxBuffered || len(p.buffer) > maxBufferedCount) {
		p.paused = true
		p.s.client.PauseFetchPartitions(p.named())
	}
	select {
	case p.more <- struct{}{}:
	default:
	}
}

func (p *partition) named() map[string][]int32 { return map[string][]int32{p.s.topic: {p.number}} }

func (p *partition) behind(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after = offset
	n := 0
	for n < len(p.buffer) && p.buffer[n].Offset <= offset {
		p.bytes -= size(p.buffer[n])
		n++
	}
	p.buffer = p.buffer[n:]
}

// Next implements eventsource.Reader.
func (p *partition) Next(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	for {
		select {
		case <-p.revoked: // what was fetched and not returned is somebody else's
			return nil, eventsource.ErrRevoked
		default:
		}
		if all, err := p.take(ctx, limit); len(all) > 0 || err != nil {
			return all, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.revoked:
		case err := <-p.failed:
			return nil, err
		case <-p.more:
		}
	}
}

// take returns what is in the buffer. Records stay there until they could be read: the registry of their schemas may be
// away.
func (p *partition) take(ctx context.Context, limit int) (all []*eventsource.Record, err error) {
	p.mu.Lock()
	raw := p.buffer[:min(limit, len(p.buffer))]
	p.mu.Unlock()
	for _, r := range raw {
		rec, err := p.s.shape.record(ctx, r)
		if err != nil {
			if len(all) == 0 {
				return nil, err
			}
			break
		}
		all = append(all, rec)
	}
	if len(all) == 0 {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.buffer[:len(all)] {
		p.bytes -= size(r)
		p.next = r.Offset + 1
		p.epochs.note(r)
	}
	if p.buffer = p.buffer[len(all):]; len(p.buffer) == 0 {
		p.buffer = nil
	}
	if p.paused && p.bytes < maxBuffered/2 && len(p.buffer) < maxBufferedCount/2 {
		p.paused = false
		p.s.client.ResumeFetchPartitions(p.named())
	}
	return all, nil
}

// Commit implements eventsource.Reader.
func (p *partition) Commit(ctx context.Context, position string) error {
	select {
	case <-p.revoked:
		return eventsource.ErrRevoked
	default:
	}
	offset, err := strconv.ParseInt(position, 10, 64)
	if err != nil {
		return err
	}
	p.mu.Lock()
	done := kgo.EpochOffset{Epoch: p.epochs.of(offset), Offset: offset}
	p.mu.Unlock()
	if err := p.s.commit(ctx, p, done); err != nil {
		select {
		case <-p.revoked:
			return eventsource.ErrRevoked
		default:
			return err
		}
	}
	return nil
}

// Revoked implements eventsource.Reader.
func (p *partition) Revoked() <-chan struct{} { return p.revoked }

// Lag implements eventsource.Reader.
func (p *partition) Lag() int64 {
	at := p.reached()
	p.mu.Lock()
	defer p.mu.Unlock()
	if at == 0 {
		return -1
	}
	return max(0, p.high-at)
}

// Close implements eventsource.Reader: the client goes on fetching, for the next reader, until the source is closed.
func (p *partition) Close() {}

// note remembers where an epoch begins.
func (e *epochs) note(r *kgo.Record) {
	if n := len(*e); n == 0 || (*e)[n-1].Epoch != r.LeaderEpoch {
		*e = append(*e, kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset})
	}
}

// of gives the epoch of an offset, and forgets those before: commits go up.
func (e *epochs) of(offset int64) int32 {
	for len(*e) > 1 && (*e)[1].Offset <= offset {
		*e = (*e)[1:]
	}
	if len(*e) == 0 {
		return -1
	}
	return (*e)[0].Epoch
}
