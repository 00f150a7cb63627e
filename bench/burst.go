package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
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

// burstHolds are how long the environments of a burst keep their event. When that is too short for all to be restored, some take a second event, and fewer
// are restored than were asked for: on a machine that has other work the burst is tried again with more time, which stays below the function's timeout.
var burstHolds = []time.Duration{20 * time.Second, 55 * time.Second}

// measureBurst sends many invokes of one version at once, of which no environment is there.
func measureBurst(ctx context.Context, _ options, s *server) (out []result, err error) {
	p, err := s.makeAndPublish(ctx, waiting)
	if err != nil {
		return nil, err
	}
	for _, hold := range burstHolds {
		if err := s.gone(ctx, p); err != nil {
			return nil, err
		}
		all := false
		if out, all, err = s.burst(ctx, p, hold); err != nil || all {
			return out, err
		}
	}
	return out, nil
}

// burst says also whether each invoke had an environment of its own.
func (s *server) burst(ctx context.Context, p published, hold time.Duration) (out []result, all bool, err error) {
	before, err := s.metrics(ctx)
	if err != nil {
		return nil, false, err
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
	answers := s.together(ctx, p, burstWidth, hold)
	close(stop)
	watch.Wait()
	envs, err := s.environments(ctx, p) // before they go
	if err != nil {
		return nil, false, err
	}
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
		return nil, false, err
	}
	out = []result{
		{what: fmt.Sprintf("%d invokes at once, answered from the snapshot", burstWidth), value: float64(right), aim: burstWidth, exact: true},
		{what: "environments restored", value: after[restored] - before[restored], aim: burstWidth, exact: true},
		{what: "restores that became an Init", value: after[fallbacks] - before[fallbacks], none: true},
	}
	var stages samples
	for _, e := range envs {
		for _, st := range stagesOf(e, 0)[1:] { // place is of /metrics, and of all together
			if !strings.HasPrefix(st.name, "first byte") { // that is the waiting
				stages.add(st.name, st.wall, st.cpu)
			}
		}
	}
	select {
	case took := <-ready:
		all = true
		out = append(out, result{what: "all restored after", value: took.Seconds(), unit: "s"}, result{what: "throughput", value: burstWidth / took.Seconds(), unit: "restores/s"})
	default:
		out = append(out, result{what: "throughput", words: "the environments were not all restored before the first answered"})
	}
	for _, st := range stages {
		out = append(out, result{what: fmt.Sprintf("stage %s, median of %d", st.name, len(st.wall)), value: median(st.wall), unit: "ms", cpu: median(st.cpu)})
	}
	return out, all, nil
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
