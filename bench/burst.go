package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// burstWidth is how many invokes come at once.
const burstWidth = 200

// waiting answers at the moment that its event names, so that no environment takes a second event of the same burst.
var waiting = subject{what: "Node, waiting", family: "nodejs", handler: "index.handler", memoryMiB: 128, files: sources("index.js", `const crypto = require('node:crypto');
const revision = REVISION;
exports.handler = async (event) => {
  const drawn = [crypto.randomUUID(), String(Math.random()), crypto.randomBytes(16).toString('hex'),
    Buffer.from(crypto.webcrypto.getRandomValues(new Uint8Array(16))).toString('hex')];
  await new Promise((go) => setTimeout(go, Math.max(0, event.until - Date.now())));
  return { n: event.n, how: process.env.AWS_LAMBDA_INITIALIZATION_TYPE, drawn, revision };
};
`)}

// measureBurst sends many invokes of one version at once, of which no environment is there.
func measureBurst(ctx context.Context, _ options, s *server) ([]result, error) {
	p, err := s.makeAndPublish(ctx, waiting)
	if err != nil {
		return nil, err
	}
	if err := s.gone(ctx, p); err != nil {
		return nil, err
	}
	before, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	ready := make(chan time.Duration, 1)
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // when the last environment was restored
		for {
			m, err := s.metrics(ctx)
			if err == nil && m[restored]-before[restored] >= burstWidth {
				ready <- time.Since(began)
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	answers := s.together(ctx, p, burstWidth, 30*time.Second)
	close(stop)
	watch.Wait()
	right := 0
	var wrong *waited
	for i, a := range answers {
		if a.right() {
			right++
		} else if wrong == nil {
			wrong = &answers[i]
		}
	}
	if wrong != nil {
		fmt.Fprintf(os.Stderr, "bench: burst: the first wrong answer: %v\n", wrong)
	}
	after, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	out := []result{
		{what: fmt.Sprintf("%d invokes at once, answered from the snapshot", burstWidth), value: float64(right), aim: burstWidth, exact: true},
		{what: "environments restored", value: after[restored] - before[restored], aim: burstWidth, exact: true},
		{what: "restores that became an Init", value: after[fallbacks] - before[fallbacks], none: true},
	}
	select {
	case took := <-ready:
		out = append(out, result{what: "all restored after", value: took.Seconds(), unit: "s"}, result{what: "throughput", value: burstWidth / took.Seconds(), unit: "restores/s"})
	default:
		out = append(out, result{what: "throughput", words: "the environments were not all restored before the first answered"})
	}
	return out, nil
}

// waited is one answer of the waiting function.
type waited struct {
	N     int
	How   string
	Drawn []string

	asked int
	took  time.Duration
	err   error
}

// right says whether it is the answer to what was asked, from a restored environment.
func (w *waited) right() bool {
	return w.err == nil && w.How == "snap-start" && w.N == w.asked && len(w.Drawn) == 4
}

func (w *waited) String() string {
	return fmt.Sprintf("event %d after %v: %d %s %q, error %v", w.asked, w.took.Round(time.Millisecond), w.N, w.How, w.Drawn, w.err)
}

// together sends n invokes at once that all answer after hold.
func (s *server) together(ctx context.Context, p published, n int, hold time.Duration) []waited {
	out := make([]waited, n)
	until := time.Now().Add(hold).UnixMilli()
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i] = s.wait(ctx, p, i, until) })
	}
	wg.Wait()
	return out
}

func (s *server) wait(ctx context.Context, p published, n int, until int64) waited {
	name := p.name()
	began := time.Now()
	answer, err := s.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Qualifier: &p.version, Payload: fmt.Appendf(nil, `{"n":%d,"until":%d}`, n, until)},
		func(o *lambda.Options) { o.Retryer = aws.NopRetryer{} })
	w := waited{asked: n, took: time.Since(began), err: err}
	if err != nil {
		return w
	}
	if answer.FunctionError != nil {
		w.err = fmt.Errorf("%s: %s", *answer.FunctionError, answer.Payload)
		return w
	}
	w.err = json.Unmarshal(answer.Payload, &w)
	return w
}
