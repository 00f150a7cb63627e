package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// fault is one way in which an answer can be wrong.
type fault string

const (
	unanswered   fault = "invokes without an answer"
	functionFail fault = "answers that are an error"
	wrongContent fault = "answers to something else"
	wrongVersion fault = "answers of a wrong version or revision"
	wrongBirth   fault = "answers of an environment that began in another way"
	wrongClock   fault = "answers with a wrong clock"
	tooOld       fault = "answers of a snapshot past its end"
	countRepeats fault = "counts of an environment that repeat"
	countJumps   fault = "counts of an environment that jump"
	failedUpdate fault = "updates that failed"
)

// faults in the order of the table.
var faultOrder = []fault{unanswered, functionFail, wrongContent, wrongVersion, wrongBirth, wrongClock, tooOld, countRepeats, countJumps, failedUpdate}

// daily is what a function of the day answers.
type daily struct {
	N, Born, Now            int64
	Text, Version, How, Env string
	Revision, Count         int
}

// asked is one request, and what was allowed as its answer.
type asked struct {
	n            int64
	text         string
	work         time.Duration // that the event asked for
	sent, came   time.Time
	version      string // that was asked for; empty: $LATEST
	oldest       int    // revisions that may answer
	newest       int
	executed     string // version, as the header of the answer says
	functionFail string
	err          error
}

// life is what is known of one environment from its answers.
type life struct {
	r      *routine
	counts map[int]bool
	last   time.Time // of an answer
}

// ledger judges answers and keeps what is learnt from them. Its lock is taken after a routine's.
type ledger struct {
	sandbox string

	mu        sync.Mutex
	lives     map[string]*life
	faults    map[fault]int
	told      int
	throttled int
	invokes   int
	again     map[string]map[int][]float64 // by language and length of the pause: milliseconds
	first     map[string][]float64         // by how the environment began
}

func newLedger(sandbox string) *ledger {
	return &ledger{sandbox: sandbox, lives: map[string]*life{}, faults: map[fault]int{}, again: map[string]map[int][]float64{}, first: map[string][]float64{}}
}

// pauses are the lengths of idle time of an environment that are told apart: below each, and above the last.
var pauses = []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute}

func pauseName(i int) string {
	switch i {
	case 0:
		return "below " + pauses[0].String()
	case len(pauses):
		return "over " + pauses[i-1].String()
	}
	return fmt.Sprintf("%v to %v", pauses[i-1], pauses[i])
}

func pauseOf(d time.Duration) int {
	i, _ := slices.BinarySearch(pauses, d)
	return i
}

// clockSlack is how far a function's clock may be from the host's, beyond the time between request and answer.
const clockSlack = 100 * time.Millisecond

// note judges one answer.
func (l *ledger) note(r *routine, q asked, a daily) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.invokes++
	r.invokes++
	wrong := func(f fault, format string, args ...any) {
		l.faultLocked(r, f, "event %d, sent %s, after %v: "+format, append([]any{q.n, q.sent.Format("15:04:05.000"), q.came.Sub(q.sent).Round(time.Millisecond)}, args...)...)
	}
	switch {
	case q.err != nil:
		wrong(unanswered, "%v", q.err)
		return
	case q.functionFail != "":
		wrong(functionFail, "%s", q.functionFail)
		return
	case a.N != q.n || a.Text != q.text:
		wrong(wrongContent, "n %d, text of %d bytes, sent %d", a.N, len(a.Text), len(q.text))
		return
	}
	version := q.version
	if version == "" {
		version = "$LATEST"
	}
	if a.Revision < q.oldest || a.Revision > q.newest || a.Version != version || q.executed != version {
		wrong(wrongVersion, "revision %d of version %q, executed %q; want revision %d to %d", a.Revision, a.Version, q.executed, q.oldest, q.newest)
	}
	if want := r.begins(l.sandbox); len(want) > 0 && !slices.Contains(want, a.How) {
		wrong(wrongBirth, "%s, want %q", a.How, want)
	}
	if now := time.UnixMilli(a.Now); now.Before(q.sent.Add(-clockSlack)) || now.After(q.came.Add(clockSlack-q.work)) {
		wrong(wrongClock, "the function's clock says %s", now.Format("15:04:05.000"))
	}
	// The age counts from the start of Init, which is before what the function calls its birth.
	if age := time.Duration(a.Now-a.Born) * time.Millisecond; r.maxAge > 0 && l.sandbox == "gvisor" && age > r.maxAge {
		wrong(tooOld, "%v old, want at most %v", age, r.maxAge)
	}
	took := ms(q.came.Sub(q.sent) - q.work)
	e := l.lives[a.Env]
	if e == nil {
		l.lives[a.Env] = &life{r: r, counts: map[int]bool{a.Count: true}, last: q.came}
		l.first[a.How] = append(l.first[a.How], took)
		return
	}
	if e.counts[a.Count] || e.r != r {
		wrong(countRepeats, "environment %s has answered its invoke %d before", a.Env, a.Count)
	}
	e.counts[a.Count] = true
	if pause := q.sent.Sub(e.last); pause > 0 { // otherwise the request waited for another to end
		at := l.again[r.language]
		if at == nil {
			at = map[int][]float64{}
			l.again[r.language] = at
		}
		i := pauseOf(pause)
		at[i] = append(at[i], took)
	}
	if q.came.After(e.last) {
		e.last = q.came
	}
}

