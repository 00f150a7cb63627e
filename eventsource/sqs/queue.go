package sqs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"thaw/eventsource"
)

// queue implements eventsource.Queue.
type queue struct {
	strays     *stray
	found      chan []*eventsource.Record // what stray polls of the same queue have got
	client     *sqs.Client
	url        string
	arn        arn.ARN
	visibility time.Duration // of what is received
	hide       int32         // seconds, where it is not the queue's own
	nothing    atomic.Bool   // the last long poll has brought none
}

// Source: API reference of ReceiveMessage, DeleteMessageBatch and ChangeMessageVisibilityBatch.
const (
	longPoll = 20 * time.Second
	perCall  = 10
)

// Receive implements eventsource.Queue.
func (q *queue) Receive(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	poll := longPoll
	if deadline, ok := ctx.Deadline(); ok {
		poll = min(poll, time.Until(deadline).Truncate(time.Second))
	}
	all, err := q.receive(ctx, limit, max(poll, 0))
	if len(all) > 0 || err != nil || poll >= time.Second {
		return all, err
	}
	<-ctx.Done() // less than a second is left of the window: there is no shorter poll
	return nil, nil
}

// received is what a poll has brought.
type received struct {
	all []*eventsource.Record
	err error
}

// receive polls once. When ctx is cancelled, the poll becomes a stray one. A deadline is no reason: poll ends before it.
func (q *queue) receive(ctx context.Context, limit int, poll time.Duration) ([]*eventsource.Record, error) {
	came, left := make(chan received), make(chan struct{})
	defer close(left)
	q.strays.polls.Add(1)
	answer := func(r received) {
		defer q.strays.polls.Done()
		q.nothing.Store(len(r.all) == 0 && r.err == nil && poll == longPoll)
		select {
		case came <- r:
		case <-left:
			q.stray(r.all)
		}
	}
	if poll == longPoll && q.nothing.Load() {
		q.pollQuietly(limit, left, answer)
	} else {
		go func() { answer(q.poll(limit, poll)) }()
	}
	cancelled := ctx.Done()
	for {
		select {
		case r := <-came:
			return r.all, r.err
		case all := <-q.found:
			if len(all) > limit {
				q.GiveBack(ctx, all[limit:], eventsource.Released) //nolint:errcheck // they come when their visibility ends
				all = all[:limit]
			}
			return all, nil
		case <-cancelled:
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, context.Cause(ctx)
			}
			cancelled = nil
		}
	}
}

// handOver is how long somebody else may take what a stray poll has got.
const handOver = 100 * time.Millisecond

// stray hands what a stray poll has got to whoever polls the same queue now, or gives it back.
func (q *queue) stray(all []*eventsource.Record) {
	if len(all) == 0 {
		return
	}
	select {
	case q.found <- all:
	case <-time.After(handOver):
		q.GiveBack(q.strays.ctx, all, eventsource.Released) //nolint:errcheck // they come when their visibility ends
	case <-q.strays.ctx.Done():
	}
}

func (q *queue) input(limit int, poll time.Duration) *sqs.ReceiveMessageInput {
	return &sqs.ReceiveMessageInput{QueueUrl: &q.url, MaxNumberOfMessages: int32(min(limit, perCall)), //nolint:gosec // at most 10
		WaitTimeSeconds: int32(poll / time.Second), VisibilityTimeout: q.hide, //nolint:gosec // at most 20
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}, MessageAttributeNames: []string{"All"}}
}

func (q *queue) poll(limit int, poll time.Duration) received {
	at := time.Now()
	out, err := q.client.ReceiveMessage(q.strays.ctx, q.input(limit, poll))
	if err != nil {
		return received{err: problem(err)}
	}
	return received{all: q.records(out, at)}
}

// pollQuietly is a long poll of a queue that had nothing the last time: see quiet.go. It is not begun once left is closed.
func (q *queue) pollQuietly(limit int, left <-chan struct{}, answer func(received)) {
	q.strays.quiet.begin(func() {
		select {
		case <-left:
			q.strays.quiet.end()
			answer(received{})
			return
		default:
		}
		in := q.input(limit, longPoll)
		r, err := q.made(q.strays.ctx, in)
		go func() {
			r := q.quietly(limit, r, in, err)
			q.strays.quiet.end()
			answer(r)
		}()
	})
}

// quietly sends the request that was made. What goes wrong with it, or with its making, the SDK finds again: it tries again
// as ever, and its error is the one to be told.
func (q *queue) quietly(limit int, r *http.Request, in *sqs.ReceiveMessageInput, err error) received {
	if err != nil {
		return q.poll(limit, longPoll)
	}
	at := time.Now()
	out, none, err := q.sent(q.strays.ctx, r, in)
	switch {
	case none:
		return received{}
	case err != nil:
		return q.poll(limit, longPoll)
	}
	return received{all: q.records(out, at)}
}

// records are the messages of an answer to what was asked at that time.
func (q *queue) records(out *sqs.ReceiveMessageOutput, at time.Time) []*eventsource.Record {
	all := make([]*eventsource.Record, 0, len(out.Messages))
	for i := range out.Messages {
		all = append(all, q.record(&out.Messages[i], at.Add(q.visibility)))
	}
	return all
}

// Acknowledge implements eventsource.Queue.
func (q *queue) Acknowledge(ctx context.Context, messages []*eventsource.Record) error {
	return batches(messages, func(part []*eventsource.Record) (failed []types.BatchResultErrorEntry, err error) {
		in := &sqs.DeleteMessageBatchInput{QueueUrl: &q.url}
		for i, r := range part {
			in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: entry(i), ReceiptHandle: aws.String(r.Handle.(string))})
		}
		out, err := q.client.DeleteMessageBatch(ctx, in)
		if err != nil {
			return nil, err
		}
		return out.Failed, nil
	})
}

// GiveBack implements eventsource.Queue. What has failed, or could not be run in time, comes again when its visibility
// ends: earlier would only count up its receives.
func (q *queue) GiveBack(ctx context.Context, messages []*eventsource.Record, why eventsource.Why) error {
	if why != eventsource.Released {
		return nil
	}
	return batches(messages, func(part []*eventsource.Record) (failed []types.BatchResultErrorEntry, err error) {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url}
		for i, r := range part {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: entry(i), ReceiptHandle: aws.String(r.Handle.(string))})
		}
		out, err := q.client.ChangeMessageVisibilityBatch(ctx, in)
		if err != nil {
			return nil, err
		}
		return out.Failed, nil
	})
}

func entry(i int) *string { return aws.String(strconv.Itoa(i)) }

// batches calls f with ten messages at a time, in order, and joins what went wrong.
func batches(messages []*eventsource.Record, f func([]*eventsource.Record) ([]types.BatchResultErrorEntry, error)) (err error) {
	for part := range slices.Chunk(messages, perCall) {
		failed, bad := f(part)
		err = errors.Join(err, bad)
		for _, e := range failed {
			err = errors.Join(err, fmt.Errorf("%s: %s", aws.ToString(e.Code), aws.ToString(e.Message)))
		}
	}
	return err
}
