// Package kinesis reads streams of Amazon Kinesis Data Streams, or of what stands for it, for event source mappings, with
// the throughput that all readers of a shard share.
//
// internal/awsconfig says where streams are. Source of what holds: docs/spec/event-sources.md, section 4.
package kinesis

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"thaw/eventsource"
	"thaw/eventsource/shards"
	"thaw/internal/awsconfig"
)

// Driver implements eventsource.Driver.
type Driver struct {
	clients awsconfig.Clients[*kinesis.Client]
}

// New makes a Driver.
func New() *Driver { return &Driver{} }

func (d *Driver) in(ctx context.Context, region string) (*kinesis.Client, error) {
	return d.clients.In(ctx, region, func(cfg aws.Config) *kinesis.Client {
		return kinesis.NewFromConfig(cfg, func(o *kinesis.Options) { o.RetryMaxAttempts = 2 })
	})
}

// isConsumer says whether the source is a consumer of its own throughput (enhanced fan-out).
func isConsumer(arn string) bool { return strings.Contains(arn, "/consumer/") }

// Check implements eventsource.Driver.
func (d *Driver) Check(ctx context.Context, m *eventsource.Mapping, _ eventsource.Facts) error {
	if isConsumer(m.Source.ARN) {
		return &eventsource.InvalidError{Message: "Consumers of enhanced fan-out are not possible here. Name the stream: its shards are polled."}
	}
	client, err := d.in(ctx, m.Region())
	if err != nil {
		return err
	}
	_, err = client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: aws.String(m.Source.ARN)})
	var none *types.ResourceNotFoundException
	if errors.As(err, &none) {
		return &eventsource.InvalidError{Message: "Stream not found: " + m.Source.ARN}
	}
	return err
}

// Open implements eventsource.Driver.
func (d *Driver) Open(ctx context.Context, m *eventsource.Mapping, facts eventsource.Facts) (*eventsource.Source, error) {
	client, err := d.in(ctx, m.Region())
	if err != nil {
		return nil, problem(err)
	}
	summary, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: aws.String(m.Source.ARN)})
	if err != nil {
		return nil, problem(err)
	}
	s := &stream{client: client, m: m, role: facts.Role}
	src := &eventsource.Source{
		Stream:   s,
		Envelope: eventsource.Envelope{Head: `{"Records":`, Tail: `}`},
		Info:     s.info,
		Close:    func(context.Context) error { return nil },
	}
	if hours := summary.StreamDescriptionSummary.RetentionPeriodHours; hours != nil {
		src.Retention = time.Duration(*hours) * time.Hour
	}
	return src, nil
}

type stream struct {
	client *kinesis.Client
	m      *eventsource.Mapping
	role   string
}

// Shards implements eventsource.Stream: all that the stream still has records of.
func (s *stream) Shards(ctx context.Context) ([]eventsource.Shard, error) {
	var all []eventsource.Shard
	in := &kinesis.ListShardsInput{StreamARN: aws.String(s.m.Source.ARN)}
	for {
		page, err := s.client.ListShards(ctx, in)
		if err != nil {
			return nil, problem(err)
		}
		for _, sh := range page.Shards {
			one := eventsource.Shard{ID: aws.ToString(sh.ShardId)}
			for _, parent := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
				if parent != nil {
					one.Parents = append(one.Parents, *parent)
				}
			}
			all = append(all, one)
		}
		if page.NextToken == nil {
			return all, nil
		}
		in = &kinesis.ListShardsInput{NextToken: page.NextToken}
	}
}

// Changed implements eventsource.Stream.
func (s *stream) Changed() <-chan struct{} { return nil }

// pace is that of the service. Source: section 4.2.
var pace = shards.Pace{Base: time.Second, Idle: 5 * time.Second}

// Read implements eventsource.Stream.
func (s *stream) Read(_ context.Context, shard string, from eventsource.Start) (eventsource.Reader, error) {
	return shards.NewReader(&fetcher{s, shard}, from, pace, maxFetch), nil
}

// maxFetch is the most records that GetRecords returns.
const maxFetch = 10_000

type fetcher struct {
	*stream
	shard string
}

// Iterator implements shards.Fetcher.
func (f *fetcher) Iterator(ctx context.Context, from eventsource.Start) (string, error) {
	in := &kinesis.GetShardIteratorInput{StreamARN: aws.String(f.m.Source.ARN), ShardId: aws.String(f.shard)}
	switch from.At {
	case eventsource.After:
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(from.Position)
	case eventsource.AtTimestamp, eventsource.Latest: // what came since the mapping began is not left out
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, aws.Time(from.Time)
	default:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	}
	out, err := f.client.GetShardIterator(ctx, in)
	if err != nil {
		return "", problem(err)
	}
	return aws.ToString(out.ShardIterator), nil
}

// Fetch implements shards.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, iterator string, limit int) ([]*eventsource.Record, string, time.Duration, error) {
	out, err := f.client.GetRecords(ctx, &kinesis.GetRecordsInput{
		StreamARN: aws.String(f.m.Source.ARN), ShardIterator: aws.String(iterator), Limit: aws.Int32(int32(limit)),
	})
	var expired *types.ExpiredIteratorException
	var busy *types.ProvisionedThroughputExceededException
	switch {
	case errors.As(err, &expired):
		return nil, "", 0, shards.ErrExpired
	case errors.As(err, &busy):
		return nil, "", 0, shards.ErrBusy
	case err != nil:
		return nil, "", 0, problem(err)
	}
	var all []*eventsource.Record
	for i := range out.Records {
		all = append(all, f.record(&out.Records[i]))
	}
	return all, aws.ToString(out.NextShardIterator), time.Duration(aws.ToInt64(out.MillisBehindLatest)) * time.Millisecond, nil
}

// problem says in words why a stream cannot be read.
func problem(err error) error {
	var none *types.ResourceNotFoundException
	var denied *types.AccessDeniedException
	var api smithy.APIError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &none):
		return &eventsource.ProblemError{Text: "The stream does not exist.", Err: err}
	case errors.As(err, &denied):
		return &eventsource.ProblemError{Text: "The server's credentials of AWS may not read the stream: " + denied.ErrorMessage(), Err: err}
	case errors.As(err, &api):
		return &eventsource.ProblemError{Text: "The service answers: " + api.ErrorCode() + ": " + api.ErrorMessage(), Err: err}
	}
	return &eventsource.ProblemError{Text: "Connection error. Kinesis cannot be reached. AWS_ENDPOINT_URL_KINESIS says where another one is.", Err: err}
}

func (s *stream) info(batch []*eventsource.Record) (string, json.RawMessage) {
	return "KinesisBatchInfo", shards.BatchInfo(s.m.Source.ARN, batch, "2006-01-02T15:04:05.000Z")
}
