package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

// BenchmarkPublishBatch publishes batches of ten to a topic with 1,000 subscriptions, from eight senders: none that lets
// the messages pass, one function, or ten. Functions' events are on disk when a batch is answered.
func BenchmarkPublishBatch(b *testing.B) {
	s := openServer(b, "process", b.TempDir())
	defer s.node.Close(context.Background())
	topics := topicsAt(s.node.Addr())
	topic, err := topics.CreateTopic(b.Context(), &sns.CreateTopicInput{Name: aws.String("thousand")})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		policy := fmt.Sprintf(`{"to":["%d","group-%d"],"n":[{"numeric":[">=",0]}]}`, i, i/10)
		protocol, endpoint := "sqs", fmt.Sprintf("arn:aws:sqs:eu-west-1:000000000000:q%d", i)
		if i < 10 {
			protocol, endpoint = "lambda", fmt.Sprintf("arn:aws:lambda:eu-west-1:000000000000:function:f%d", i)
		}
		if _, err := topics.Subscribe(b.Context(), &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: &protocol, Endpoint: &endpoint, Attributes: map[string]string{"FilterPolicy": policy}}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 10 {
		name := fmt.Sprintf("f%d", i)
		if _, err := s.client.CreateFunction(b.Context(), &lambda.CreateFunctionInput{FunctionName: &name, Runtime: "provided.al2023", Handler: aws.String("h"), Role: aws.String("arn:aws:iam::000000000000:role/r"),
			Code: &lambdatypes.FunctionCode{ZipFile: zipOf(b, map[string]string{"bootstrap": "#!/bin/sh\nsleep 1000\n"})}}); err != nil {
			b.Fatal(err)
		}
	}
	for name, to := range map[string]string{"to nobody": "nobody", "to one function": "1", "to ten functions": "group-0"} {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			in := &sns.PublishBatchInput{TopicArn: topic.TopicArn}
			for i := range 10 {
				in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, types.PublishBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), Message: aws.String(strings.Repeat("m", 200)),
					MessageAttributes: map[string]types.MessageAttributeValue{"to": {DataType: aws.String("String"), StringValue: &to}, "n": {DataType: aws.String("Number"), StringValue: aws.String("1")}}})
			}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range (b.N + 7) / 8 {
						if _, err := topics.PublishBatch(b.Context(), in); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N*10)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
