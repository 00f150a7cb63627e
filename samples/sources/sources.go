package main

import (
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	tables "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.mongodb.org/mongo-driver/v2/bson"

	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/mongotest"
	"thaw/internal/wholebody"
)

// source is one that was started.
type source struct {
	name    string            // of its server
	env     []string          // what the server of functions is told: where the services of AWS are
	at      string            // what --sources says
	secrets map[string]string // files of the server of functions
	mapping *lambda.CreateEventSourceMappingInput
	put     func(n int, body string) error
}

var sources = map[string]func(*eventsourcetest.Stage) *source{
	"activemq": startActiveMQ, "documentdb": startDocumentDB, "dynamodb": startDynamoDB, "kafka": startKafka, "kinesis": startKinesis,
	"msk": startMSK, "rabbitmq": startRabbitMQ, "sqs": startSQS,
}

// login is a secret of sources that one logs into.
const login = `{"username":"lambda","password":"secret"}`

// secret is the ARN of one, which has six characters more than its name.
func secret(name string) *string {
	return aws.String("arn:aws:secretsmanager:" + region + ":" + account + ":secret:" + name + "-a1b2c3")
}

func startSQS(t *eventsourcetest.Stage) *source {
	endpoint, _ := eventsourcetest.ElasticMQ(t)
	client := sqs.New(sqs.Options{BaseEndpoint: &endpoint, Region: region, HTTPClient: wholebody.Client(nil), Credentials: anyKey})
	q, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("orders")})
	t.Must(err)
	return &source{
		name: "Amazon SQS: ElasticMQ at " + endpoint, env: []string{"AWS_ENDPOINT_URL_SQS=" + endpoint},
		mapping: &lambda.CreateEventSourceMappingInput{EventSourceArn: aws.String("arn:aws:sqs:" + region + ":" + account + ":orders")},
		put: func(_ int, body string) error {
			_, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: &body})
			return err
		},
	}
}

func startKinesis(t *eventsourcetest.Stage) *source {
	endpoint := eventsourcetest.Moto(t)
	client := kinesis.New(kinesis.Options{BaseEndpoint: &endpoint, Region: region, HTTPClient: wholebody.Client(nil), Credentials: anyKey})
	_, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("orders"), ShardCount: aws.Int32(2)})
	t.Must(err)
	var arn *string
	t.Until("the stream is active", func() bool {
		out, err := client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
		t.Must(err)
		arn = out.StreamDescriptionSummary.StreamARN
		return out.StreamDescriptionSummary.StreamStatus == "ACTIVE"
	})
	return &source{
		name: "Amazon Kinesis: moto at " + endpoint, env: []string{"AWS_ENDPOINT_URL_KINESIS=" + endpoint},
		mapping: &lambda.CreateEventSourceMappingInput{EventSourceArn: arn, StartingPosition: types.EventSourcePositionTrimHorizon},
		put: func(n int, body string) error {
			_, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamARN: arn, PartitionKey: key(n), Data: []byte(body)})
			return err
		},
	}
}

// key spreads records.
func key(n int) *string { return aws.String(fmt.Sprintf("customer-%d", n%3)) }

func startDynamoDB(t *eventsourcetest.Stage) *source {
	endpoint := eventsourcetest.Moto(t)
	client := dynamodb.New(dynamodb.Options{BaseEndpoint: &endpoint, Region: region, HTTPClient: wholebody.Client(nil), Credentials: anyKey})
	out, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("orders"), BillingMode: tables.BillingModePayPerRequest,
		AttributeDefinitions: []tables.AttributeDefinition{{AttributeName: aws.String("order"), AttributeType: tables.ScalarAttributeTypeN}},
		KeySchema:            []tables.KeySchemaElement{{AttributeName: aws.String("order"), KeyType: tables.KeyTypeHash}},
		StreamSpecification:  &tables.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: tables.StreamViewTypeNewImage},
	})
	t.Must(err)
	return &source{
		name:    "Amazon DynamoDB: moto at " + endpoint,
		env:     []string{"AWS_ENDPOINT_URL_DYNAMODB_STREAMS=" + endpoint, "AWS_ENDPOINT_URL_DYNAMODB=" + endpoint},
		mapping: &lambda.CreateEventSourceMappingInput{EventSourceArn: out.TableDescription.LatestStreamArn, StartingPosition: types.EventSourcePositionTrimHorizon},
		put: func(n int, body string) error {
			var order struct{ City string }
			if err := json.Unmarshal([]byte(body), &order); err != nil {
				return err
			}
			_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("orders"), Item: map[string]tables.AttributeValue{
				"order": &tables.AttributeValueMemberN{Value: fmt.Sprint(n)}, "city": &tables.AttributeValueMemberS{Value: order.City},
			}})
			return err
		},
	}
}

