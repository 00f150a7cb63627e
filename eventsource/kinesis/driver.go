// Package kinesis reads streams of Amazon Kinesis Data Streams, or of what stands for it, for event source mappings.
//
//	poll.go      a stream: GetRecords, with the throughput that all readers of a shard share
//	fanout.go    a consumer of a stream: SubscribeToShard, with a throughput of its own (enhanced fan-out)
//
// internal/awsconfig says where streams are. Source of what holds: docs/spec/event-sources.md, section 4.
package kinesis

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
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
	return d.clients.In(ctx, region, newClient)
}

func newClient(cfg aws.Config) *kinesis.Client {
	return kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		o.RetryMaxAttempts = 2
		o.HTTPClient = subscribing(o.HTTPClient)
	})
}

// Check implements eventsource.Driver.
func (d *Driver) Check(ctx context.Context, m *eventsource.Mapping, _ eventsource.Facts) error {
	client, err := d.in(ctx, m.Region())
	if err != nil {
		return err
	}
	arn := m.Source.ARN
	if _, isConsumer := streamOf(arn); isConsumer {
		_, err = client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: &arn})
	} else {
		_, err = client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: &arn})
	}
	if errors.As(err, new(*types.ResourceNotFoundException)) {
		return &eventsource.InvalidError{Message: "Stream not found: " + arn}
	}
	return err
}

// Open implements eventsource.Driver.
func (d *Driver) Open(ctx context.Context, m *eventsource.Mapping, facts eventsource.Facts) (*eventsource.Source, error) {
	client, err := d.in(ctx, m.Region())
	if err != nil {
		return nil, problem(err)
	}
	s := &stream{client: client, m: m, role: facts.Role, born: map[string]eventsource.Shard{}}
	s.arn, s.fanOut = streamOf(m.Source.ARN)
	if s.fanOut {
		if err := s.consumer(ctx); err != nil {
			return nil, err
		}
	}
	summary, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: &s.arn})
	if err != nil {
		return nil, problem(err)
	}
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
	arn    string // of the stream, that of the mapping may be its consumer's
	fanOut bool

	mu   sync.Mutex
	born map[string]eventsource.Shard // children that a subscription told of and that no list has yet
}

// Shards implements eventsource.Stream: all that the stream still has records of.
func (s *stream) Shards(ctx context.Context) ([]eventsource.Shard, error) {
	all, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range all {
		delete(s.born, sh.ID)
	}
	return slices.AppendSeq(all, maps.Values(s.born)), nil
}

func (s *stream) list(ctx context.Context) ([]eventsource.Shard, error) {
	var all []eventsource.Shard
	in := &kinesis.ListShardsInput{StreamARN: &s.arn}
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

// Read implements eventsource.Stream.
func (s *stream) Read(_ context.Context, shard string, from eventsource.Start) (eventsource.Reader, error) {
	if s.fanOut {
		return newSubscription(s, shard, from), nil
	}
	return shards.NewReader(&fetcher{s, shard}, from, pace, maxFetch), nil
}

// missing says what it means that a shard was not found: io.EOF when only the shard is no more there, because all of its
// records were too old.
func (s *stream) missing(ctx context.Context, shard string, err error) error {
	if s.fanOut {
		if err := s.consumer(ctx); err != nil {
			return err
		}
	}
	all, listErr := s.list(ctx)
	if listErr != nil {
		return listErr
	}
	if slices.ContainsFunc(all, func(sh eventsource.Shard) bool { return sh.ID == shard }) {
		return problem(err)
	}
	return io.EOF
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
