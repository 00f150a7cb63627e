package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const (
	// dayTimeout is that of the functions, which work for a second at most: who passes it was lost.
	dayTimeout = 20 * time.Second
	// dayCaller is when a caller gives up: dayTimeout, and what a start may take on a machine that has other work.
	dayCaller = 90 * time.Second
	// dayExpiry ends environments that were idle for so long: longer than the pauses that are promised to be tried,
	// shorter than the longest.
	dayExpiry = 140 * time.Second
)

// day is the traffic of a day in short: functions of all kinds, requests from many a second to one in two minutes,
// updates on the way. Every answer is judged.
type day struct {
	s        *server
	ledger   *ledger
	n        atomic.Int64
	runtimes map[string]types.Runtime
}

func (d *day) runtime(ctx context.Context, family string) (rt types.Runtime, err error) {
	if d.runtimes[family] == "" {
		if d.runtimes[family], err = d.s.runtimeOf(ctx, family); err != nil {
			return "", err
		}
	}
	return d.runtimes[family], nil
}

func measureDay(ctx context.Context, o options, s *server) ([]result, error) {
	d := &day{s: s, ledger: newLedger(s.kind), runtimes: map[string]types.Runtime{}}
	all, out, compiled, err := d.morning(ctx)
	if err != nil {
		return nil, err
	}
	left := remains{s: s}
	before, err := d.rested(ctx, &left, all[:1], compiled)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "bench: day: %d functions are made, seed %d\n", len(all), o.seed)
	var ready []*routine
	for _, r := range all {
		if err := d.prepare(ctx, r, compiled); err != nil {
			return nil, fmt.Errorf("%s: %w", r.what(), err)
		}
		ready = append(ready, r)
	}
	read, err := d.beginSources(ctx)
	if err != nil {
		return nil, err
	}
	first, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	d.run(ctx, o, ready, read, compiled)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	took := time.Since(began)
	last, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	d.ledger.close()
	ofSources, err := d.endSources(ctx, o, read)
	if err != nil {
		return nil, err
	}
	if err := d.remove(ctx, ready); err != nil {
		return nil, err
	}
	after, err := left.leavings(ctx)
	if err != nil {
		return nil, err
	}
	want := []time.Duration{20 * time.Second, 50 * time.Second}
	if o.day >= 3*time.Minute {
		want = append(want, 2*time.Minute+time.Second)
	}
	out = append(out, result{what: "functions", value: float64(len(ready))}, result{what: "time", value: took.Seconds(), unit: "s"},
		result{what: "seed", words: fmt.Sprint(o.seed)})
	out = append(append(out, d.ledger.table(want...)...), ofSources...)
	for _, m := range []struct {
		what, name string
		none       bool
	}{{"environments restored", restored, false}, {"of these ahead of demand", "thaw_spare_starts_total", false}, {"cold starts for a caller", "thaw_cold_starts_total", false},
		{"restores that became an Init", fallbacks, true}, {"spares that came to nothing", "thaw_spare_failures_total", true}} {
		if s.kind == "gvisor" || m.name == "thaw_cold_starts_total" {
			out = append(out, result{what: m.what, value: last[m.name] - first[m.name], none: m.none})
		}
	}
	out = append(out, growth(before, after)...)
	n, err := left.leftByTheServer(ctx)
	if err != nil {
		return nil, err
	}
	bad := complaints(s.words.Bytes(), "ERROR")
	return append(out, result{what: "left when the server has ended: processes, mounts, cgroups, files", value: float64(n), none: true},
		result{what: "errors in the server's log", value: float64(len(bad)), none: true}), nil
}

