package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/admin"
)

// publishAndRestore publishes a version of the function and invokes it once: what the caller saw stands beside the cold start that came before.
func (d *demonstration) publishAndRestore(ctx context.Context, do act, identifier string) error {
	st, _, err := d.publish(ctx, do, identifier)
	if err != nil {
		return err
	}
	select { // the test restore of the publish used up a sandbox that waits for a snapshot; a function that scales from zero finds one
	case <-time.After(700 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	first := step{Function: st.Function, Runtime: identifier, Version: st.Version, Step: "restored invoke"}
	began := time.Now()
	log, err := d.invoke(ctx, &first, do.steps[0].event)
	if err != nil {
		return fmt.Errorf("%s: %w", first.Step, plainer(err))
	}
	env, err := d.newest(ctx, first.Function, first.Version)
	if err != nil {
		return err
	}
	first.Phases = phasesOf(env)
	if env.Created.Before(began) {
		first.Step = "invoke of a spare"
	}
	for _, s := range d.steps {
		if s.Function == first.Function && s.Step == do.steps[0].name {
			first.ColdMs, first.Ratio = s.ClientMs, s.ClientMs/first.ClientMs
		}
	}
	d.tell(first, log)
	fmt.Fprintf(d.details, "    phases: %s\n", phaseLine(first.Phases))
	fmt.Fprintf(d.details, "    side by side: %.1f ms from scratch, %.1f ms from the snapshot: %.1f times as fast\n", first.ColdMs, first.ClientMs, first.Ratio)
	d.steps = append(d.steps, first)
	return nil
}

// publish makes a version with a snapshot and waits until it is Active.
func (d *demonstration) publish(ctx context.Context, do act, identifier string) (step, admin.Snapshot, error) {
	st := step{Function: functionName(do.sample), Runtime: identifier, Step: "publish with SnapStart"}
	began := time.Now()
	fail := func(err error) (step, admin.Snapshot, error) {
		return st, admin.Snapshot{}, fmt.Errorf("%s: %w", st.Step, plainer(err))
	}
	v, err := d.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &st.Function})
	if err != nil {
		return fail(err)
	}
	st.Version = aws.ToString(v.Version)
	if err := lambda.NewPublishedVersionActiveWaiter(d.client).Wait(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &st.Function, Qualifier: v.Version}, time.Minute,
		func(o *lambda.PublishedVersionActiveWaiterOptions) {
			o.MinDelay, o.MaxDelay = 10*time.Millisecond, time.Second
		}); err != nil {
		return fail(err)
	}
	st.ClientMs, st.Answer = milliseconds(time.Since(began)), fmt.Sprintf("%s, then Active", v.State)
	s, err := findSnapshot(ctx, d.server, st.Function+":"+st.Version)
	if err != nil {
		return fail(err)
	}
	for _, x := range s.Stages {
		st.Phases = append(st.Phases, phase{Name: x.Name, Milliseconds: x.Seconds * 1000})
	}
	fmt.Fprintf(d.details, "\n  %s in %.1f ms: %s\n    phases: %s\n    snapshot: %s of files, restored once for a test\n", st.Step, st.ClientMs, st.Answer,
		phaseLine(st.Phases), size(s.Bytes))
	d.steps = append(d.steps, st)
	return st, s, nil
}

// Of the act that refreshes: how long the cached answer is good, how many clients ask, how long each pauses, after how many new generations the load ends, and
// when it ends at the latest.
const (
	cachedFor      = 6 * time.Second
	loadClients    = 3
	loadPause      = 20 * time.Millisecond
	loadRefreshes  = 2
	loadAtMost     = 15 * time.Second
	loadAfterwards = 500 * time.Millisecond
)

// generation is what the answers of one generation of a snapshot were like.
type generation struct {
	Generation uint64  `json:"generation"`
	CurrentMs  float64 `json:"currentMs"` // since the load began, when it had become current
	Requests   int     `json:"requests"`
	OldestMs   float64 `json:"oldestMs"` // age of the cached answer at most
	GoodForMs  float64 `json:"goodForMs"`
	MedianMs   float64 `json:"medianMs"`
	SlowestMs  float64 `json:"slowestMs"`
	Waited     int     `json:"waited"` // requests for which Init ran or the origin was asked

	took []float64
}

// cachedAnswer is what the sample nodejs-cached answers.
type cachedAnswer struct {
	Asked  int64   `json:"asked"` // Unix milliseconds
	AgeMs  float64 `json:"ageMs"`
	MaxAge float64 `json:"maxAge"` // seconds
	Loads  int     `json:"loads"`
	How    string  `json:"how"`
}

// load is the answers that several clients got.
type load struct {
	mu      sync.Mutex
	answers []cachedAnswer
	took    []float64
	err     error
}

