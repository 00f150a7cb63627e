package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thaw/eventsource/eventsourcetest"
	"thaw/internal/wholebody"
)

// brokers are what sources are read from: ElasticMQ and Kafka, or a stream of Kinesis.
type brokers struct {
	stage   *eventsourcetest.Stage
	elastic *eventsourcetest.Process
	queues  *sqs.Client
	kafka   *eventsourcetest.Process // nil: it is in this process, or there is none
	cluster string                   // HOST:PORT of it; empty: there is none
	stream  *stream
	env     []string // what a server of functions is told
}

// startBrokers starts ElasticMQ and Apache Kafka.
func startBrokers(ctx context.Context) (*brokers, error) {
	return queueAnd(ctx, func(t *eventsourcetest.Stage, b *brokers) {
		k := eventsourcetest.StartKafka(t)
		b.kafka, b.cluster = k.Process, k.Plain
	})
}

// startLight starts ElasticMQ, and a Kafka in this process. nil: ElasticMQ cannot be had here, which it says.
func startLight(ctx context.Context) (*brokers, error) {
	b, err := queueAnd(ctx, func(t *eventsourcetest.Stage, b *brokers) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		t.Must(err)
		t.Cleanup(c.Close)
		b.cluster = c.ListenAddrs()[0]
	})
	if errors.As(err, new(*eventsourcetest.MissingError)) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		return nil, nil
	}
	return b, err
}

func queueAnd(ctx context.Context, kafka func(*eventsourcetest.Stage, *brokers)) (*brokers, error) {
	b := &brokers{stage: eventsourcetest.NewStage(ctx)}
	var at string
	err := b.stage.Do(func(t *eventsourcetest.Stage) {
		at, b.elastic = eventsourcetest.ElasticMQ(t)
		kafka(t, b)
	})
	if err != nil {
		b.end()
		return nil, fmt.Errorf("servers of sources: %w", err)
	}
	b.queues = sqs.New(sqs.Options{BaseEndpoint: &at, Region: region, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("any", "any", "")})
	b.env = []string{"AWS_ENDPOINT_URL_SQS=" + at}
	return b, nil
}

func (b *brokers) end() {
	if b == nil {
		return
	}
	if b.stream != nil && b.stream.end != nil {
		b.stream.end()
	}
	b.stage.End()
}

// environment is what a server of functions is told.
func (b *brokers) environment() []string {
	if b == nil {
		return nil
	}
	return append([]string{"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any"}, b.env...)
}

// clusterARN is how mappings name the cluster of Kafka.
const clusterARN = "arn:aws:kafka:" + region + ":123456789012:cluster/bench/4f6d8b2a-7c1e-4e8f-9a3b-1d2c3e4f5a6b-2"

// flags are those of a server of functions.
func (b *brokers) flags() []string {
	if b == nil || b.cluster == "" {
		return nil
	}
	return []string{"--sources", clusterARN + "=kafka://" + b.cluster}
}

// queue makes one.
func (b *brokers) queue(ctx context.Context, name string) (url, arn string, err error) {
	q, err := b.queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"VisibilityTimeout": "60"}})
	if err != nil {
		return "", "", err
	}
	return *q.QueueUrl, "arn:aws:sqs:" + region + ":123456789012:" + name, nil
}

// fill puts messages into a queue.
func (b *brokers) fill(ctx context.Context, url string, n int) error {
	return all(4, n/10, func(i int) error {
		in := &sqs.SendMessageBatchInput{QueueUrl: &url}
		for k := range 10 {
			in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(k)), MessageBody: aws.String(fmt.Sprintf(`{"order":%d,"city":"Oslo"}`, 10*i+k))})
		}
		out, err := b.queues.SendMessageBatch(ctx, in)
		if err == nil && len(out.Failed) > 0 {
			err = fmt.Errorf("%d messages were not taken", len(out.Failed))
		}
		return err
	})
}

// drain receives and deletes messages, as bare clients do: what the server of queues alone takes.
func (b *brokers) drain(ctx context.Context, url string, n, clients int) error {
	return all(clients, n/10, func(int) error {
		for got := 0; got < 10; {
			out, err := b.queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: int32(10 - got), WaitTimeSeconds: 1,
				MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}, MessageAttributeNames: []string{"All"}})
			if err != nil {
				return err
			}
			in := &sqs.DeleteMessageBatchInput{QueueUrl: &url}
			for k, m := range out.Messages {
				in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(k)), ReceiptHandle: m.ReceiptHandle})
			}
			if got += len(in.Entries); len(in.Entries) == 0 {
				continue
			}
			if _, err := b.queues.DeleteMessageBatch(ctx, in); err != nil {
				return err
			}
		}
		return nil
	})
}

// topic makes one, and a client that puts records into it.
func (b *brokers) topic(ctx context.Context, name string, partitions int32) (*kgo.Client, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(b.cluster), kgo.DefaultProduceTopic(name), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return nil, err
	}
	r, t := kmsg.NewPtrCreateTopicsRequest(), kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	r.Topics = append(r.Topics, t)
	if _, err := r.RequestWith(ctx, c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// all calls f with 0 to n-1, by several workers, until one fails.
func all(workers, n int, f func(i int) error) error {
	next, failed := make(chan int), make(chan error, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
			continue
		case err := <-failed:
			failed <- err
		}
		break
	}
	close(next)
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
