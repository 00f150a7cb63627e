package sqs

import (
	"context"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Depth implements poller.Depth: about how many messages nobody has received yet.
func (q *queue) Depth(ctx context.Context) (int64, error) {
	const waiting = types.QueueAttributeNameApproximateNumberOfMessages
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{waiting}})
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(out.Attributes[string(waiting)], 10, 64)
}
