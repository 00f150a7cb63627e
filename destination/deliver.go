package destination

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	topics "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	queues "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"thaw/async"
	"thaw/outbox"
	"thaw/push"
)

// Deliver sends a letter to a queue or a topic. *outbox.Failure.
func (s *Sender) Deliver(ctx context.Context, l *outbox.Letter) error {
	to, err := arn.Parse(l.To)
	if err != nil {
		return &outbox.Failure{Code: outbox.InvalidParameter, Permanent: true, Err: err}
	}
	c, err := s.in(ctx, to.Region)
	if err != nil {
		return failure(err)
	}
	switch to.Service {
	case "sqs":
		return failure(c.letterToQueue(ctx, to, l))
	case "sns":
		return failure(s.letterToTopic(ctx, c, l))
	}
	return &outbox.Failure{Code: outbox.InvalidParameter, Permanent: true, Err: fmt.Errorf("%s is neither a queue nor a topic", l.To)}
}

func (c *clients) letterToQueue(ctx context.Context, to arn.ARN, l *outbox.Letter) error {
	url, err := c.queue(ctx, to)
	if err != nil {
		return err
	}
	in := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String(string(l.Body))}
	if l.Group != "" {
		in.MessageGroupId = &l.Group
	}
	if len(l.Attributes) > 0 {
		in.MessageAttributes = map[string]queues.MessageAttributeValue{}
		for name, value := range l.Attributes {
			in.MessageAttributes[name] = queues.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
		}
	}
	if l.Trace != "" {
		in.MessageSystemAttributes = map[string]queues.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: &l.Trace}}
	}
	return c.toQueueAt(ctx, to, in)
}

func (s *Sender) letterToTopic(ctx context.Context, c *clients, l *outbox.Letter) error {
	if s.Topics != nil && !c.elsewhere {
		own := &push.TopicMessage{Topic: l.To, Message: string(l.Body), Group: l.Group, Trace: l.Trace}
		if rule := l.About["RULE_ARN"]; rule != "" { // a schedule has a role
			own.Service, own.Source = "events.amazonaws.com", rule
		}
		for _, name := range slices.Sorted(maps.Keys(l.Attributes)) {
			own.Attributes = append(own.Attributes, push.QueueAttribute{Name: name, Type: "String", Value: l.Attributes[name]})
		}
		if ours, err := s.Topics.ToTopic(ctx, own); ours {
			if errors.As(err, new(*push.TopicNotAllowedError)) {
				return &outbox.Failure{Code: outbox.NoPermissions, Permanent: true, Err: err}
			}
			if errors.As(err, new(*async.PermanentError)) {
				return &outbox.Failure{Code: outbox.InvalidParameter, Permanent: true, Err: err}
			}
			return err
		}
	}
	in := &sns.PublishInput{TopicArn: &l.To, Message: aws.String(string(l.Body))}
	if l.Group != "" {
		in.MessageGroupId = &l.Group
	}
	if len(l.Attributes) > 0 {
		in.MessageAttributes = map[string]topics.MessageAttributeValue{}
		for name, value := range l.Attributes {
			in.MessageAttributes[name] = topics.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
		}
	}
	_, err := c.sns.Publish(ctx, in)
	return err
}

// codes are what the services' errors are called by those who send. What is not here is sent again.
var codes = map[string]outbox.Failure{
	"QueueDoesNotExist":           {Code: outbox.NoResource, Permanent: true},
	"NonExistentQueue":            {Code: outbox.NoResource, Permanent: true},
	"NotFound":                    {Code: outbox.NoResource, Permanent: true},
	"NotFoundException":           {Code: outbox.NoResource, Permanent: true},
	"AccessDenied":                {Code: outbox.NoPermissions, Permanent: true},
	"AccessDeniedException":       {Code: outbox.NoPermissions, Permanent: true},
	"AuthorizationError":          {Code: outbox.NoPermissions, Permanent: true},
	"InvalidClientTokenId":        {Code: outbox.NoPermissions, Permanent: true},
	"MissingParameter":            {Code: outbox.InvalidParameter, Permanent: true},
	"Throttling":                  {Code: outbox.Throttling},
	"ThrottlingException":         {Code: outbox.Throttling},
	"ThrottledException":          {Code: outbox.Throttling},
	"RequestThrottled":            {Code: outbox.Throttling},
	"KmsThrottled":                {Code: outbox.Throttling},
	"InvalidMessageContents":      {Code: outbox.InvalidParameter, Permanent: true},
	"InvalidParameterValue":       {Code: outbox.InvalidParameter, Permanent: true},
	"InvalidParameter":            {Code: outbox.InvalidParameter, Permanent: true},
	"InvalidParameterException":   {Code: outbox.InvalidParameter, Permanent: true},
	"ValidationException":         {Code: outbox.InvalidParameter, Permanent: true},
	"InvalidParameterCombination": {Code: outbox.InvalidParameter, Permanent: true},
	"UnsupportedOperation":        {Code: outbox.InvalidParameter, Permanent: true},
	"InvalidAddress":              {Code: outbox.NoResource, Permanent: true},
	"InvalidSecurity":             {Code: outbox.NoPermissions, Permanent: true},
	"SignatureDoesNotMatch":       {Code: outbox.NoPermissions, Permanent: true},
	"UnrecognizedClientException": {Code: outbox.NoPermissions, Permanent: true},
	"KmsAccessDenied":             {Code: outbox.NoPermissions, Permanent: true},
	"MissingAuthenticationToken":  {Code: outbox.NoPermissions, Permanent: true},
	"IncompleteSignature":         {Code: outbox.NoPermissions, Permanent: true},
	"InvalidSignatureException":   {Code: outbox.NoPermissions, Permanent: true},
}

func failure(err error) error {
	var api smithy.APIError
	var network net.Error
	switch {
	case err == nil, errors.As(err, new(*outbox.Failure)):
		return err
	case errors.As(err, &api):
		if f, known := codes[strings.TrimPrefix(api.ErrorCode(), "AWS.SimpleQueueService.")]; known {
			f.Err = err
			return &f
		}
	case errors.As(err, &network):
		return &outbox.Failure{Code: outbox.ConnectionFailure, Err: err}
	}
	return &outbox.Failure{Code: outbox.ClientError, Err: err}
}
