// Package sqs reads queues of Amazon SQS, or of what stands for it, for event source mappings.
//
// internal/awsconfig says where queues are. Source of what holds: docs/spec/event-sources.md, section 3.
package sqs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"thaw/eventsource"
	"thaw/internal/awsconfig"
	"thaw/internal/wholebody"
)

// Driver implements eventsource.Driver.
type Driver struct {
	strays  stray
	clients awsconfig.Clients[*sqs.Client]
}

// New makes a Driver. Close ends it.
func New() *Driver {
	d := &Driver{}
	d.strays.ctx, d.strays.stop = context.WithCancel(context.Background())
	return d
}

// Close ends the polls that nobody waits for any more. All sources are closed.
func (d *Driver) Close() {
	d.strays.stop()
	d.strays.polls.Wait()
}

// stray are the polls whose pollers have left. The service goes on with a poll whose client has gone, and what such a
// poll gets is hidden from everybody. So it is waited for, and what it gets goes to the next poller of the queue, or back.
type stray struct {
	ctx   context.Context
	stop  context.CancelFunc
	polls sync.WaitGroup
	quiet quiet

	mu    sync.Mutex
	found map[foundKey]chan []*eventsource.Record
}

// foundKey says who may take what a stray poll has got: pollers of the same queue that hide messages as long.
type foundKey struct {
	url  string
	hide int32
}

func (s *stray) foundOf(q *queue) chan []*eventsource.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := foundKey{q.url, q.hide}
	if s.found == nil {
		s.found = map[foundKey]chan []*eventsource.Record{}
	}
	if s.found[key] == nil {
		s.found[key] = make(chan []*eventsource.Record)
	}
	return s.found[key]
}

var _ eventsource.Driver = (*Driver)(nil)

// idleConnections are kept for the next long poll: a mapping has one in flight at all times, and all may end at once.
const idleConnections = 2000

// in returns the client of a region.
func (d *Driver) in(ctx context.Context, region string) (*sqs.Client, error) {
	return d.clients.In(ctx, region, func(cfg aws.Config) *sqs.Client {
		cfg.HTTPClient = connections(cfg.HTTPClient)
		return sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.RetryMaxAttempts = 2 })
	})
}

// connections tunes what sends requests; nil is the SDK's own. Buffers are small: most requests and answers are. A body that is in memory goes
// out with its head in one piece, which is a quarter of what a poll without messages costs.
func connections(c aws.HTTPClient) aws.HTTPClient {
	return wholebody.Tuned(c, func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost, t.ReadBufferSize, t.WriteBufferSize = idleConnections, idleConnections, 2<<10, 2<<10
	})
}

// find looks a queue up: where it is, and how long it hides what was received.
func (d *Driver) find(ctx context.Context, m *eventsource.Mapping) (*queue, error) {
	a, err := arn.Parse(m.Source.ARN)
	if err != nil {
		return nil, &eventsource.InvalidError{Message: "Unrecognized event source."}
	}
	client, err := d.in(ctx, a.Region)
	if err != nil {
		return nil, err
	}
	at, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &a.Resource, QueueOwnerAWSAccountId: &a.AccountID})
	if err != nil {
		return nil, err
	}
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: at.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameVisibilityTimeout}})
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.Atoi(out.Attributes[string(types.QueueAttributeNameVisibilityTimeout)])
	if err != nil {
		return nil, fmt.Errorf("the visibility timeout of %s: %w", m.Source.ARN, err)
	}
	return &queue{strays: &d.strays, client: client, url: aws.ToString(at.QueueUrl), arn: a, visibility: time.Duration(seconds) * time.Second}, nil
}

// Check implements eventsource.Driver. S-048.
func (d *Driver) Check(ctx context.Context, m *eventsource.Mapping, facts eventsource.Facts) error {
	q, err := d.find(ctx, m)
	if gone(err) {
		return &eventsource.InvalidError{Message: "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist."}
	}
	if err != nil {
		return err
	}
	if q.visibility < facts.Timeout {
		return &eventsource.InvalidError{Message: fmt.Sprintf("Queue visibility timeout: %d seconds is less than Function timeout: %d seconds", int(q.visibility.Seconds()), int(facts.Timeout.Seconds()))}
	}
	return nil
}

// visibilitySlack is what a receive hides messages longer for than the window and the function take. Source: section 3.3.
const visibilitySlack = 30 * time.Second

// Open implements eventsource.Driver.
func (d *Driver) Open(ctx context.Context, m *eventsource.Mapping, facts eventsource.Facts) (*eventsource.Source, error) {
	q, err := d.find(ctx, m)
	if err != nil {
		return nil, problem(err)
	}
	if need := m.Window() + facts.Timeout; m.Window() > 0 && need > q.visibility { // S-049
		q.visibility = need + visibilitySlack
		q.hide = int32(q.visibility / time.Second) //nolint:gosec // at most 20 minutes and a half
	}
	q.found = d.strays.foundOf(q)
	return &eventsource.Source{Queue: q, Envelope: eventsource.Envelope{Head: `{"Records":`, Tail: `}`}, Close: func(context.Context) error { return nil }}, nil
}

// gone says whether there is no such queue.
func gone(err error) bool {
	var api smithy.APIError
	if errors.As(err, new(*types.QueueDoesNotExist)) {
		return true
	}
	return errors.As(err, &api) && (api.ErrorCode() == "AWS.SimpleQueueService.NonExistentQueue" || api.ErrorCode() == "QueueDoesNotExist")
}

// problem says in words what keeps a queue from being read.
func problem(err error) error {
	var api smithy.APIError
	switch {
	case err == nil, errors.As(err, new(*eventsource.ProblemError)):
		return err
	case gone(err):
		return &eventsource.ProblemError{Text: "The queue does not exist. Make it again, or delete the event source mapping.", Err: err}
	case errors.As(err, &api):
		return &eventsource.ProblemError{Text: "SQS refuses: " + api.ErrorCode() + ". Check the credentials of the server and the policy of the queue.", Err: err}
	}
	return &eventsource.ProblemError{Text: "Connection error. SQS cannot be reached: check AWS_ENDPOINT_URL_SQS, or AWS_ENDPOINT_URL, and whether the service runs.", Err: err}
}
