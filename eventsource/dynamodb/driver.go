// Package dynamodb reads streams of Amazon DynamoDB's tables, or of what stands for them, for event source mappings.
//
// internal/awsconfig says where streams are. Source of what holds: docs/spec/event-sources.md, section 5.
package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/smithy-go"

	"thaw/eventsource"
	"thaw/eventsource/shards"
	"thaw/internal/awsconfig"
)

// Driver implements eventsource.Driver.
type Driver struct {
	clients awsconfig.Clients[*dynamodbstreams.Client]
}

// New makes a Driver.
func New() *Driver { return &Driver{} }

func (d *Driver) in(ctx context.Context, region string) (*dynamodbstreams.Client, error) {
	return d.clients.In(ctx, region, func(cfg aws.Config) *dynamodbstreams.Client {
		return dynamodbstreams.NewFromConfig(cfg, func(o *dynamodbstreams.Options) { o.RetryMaxAttempts = 2 })
	})
}

// Check implements eventsource.Driver.
func (d *Driver) Check(ctx context.Context, m *eventsource.Mapping, _ eventsource.Facts) error {
	client, err := d.in(ctx, m.Region())
	if err != nil {
		return err
	}
	_, err = client.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: aws.String(m.Source.ARN)})
	var none *types.ResourceNotFoundException
	if errors.As(err, &none) {
		return &eventsource.InvalidError{Message: "Stream not found: " + m.Source.ARN}
	}
	return err
}

// retention is how long a stream has its records. Source: section 5.2.
const retention = 24 * time.Hour

// Open implements eventsource.Driver.
func (d *Driver) Open(ctx context.Context, m *eventsource.Mapping, _ eventsource.Facts) (*eventsource.Source, error) {
	client, err := d.in(ctx, m.Region())
	if err != nil {
		return nil, problem(err)
	}
	s := &stream{client: client, m: m}
	if _, err := s.Shards(ctx); err != nil {
		return nil, err
	}
	return &eventsource.Source{
		Stream:    s,
		Envelope:  eventsource.Envelope{Head: `{"Records":`, Tail: `}`},
		Info:      s.info,
		Retention: retention,
		Close:     func(context.Context) error { return nil },
	}, nil
}

type stream struct {
	client *dynamodbstreams.Client
	m      *eventsource.Mapping
}

// Shards implements eventsource.Stream: all that the stream still has records of.
func (s *stream) Shards(ctx context.Context) ([]eventsource.Shard, error) {
	var all []eventsource.Shard
	in := &dynamodbstreams.DescribeStreamInput{StreamArn: aws.String(s.m.Source.ARN)}
	for {
		page, err := s.client.DescribeStream(ctx, in)
		if err != nil {
			return nil, problem(err)
		}
		for _, sh := range page.StreamDescription.Shards {
			one := eventsource.Shard{ID: aws.ToString(sh.ShardId)}
			if sh.ParentShardId != nil {
				one.Parents = []string{*sh.ParentShardId}
			}
			all = append(all, one)
		}
		if in.ExclusiveStartShardId = page.StreamDescription.LastEvaluatedShardId; in.ExclusiveStartShardId == nil {
			return all, nil
		}
	}
}

// Changed implements eventsource.Stream.
func (s *stream) Changed() <-chan struct{} { return nil }

// pace is that of the service. Source: section 5.2.
var pace = shards.Pace{Base: 250 * time.Millisecond, Idle: 4 * time.Second, Behind: 250 * time.Millisecond,
	Rest: &shards.Rest{Each: 40 * time.Millisecond}}

// maxFetch is the most records that GetRecords returns.
const maxFetch = 1000

// Read implements eventsource.Stream.
func (s *stream) Read(_ context.Context, shard string, from eventsource.Start) (eventsource.Reader, error) {
	return shards.NewReader(&fetcher{stream: s, shard: shard}, from, pace, maxFetch), nil
}

type fetcher struct {
	*stream
	shard string
	since time.Time // what is older is left out: a stream knows no times to begin at
}

