package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/twmb/franz-go/pkg/kgo"

	"thaw/eventsource"
)

// sourceRounds is how often each measurement of sources is made; the median is printed.
const sourceRounds = 5

// measureSources reads a queue and a topic that have much. Where the time goes is told by what each process uses of a
// processor, and for the queue by clients that receive and delete the same without any function.
func measureSources(ctx context.Context, _ options, s *server) (out []result, err error) {
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx, "reads", rt, "index.handler", "index.js", []byte(`exports.handler = async () => {};`)); err != nil {
		return nil, err
	}
	for _, measure := range []func(context.Context) ([]result, error){measureFilter, s.measureQueue, s.measureTopic} {
		rs, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, rs...)
	}
	return out, nil
}

// measureFilter decides about messages, one in three of which passes.
func measureFilter(context.Context) ([]result, error) {
	f, err := eventsource.NewFilter(eventsource.SQS, []string{`{"body":{"city":["Oslo"]}}`})
	if err != nil {
		return nil, err
	}
	var records []eventsource.Filtered
	for i := range 1000 {
		city := []string{"Oslo", "Porto", "Turin"}[i%3]
		records = append(records, eventsource.Filtered{Meta: []byte(`{"messageId":"19dd0b57-b21e-4ac1-bd88-01bbb068cb78"}`),
			Data: []eventsource.Datum{{Name: "body", Bytes: fmt.Appendf(nil, `{"order":%d,"city":%q,"items":[{"sku":"a-1","count":2}]}`, i, city)}}})
	}
	var rates []float64
	for range sourceRounds {
		n, began := 0, time.Now()
		for time.Since(began) < 500*time.Millisecond {
			for i := range records {
				f.Passes(records[i])
			}
			n += len(records)
		}
		rates = append(rates, float64(n)/time.Since(began).Seconds())
	}
	return []result{{what: "filter: decisions on a simple pattern, one thread", value: median(rates), unit: "/s", aim: 1e6, atLeast: true}}, nil
}

// spent is what processes have used of a processor.
type spent struct{ broker, server, functions time.Duration }

func (s *server) spent(broker int) spent {
	pid := s.cmd.Process.Pid
	return spent{cpu([]int{broker}), cpu([]int{pid}), cpu(children(pid))}
}

// shares tells where the time of several rounds went.
func shares(what string, all []spent) result {
	of := func(part func(spent) time.Duration) float64 {
		var each []float64
		for _, s := range all {
			each = append(each, ms(part(s)))
		}
		return median(each)
	}
	return result{what: what, words: fmt.Sprintf("the source's server %.0f, thaw %.0f, environments %.0f",
		of(func(s spent) time.Duration { return s.broker }), of(func(s spent) time.Duration { return s.server }), of(func(s spent) time.Duration { return s.functions }))}
}

func (a spent) since(b spent) spent {
	return spent{a.broker - b.broker, a.server - b.server, a.functions - b.functions}
}

// counted is the sum of a counter of a mapping.
func (s *server) counted(ctx context.Context, counter, mapping string) (n float64, err error) {
	all, err := s.metrics(ctx)
	for name, value := range all {
		if strings.HasPrefix(name, "thaw_lambda_"+counter+"{") && strings.Contains(name, mapping) {
			n += value
		}
	}
	return n, err
}

// settled waits until a mapping is in a state.
func (s *server) settled(ctx context.Context, mapping *string, state string) error {
	return s.until(ctx, state, time.Minute, func() (bool, error) {
		m, err := s.client.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: mapping})
		if err == nil && strings.HasPrefix(aws.ToString(m.LastProcessingResult), "PROBLEM") {
			err = fmt.Errorf("the mapping says: %s", *m.LastProcessingResult)
		}
		return err == nil && aws.ToString(m.State) == state, err
	})
}

const (
	queueMessages = 1000
	queuePollers  = 5 // that Lambda begins with
)

