package sqs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"thaw/eventsource"
)

// Polls of many queues begin in the first quarter of a second, and those of a few at once.
func TestPollsThatBeginTogether(t *testing.T) {
	whole := time.Date(2030, 1, 1, 0, 0, 7, 0, time.UTC)
	for _, c := range []struct {
		into time.Duration
		open int
		want time.Duration
	}{
		{0, 1, 0}, {600 * time.Millisecond, many - 1, 0},
		{0, many, soon}, {quarter - 1, many, soon}, {quarter, many, time.Second - quarter}, {time.Second - 1, many, 1},
	} {
		if got := pauseAt(whole.Add(c.into), c.open); got != c.want {
			t.Errorf("%v into a second, with %d open: %v, want %v", c.into, c.open, got, c.want)
		}
	}
}

// A queue that had nothing the last time is read as any other: its messages are the same, a problem is told in the same
// words, and a poll whose poller has left before it began is none.
func TestQuietPolls(t *testing.T) {
	s := elasticMQ(t)
	arn := s.queue(t, false, map[string]string{"VisibilityTimeout": "0"})
	src, err := s.driver.Open(t.Context(), &eventsource.Mapping{Kind: eventsource.SQS, Source: eventsource.Origin{ARN: arn}}, eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	q := src.Queue.(*queue)
	receive := func(ctx context.Context) ([]*eventsource.Record, error) {
		q.nothing.Store(true)
		return q.Receive(ctx, 10)
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	if all, err := receive(left); len(all) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("a poller that has left: %d messages, %v", len(all), err)
	}
	s.put(t, arn, "", `{"k":"<&>"}`)
	quietly, err := receive(t.Context())
	if err != nil || len(quietly) != 1 || q.nothing.Load() {
		t.Fatalf("%d messages, %v, nothing %t", len(quietly), err, q.nothing.Load())
	}
	loudly, err := q.Receive(t.Context(), 10)
	if err != nil || len(loudly) != 1 {
		t.Fatalf("%d messages, %v", len(loudly), err)
	}
	end := func(r *eventsource.Record) string { // receipts, and what counts receives, differ
		_, text, _ := strings.Cut(string(r.Event), `"messageAttributes"`)
		return r.ID + text
	}
	if end(quietly[0]) != end(loudly[0]) {
		t.Errorf("quietly %s\nloudly  %s", end(quietly[0]), end(loudly[0]))
	}
	if _, err := s.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &q.url}); err != nil {
		t.Fatal(err)
	}
	var p *eventsource.ProblemError
	if _, err := receive(t.Context()); !errors.As(err, &p) || !strings.HasPrefix(p.Text, "The queue does not exist.") {
		t.Errorf("a queue that is gone: %v", err)
	}
	q.strays.polls.Wait() // the first, which nobody waited for, too
	if q.strays.quiet.open != 0 {
		t.Errorf("%d polls are open", q.strays.quiet.open)
	}
}
