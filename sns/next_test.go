package sns

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"thaw/internal/golden"
)

// The whole life of a delivery, as a table.
func TestNext(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	for _, queue := range []bool{false, true} {
		fmt.Fprintf(&table, "dead-letter queue: %v\n", queue)
		for s := range numStates {
			for e := range numEvents {
				to, do, ok := Next(s, e, queue)
				if !ok {
					fmt.Fprintf(&table, "%-7v + %-9v -> refused\n", s, e)
					if to != s || len(do) > 0 {
						t.Errorf("%v + %v was refused yet did something", s, e)
					}
					continue
				}
				fmt.Fprintf(&table, "%-7v + %-9v -> %-7v %v\n", s, e, to, do)
			}
		}
	}
	golden.Equal(t, "testdata/next.golden", table.String())
}

// Whatever happens in whatever order: no delivery is forgotten twice, and each that is over was forgotten.
func TestNextInAnyOrder(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	for range 10_000 {
		s, queue, forgotten := Waiting, dice.IntN(2) == 0, 0
		for range 50 {
			to, do, ok := Next(s, Event(dice.IntN(int(numEvents))), queue)
			if !ok {
				continue
			}
			for _, a := range do {
				if a == Forget {
					forgotten++
				}
			}
			s = to
		}
		if forgotten > 1 || (s == Over) != (forgotten == 1) {
			t.Fatalf("in %v it was forgotten %d times", s, forgotten)
		}
	}
}

// Delivery policies: the phases, and the delays of each function of backing off.
func TestRetries(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	show := func(name string, r Retries) {
		fmt.Fprintf(&table, "%s:", name)
		total, n := time.Duration(0), 0
		for ; ; n++ {
			d, again := r.Delay(n)
			if !again {
				break
			}
			if total += d; n < 24 {
				fmt.Fprintf(&table, " %v", d)
			}
		}
		fmt.Fprintf(&table, "\n  %d retries within %v\n", n, total)
	}
	show("queues and functions", forQueues)
	for _, policy := range []string{"", `{"healthyRetryPolicy":{"numRetries":8,"numNoDelayRetries":2,"numMinDelayRetries":1,"numMaxDelayRetries":1,"minDelayTarget":1,"maxDelayTarget":60}}`,
		`{"healthyRetryPolicy":{"numRetries":6,"minDelayTarget":2,"maxDelayTarget":100,"backoffFunction":"exponential"}}`,
		`{"healthyRetryPolicy":{"numRetries":6,"minDelayTarget":2,"maxDelayTarget":100,"backoffFunction":"geometric"}}`,
		`{"healthyRetryPolicy":{"numRetries":6,"minDelayTarget":2,"maxDelayTarget":64,"backoffFunction":"arithmetic"}}`,
		`{"healthyRetryPolicy":{"numRetries":6,"minDelayTarget":2,"maxDelayTarget":64,"backoffFunction":"linear"}}`} {
		p, err := policyOf("", policy)
		if err != nil {
			t.Fatal(err)
		}
		show("HTTP "+policy, p.Retries)
	}
	golden.Equal(t, "testdata/retries.golden", table.String())
}

// A topic's policy is for its subscriptions without one, and for all where it says so.
func TestWhosePolicy(t *testing.T) {
	t.Parallel()
	const topic = `{"http":{"defaultHealthyRetryPolicy":{"numRetries":7},"defaultThrottlePolicy":{"maxReceivesPerSecond":5},"disableSubscriptionOverrides":%v}}`
	for _, c := range []struct {
		only    bool
		sub     string
		retries int
	}{{false, "", 7}, {false, `{"healthyRetryPolicy":{"numRetries":9}}`, 9}, {true, `{"healthyRetryPolicy":{"numRetries":9}}`, 7}} {
		p, err := policyOf(fmt.Sprintf(topic, c.only), c.sub)
		if err != nil || p.Growing != c.retries || p.PerSecond != 5 {
			t.Errorf("%+v: %+v, %v", c, p, err)
		}
	}
}