// morning finds out what can run here. One line of the table tells of each language that cannot.
func (d *day) morning(ctx context.Context) (all []*routine, out []result, compiled map[string][]byte, err error) {
	compiled, missing, err := compile(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	for language, family := range map[string]string{"Node": "nodejs", "Python": "python", "Java": "java"} {
		if missing[language] != "" {
			continue
		}
		if _, err := d.runtime(ctx, family); err != nil {
			missing[language] = err.Error()
		}
	}
	for _, r := range routines() {
		if missing[r.language] == "" {
			all = append(all, r)
		}
	}
	for _, language := range []string{"Node", "Python", "Java", "Go"} {
		if why := missing[language]; why != "" {
			fmt.Fprintf(os.Stderr, "bench: day: %s is left out: %s\n", language, why)
			out = append(out, result{what: "functions in " + language, words: "left out: " + why})
		}
	}
	if len(all) == 0 {
		return nil, nil, nil, errors.New("no language can run here")
	}
	return all, out, compiled, nil
}

// rested counts what a server that has run something and come to rest has: what is made once is made then.
func (d *day) rested(ctx context.Context, left *remains, some []*routine, compiled map[string][]byte) ([]leaving, error) {
	warm := make([]*routine, 0, len(some)+1)
	for _, r := range some {
		warm = append(warm, &routine{language: r.language, life: "before the day"}, &routine{language: r.language, life: "restored before the day", snapStart: true})
	}
	for _, r := range warm {
		if err := d.prepare(ctx, r, compiled); err != nil {
			return nil, err
		}
		name := r.subject(nil).name()
		if _, err := d.s.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Qualifier: qualifier(r.qualifier), Payload: []byte(`{"n":1,"text":"","ms":0}`)}); err != nil {
			return nil, err
		}
	}
	envs, err := d.s.admin.Environments(ctx)
	if err != nil {
		return nil, err
	}
	left.findCgroup(envs)
	if err := d.remove(ctx, warm); err != nil {
		return nil, err
	}
	return left.leavings(ctx)
}

func qualifier(version string) *string {
	if version == "" {
		return nil
	}
	return &version
}

// remove deletes functions and waits until their environments are gone.
func (d *day) remove(ctx context.Context, list []*routine) error {
	for _, r := range list {
		name := r.subject(nil).name()
		if _, err := d.s.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
			return fmt.Errorf("%s: %w", r.what(), err)
		}
	}
	return d.s.until(ctx, "without environments", 2*time.Minute, func() (bool, error) {
		envs, err := d.s.admin.Environments(ctx)
		return len(envs) == 0, err
	})
}

// run lets requests come for as long as the day is.
func (d *day) run(ctx context.Context, o options, all []*routine, read []*dailySource, compiled map[string][]byte) {
	open, cancel := context.WithTimeout(ctx, o.day)
	defer cancel()
	var wg sync.WaitGroup
	for i, r := range all {
		callers := 1
		if r.rhythm == busy {
			callers = 2
		}
		for c := range callers {
			draw := rand.New(rand.NewPCG(o.seed, uint64(i*10+c)))
			wg.Go(func() { d.call(ctx, open, r, i, draw) })
		}
		if r.updated {
			draw := rand.New(rand.NewPCG(o.seed, uint64(i*10+9)))
			wg.Go(func() { // every 15 to 75 s, at least twice in the shortest day
				for pause(open, 15*time.Second+time.Duration(draw.Int64N(int64(60*time.Second)))) == nil {
					if err := d.update(ctx, r, compiled); err != nil && ctx.Err() == nil {
						d.ledger.fault(r, failedUpdate, "%v", err)
						return
					}
				}
			})
		}
	}
	for i, r := range read {
		draw := rand.New(rand.NewPCG(o.seed, uint64(1000+i)))
		wg.Go(func() { r.feed(ctx, open, draw) })
	}
	wg.Go(func() {
		for began := time.Now(); pause(open, 30*time.Second) == nil; {
			d.ledger.mu.Lock()
			faults := 0
			for _, n := range d.ledger.faults {
				faults += n
			}
			fmt.Fprintf(os.Stderr, "bench: day: %d answers after %v, %d faults\n", d.ledger.invokes, time.Since(began).Round(time.Second), faults)
			d.ledger.mu.Unlock()
		}
	})
	wg.Wait()
}

