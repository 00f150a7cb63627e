// Package destination tells queues, topics, buses and buckets how asynchronous events ended. internal/awsconfig says
// where it finds them.
package destination

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	bridge "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	topics "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	queues "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"thaw/async"
	"thaw/internal/awsconfig"
	"thaw/push"
)

// Sender sends messages. Its zero value is ready. It needs no end.
type Sender struct {
	// Topics are this server's own: messages for them go to no other SNS, unless an endpoint of SNS is configured. nil:
	// there are none. It is set before the first message is sent.
	Topics push.Topics
	// Buses are those of this server, for events of a region in which no other endpoint of EventBridge is configured;
	// nil: there are none.
	Buses Buses

	mu      sync.Mutex
	regions map[string]*clients
}

// Buses takes events for buses of this server.
type Buses interface {
	// PutEvent returns when what the event is for is on disk.
	PutEvent(ctx context.Context, e *BusEvent) error
}

// BusEvent is an event for a bus.
type BusEvent struct {
	Bus                        string // ARN
	Source, DetailType, Detail string // Detail is a JSON object
	Resources                  []string
	Time                       time.Time
	Trace                      string
}

// clients are those of one region.
type clients struct {
	ownBus bool // EventBridge has no endpoint that somebody has configured
	sqs    *sqs.Client
	sns    *sns.Client
	events *eventbridge.Client
	s3     *s3.Client
	// elsewhere: an endpoint of SNS is configured.
	elsewhere bool

	mu     sync.Mutex
	queues map[string]string // URL by ARN
}

// Services are the names, in an ARN, of what Send can reach.
var Services = []string{"sqs", "sns", "events", "s3"}

// Send sends one message, and tries more than once where the SDK does. *async.PermanentError: sending again does not help.
func (s *Sender) Send(ctx context.Context, m *async.Message) error {
	to, err := arn.Parse(m.Target.ARN)
	if err != nil {
		return &async.PermanentError{Err: err}
	}
	c, err := s.in(ctx, to.Region)
	if err != nil {
		return err
	}
	switch to.Service {
	case "sqs":
		err = c.toQueue(ctx, to, m)
	case "sns":
		err = s.toTopic(ctx, c, m)
	case "events":
		err = s.toBus(ctx, c, m)
	case "s3":
		err = c.toBucket(ctx, to, m)
	default:
		return &async.PermanentError{Err: fmt.Errorf("%s is none of the services that can be a destination", to.Service)}
	}
	if hopeless(err) {
		return &async.PermanentError{Err: err}
	}
	return err
}

// in returns the clients of a region; the empty one is the SDK's own.
func (s *Sender) in(ctx context.Context, region string) (*clients, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.regions[region]; c != nil {
		return c, nil
	}
	cfg, err := awsconfig.Load(ctx, region)
	if err != nil {
		return nil, err
	}
	c := &clients{sqs: sqs.NewFromConfig(cfg), sns: sns.NewFromConfig(cfg), events: eventbridge.NewFromConfig(cfg),
		s3:        awsconfig.S3(cfg),
		elsewhere: awsconfig.Endpoint(ctx, cfg, "SNS") != "",
		ownBus:    awsconfig.Endpoint(ctx, cfg, eventbridge.ServiceID) == "", queues: map[string]string{}}
	if s.regions == nil {
		s.regions = map[string]*clients{}
	}
	s.regions[region] = c
	return c, nil
}

// hopeless says that the message itself is what the service refuses.
func hopeless(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch strings.TrimPrefix(api.ErrorCode(), "AWS.SimpleQueueService.") {
	case "InvalidMessageContents", "InvalidParameterValue", "InvalidParameter", "InvalidParameterException", "ValidationException", "EntityTooLarge":
		return true
	}
	return false
}

// attributes are what a message of a dead-letter queue has; value makes one of a type and a text.
func attributes[V any](m *async.Message, value func(typ, text string) V) map[string]V {
	if !m.Target.DeadLetter {
		return nil
	}
	out := map[string]V{"RequestID": value("String", m.RequestID), "ErrorCode": value("Number", strconv.Itoa(m.ErrorCode))}
	if m.ErrorMessage != "" { // the services take no empty one
		out["ErrorMessage"] = value("String", m.ErrorMessage)
	}
	return out
}

