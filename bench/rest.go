package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

const restingMappings = 1000

// twoPolls is as long as each mapping polls its queue twice.
const twoPolls = 40 * time.Second

// measureSourcesAtRest counts what mappings cost whose queues have nothing.
func measureSourcesAtRest(ctx context.Context, o options, s *server) ([]result, error) {
	if s.kind != o.sandboxes[0] { // there is none in it
		return nil, nil
	}
	if err := s.node(ctx, "rests"); err != nil {
		return nil, err
	}
	self := []int{s.cmd.Process.Pid}
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	alone, err := share(ctx, self, o.idle)
	if err != nil {
		return nil, err
	}
	small := memoryMiB(self)
	began := time.Now()
	err = all(8, restingMappings, func(i int) error {
		_, arn, err := s.brokers.queue(ctx, fmt.Sprintf("rest-%d", i))
		if err != nil {
			return err
		}
		_, err = s.client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("rests"), EventSourceArn: &arn})
		return err
	})
	if err != nil {
		return nil, err
	}
	made := time.Since(began)
	err = s.until(ctx, "enabled", time.Minute, func() (bool, error) {
		n := 0
		for p := lambda.NewListEventSourceMappingsPaginator(s.client, &lambda.ListEventSourceMappingsInput{}); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			if err != nil {
				return false, err
			}
			for _, m := range page.EventSourceMappings {
				if aws.ToString(m.State) == "Enabled" {
					n++
				}
			}
		}
		return n == restingMappings, pause(ctx, time.Second)
	})
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, twoPolls); err != nil { // the first polls are begun as they come
		return nil, err
	}
	used, err := share(ctx, self, max(o.idle, twoPolls))
	if err != nil {
		return nil, err
	}
	large := memoryMiB(self)
	return []result{
		{what: "a thousand mappings of empty queues made, 8 at a time", value: made.Seconds(), unit: "s"},
		{what: "what they take of a processor", value: used - alone, unit: "% of a core", aim: 2},
		{what: "what they take of memory", value: large - small, unit: "MiB", aim: 150},
		{what: "the whole server with them, CPU", value: used, unit: "% of a core"},
		{what: "the whole server with them, memory", value: large, unit: "MiB"},
	}, nil
}
