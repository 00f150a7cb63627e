package node

import (
	"crypto/tls"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"go.mongodb.org/mongo-driver/v2/bson"

	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/mongotest"
	"thaw/internal/wholebody"
)

// feed is a source that is there, with a mapping of it and somebody who puts records.
type feed struct {
	name    string
	env     []string          // of the server
	at      string            // what --sources says
	secrets map[string]string // files of the server
	mapping lambda.CreateEventSourceMappingInput
	put     func(key, body string) error
	order   func(key string) string // records for which it is the same are in order; nil: there is no order
}

// byKey is the order of sources with keys.
func byKey(key string) string { return key }

const loginJSON = `{"username":"lambda","password":"secret"}`

func secretARN(name string) *string {
	return aws.String("arn:aws:secretsmanager:eu-west-1:123456789012:secret:" + name + "-a1b2c3")
}

// queueFeeds are a standard and a FIFO queue of ElasticMQ.
func queueFeeds(t *testing.T) (feeds []*feed) {
	endpoint, _ := eventsourcetest.ElasticMQ(t)
	queues := sqs.New(sqs.Options{Region: "eu-west-1", BaseEndpoint: &endpoint, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("k", "s", "")})
	for _, name := range []string{"plain", "ordered.fifo"} {
		attributes := map[string]string{"VisibilityTimeout": "5"}
		f := &feed{name: name, env: []string{"AWS_ENDPOINT_URL_SQS=" + endpoint, "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s"},
			mapping: lambda.CreateEventSourceMappingInput{EventSourceArn: aws.String("arn:aws:sqs:eu-west-1:123456789012:" + name)}}
		if strings.HasSuffix(name, ".fifo") {
			attributes["FifoQueue"], attributes["ContentBasedDeduplication"] = "true", "true"
			f.order = byKey
		}
		q, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		if err != nil {
			t.Fatal(err)
		}
		f.put = func(key, body string) error {
			in := &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: &body}
			if f.order != nil {
				in.MessageGroupId = &key
			}
			_, err := queues.SendMessage(t.Context(), in)
			return err
		}
		feeds = append(feeds, f)
	}
	return feeds
}

// kafkaFeed is a topic of Apache Kafka, or of what stands for it.
func kafkaFeed(t *testing.T, real bool) *feed {
	pair, root := eventsourcetest.Certificate(t)
	var login, seed string
	var way []kgo.Opt
	if real {
		b := eventsourcetest.StartKafka(t)
		login, seed, root = b.Login, b.Plain, b.Root
	} else {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "lambda", "secret"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		login = c.ListenAddrs()[0]
		seed = login
		way = []kgo.Opt{kgo.SASL(plain.Auth{User: "lambda", Pass: "secret"}.AsMechanism()), kgo.DialTLSConfig(&tls.Config{InsecureSkipVerify: true})}
	}
	client, err := kgo.NewClient(append(way, kgo.SeedBrokers(seed))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r, topic := kmsg.NewPtrCreateTopicsRequest(), kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "orders", 3, 1
	r.Topics = append(r.Topics, topic)
	if _, err := r.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	certificate, err := json.Marshal(map[string]string{"certificate": root})
	if err != nil {
		t.Fatal(err)
	}
	return &feed{name: "kafka", secrets: map[string]string{"kafka": loginJSON, "kafka-root": string(certificate)}, order: byKey,
		mapping: lambda.CreateEventSourceMappingInput{
			SelfManagedEventSource: &types.SelfManagedEventSource{Endpoints: map[string][]string{"KAFKA_BOOTSTRAP_SERVERS": {login}}},
			Topics:                 []string{"orders"}, StartingPosition: types.EventSourcePositionTrimHorizon,
			SourceAccessConfigurations: []types.SourceAccessConfiguration{
				{Type: types.SourceAccessTypeBasicAuth, URI: secretARN("kafka")}, {Type: types.SourceAccessTypeServerRootCaCertificate, URI: secretARN("kafka-root")},
			}},
		put: func(key, body string) error {
			return client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Key: []byte(key), Value: []byte(body)}).FirstErr()
		}}
}

