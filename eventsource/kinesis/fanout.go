package kinesis

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"

	"thaw/eventsource"
	"thaw/eventsource/shards"
)

// streamOf is the ARN of the stream that a source names: itself, or that of a consumer,
// arn:aws:kinesis:REGION:ACCOUNT:stream/NAME/consumer/NAME:TIME.
func streamOf(arn string) (stream string, isConsumer bool) {
	stream, _, isConsumer = strings.Cut(arn, "/consumer/")
	return stream, isConsumer
}

// consumer tells why the consumer cannot be read; nil: it can.
func (s *stream) consumer(ctx context.Context) error {
	out, err := s.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: aws.String(s.m.Source.ARN)})
	switch {
	case errors.As(err, new(*types.ResourceNotFoundException)):
		return &eventsource.ProblemError{Text: "The consumer does not exist. RegisterStreamConsumer makes one, which has another ARN.", Err: err}
	case err != nil:
		return problem(err)
	}
	if d := out.ConsumerDescription; d != nil && d.ConsumerStatus != types.ConsumerStatusActive {
		return &eventsource.ProblemError{Text: "The consumer is " + string(d.ConsumerStatus) + ", not yet or no longer ACTIVE."}
	}
	return nil
}

// What the service wants of subscriptions, and what is held against it. Source: SubscribeToShard, Kinesis API Reference.
var (
	// callPace is how often a shard may be subscribed to.
	callPace = time.Second
	// silence is how long nothing comes before a connection counts as broken: the service sends an event at least every five
	// seconds, with records or without. Amazon's own library waits 35 seconds.
	silence = 35 * time.Second
)

const (
	// refusals are how many calls in a row may be refused because there is a subscription already. The service refuses them
	// for five seconds after a call that it took, which may have been that of a server that was killed; then the next call
	// takes the subscription over.
	mostRefusals = 10
	// mostSilent is how many subscriptions in a row may end without an event.
	mostSilent = 3
)

// subscription reads one shard by the events that the service pushes. It implements eventsource.Reader.
//
// Back-pressure: nobody reads the connection while Next is not called, so what waits there is one event and the window of
// HTTP/2 (receiveBuffer). The service ends a subscription after five minutes, read or not; the next one goes on behind the
// last event, with or without records.
type subscription struct {
	*stream
	shard string
	life  context.Context // until Close
	close context.CancelFunc

	from    eventsource.Start // where the next subscription begins
	events  *kinesis.SubscribeToShardEventStream
	heard   bool                    // something came by events
	end     context.CancelCauseFunc // of events
	next    time.Time               // no call before
	refused int                     // calls in a row
	silent  int                     // subscriptions in a row without an event
	fetched []*eventsource.Record
	ended   bool

	behind shards.Behind
}

func newSubscription(s *stream, shard string, from eventsource.Start) *subscription {
	r := &subscription{stream: s, shard: shard, from: from}
	r.life, r.close = context.WithCancel(context.Background())
	return r
}

