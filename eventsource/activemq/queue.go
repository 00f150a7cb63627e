package activemq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"

	"thaw/eventsource"
)

// queue is one receiver. What it has received and not settled goes back to the broker when it ends.
type queue struct {
	conn *amqp.Conn
	from *amqp.Receiver
	name string
	held eventsource.Held

	given  atomic.Int64 // messages that were received and are not settled
	silent atomic.Bool  // nobody tells how many there are
}

// delivery is what a Record has as its Handle.
type delivery struct {
	*amqp.Message
	unfit bool // neither text nor bytes
}

func attach(ctx context.Context, conn *amqp.Conn, m *eventsource.Mapping) (*queue, error) {
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, err
	}
	q := &queue{conn: conn, name: m.Source.Queues[0]}
	q.from, err = session.NewReceiver(ctx, "queue://"+q.name, &amqp.ReceiverOptions{
		Name: "thaw-" + string(m.ID), Credit: int32(max(m.Options.BatchSize, prefetch)),
		SourceCapabilities: []string{"queue"},
	})
	return q, err
}

// onTheWay is how long Receive waits for what the broker has sent behind the first message: it comes in frames of its own.
const onTheWay = 2 * time.Millisecond

// Receive implements eventsource.Queue: it waits for one message, and takes what else is here or on the way.
func (q *queue) Receive(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	first, err := q.from.Receive(ctx, nil)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default:
		return nil, fmt.Errorf("%w: %w", eventsource.ErrBroken, problem(err))
	}
	all := []*eventsource.Record{q.record(first)}
	defer func() { q.given.Add(int64(len(all))) }()
	enough, cancel := context.WithTimeout(ctx, onTheWay)
	defer cancel()
	for len(all) < limit {
		m := q.from.Prefetched()
		if m == nil {
			if m, err = q.from.Receive(enough, nil); err != nil {
				break // the next call says why
			}
		}
		all = append(all, q.record(m))
	}
	return all, nil
}

// Acknowledge implements eventsource.Queue. Messages that no function can be given go to the broker's dead-letter queue:
// they are not ours to lose.
func (q *queue) Acknowledge(ctx context.Context, messages []*eventsource.Record) error {
	q.given.Add(-int64(len(messages)))
	var failed error
	for _, r := range messages {
		d := r.Handle.(delivery)
		if d.unfit {
			failed = errors.Join(failed, q.from.RejectMessage(ctx, d.Message, nil))
			continue
		}
		failed = errors.Join(failed, q.from.AcceptMessage(ctx, d.Message))
	}
	return failed
}

// redeliveries is how often a message that a function has failed for comes again: as often as clients of ActiveMQ have it
// come. S-096.
const redeliveries = 5

// delays are how long such a message is kept before the broker gets it back: it would send it again at once.
var delays = eventsource.Delays{First: 100 * time.Millisecond, Limit: 16 * time.Second}

// GiveBack implements eventsource.Queue.
func (q *queue) GiveBack(ctx context.Context, messages []*eventsource.Record, why eventsource.Why) error {
	q.given.Add(-int64(len(messages)))
	var failed error
	if why != eventsource.Failed {
		for _, r := range messages {
			failed = errors.Join(failed, q.from.ReleaseMessage(ctx, r.Handle.(delivery).Message))
		}
		return failed
	}
	again := map[int][]*amqp.Message{} // by how often the function has failed
	for _, r := range messages {
		d := r.Handle.(delivery)
		n := d.count() + 1
		if n > redeliveries {
			failed = errors.Join(failed, q.from.RejectMessage(ctx, d.Message, nil))
			continue
		}
		again[n] = append(again[n], d.Message)
	}
	for n, some := range again {
		q.hold(some, delays.After(n))
	}
	return failed
}

// hold gives messages back after a while. The broker counts that they were delivered in vain.
func (q *queue) hold(messages []*amqp.Message, wait time.Duration) {
	q.held.For(wait, func() {
		ctx, cancel := context.WithTimeout(context.Background(), reach)
		defer cancel()
		for _, m := range messages {
			// Of a connection that has ended they are back already.
			_ = q.from.ModifyMessage(ctx, m, &amqp.ModifyMessageOptions{DeliveryFailed: true})
		}
	})
}

// count is how often a message was delivered in vain.
func (d delivery) count() int {
	if d.Header == nil {
		return 0
	}
	return int(d.Header.DeliveryCount)
}

// close ends the receiver first: a broker whose connection just ends counts all that it had sent as delivered in vain.
func (q *queue) close(ctx context.Context) error {
	q.held.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = q.from.Close(ctx) // the connection's end ends it, too
	_ = q.conn.Close()    // tells only that the connection has been lost
	return nil
}