// refresh puts a version under load that keeps an HTTP answer in its snapshot, until new generations have taken the place of the first.
func (d *demonstration) refresh(ctx context.Context, do act, identifier string) error {
	published, first, err := d.publish(ctx, do, identifier)
	if err != nil {
		return err
	}
	st := step{Function: published.Function, Runtime: identifier, Version: published.Version, Step: "refresh under load"}
	fmt.Fprintf(d.details, "\n  %s: the answer in the snapshot is good for %s; %d clients ask for it, and new generations are made meanwhile\n", st.Step, ago(cachedFor), loadClients)
	began := time.Now()
	seen := []admin.Snapshot{first} // generations, oldest first
	current := []time.Duration{0}
	asking, stop := context.WithTimeout(ctx, loadAtMost)
	defer stop()
	var l load
	var clients sync.WaitGroup
	for range loadClients {
		clients.Go(func() { l.ask(asking, d.client, st.Function, st.Version) })
	}
	for asking.Err() == nil {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-asking.Done():
			continue
		}
		s, err := findSnapshot(ctx, d.server, st.Function+":"+st.Version)
		if err != nil || s.Generation == seen[len(seen)-1].Generation || s.ID == "" { // a load that failed is told below
			continue
		}
		seen, current = append(seen, s), append(current, time.Since(began))
		if len(seen) > loadRefreshes {
			time.AfterFunc(loadAfterwards, stop)
		}
	}
	clients.Wait()
	if l.err != nil {
		return fmt.Errorf("%s: %w", st.Step, plainer(l.err))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	st.ClientMs = milliseconds(time.Since(began))
	st.Generations = l.byGeneration(seen, current)
	requests, waited, oldest, slowest := 0, 0, 0.0, 0.0
	for _, g := range st.Generations {
		requests, waited, oldest, slowest = requests+g.Requests, waited+g.Waited, max(oldest, g.OldestMs), max(slowest, g.SlowestMs)
	}
	st.Answer = fmt.Sprintf("%d requests, oldest answer %.1f s of %.0f s, %d waited for Init or the origin, slowest %.0f ms", requests, oldest/1000, cachedFor.Seconds(), waited, slowest)
	var table []string
	for _, g := range st.Generations {
		table = append(table, fmt.Sprintf("generation %d from %.1f s: %d requests, answers at most %.1f s old, slowest %.1f ms", g.Generation, g.CurrentMs/1000, g.Requests, g.OldestMs/1000, g.SlowestMs))
	}
	fmt.Fprintf(d.details, "    %s\n    %s\n", strings.Join(table, "\n    "), st.Answer)
	d.steps = append(d.steps, st)
	return nil
}

// ask is one client, until ctx ends or a request fails.
func (l *load) ask(ctx context.Context, client *lambda.Client, function, version string) {
	for ctx.Err() == nil {
		began := time.Now()
		// A request that has begun is waited for: the end of the load is no failure.
		out, err := client.Invoke(context.WithoutCancel(ctx), &lambda.InvokeInput{FunctionName: &function, Qualifier: &version, Payload: []byte("{}")})
		took := milliseconds(time.Since(began))
		var a cachedAnswer
		switch {
		case err != nil:
		case out.FunctionError != nil:
			err = fmt.Errorf("%s: %s", *out.FunctionError, out.Payload)
		default:
			err = json.Unmarshal(out.Payload, &a)
		}
		l.mu.Lock()
		if err != nil {
			l.err = err
			l.mu.Unlock()
			return
		}
		l.answers, l.took = append(l.answers, a), append(l.took, took)
		l.mu.Unlock()
		select {
		case <-time.After(loadPause):
		case <-ctx.Done():
		}
	}
}

// byGeneration sorts the answers: each is of the newest generation whose Init had begun when the origin was asked.
func (l *load) byGeneration(seen []admin.Snapshot, current []time.Duration) []generation {
	out := make([]generation, len(seen))
	for i, s := range seen {
		out[i] = generation{Generation: s.Generation, CurrentMs: milliseconds(current[i])}
	}
	for i, a := range l.answers {
		n := len(seen) - 1
		for n > 0 && a.Asked < seen[n].Born.UnixMilli() {
			n--
		}
		g := &out[n]
		g.Requests++
		g.OldestMs, g.GoodForMs = max(g.OldestMs, a.AgeMs), a.MaxAge*1000
		g.took = append(g.took, l.took[i])
		if a.Loads != 1 || a.How != "snap-start" {
			g.Waited++
		}
	}
	for i := range out {
		if g := &out[i]; len(g.took) > 0 {
			slices.Sort(g.took)
			g.MedianMs, g.SlowestMs = g.took[len(g.took)/2], g.took[len(g.took)-1]
		}
	}
	return out
}

func besideRows(steps []step) [][]string {
	rows := [][]string{{"FUNCTION", "PUBLISH", "FROM SCRATCH", "FROM THE SNAPSHOT", "RATIO"}}
	publish := map[string]float64{}
	for _, st := range steps {
		if st.Ratio == 0 {
			if st.Version != "" {
				publish[st.Function] = st.ClientMs
			}
			continue
		}
		text := fmt.Sprintf("%.1f ms", st.ClientMs)
		if st.Step != "restored invoke" {
			text += " (a spare)"
		}
		rows = append(rows, []string{strings.TrimPrefix(st.Function, functionName("")), fmt.Sprintf("%.0f ms", publish[st.Function]), fmt.Sprintf("%.1f ms", st.ColdMs), text, fmt.Sprintf("%.1f : 1", st.Ratio)})
	}
	return rows
}

func generationRows(steps []step) [][]string {
	rows := [][]string{{"FUNCTION", "GENERATION", "CURRENT", "REQUESTS", "OLDEST ANSWER", "MEDIAN", "SLOWEST", "WAITED"}}
	for _, st := range steps {
		for _, g := range st.Generations {
			rows = append(rows, []string{strings.TrimPrefix(st.Function, functionName("")), itoa(g.Generation), fmt.Sprintf("after %.1f s", g.CurrentMs/1000), fmt.Sprint(g.Requests),
				fmt.Sprintf("%.1f s of %.0f s", g.OldestMs/1000, g.GoodForMs/1000), fmt.Sprintf("%.1f ms", g.MedianMs), fmt.Sprintf("%.1f ms", g.SlowestMs), fmt.Sprint(g.Waited)})
		}
	}
	return rows
}