// measureQueue fills a queue while its mapping is disabled, and enables that.
func (s *server) measureQueue(ctx context.Context) ([]result, error) {
	url, arn, err := s.brokers.queue(ctx, "orders")
	if err != nil {
		return nil, err
	}
	m, err := s.client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("reads"), EventSourceArn: &arn, BatchSize: aws.Int32(10), Enabled: aws.Bool(false)})
	if err != nil {
		return nil, err
	}
	var took, bare []float64
	var where []spent
	for round := range sourceRounds + 1 {
		if err := s.settled(ctx, m.UUID, "Disabled"); err != nil {
			return nil, err
		}
		if err := s.brokers.fill(ctx, url, queueMessages); err != nil {
			return nil, err
		}
		before, err := s.counted(ctx, "deleted_events_total", *m.UUID)
		if err != nil {
			return nil, err
		}
		used, began := s.spent(s.brokers.elastic.PID()), time.Now()
		if _, err := s.client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: m.UUID, Enabled: aws.Bool(true)}); err != nil {
			return nil, err
		}
		err = s.until(ctx, "read", time.Minute, func() (bool, error) {
			if err := pause(ctx, 20*time.Millisecond); err != nil { // looking costs, too
				return false, err
			}
			n, err := s.counted(ctx, "deleted_events_total", *m.UUID)
			return n-before >= queueMessages, err
		})
		if err != nil {
			return nil, err
		}
		if round > 0 { // the environments were made in the first one
			took = append(took, time.Since(began).Seconds())
			where = append(where, s.spent(s.brokers.elastic.PID()).since(used))
		}
		if _, err := s.client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: m.UUID, Enabled: aws.Bool(false)}); err != nil {
			return nil, err
		}
		if err := s.settled(ctx, m.UUID, "Disabled"); err != nil {
			return nil, err
		}
		if err := s.brokers.fill(ctx, url, queueMessages); err != nil {
			return nil, err
		}
		began = time.Now()
		if err := s.brokers.drain(ctx, url, queueMessages, queuePollers); err != nil {
			return nil, err
		}
		bare = append(bare, time.Since(began).Seconds())
	}
	out := []result{
		{what: "SQS: 1,000 messages in batches of 10, from enabling to deleted", value: median(took), unit: "s"},
		{what: "SQS: the same with clients alone, without functions", value: median(bare), unit: "s"},
		{what: "SQS: share of the time that the queue's server takes", value: 100 * median(bare) / median(took), unit: "%"},
		shares("SQS: processor time for them, ms", where),
	}
	if s.kind == "process" {
		out[0].aim, out[2].aim, out[2].atLeast = 2, 50, true
	}
	_, err = s.client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: m.UUID})
	return out, err
}

const (
	topicRecords    = 300_000
	topicPartitions = 4
)

// measureTopic has new groups read a topic from its beginning.
func (s *server) measureTopic(ctx context.Context) ([]result, error) {
	topic, err := s.brokers.topic(ctx, "orders", topicPartitions)
	if err != nil {
		return nil, err
	}
	defer topic.Close()
	for i := range topicRecords {
		topic.Produce(ctx, kgo.StringRecord(fmt.Sprintf(`{"order":%d,"kind":%q}`, i, []string{"order", "order", "order", "note"}[i%4])), nil)
	}
	if err := topic.Flush(ctx); err != nil {
		return nil, err
	}
	var rates []float64
	var where []spent
	for range sourceRounds {
		m, err := s.client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{
			FunctionName: aws.String("reads"), Topics: []string{"orders"}, StartingPosition: types.EventSourcePositionTrimHorizon, BatchSize: aws.Int32(1000),
			EventSourceArn: aws.String(clusterARN),
			FilterCriteria: &types.FilterCriteria{Filters: []types.Filter{{Pattern: aws.String(`{"value":{"kind":["order"]}}`)}}},
		})
		if err != nil {
			return nil, err
		}
		var firstDone, done float64
		var from, to time.Time
		var used spent
		// From the first tenth on: the group has begun then, and the environment has come.
		err = s.until(ctx, "read", 2*time.Minute, func() (bool, error) {
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return false, err
			}
			all, err := s.metrics(ctx)
			done = 0
			for name, value := range all {
				if strings.Contains(name, *m.UUID) && (strings.HasPrefix(name, "thaw_lambda_invoked_events_total{") || strings.HasPrefix(name, "thaw_lambda_filtered_out_events_total{")) {
					done += value
				}
			}
			if from.IsZero() && done >= topicRecords/10 {
				from, firstDone, used = time.Now(), done, s.spent(s.brokers.kafka.PID())
			}
			to = time.Now()
			return done >= topicRecords*0.95, err
		})
		if err != nil {
			return nil, err
		}
		rates = append(rates, (done-firstDone)/to.Sub(from).Seconds())
		where = append(where, s.spent(s.brokers.kafka.PID()).since(used))
		if _, err := s.client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: m.UUID}); err != nil {
			return nil, err
		}
	}
	out := []result{
		{what: "Kafka: records through filter, batches of 1,000 and a no-op function", value: median(rates), unit: "/s"},
		shares("Kafka: processor time for 85 % of 300,000 records, ms", where),
	}
	if s.kind == "process" {
		out[0].aim, out[0].atLeast = 50_000, true
	}
	return out, nil
}
