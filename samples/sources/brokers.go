package main

import (
	"github.com/Azure/go-amqp"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"thaw/eventsource/eventsourcetest"
)

func startActiveMQ(t *eventsourcetest.Stage) *source {
	at, _, _ := eventsourcetest.ActiveMQ(t)
	c, err := amqp.Dial(t.Context(), "amqp://"+at, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("lambda", "secret")})
	t.Must(err)
	t.Cleanup(func() { c.Close() })
	session, err := c.NewSession(t.Context(), nil)
	t.Must(err)
	sender, err := session.NewSender(t.Context(), "queue://orders", nil)
	t.Must(err)
	arn := "arn:aws:mq:" + region + ":" + account + ":broker:shop:b-1"
	return &source{
		name: "Amazon MQ: ActiveMQ at " + at, at: arn + "=activemq://" + at, secrets: map[string]string{"activemq": login},
		mapping: &lambda.CreateEventSourceMappingInput{
			EventSourceArn: &arn, Queues: []string{"orders"},
			SourceAccessConfigurations: []types.SourceAccessConfiguration{{Type: types.SourceAccessTypeBasicAuth, URI: secret("activemq")}},
		},
		put: func(_ int, body string) error { return sender.Send(t.Context(), &amqp.Message{Value: body}, nil) },
	}
}

func startRabbitMQ(t *eventsourcetest.Stage) *source {
	at, _ := eventsourcetest.RabbitMQ(t)
	c, err := amqp091.DialConfig(at, amqp091.Config{SASL: []amqp091.Authentication{&amqp091.PlainAuth{Username: "lambda", Password: "secret"}}})
	t.Must(err)
	t.Cleanup(func() { c.Close() })
	channel, err := c.Channel()
	t.Must(err)
	_, err = channel.QueueDeclare("orders", true, false, false, false, nil)
	t.Must(err)
	arn := "arn:aws:mq:" + region + ":" + account + ":broker:shop:b-1"
	return &source{
		name: "Amazon MQ: RabbitMQ at " + at, at: arn + "=" + at, secrets: map[string]string{"rabbitmq": login},
		mapping: &lambda.CreateEventSourceMappingInput{
			EventSourceArn: &arn, Queues: []string{"orders"},
			SourceAccessConfigurations: []types.SourceAccessConfiguration{
				{Type: types.SourceAccessTypeBasicAuth, URI: secret("rabbitmq")}, {Type: types.SourceAccessTypeVirtualHost, URI: aws.String("/")},
			},
		},
		put: func(_ int, body string) error {
			return channel.PublishWithContext(t.Context(), "", "orders", false, false, amqp091.Publishing{Body: []byte(body)})
		},
	}
}