// call is one caller of a routine, in its rhythm, until the day is over.
func (d *day) call(ctx, open context.Context, r *routine, index int, draw *rand.Rand) {
	between := func(least, most time.Duration) time.Duration { // short ones are as likely as long ones
		return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), draw.Float64()))
	}
	if pause(open, between(time.Millisecond, 5*time.Second)) != nil { // not all at once
		return
	}
	for i := 0; open.Err() == nil; i++ {
		at := 1
		if r.rhythm == bursty {
			at = 2 + draw.IntN(4)
		}
		var wg sync.WaitGroup
		for range at {
			q := asked{n: d.n.Add(1), text: someText(draw)}
			if draw.IntN(4) == 0 {
				q.work = between(time.Millisecond, time.Second).Truncate(time.Millisecond)
			}
			wg.Go(func() { d.invoke(ctx, r, q) })
		}
		wg.Wait()
		var gap time.Duration
		switch r.rhythm {
		case busy:
			gap = between(time.Millisecond, 300*time.Millisecond)
		case steady:
			gap = between(20*time.Millisecond, 8*time.Second)
		case bursty:
			gap = between(500*time.Millisecond, 40*time.Second)
		case rare:
			gap = between(5*time.Second, time.Minute)
		case seldom:
			gap = between(30*time.Second, 160*time.Second)
			if i < len(idlePauses) { // each of them is somebody's first, so that even a short day has it
				gap = idlePauses[(i+index)%len(idlePauses)]
			}
		}
		if pause(open, gap) != nil {
			return
		}
	}
}

// invoke sends one request and has its answer judged.
func (d *day) invoke(ctx context.Context, r *routine, q asked) {
	event, err := json.Marshal(map[string]any{"n": q.n, "text": q.text, "ms": q.work.Milliseconds()})
	if err != nil {
		panic(err) // strings and numbers
	}
	name := r.subject(nil).name()
	r.mu.Lock()
	q.version, q.oldest = r.qualifier, r.live
	r.mu.Unlock()
	in := &lambda.InvokeInput{FunctionName: &name, Qualifier: qualifier(q.version), Payload: event}
	for {
		q.sent = time.Now()
		limited, cancel := context.WithTimeout(ctx, dayCaller)
		var answer *lambda.InvokeOutput
		answer, q.err = d.s.client.Invoke(limited, in, func(o *lambda.Options) { o.Retryer = aws.NopRetryer{} })
		cancel()
		q.came = time.Now()
		if ctx.Err() != nil {
			return
		}
		if errors.As(q.err, new(*types.TooManyRequestsException)) { // rightly, when memory is short: clients come again
			d.ledger.mu.Lock()
			d.ledger.throttled++
			d.ledger.mu.Unlock()
			if pause(ctx, time.Second) != nil {
				return
			}
			continue
		}
		var a daily
		if q.err == nil {
			q.executed = aws.ToString(answer.ExecutedVersion)
			if answer.FunctionError != nil {
				q.functionFail = fmt.Sprintf("%s: %.300s", *answer.FunctionError, answer.Payload)
			} else if err := json.Unmarshal(answer.Payload, &a); err != nil {
				q.functionFail = fmt.Sprintf("%v: %.300s", err, answer.Payload)
			}
		}
		r.mu.Lock()
		if q.newest = r.asked; q.version != "" {
			q.oldest, q.newest = r.published[q.version], r.published[q.version]
		}
		d.ledger.note(r, q, a)
		r.mu.Unlock()
		return
	}
}

// someText is what an event carries: mostly little, now and then much, of letters of one to four bytes.
func someText(draw *rand.Rand) string {
	letters := []rune("abcdefghijklmnop 0123456789 \"\\/\n\täöüßéñ漢字かなабвгд🌍😀")
	n := draw.IntN(60)
	switch draw.IntN(40) {
	case 0:
		n = 20_000 + draw.IntN(60_000)
	case 1, 2, 3:
		n = 1000 + draw.IntN(4000)
	}
	var b strings.Builder
	for range n {
		b.WriteRune(letters[draw.IntN(len(letters))])
	}
	return b.String()
}

// complaints are the lines of a server's log of a level, told as they are found.
func complaints(words []byte, level string) (found []string) {
	for line := range bytes.Lines(words) {
		if bytes.Contains(line, []byte("level="+level)) {
			if found = append(found, string(line)); len(found) <= 10 {
				fmt.Fprintf(os.Stderr, "bench: the server said: %s", line)
			}
		}
	}
	return found
}