// soon is how long after the beginning of a mapping its first iterators are made: less than a server takes that was killed
// and begins anew, which must not leave out what came meanwhile.
const soon = time.Second

// Iterator implements shards.Fetcher.
func (f *fetcher) Iterator(ctx context.Context, from eventsource.Start) (string, error) {
	in := &dynamodbstreams.GetShardIteratorInput{
		StreamArn: aws.String(f.m.Source.ARN), ShardId: aws.String(f.shard), ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	}
	f.since = time.Time{}
	switch {
	case from.At == eventsource.After:
		in.ShardIteratorType, in.SequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(from.Position)
	case from.At == eventsource.Latest && time.Since(from.Time) < soon:
		in.ShardIteratorType = types.ShardIteratorTypeLatest
	case from.At == eventsource.Latest: // a later reader leaves out nothing of what came since the mapping began
		f.since = from.Time.Truncate(time.Second)
	}
	out, err := f.client.GetShardIterator(ctx, in)
	var trimmed *types.TrimmedDataAccessException
	var none *types.ResourceNotFoundException
	switch {
	case errors.As(err, &trimmed):
		return "", eventsource.ErrPositionLost
	case errors.As(err, &none): // a shard whose records are all too old is no more there
		return "", io.EOF
	case err != nil:
		return "", problem(err)
	}
	return aws.ToString(out.ShardIterator), nil
}

// Fetch implements shards.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, iterator string, limit int) ([]*eventsource.Record, string, time.Duration, error) {
	out, err := f.client.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String(iterator), Limit: aws.Int32(int32(limit))})
	var expired *types.ExpiredIteratorException
	var trimmed *types.TrimmedDataAccessException
	var busy *types.LimitExceededException
	switch {
	case errors.As(err, &expired):
		return nil, "", 0, shards.ErrExpired
	case errors.As(err, &trimmed):
		return nil, "", 0, eventsource.ErrPositionLost
	case errors.As(err, &busy):
		return nil, "", 0, shards.ErrBusy
	case err != nil:
		return nil, "", 0, problem(err)
	}
	var all []*eventsource.Record
	for i := range out.Records {
		if r := f.record(&out.Records[i]); !r.Arrived.Before(f.since) {
			all = append(all, r)
		}
	}
	return all, aws.ToString(out.NextShardIterator), behind(out.Records, limit), nil
}

// fullPage is the size of records from which on an answer may have been cut: it has at most a megabyte.
const fullPage = 512 << 10

// behind is how far records are from the end of their shard. The service does not say: a full page has others behind it,
// and is as far away as its last record is old.
func behind(page []types.Record, limit int) time.Duration {
	size := int64(0)
	for i := range page {
		if c := page[i].Dynamodb; c != nil {
			size += aws.ToInt64(c.SizeBytes)
		}
	}
	if len(page) == 0 || len(page) < limit && size < fullPage {
		return 0
	}
	last := page[len(page)-1].Dynamodb
	if last == nil {
		return 0
	}
	return max(time.Since(aws.ToTime(last.ApproximateCreationDateTime)), time.Millisecond)
}

// problem says in words why a stream cannot be read.
func problem(err error) error {
	var none *types.ResourceNotFoundException
	var api smithy.APIError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &none):
		return &eventsource.ProblemError{Text: "The stream does not exist.", Err: err}
	case errors.As(err, &api):
		return &eventsource.ProblemError{Text: "The service answers: " + api.ErrorCode() + ": " + api.ErrorMessage(), Err: err}
	}
	return &eventsource.ProblemError{
		Text: "Connection error. DynamoDB cannot be reached. AWS_ENDPOINT_URL_DYNAMODB_STREAMS says where another one is.", Err: err,
	}
}

func (s *stream) info(batch []*eventsource.Record) (string, json.RawMessage) {
	return "DDBStreamBatchInfo", shards.BatchInfo(s.m.Source.ARN, batch, time.RFC3339)
}