// activeFeed is a queue of ActiveMQ.
func activeFeed(t *testing.T) *feed {
	at, _, _ := eventsourcetest.ActiveMQ(t)
	c, err := amqp.Dial(t.Context(), "amqp://"+at, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("lambda", "secret")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	session, err := c.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := session.NewSender(t.Context(), "queue://orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:mq:eu-west-1:123456789012:broker:active:b-1"
	return &feed{name: "activemq", at: arn + "=activemq://" + at, secrets: map[string]string{"activemq": loginJSON},
		mapping: lambda.CreateEventSourceMappingInput{EventSourceArn: &arn, Queues: []string{"orders"},
			SourceAccessConfigurations: []types.SourceAccessConfiguration{{Type: types.SourceAccessTypeBasicAuth, URI: secretARN("activemq")}}},
		put: func(_, body string) error {
			return sender.Send(t.Context(), &amqp.Message{Header: &amqp.MessageHeader{Durable: true}, Value: body}, nil)
		}}
}

// rabbitFeed is a queue of RabbitMQ.
func rabbitFeed(t *testing.T) *feed {
	at, _ := eventsourcetest.RabbitMQ(t)
	c, err := amqp091.DialConfig(at, amqp091.Config{SASL: []amqp091.Authentication{&amqp091.PlainAuth{Username: "lambda", Password: "secret"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	channel, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := channel.QueueDeclare("orders", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:mq:eu-west-1:123456789012:broker:rabbit:b-2"
	return &feed{name: "rabbitmq", at: arn + "=" + at, secrets: map[string]string{"rabbitmq": loginJSON},
		mapping: lambda.CreateEventSourceMappingInput{EventSourceArn: &arn, Queues: []string{"orders"},
			SourceAccessConfigurations: []types.SourceAccessConfiguration{
				{Type: types.SourceAccessTypeBasicAuth, URI: secretARN("rabbitmq")}, {Type: types.SourceAccessTypeVirtualHost, URI: aws.String("/")},
			}},
		put: func(_, body string) error {
			return channel.PublishWithContext(t.Context(), "", "orders", false, false, amqp091.Publishing{DeliveryMode: amqp091.Persistent, Body: []byte(body)})
		}}
}

// documentFeed is a collection of a server of change streams.
func documentFeed(t *testing.T) *feed {
	s, err := mongotest.Start(mongotest.Options{User: "lambda", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	arn := "arn:aws:rds:eu-west-1:123456789012:cluster:shop"
	return &feed{name: "documentdb", at: arn + "=" + s.URI(), secrets: map[string]string{"shop": loginJSON}, order: func(string) string { return "" },
		mapping: lambda.CreateEventSourceMappingInput{EventSourceArn: &arn, StartingPosition: types.EventSourcePositionTrimHorizon,
			SourceAccessConfigurations:  []types.SourceAccessConfiguration{{Type: types.SourceAccessTypeBasicAuth, URI: secretARN("shop")}},
			DocumentDBEventSourceConfig: &types.DocumentDBEventSourceConfig{DatabaseName: aws.String("shop"), CollectionName: aws.String("orders")}},
		put: func(_, body string) error {
			return s.Insert("shop", "orders", bson.D{{Key: "_id", Value: body}})
		}}
}

// tell gives the server the secrets of feeds, and returns what it is started with.
func tell(t *testing.T, dir string, feeds []*feed) (sources string, env []string) {
	t.Helper()
	for _, f := range feeds {
		for name, text := range f.secrets {
			at := filepath.Join(dir, "secrets", name)
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		sources += " " + f.at
		env = append(env, f.env...)
	}
	return strings.Join(strings.Fields(sources), " "), env
}