// Next implements eventsource.Reader.
func (r *subscription) Next(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	for len(r.fetched) == 0 {
		var err error
		switch {
		case r.ended:
			return nil, io.EOF
		case r.events == nil:
			err = r.subscribe(ctx)
		default:
			err = r.receive(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	n := min(limit, len(r.fetched))
	all := r.fetched[:n:n]
	r.fetched = r.fetched[n:]
	return all, nil
}

// subscribe makes a subscription. No error and no subscription: it is to be tried again.
func (r *subscription) subscribe(ctx context.Context) error {
	if w := time.Until(r.next); w > 0 {
		t := time.NewTimer(w)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.next = time.Now().Add(callPace)
	life, end := context.WithCancelCause(r.life)
	unwatch := context.AfterFunc(ctx, func() { end(ctx.Err()) }) // the call ends with ctx, what it returns does not
	late := time.AfterFunc(silence, func() { end(errSilent) })
	out, err := r.client.SubscribeToShard(life, &kinesis.SubscribeToShardInput{
		ConsumerARN: aws.String(r.m.Source.ARN), ShardId: &r.shard, StartingPosition: placeOf(r.from),
	}, ownProtocol)
	unwatch()
	late.Stop()
	if err == nil {
		r.events, r.end, r.heard = out.GetStream(), end, false
		// Its end has the client stop reading, even where it waits for somebody who takes an event.
		context.AfterFunc(life, func() { out.GetStream().Close() }) //nolint:errcheck // known, or of no interest
		return nil
	}
	cause := context.Cause(life)
	end(nil)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(cause, errSilent):
		return r.over(ctx, cause)
	case errors.As(err, new(*types.ResourceInUseException)), errors.As(err, new(*types.LimitExceededException)):
		return r.refuse(err)
	case errors.As(err, new(*types.ResourceNotFoundException)):
		return r.missing(ctx, r.shard, err)
	}
	return problem(err)
}

// ownProtocol gives a subscription a protocol of its own: that of the client remembers, without a lock, where it decodes
// events to. Source: smithy-go v1.28.9, internal/eventstream.Codec.
func ownProtocol(o *kinesis.Options) { o.Protocol = awsjson.New11(schemas.Kinesis_20131202) }

// refuse says what follows from a call that was refused because of another subscription. No error: the next call does.
func (r *subscription) refuse(err error) error {
	if r.refused++; r.refused > mostRefusals {
		return &eventsource.ProblemError{Text: "The subscription to " + r.shard + " is refused: another reader uses the consumer, or it is not active.", Err: err}
	}
	return nil
}

// receive waits for an event, or for the end of the subscription.
func (r *subscription) receive(ctx context.Context) error {
	t := time.NewTimer(silence)
	defer t.Stop()
	select {
	case e, ok := <-r.events.Events():
		if !ok {
			err := r.events.Err()
			r.unsubscribe()
			return r.over(ctx, err)
		}
		if e, ok := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok {
			r.take(&e.Value)
		}
		return nil
	case <-t.C:
		r.unsubscribe()
		return r.over(ctx, errSilent)
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errSilent = errors.New("the service sends nothing, although it should every five seconds")

// take takes what an event brings.
func (r *subscription) take(e *types.SubscribeToShardEvent) {
	r.heard, r.refused, r.silent = true, 0, 0
	r.fetched = r.records(r.shard, e.Records)
	r.behind.Set(millis(e.MillisBehindLatest))
	if p := aws.ToString(e.ContinuationSequenceNumber); p != "" {
		r.from = eventsource.Start{At: eventsource.After, Position: p}
	} else if n := len(r.fetched); n > 0 {
		r.from = eventsource.Start{At: eventsource.After, Position: r.fetched[n-1].Position}
	}
	if len(e.ChildShards) == 0 {
		return
	}
	r.ended = true
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range e.ChildShards {
		r.born[aws.ToString(c.ShardId)] = eventsource.Shard{ID: aws.ToString(c.ShardId), Parents: c.ParentShards}
	}
}

// over says what follows from the end of a subscription. No error: the next one does.
func (r *subscription) over(ctx context.Context, err error) error {
	var api smithy.APIError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, new(*types.ResourceInUseException)) && !r.heard:
		return r.refuse(err)
	case errors.As(err, new(*types.ResourceInUseException)):
		return &eventsource.ProblemError{Text: "Another reader uses the consumer, and has taken over the subscription to " + r.shard + ". Each mapping needs a consumer of its own.", Err: err}
	case errors.As(err, new(*types.ResourceNotFoundException)):
		return r.missing(ctx, r.shard, err)
	case errors.As(err, &api) && api.ErrorFault() != smithy.FaultServer && !errors.As(err, new(*types.InternalFailureException)):
		return problem(err)
	}
	// Five minutes are over, or the connection has broken.
	if r.silent++; r.silent > mostSilent {
		return &eventsource.ProblemError{Text: "Subscriptions to " + r.shard + " end without an event.", Err: err}
	}
	return nil
}

func (r *subscription) unsubscribe() {
	r.end(nil)
	r.events = nil
}

// Commit implements eventsource.Reader: positions are the caller's.
func (r *subscription) Commit(context.Context, string) error { return nil }

// Revoked implements eventsource.Reader.
func (r *subscription) Revoked() <-chan struct{} { return nil }

// Lag implements eventsource.Reader: the service counts time, not records.
func (r *subscription) Lag() int64 { return r.behind.Lag() }

// Behind implements poller.Behind.
func (r *subscription) Behind() time.Duration { return r.behind.Now() }

// Close implements eventsource.Reader.
func (r *subscription) Close() { r.close() }
