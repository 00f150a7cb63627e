package activemq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/go-amqp"
)

// statistics is where a broker with the statistics plugin tells about a queue. A broker without it has a queue of that
// name then, in which the question is for askLimit. Source: ActiveMQ's documentation, StatisticsPlugin.
const statistics = "queue://ActiveMQ.Statistics.Destination."

// askLimit is how long the plugin may take: it answers at once.
const askLimit = time.Second

var errNoStatistics = errors.New("the broker has no statistics plugin, or its user may not ask it")

// Depth implements poller.Depth: how many messages the queue has that no function was given. Where nobody answers, nobody is
// asked again.
func (q *queue) Depth(ctx context.Context) (int64, error) {
	if q.silent.Load() {
		return 0, errNoStatistics
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	size, err := q.ask(ctx)
	if err != nil {
		q.silent.Store(true)
		return 0, fmt.Errorf("%w: %w", errNoStatistics, err)
	}
	return max(0, size-q.given.Load()), nil
}

// ask asks for the size of the queue, on a session of its own.
func (q *queue) ask(ctx context.Context) (int64, error) {
	session, err := q.conn.NewSession(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), askLimit)
		defer cancel()
		_ = session.Close(closing) // and all that is of it
	}()
	answers, err := session.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true, SourceCapabilities: []string{"temporary-queue"}})
	if err != nil {
		return 0, err
	}
	sender, err := session.NewSender(ctx, statistics+q.name, &amqp.SenderOptions{TargetCapabilities: []string{"queue"}})
	if err != nil {
		return 0, err
	}
	to := answers.Address()
	question := amqp.NewMessage(nil)
	question.Header, question.Properties = &amqp.MessageHeader{TTL: askLimit}, &amqp.MessageProperties{ReplyTo: &to}
	if err := sender.Send(ctx, question, nil); err != nil {
		return 0, err
	}
	answer, err := answers.Receive(ctx, nil)
	if err != nil {
		return 0, err
	}
	told, _ := answer.Value.(map[string]any)
	size, ok := told["size"].(int64)
	if !ok {
		return 0, fmt.Errorf("an answer without a size: %T", answer.Value)
	}
	return size, nil
}