// orders makes the topic orders, of three partitions.
func orders(t *eventsourcetest.Stage, b *eventsourcetest.Kafka) (put func(n int, body string) error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Plain))
	t.Must(err)
	t.Cleanup(client.Close)
	r := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "orders", 3, 1
	r.Topics = append(r.Topics, topic)
	_, err = r.RequestWith(t.Context(), client)
	t.Must(err)
	return func(n int, body string) error {
		return client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Key: []byte(*key(n)), Value: []byte(body)}).FirstErr()
	}
}

func startKafka(t *eventsourcetest.Stage) *source {
	b := eventsourcetest.StartKafka(t)
	put := orders(t, b)
	root, err := json.Marshal(map[string]string{"certificate": b.Root})
	t.Must(err)
	return &source{
		name:    "Apache Kafka at " + b.Login,
		secrets: map[string]string{"kafka": login, "kafka-root": string(root)},
		mapping: &lambda.CreateEventSourceMappingInput{
			SelfManagedEventSource: &types.SelfManagedEventSource{Endpoints: map[string][]string{"KAFKA_BOOTSTRAP_SERVERS": {b.Login}}},
			Topics:                 []string{"orders"}, StartingPosition: types.EventSourcePositionTrimHorizon,
			SourceAccessConfigurations: []types.SourceAccessConfiguration{
				{Type: types.SourceAccessTypeBasicAuth, URI: secret("kafka")},
				{Type: types.SourceAccessTypeServerRootCaCertificate, URI: secret("kafka-root")},
			},
		},
		put: put,
	}
}

// startMSK is a cluster that lets everybody in. Its ARN does not say where it is.
func startMSK(t *eventsourcetest.Stage) *source {
	b := eventsourcetest.StartKafka(t)
	arn := "arn:aws:kafka:" + region + ":" + account + ":cluster/shop/4f6d8b2a-7c1e-4e8f-9a3b-1d2c3e4f5a6b-2"
	return &source{
		name: "Amazon MSK: Apache Kafka at " + b.Plain, at: arn + "=kafka://" + b.Plain,
		mapping: &lambda.CreateEventSourceMappingInput{
			EventSourceArn: &arn, Topics: []string{"orders"}, StartingPosition: types.EventSourcePositionTrimHorizon,
		},
		put: orders(t, b),
	}
}

func startDocumentDB(t *eventsourcetest.Stage) *source {
	s, err := mongotest.Start(mongotest.Options{User: "lambda", Password: "secret"})
	t.Must(err)
	t.Cleanup(s.Close)
	arn := "arn:aws:rds:" + region + ":" + account + ":cluster:shop"
	return &source{
		name: "Amazon DocumentDB: change streams of a server of the tests at " + s.URI(), at: arn + "=" + s.URI(),
		secrets: map[string]string{"shop": login},
		mapping: &lambda.CreateEventSourceMappingInput{
			EventSourceArn: &arn, StartingPosition: types.EventSourcePositionTrimHorizon,
			SourceAccessConfigurations:  []types.SourceAccessConfiguration{{Type: types.SourceAccessTypeBasicAuth, URI: secret("shop")}},
			DocumentDBEventSourceConfig: &types.DocumentDBEventSourceConfig{DatabaseName: aws.String("shop"), CollectionName: aws.String("orders")},
		},
		put: func(n int, body string) error {
			var doc bson.D
			if err := bson.UnmarshalExtJSON([]byte(body), false, &doc); err != nil {
				return err
			}
			return s.Insert("shop", "orders", append(bson.D{{Key: "_id", Value: n}}, doc...))
		},
	}
}
