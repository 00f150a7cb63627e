package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// idlePace is when a thousand streams without records are polled as seldom as they ever are.
const idlePace = 110 * time.Second

// measureStreamsAtRest counts what mappings cost whose streams have nothing: a thousand that are polled, and a thousand
// consumers, each with one shard.
func measureStreamsAtRest(ctx context.Context, o options, s *server) (out []result, err error) {
	if s.kind != o.sandboxes[0] { // there is none in it
		return nil, nil
	}
	if err := s.node(ctx, "rests"); err != nil {
		return nil, err
	}
	self := []int{s.cmd.Process.Pid}
	for _, c := range []struct {
		name   string
		pushed bool
		until  time.Duration
	}{{"polled", false, idlePace}, {"by fan-out", true, twoPolls}} {
		alone, err := share(ctx, self, o.idle)
		if err != nil {
			return nil, err
		}
		small := memoryMiB(self)
		ids := make([]*string, restingMappings)
		err = all(8, restingMappings, func(i int) error {
			one := s.brokers.stream.server.Stream(1)
			source := one.ARN
			if c.pushed {
				source = one.ConsumerARN
			}
			m, err := s.client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("rests"), EventSourceArn: &source, StartingPosition: types.EventSourcePositionTrimHorizon})
			if err == nil {
				ids[i] = m.UUID
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, c.until); err != nil {
			return nil, err
		}
		if err := s.settled(ctx, ids[len(ids)-1], "Enabled"); err != nil {
			return nil, err
		}
		used, err := share(ctx, self, max(o.idle, 20*time.Second))
		if err != nil {
			return nil, err
		}
		out = append(out, result{what: fmt.Sprintf("a thousand mappings of streams without records, %s, of a processor", c.name), value: used - alone, unit: "% of a core", aim: 2},
			result{what: fmt.Sprintf("a thousand mappings of streams without records, %s, memory", c.name), value: memoryMiB(self) - small, unit: "MiB", aim: 150})
		err = all(8, restingMappings, func(i int) error {
			_, err := s.client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: ids[i]})
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, 5*time.Second); err != nil {
			return nil, err
		}
	}
	return out, nil
}
