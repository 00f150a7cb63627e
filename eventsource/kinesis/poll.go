package kinesis

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"thaw/eventsource"
	"thaw/eventsource/shards"
)

// pace is that of the service. Source: section 4.2.
var pace = shards.Pace{Base: time.Second, Idle: 5 * time.Second, Behind: 200 * time.Millisecond, // five questions a second are what a shard takes
	Rest: &shards.Rest{Each: 40 * time.Millisecond}}

// maxFetch is the most records that GetRecords returns.
const maxFetch = 10_000

type fetcher struct {
	*stream
	shard string
}

// Iterator implements shards.Fetcher.
func (f *fetcher) Iterator(ctx context.Context, from eventsource.Start) (string, error) {
	p := placeOf(from)
	out, err := f.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamARN: &f.arn, ShardId: &f.shard, ShardIteratorType: p.Type, StartingSequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp,
	})
	switch {
	case errors.As(err, new(*types.ResourceNotFoundException)):
		return "", f.missing(ctx, f.shard, err)
	case err != nil:
		return "", problem(err)
	}
	return aws.ToString(out.ShardIterator), nil
}

// placeOf is a place as the service names it.
func placeOf(from eventsource.Start) *types.StartingPosition {
	switch from.At {
	case eventsource.After:
		return &types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &from.Position}
	case eventsource.AtTimestamp, eventsource.Latest: // what came since the mapping began is not left out
		return &types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: &from.Time}
	}
	return &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
}

// Fetch implements shards.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, iterator string, limit int) ([]*eventsource.Record, string, time.Duration, error) {
	out, err := f.client.GetRecords(ctx, &kinesis.GetRecordsInput{StreamARN: &f.arn, ShardIterator: &iterator, Limit: aws.Int32(int32(limit))})
	switch {
	case errors.As(err, new(*types.ExpiredIteratorException)):
		return nil, "", 0, shards.ErrExpired
	case errors.As(err, new(*types.ProvisionedThroughputExceededException)):
		return nil, "", 0, shards.ErrBusy
	case errors.As(err, new(*types.ResourceNotFoundException)):
		return nil, "", 0, f.missing(ctx, f.shard, err)
	case err != nil:
		return nil, "", 0, problem(err)
	}
	return f.records(f.shard, out.Records), aws.ToString(out.NextShardIterator), millis(out.MillisBehindLatest), nil
}

// millis is how far behind the service says that an answer was.
func millis(n *int64) time.Duration { return time.Duration(aws.ToInt64(n)) * time.Millisecond }
