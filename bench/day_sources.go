package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/twmb/franz-go/pkg/kgo"

	"thaw/admin"
)

// dailyReader tells of each record that it is given, in its log, with a name of its environment.
const dailyReader = `const text = (b) => Buffer.from(b, 'base64').toString();
let env = '';
exports.handler = async (event) => {
  env ||= require('node:crypto').randomUUID();
  const bodies = event.Records ? event.Records.map((r) => r.body) : Object.values(event.records).flat().map((r) => text(r.value));
  for (const body of bodies) console.log('handled', body, env);
};
`

// dailySource is a source of the day: a queue, or a topic. Its records come in bursts, and after pauses in which
// environments, and connections, end for want of use.
type dailySource struct {
	name, function string
	gaps           []time.Duration // the first pauses; the others are by chance
	put            func(ctx context.Context, body string) error
	left           func(ctx context.Context) (int, error) // records that the source still has
	close          func()
	mapping        *string

	sent   map[string]time.Time
	failed error // of put
}

// longPause is longer than environments stay, and short enough for a day of three minutes. It counts from the put: the
// function is done with the record some seconds later, and the pool looks for idle environments every five.
const longPause = dayExpiry + 15*time.Second

// beginSources makes a function and a mapping for each source. None, where there are no brokers.
func (d *day) beginSources(ctx context.Context) (all []*dailySource, err error) {
	if d.s.brokers == nil {
		return nil, nil
	}
	rt, err := d.runtime(ctx, "nodejs")
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: day: sources are left out: %v\n", err)
		return nil, nil
	}
	for _, open := range []func(context.Context) (*dailySource, *lambda.CreateEventSourceMappingInput, error){d.dailyQueue, d.dailyTopic} {
		r, in, err := open(ctx)
		if err != nil {
			return nil, err
		}
		r.sent, r.function = map[string]time.Time{}, "day-reads-"+r.name
		all = append(all, r)
		err = d.s.createFrom(ctx, r.function, rt, "index.handler", map[string][]byte{"index.js": []byte(dailyReader)}, func(in *lambda.CreateFunctionInput) {
			in.MemorySize, in.Timeout = aws.Int32(128), aws.Int32(int32(dayTimeout/time.Second))
		})
		if err != nil {
			return nil, err
		}
		in.FunctionName = &r.function
		m, err := d.s.client.CreateEventSourceMapping(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("the mapping of %s: %w", r.name, err)
		}
		r.mapping = m.UUID
		if err := d.s.settled(ctx, m.UUID, "Enabled"); err != nil {
			return nil, fmt.Errorf("the mapping of %s: %w", r.name, err)
		}
	}
	return all, nil
}

func (d *day) dailyQueue(ctx context.Context) (*dailySource, *lambda.CreateEventSourceMappingInput, error) {
	b := d.s.brokers
	url, arn, err := b.queue(ctx, "day")
	if err != nil {
		return nil, nil, err
	}
	r := &dailySource{name: "queue", gaps: []time.Duration{longPause, 3 * time.Second}, close: func() {}}
	r.put = func(ctx context.Context, body string) error {
		_, err := b.queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body})
		return err
	}
	r.left = func(ctx context.Context) (n int, err error) {
		out, err := b.queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll}})
		if err != nil {
			return 0, err
		}
		for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"} {
			one, err := strconv.Atoi(out.Attributes[name])
			if err != nil {
				return 0, err
			}
			n += one
		}
		return n, nil
	}
	return r, &lambda.CreateEventSourceMappingInput{EventSourceArn: &arn}, nil
}

func (d *day) dailyTopic(ctx context.Context) (*dailySource, *lambda.CreateEventSourceMappingInput, error) {
	c, err := d.s.brokers.topic(ctx, "day", 2)
	if err != nil {
		return nil, nil, err
	}
	r := &dailySource{name: "topic", gaps: []time.Duration{12 * time.Second, longPause}, close: c.Close}
	r.put = func(ctx context.Context, body string) error {
		return c.ProduceSync(ctx, kgo.StringRecord(body)).FirstErr()
	}
	r.left = func(ctx context.Context) (int, error) {
		all, err := d.s.admin.Sources(ctx)
		for _, s := range all {
			if s.ID == *r.mapping && s.Lag != nil {
				return int(*s.Lag) + s.Held, err
			}
		}
		return 1, err // nobody knows
	}
	return r, &lambda.CreateEventSourceMappingInput{EventSourceArn: aws.String(clusterARN), Topics: []string{"day"}, StartingPosition: types.EventSourcePositionTrimHorizon}, nil
}

