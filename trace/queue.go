package trace

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Item is a segment of ours, or a datagram that a function sent.
type Item struct {
	Segment  *Segment
	Datagram []byte
}

// size is about what an item holds in memory.
func (i Item) size() int64 { return int64(1<<10 + len(i.Datagram)) }

// Sender sends items somewhere. Send may take its time, and ends with its context.
type Sender interface {
	Send(ctx context.Context, batch []Item) error
	Close(ctx context.Context) error
}

// Bounds of a queue. What comes while it is full is dropped and counted: a trace is worth less than an invocation's time.
const (
	queueItems = 4096
	queueBytes = 16 << 20
	batchItems = 512
)

// Queue stands between those who record and one sender. Its goroutine ends with Close.
type Queue struct {
	name   string
	sender Sender
	log    *slog.Logger
	linger time.Duration

	items  chan Item
	bytes  atomic.Int64
	ctx    context.Context // of sending
	cancel context.CancelFunc
	ending chan struct{} // closed when nothing is taken any more
	once   sync.Once
	done   chan struct{}
	failed bool // the last batch; the goroutine's

	counts counts
}

type counts struct{ sent, failed, dropped atomic.Uint64 }

// Counts is what became of items.
type Counts struct{ Sent, Failed, Dropped uint64 }

// OpenQueue begins to send. A batch waits for linger, so that others may join it. name is for the log.
func OpenQueue(name string, s Sender, linger time.Duration, log *slog.Logger) *Queue {
	q := &Queue{name: name, sender: s, log: log, linger: linger, items: make(chan Item, queueItems), ending: make(chan struct{}), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.run()
	return q
}

// Offer takes an item, or drops it. It never waits.
func (q *Queue) Offer(i Item) {
	size := i.size()
	if q.bytes.Add(size) > queueBytes {
		q.bytes.Add(-size)
		q.counts.dropped.Add(1)
		return
	}
	select {
	case <-q.ending:
	default:
		select {
		case q.items <- i:
			return
		default:
		}
	}
	q.bytes.Add(-size)
	q.counts.dropped.Add(1)
}

// Counts says what became of the items so far.
func (q *Queue) Counts() Counts {
	return Counts{q.counts.sent.Load(), q.counts.failed.Load(), q.counts.dropped.Load()}
}

// Close sends what is there, within ctx, and ends the queue.
func (q *Queue) Close(ctx context.Context) error {
	q.once.Do(func() { close(q.ending) })
	stop := context.AfterFunc(ctx, q.cancel)
	defer stop()
	<-q.done
	q.cancel()
	return q.sender.Close(ctx)
}

func (q *Queue) run() {
	defer close(q.done)
	batch := make([]Item, 0, batchItems)
	for {
		select {
		case i := <-q.items:
			batch = q.fill(append(batch[:0], i))
			q.send(batch)
		case <-q.ending:
			for q.ctx.Err() == nil {
				if batch = q.rest(batch[:0]); len(batch) == 0 {
					return
				}
				q.send(batch)
			}
			for batch = q.rest(batch[:0]); len(batch) > 0; batch = q.rest(batch[:0]) { // there was no time for these
				q.forget(batch)
				q.counts.dropped.Add(uint64(len(batch)))
			}
			return
		}
	}
}

// fill waits for company.
func (q *Queue) fill(batch []Item) []Item {
	if q.linger == 0 {
		return q.rest(batch)
	}
	timer := time.NewTimer(q.linger)
	defer timer.Stop()
	for len(batch) < batchItems {
		select {
		case i := <-q.items:
			batch = append(batch, i)
		case <-timer.C:
			return batch
		case <-q.ending:
			return batch
		}
	}
	return batch
}

// rest takes what is there now.
func (q *Queue) rest(batch []Item) []Item {
	for len(batch) < batchItems {
		select {
		case i := <-q.items:
			batch = append(batch, i)
		default:
			return batch
		}
	}
	return batch
}

func (q *Queue) forget(batch []Item) {
	var size int64
	for _, i := range batch {
		size += i.size()
	}
	q.bytes.Add(-size)
}

// send sends a batch. That it fails is said once, until it works again.
func (q *Queue) send(batch []Item) {
	err := q.sender.Send(q.ctx, batch)
	q.forget(batch)
	switch {
	case err == nil:
		q.counts.sent.Add(uint64(len(batch)))
		if q.failed {
			q.log.Info("traces are sent again", "to", q.name)
		}
	default:
		q.counts.failed.Add(uint64(len(batch)))
		if !q.failed {
			q.log.Warn("traces cannot be sent; they are dropped and counted until they can", "to", q.name, "error", err)
		}
	}
	q.failed = err != nil
	clear(batch)
}
