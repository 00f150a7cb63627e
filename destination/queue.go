package destination

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	queues "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"thaw/async"
	"thaw/push"
)

var _ push.Queues = (*Sender)(nil)

// ToQueue implements push.Queues. A queue that is not there, or not to be used, is one that sending again does not help.
func (s *Sender) ToQueue(ctx context.Context, m *push.QueueMessage) error {
	to, err := arn.Parse(m.Queue)
	if err != nil {
		return &async.PermanentError{Err: err}
	}
	c, err := s.in(ctx, to.Region)
	if err != nil {
		return err
	}
	err = c.send(ctx, to, m)
	var refusal smithy.APIError
	if hopeless(err) || errors.As(err, &refusal) && isRefusal(refusal.ErrorCode()) {
		return &async.PermanentError{Err: err}
	}
	return err
}

// isRefusal tells the answers of a service that will be the same tomorrow.
func isRefusal(code string) bool {
	code = strings.TrimPrefix(code, "AWS.SimpleQueueService.")
	switch code {
	case "QueueDoesNotExist", "NonExistentQueue", "AccessDenied", "AccessDeniedException", "MissingParameter", "UnsupportedOperation", "InvalidAddress":
		return true
	}
	return false
}

func (c *clients) send(ctx context.Context, to arn.ARN, m *push.QueueMessage) error {
	url, err := c.queue(ctx, to)
	if err != nil {
		return err
	}
	in := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &m.Body}
	for _, a := range m.Attributes {
		v := queues.MessageAttributeValue{DataType: &a.Type, StringValue: &a.Value}
		if strings.HasPrefix(a.Type, "Binary") {
			b, err := base64.StdEncoding.DecodeString(a.Value)
			if err != nil {
				return &async.PermanentError{Err: err}
			}
			v.BinaryValue, v.StringValue = b, nil
		}
		if in.MessageAttributes == nil {
			in.MessageAttributes = map[string]queues.MessageAttributeValue{}
		}
		in.MessageAttributes[a.Name] = v
	}
	if m.Group != "" {
		in.MessageGroupId = &m.Group
	}
	if m.Dedup != "" {
		in.MessageDeduplicationId = &m.Dedup
	}
	if m.Trace != "" {
		in.MessageSystemAttributes = map[string]queues.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: &m.Trace}}
	}
	if _, err = c.sqs.SendMessage(ctx, in); errors.As(err, new(*queues.QueueDoesNotExist)) {
		c.mu.Lock()
		delete(c.queues, to.String()) // one that is made again may have another URL
		c.mu.Unlock()
	}
	return err
}