func (c *clients) toQueue(ctx context.Context, to arn.ARN, m *async.Message) error {
	url, err := c.queue(ctx, to)
	if err != nil {
		return err
	}
	in := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String(string(m.Body)),
		MessageAttributes: attributes(m, func(typ, text string) queues.MessageAttributeValue {
			return queues.MessageAttributeValue{DataType: &typ, StringValue: &text}
		})}
	if m.TraceID != "" {
		in.MessageSystemAttributes = map[string]queues.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: &m.TraceID}}
	}
	return c.toQueueAt(ctx, to, in)
}

// toQueueAt sends a message, and forgets where the queue was if it is not there.
func (c *clients) toQueueAt(ctx context.Context, to arn.ARN, in *sqs.SendMessageInput) error {
	_, err := c.sqs.SendMessage(ctx, in)
	if errors.As(err, new(*queues.QueueDoesNotExist)) {
		c.mu.Lock()
		delete(c.queues, to.String()) // one that is made again may have another URL
		c.mu.Unlock()
	}
	return err
}

func (c *clients) queue(ctx context.Context, to arn.ARN) (string, error) {
	c.mu.Lock()
	url := c.queues[to.String()]
	c.mu.Unlock()
	if url != "" {
		return url, nil
	}
	out, err := c.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &to.Resource, QueueOwnerAWSAccountId: &to.AccountID})
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queues[to.String()] = *out.QueueUrl
	return *out.QueueUrl, nil
}

func (s *Sender) toTopic(ctx context.Context, c *clients, m *async.Message) error {
	if s.Topics != nil && !c.elsewhere {
		own := &push.TopicMessage{Topic: m.Target.ARN, Message: string(m.Body), Trace: m.TraceID}
		for name, v := range attributes(m, func(typ, text string) push.QueueAttribute { return push.QueueAttribute{Type: typ, Value: text} }) {
			own.Attributes = append(own.Attributes, push.QueueAttribute{Name: name, Type: v.Type, Value: v.Value})
		}
		if ours, err := s.Topics.ToTopic(ctx, own); ours {
			return err
		}
	}
	_, err := c.sns.Publish(ctx, &sns.PublishInput{TopicArn: &m.Target.ARN, Message: aws.String(string(m.Body)),
		MessageAttributes: attributes(m, func(typ, text string) topics.MessageAttributeValue {
			return topics.MessageAttributeValue{DataType: &typ, StringValue: &text}
		})})
	return err
}

// toBus sends what was recorded. Source: C-095.
func (s *Sender) toBus(ctx context.Context, c *clients, m *async.Message) error {
	how := "Failure"
	if m.Success {
		how = "Success"
	}
	e := &BusEvent{Bus: m.Target.ARN, Source: "lambda", DetailType: "Lambda Function Invocation Result - " + how, Detail: string(m.Body),
		Resources: []string{m.Target.ARN, string(m.FunctionARN)}, Time: m.At, Trace: m.TraceID}
	if s.Buses != nil && c.ownBus {
		return s.Buses.PutEvent(ctx, e)
	}
	entry := bridge.PutEventsRequestEntry{EventBusName: &e.Bus, Source: &e.Source, DetailType: &e.DetailType,
		Detail: &e.Detail, Resources: e.Resources, Time: &e.Time}
	if e.Trace != "" {
		entry.TraceHeader = &e.Trace
	}
	out, err := c.events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []bridge.PutEventsRequestEntry{entry}})
	if err == nil && out.FailedEntryCount > 0 {
		return fmt.Errorf("%s: %s", aws.ToString(out.Entries[0].ErrorCode), aws.ToString(out.Entries[0].ErrorMessage))
	}
	return err
}

func (c *clients) toBucket(ctx context.Context, to arn.ARN, m *async.Message) error {
	key := m.Object
	if key == "" {
		key = "aws/lambda/async/" + m.FunctionName + m.At.UTC().Format("/2006/01/02/2006-01-02T15.04.05-") + uuid.NewString()
	}
	_, err := c.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &to.Resource, Key: &key, Body: bytes.NewReader(m.Body), ContentType: aws.String("application/json")})
	return err
}
