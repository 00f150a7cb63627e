package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// idlers are environments that lie idle beside the soak, one that was initialised and one that was restored.
// Provisioned ones: all others go soon.
type idlers struct {
	d      *day
	cancel context.CancelFunc
	wg     sync.WaitGroup
	cycle  sync.WaitGroup // the first round of pauses of each
}

// idlePauses are the pauses of which no environment may lose anything.
var idlePauses = []time.Duration{12 * time.Second, 45 * time.Second, 130 * time.Second}

func beginIdlers(ctx context.Context, s *server) (*idlers, error) {
	i := &idlers{d: &day{s: s, ledger: newLedger(s.kind), runtimes: map[string]types.Runtime{}}}
	list := []*routine{{language: "Node", life: "provisioned beside the soak", rhythm: seldom, provisioned: 1},
		{language: "Node", life: "provisioned from a snapshot beside the soak", rhythm: seldom, snapStart: true, provisioned: 1}}
	for _, r := range list {
		if err := i.d.prepare(ctx, r, nil); err != nil {
			return nil, fmt.Errorf("%s: %w", r.what(), err)
		}
	}
	open, cancel := context.WithCancel(ctx)
	i.cancel = cancel
	for _, r := range list {
		i.cycle.Add(1)
		i.wg.Go(func() {
			first := sync.OnceFunc(i.cycle.Done)
			defer first()
			for {
				for _, p := range idlePauses {
					i.d.invoke(ctx, r, asked{n: i.d.n.Add(1), text: "after a pause"})
					if pause(open, p) != nil {
						return
					}
				}
				i.d.invoke(ctx, r, asked{n: i.d.n.Add(1), text: "after the longest pause"})
				first()
			}
		})
	}
	return i, nil
}

// end waits until every pause was tried.
func (i *idlers) end(ctx context.Context) error {
	i.cycle.Wait()
	i.cancel()
	i.wg.Wait()
	i.d.ledger.close()
	return ctx.Err()
}

func (i *idlers) table() []result {
	l := i.d.ledger
	faults := 0
	for _, n := range l.faults {
		faults += n
	}
	out := []result{{what: "beside it, answers after up to 130 s of idle time", value: float64(l.invokes)},
		{what: "of these wrong, lost, or of another environment", value: float64(faults + len(l.lives) - 2), none: true}}
	for n := range len(pauses) + 1 {
		if took := l.again["Node"][n]; len(took) > 0 {
			out = append(out, result{what: "answer after " + pauseName(n), words: quantiles(took)})
		}
	}
	return out
}