// begins are the ways in which a routine's environments may begin; none: any.
func (r *routine) begins(sandbox string) []string {
	const restored, cold, provisioned = "snap-start", "on-demand", "provisioned-concurrency"
	switch snapshots := r.snapStart && sandbox == "gvisor"; {
	case r.refresh != "" || r.latest: // Init runs while there is no snapshot, rightly
		return nil
	case snapshots:
		return []string{restored}
	case r.provisioned > 0:
		return []string{provisioned}
	}
	return []string{cold}
}

func (l *ledger) fault(r *routine, f fault, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faultLocked(r, f, format, args...)
}

func (l *ledger) faultLocked(r *routine, f fault, format string, args ...any) {
	l.faults[f]++
	r.faults++
	if l.told++; l.told <= 40 {
		fmt.Fprintf(os.Stderr, "bench: day: %s: %s: %s\n", r.what(), f, fmt.Sprintf(format, args...))
	}
}

// close looks for invokes that ran and were not answered to anybody: environments count without gaps.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for env, e := range l.lives {
		for n := 1; n <= len(e.counts); n++ {
			if !e.counts[n] {
				l.faultLocked(e.r, countJumps, "environment %s: %d counts, and none is %d", env, len(e.counts), n)
				break
			}
		}
	}
}

// table is what the day has learnt. want are the pauses that must have been there.
func (l *ledger) table(want ...time.Duration) (out []result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := func(what string, n int) { out = append(out, result{what: what, value: float64(n)}) }
	count("answers", l.invokes)
	count("environments that answered", len(l.lives))
	count("refused with 429 for want of memory or places, and asked again", l.throttled)
	for _, f := range faultOrder {
		out = append(out, result{what: string(f), value: float64(l.faults[f]), none: true})
	}
	hows := map[string]string{"on-demand": "cold start", "snap-start": "restored", "provisioned-concurrency": "provisioned"}
	for _, how := range []string{"on-demand", "snap-start", "provisioned-concurrency"} {
		if took := l.first[how]; len(took) > 0 {
			out = append(out, result{what: "first answer of an environment: " + hows[how], words: quantiles(took)})
		}
	}
	for i := range len(pauses) + 1 {
		var all []float64
		var each []string
		for _, language := range []string{"Node", "Python", "Java", "Go"} {
			if took := l.again[language][i]; len(took) > 0 {
				all = append(all, took...)
				each = append(each, fmt.Sprintf("%s %.1f", language, median(took)))
			}
		}
		if len(all) > 0 {
			out = append(out, result{what: "next answer after " + pauseName(i), words: quantiles(all) + "; median of " + strings.Join(each, ", ")})
		}
	}
	for _, p := range want { // or the day has not tried what it is for
		n := 0
		for _, at := range l.again {
			for i := pauseOf(p); i <= len(pauses); i++ {
				n += len(at[i])
			}
		}
		untried := 0.0
		if n == 0 {
			untried = 1
		}
		out = append(out, result{what: fmt.Sprintf("pauses of %v or more that were not tried", pauses[pauseOf(p)-1]), value: untried, none: true})
	}
	return out
}

func quantiles(took []float64) string {
	return fmt.Sprintf("%d answers: median %.1f, 99 of 100 within %.1f, longest %.1f ms", len(took), median(took), quantile(took, 0.99), slices.Max(took))
}
