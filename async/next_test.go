package async

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"thaw/function"
	"thaw/internal/golden"
)

// Every decision, on both sides of each edge. C-090, C-091, C-093, C-094.
func TestNext(t *testing.T) {
	var table strings.Builder
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for h := range numHappenings {
		for _, retries := range []int{0, 2} {
			for _, maxAge := range []time.Duration{time.Minute, 6 * time.Hour} {
				for attempts := range 4 {
					for _, backOff := range []time.Duration{0, 4 * time.Second, 5 * time.Minute} {
						for _, age := range []time.Duration{0, maxAge - time.Minute - 1, maxAge - time.Minute, maxAge - 1, maxAge} {
							counts := h == Succeeded || h == FunctionErred
							if counts != (attempts > 0) || age < 0 || backOff > 0 && h != Throttled && h != PlatformErred || retries == 0 && h != FunctionErred {
								continue
							}
							now := from.Add(age)
							d := Next(Tried{from, attempts, backOff}, h, function.AsyncPolicy{MaxRetries: retries, MaxAge: maxAge}, AWSDelays(), now)
							fmt.Fprintf(&table, "%v, age %v of %v", h, age, maxAge)
							if counts {
								fmt.Fprintf(&table, ", attempt %d with %d retries", attempts, retries)
							}
							if backOff > 0 {
								fmt.Fprintf(&table, ", waited %v", backOff)
							}
							fmt.Fprintf(&table, " -> %v", d.Step)
							if !d.At.IsZero() {
								fmt.Fprintf(&table, " in %v", d.At.Sub(now))
							}
							if d.BackOff > 0 {
								fmt.Fprintf(&table, ", then from %v on", d.BackOff)
							}
							if d.Condition != "" {
								fmt.Fprintf(&table, " %s", d.Condition)
							}
							table.WriteString("\n")
							if waits := d.Step == Again || d.Step == BackOff; waits != !d.At.IsZero() || waits && !d.At.After(now) || d.At.After(from.Add(maxAge)) {
								t.Errorf("a wait that is none, or ends after the age limit:\n%s", table.String()[strings.LastIndex(table.String()[:table.Len()-1], "\n")+1:])
							}
						}
					}
				}
			}
		}
	}
	golden.Equal(t, "testdata/next.golden", table.String())
}