// feed puts records until the day is over.
func (r *dailySource) feed(ctx, open context.Context, draw *rand.Rand) {
	for i := 0; ; i++ {
		for range 1 + draw.IntN(20) {
			body := fmt.Sprintf("%s-%d", r.name, len(r.sent))
			at := time.Now()
			if err := r.put(ctx, body); err != nil {
				r.failed = err
				return
			}
			r.sent[body] = at
		}
		gap := time.Duration(1+draw.IntN(200)) * time.Second
		if i < len(r.gaps) {
			gap = r.gaps[i]
		}
		if pause(open, gap) != nil {
			return
		}
	}
}

// endSources holds what functions have told against what was put, and looks for what is left in the sources.
func (d *day) endSources(ctx context.Context, o options, all []*dailySource) (out []result, err error) {
	if len(all) == 0 {
		return []result{{what: "sources", words: "left out"}}, nil
	}
	for _, r := range all {
		defer r.close()
		if r.failed != nil {
			return nil, fmt.Errorf("records for the %s: %w", r.name, r.failed)
		}
		var h handled
		lost := len(r.sent)
		for end := time.Now().Add(2 * time.Minute); lost > 0 && time.Now().Before(end); {
			if h, err = d.handled(ctx, r); err != nil {
				return nil, err
			}
			if lost = len(r.sent) - len(h.times); lost > 0 {
				if err := pause(ctx, 500*time.Millisecond); err != nil {
					return nil, err
				}
			}
		}
		left := 1
		for end := time.Now().Add(time.Minute); left > 0 && time.Now().Before(end); {
			if left, err = r.left(ctx); err != nil {
				return nil, err
			}
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
		}
		again, few := 0, 0.0
		for _, n := range h.times {
			again += n - 1
		}
		if o.day >= 3*time.Minute && len(h.environments) < 2 { // or the pause was not longer than environments stay
			few = 1
		}
		what := r.name + ": "
		out = append(out, result{what: what + "records put", value: float64(len(r.sent))}, result{what: what + "records that no function was given", value: float64(lost), none: true},
			result{what: what + "records given again", value: float64(again), none: true}, result{what: what + "records left in it", value: float64(left), none: true},
			result{what: what + "environments", value: float64(len(h.environments))}, result{what: what + "pauses longer than an environment stays that were not tried", value: few, none: true},
			result{what: what + "from put to handler", words: quantiles(h.took)})
	}
	for _, r := range all {
		if _, err := d.s.client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: r.mapping}); err != nil {
			return nil, err
		}
	}
	err = d.s.until(ctx, "without mappings", time.Minute, func() (bool, error) {
		list, err := d.s.client.ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{})
		return err == nil && len(list.EventSourceMappings) == 0, err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if _, err := d.s.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &r.function}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// handled is what a function has told.
type handled struct {
	times        map[string]int // by record
	environments map[string]bool
	took         []float64 // milliseconds from put to handler
}

func (d *day) handled(ctx context.Context, r *dailySource) (h handled, err error) {
	h = handled{times: map[string]int{}, environments: map[string]bool{}}
	var q admin.LogQuery
	q.Group = "/aws/lambda/" + r.function
	for e, err := range d.s.admin.Logs(ctx, q) {
		if err != nil {
			return h, err
		}
		words := strings.Fields(e.Message)
		at := slices.Index(words, "handled")
		if at < 0 || len(words) < at+3 {
			continue
		}
		body := words[at+1]
		h.environments[words[at+2]] = true
		if h.times[body]++; h.times[body] == 1 {
			h.took = append(h.took, ms(time.UnixMilli(e.Time).Sub(r.sent[body])))
		}
	}
	return h, nil
}
