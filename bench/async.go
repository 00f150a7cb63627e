package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// asyncNode notes how long after its sending each event began, and tells it who asks.
const asyncNode = `const began = [];
exports.handler = async (e) => {
  if (e.report) return began;
  if (e.sent) began.push(performance.timeOrigin + performance.now() - e.sent);
  if (e.hold) await new Promise((go) => setTimeout(go, e.hold));
};
`

// measureAsync counts events that are accepted durably while none is run, how fast they are run then, and, before all
// that, how long an event takes from its sender to its handler when nothing else happens.
func measureAsync(ctx context.Context, o options, s *server) ([]result, error) {
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	const name = "async"
	if err := s.create(ctx, name, rt, "index.handler", "index.js", []byte(asyncNode)); err != nil {
		return nil, err
	}
	_, err = s.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String(name), Timeout: aws.Int32(300)})
	if err != nil {
		return nil, err
	}
	if err := lambda.NewFunctionUpdatedV2Waiter(s.client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: aws.String(name)}, time.Minute); err != nil {
		return nil, err
	}
	// One environment: a second would begin on a busy machine, and not be asked what it saw.
	_, err = s.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String(name), ReservedConcurrentExecutions: aws.Int32(1)})
	if err != nil {
		return nil, err
	}
	latency, err := s.asyncLatency(ctx, name)
	if err != nil {
		return nil, err
	}
	rate, drain, err := s.asyncRates(ctx, o, name)
	if err != nil {
		return nil, err
	}
	out := []result{
		{what: "event to start of handler, p50", value: median(latency), unit: "ms", aim: 5},
		{what: "event to start of handler, p99", value: quantile(latency, 0.99), unit: "ms"},
		{what: "accepted, 64 connections", value: rate, unit: "events/s", aim: 5000, atLeast: true},
		{what: "run, 16 environments of Node", value: drain, unit: "events/s"},
	}
	if s.kind == "process" {
		out[3].aim, out[3].atLeast = 1000, true
	}
	return out, nil
}

func (s *server) invokeAsync(ctx context.Context, name, event string) error {
	raw, err := s.prepare(ctx, name, "", []byte(event), false, "X-Amz-Invocation-Type", "Event")
	if err != nil {
		return err
	}
	l, err := dialLoad(ctx, s.host, raw)
	if err != nil {
		return err
	}
	defer l.close()
	_, err = l.once()
	return err
}

// asyncLatency sends one event after the other.
func (s *server) asyncLatency(ctx context.Context, name string) (took []float64, err error) {
	const events = 200
	report := func() error {
		out, err := s.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name), Payload: []byte(`{"report":true}`)})
		if err != nil {
			return err
		}
		return json.Unmarshal(out.Payload, &took)
	}
	if err := report(); err != nil { // brings the environment up
		return nil, err
	}
	for range events {
		if err := s.invokeAsync(ctx, name, fmt.Sprintf(`{"sent":%.3f}`, float64(time.Now().UnixMicro())/1000)); err != nil {
			return nil, err
		}
		time.Sleep(20 * time.Millisecond) // it is frozen again
	}
	for end := time.Now().Add(time.Minute); len(took) < events && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := report(); err != nil {
			return nil, err
		}
	}
	if len(took) < events {
		return nil, fmt.Errorf("of %d events %d were run by the environment that tells", events, len(took))
	}
	return took, nil
}

// asyncRates sends events while one invocation holds the only place that the function has, and then gives it more.
func (s *server) asyncRates(ctx context.Context, o options, name string) (accepted, run float64, err error) {
	hold := time.Duration(o.rounds+1)*o.burst + 3*time.Second
	held := make(chan error, 1)
	go func() {
		_, err := s.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name), Payload: fmt.Appendf(nil, `{"hold":%d}`, hold.Milliseconds())})
		held <- err
	}()
	time.Sleep(500 * time.Millisecond) // it has the place
	const age = "thaw_async_event_age_seconds_count"
	before, err := s.metrics(ctx)
	if err != nil {
		return 0, 0, err
	}
	raw, err := s.prepare(ctx, name, "", []byte(smallEvent), false, "X-Amz-Invocation-Type", "Event")
	if err != nil {
		return 0, 0, err
	}
	var rates []float64
	all := 0
	for range o.rounds {
		n, took, err := s.flood(ctx, raw, 64, o.burst)
		if err != nil {
			return 0, 0, err
		}
		all += n
		rates = append(rates, float64(n)/took.Seconds())
	}
	if err := <-held; err != nil {
		return 0, 0, err
	}
	if _, err := s.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String(name), ReservedConcurrentExecutions: aws.Int32(16)}); err != nil {
		return 0, 0, err
	}
	// Counted from the first tenth on: environments have to start, and the pause for want of concurrency has to end.
	var from time.Time
	var fromCount float64
	for ctx.Err() == nil {
		now, err := s.metrics(ctx)
		if err != nil {
			return 0, 0, err
		}
		done := now[age] - before[age]
		switch {
		case from.IsZero() && done >= float64(all)/10:
			from, fromCount = time.Now(), done
		case done >= float64(all)*0.95:
			return median(rates), (done - fromCount) / time.Since(from).Seconds(), nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return 0, 0, ctx.Err()
}

// flood sends a request over many connections for a time.
func (s *server) flood(ctx context.Context, raw []byte, connections int, lasts time.Duration) (n int, took time.Duration, err error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for range connections {
		wg.Go(func() {
			l, err := dialLoad(ctx, s.host, raw)
			if err != nil {
				failed.Store(&err)
				return
			}
			defer l.close()
			for time.Since(began) < lasts && ctx.Err() == nil {
				if _, err := l.once(); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return int(done.Load()), time.Since(began), nil
}
