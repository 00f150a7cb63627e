package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"thaw/eventsource"
)

// queue is one consumer. What it has received and not settled goes back to the broker with its connection.
type queue struct {
	conn       *amqp.Connection
	ch         *amqp.Channel
	deliveries <-chan amqp.Delivery
	name       string
	group      string // the member of the event: QUEUE::VHOST

	held eventsource.Held

	watched chan struct{} // closed when it is known why the consumer has ended

	mu       sync.Mutex
	failures int // in a row, without a message that was acknowledged
	broken   error
}

func consume(conn *amqp.Connection, m *eventsource.Mapping, vhost string) (*queue, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Qos(max(m.Options.BatchSize, prefetch), 0, false); err != nil {
		return nil, err
	}
	name := m.Source.Queues[0]
	q := &queue{conn: conn, ch: ch, name: name, group: name + "::" + vhost, watched: make(chan struct{})}
	gone := ch.NotifyClose(make(chan *amqp.Error, 1))
	cancelled := ch.NotifyCancel(make(chan string, 1))
	if q.deliveries, err = ch.Consume(name, "thaw-"+string(m.ID), false, false, false, false, nil); err != nil {
		return nil, err
	}
	go func() { // ends with the channel: the library closes both
		defer close(q.watched)
		select {
		case err := <-gone:
			if err != nil {
				q.lost(err)
			}
		case _, ok := <-cancelled:
			if ok {
				q.lost(&amqp.Error{Code: amqp.NotFound, Reason: "it was deleted"})
			}
		}
	}()
	return q, nil
}

// lost notes why the consumer has ended. Nobody sends any more deliveries to it.
func (q *queue) lost(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken == nil {
		q.broken = err
	}
}

// onTheWay is how long Receive waits for what the broker has sent behind the first message: it comes in frames of its own.
const onTheWay = 2 * time.Millisecond

// Receive implements eventsource.Queue: it waits for one message, and takes what else is here or on the way.
func (q *queue) Receive(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	var all []*eventsource.Record
	select {
	case d, ok := <-q.deliveries:
		if !ok {
			return nil, q.why()
		}
		all = append(all, q.record(d))
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	enough := time.NewTimer(onTheWay)
	defer enough.Stop()
	for len(all) < limit {
		select {
		case d, ok := <-q.deliveries:
			if !ok {
				return all, nil // the next call says why
			}
			all = append(all, q.record(d))
		case <-enough.C:
			return all, nil
		}
	}
	return all, nil
}

// why says why there are no deliveries any more. The library ends them, and tells the reason by another channel.
func (q *queue) why() error {
	select {
	case <-q.watched:
	case <-time.After(time.Second): // it tells nothing
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken == nil {
		q.broken = amqp.ErrClosed
	}
	return fmt.Errorf("%w: %w", eventsource.ErrBroken, problem(q.broken))
}

// Acknowledge implements eventsource.Queue.
func (q *queue) Acknowledge(_ context.Context, messages []*eventsource.Record) error {
	q.mu.Lock()
	q.failures = 0
	q.mu.Unlock()
	var failed error
	for _, r := range messages {
		failed = errors.Join(failed, q.ch.Ack(r.Handle.(uint64), false))
	}
	return failed
}

// delays are how long messages of a function that fails are kept before the broker gets them back: it would give them to
// the next Receive at once, without an end.
var delays = eventsource.Delays{First: 100 * time.Millisecond, Limit: 16 * time.Second}

// GiveBack implements eventsource.Queue.
func (q *queue) GiveBack(_ context.Context, messages []*eventsource.Record, why eventsource.Why) error {
	if why != eventsource.Failed {
		return q.requeue(messages)
	}
	q.mu.Lock()
	q.failures++
	wait := delays.After(q.failures)
	q.mu.Unlock()
	q.held.For(wait, func() { _ = q.requeue(messages) }) // of a connection that has ended they are back already
	return nil
}

func (q *queue) requeue(messages []*eventsource.Record) error {
	var failed error
	for _, r := range messages {
		failed = errors.Join(failed, q.ch.Nack(r.Handle.(uint64), false, true))
	}
	return failed
}

// Depth implements poller.Depth: how many messages are ready. Those that the broker has sent ahead are not. It asks on a
// channel of its own, which the broker closes when the queue is gone.
func (q *queue) Depth(context.Context) (int64, error) {
	ch, err := q.conn.Channel()
	if err != nil {
		return 0, err
	}
	defer ch.Close() //nolint:errcheck // the broker may have done so
	found, err := ch.QueueDeclarePassive(q.name, false, false, false, false, nil)
	return int64(found.Messages), err
}

func (q *queue) close(ctx context.Context) error {
	q.held.Close()
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) > time.Second {
		deadline = time.Now().Add(time.Second)
	}
	if err := q.conn.CloseDeadline(deadline); err != nil && !errors.Is(err, amqp.ErrClosed) {
		return err
	}
	return nil
}
