package backlog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// intake puts messages on disk for all who come at once: those that come while a batch is published make the next one.
// A batch is published without waiting for each acknowledgement, and then synced, while the next one is published. A
// message that comes alone is a batch of one, and waits for nobody.
//
// Each message has a result of its own: one that fails harms no other of its batch, but for a sync that fails.
//
// Lock order: turn, then mu, then Store.mu.
type intake struct {
	s      *Store
	sync   *group
	stream func() jetstream.Stream // called in using

	turn sync.Mutex // of the batch that is published
	work sync.WaitGroup

	mu     sync.Mutex
	next   *batch // that others may join; nil: there is none
	closed bool
}

// Bounds of a batch: what JetStream holds back in memory, and what is written after one look at how full the disk is.
const (
	batchMessages = 4096
	batchBytes    = 8 << 20
	ackLimit      = 30 * time.Second // of a batch
)

// batch is messages that are published together.
type batch struct {
	ctx      context.Context // ends when nobody waits any more
	cancel   context.CancelFunc
	messages []*nats.Msg
	bytes    int
	waiting  int           // for its end; intake.mu
	over     chan struct{} // closed when the rest is known
	seqs     []uint64      // 0: it is not there
	errs     []error
}

var errClosed = errors.New("the backlog is closed")

// put returns when a message is on disk. If ctx ends before, the message may be there all the same.
func (in *intake) put(ctx context.Context, m *nats.Msg) (seq uint64, err error) {
	b, i, err := in.join(m)
	if err != nil {
		return 0, err
	}
	select {
	case <-b.over:
		return b.seqs[i], b.errs[i]
	case <-ctx.Done():
		in.leave(b)
		return 0, in.s.gaveUp(ctx.Err())
	}
}

// join adds a message to the next batch, which it begins when there is none with room.
func (in *intake) join(m *nats.Msg) (b *batch, i int, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, 0, errClosed
	}
	b = in.next
	if b == nil || len(b.messages) == batchMessages || b.bytes+len(m.Data) > batchBytes {
		b = &batch{over: make(chan struct{})}
		b.ctx, b.cancel = context.WithCancel(context.Background())
		in.next = b
		in.sync.coming.Add(1)
		in.work.Go(func() { in.run(b) })
	}
	b.messages = append(b.messages, m)
	b.bytes += len(m.Data)
	b.waiting++
	return b, len(b.messages) - 1, nil
}

// leave says that somebody does not wait any more.
func (in *intake) leave(b *batch) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if b.waiting--; b.waiting == 0 {
		b.cancel()
	}
}

// close refuses what comes, and waits for what is under way.
func (in *intake) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.work.Wait()
}

// run brings a batch to its end.
func (in *intake) run(b *batch) {
	defer close(b.over)
	defer b.cancel()
	in.turn.Lock()
	published := sync.OnceFunc(func() {
		in.sync.coming.Add(-1)
		in.turn.Unlock()
	})
	defer published()
	in.mu.Lock()
	if in.next == b {
		in.next = nil
	}
	in.mu.Unlock()
	b.seqs, b.errs = make([]uint64, len(b.messages)), make([]error, len(b.messages))
	err := in.s.room()
	if err == nil {
		err = in.s.using(b.ctx, func() error {
			stored, err := in.publish(b)
			published()
			if err != nil {
				b.fail(in.s.wrote(err))
			}
			if stored == 0 {
				return nil
			}
			return in.synced(b, stored)
		})
	}
	if err != nil {
		clear(b.seqs)
		b.fail(err)
	}
}

// fail has all fail that are not stored.
func (b *batch) fail(err error) {
	for i := range b.seqs {
		if b.seqs[i] == 0 && b.errs[i] == nil {
			b.errs[i] = err
		}
	}
}

// publish writes a batch, and returns how many were written and why the first that was not was not.
func (in *intake) publish(b *batch) (stored int, failed error) {
	ctx, cancel := context.WithTimeout(b.ctx, ackLimit)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, len(b.messages))
	fail := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	for i, m := range b.messages {
		var err error
		if acks[i], err = in.s.js.PublishMsgAsync(m); err != nil {
			fail(err)
		}
	}
	for i, ack := range acks {
		if ack == nil {
			continue
		}
		select {
		case a := <-ack.Ok():
			b.seqs[i] = a.Sequence
			stored++
		case err := <-ack.Err():
			fail(err)
		case <-ctx.Done():
			fail(ctx.Err())
		}
	}
	return stored, failed
}

// synced returns when what was written of a batch is on disk. After an error nothing of it was accepted.
func (in *intake) synced(b *batch, stored int) error {
	err := in.sync.do(uint64(stored)) //nolint:gosec // a count
	if err == nil {
		return nil
	}
	for _, seq := range b.seqs {
		if seq > 0 {
			in.stream().DeleteMsg(context.WithoutCancel(b.ctx), seq) //nolint:errcheck // it was never accepted; at worst it runs all the same
		}
	}
	return in.s.wrote(err)
}
