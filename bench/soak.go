package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// soakWidth is how many environments of the soak live at one time.
const soakWidth = 24

// measureSoak restores one version again and again: soakWidth invokes at once that answer together, so that each needs
// an environment of its own, and the next ones when those environments have gone for want of use. Every answer is
// looked at, and before and after is counted what a restore could leave behind. Beside that two environments answer
// after long pauses.
func measureSoak(ctx context.Context, o options, s *server) ([]result, error) {
	f := waiting
	f.what = "soak"
	p, err := s.makeAndPublish(ctx, f)
	if err != nil {
		return nil, err
	}
	k := soaking{remains: remains{s: s}, p: p, hold: soakWidth * 150 * time.Millisecond, seen: map[string]bool{}}
	for range 2 { // what is made once is made now
		if err := k.batch(ctx); err != nil {
			return nil, err
		}
	}
	idle, err := beginIdlers(ctx, s)
	if err != nil {
		return nil, err
	}
	before, err := k.leavings(ctx)
	if err != nil {
		return nil, err
	}
	first, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for told := time.Now(); k.restored < float64(o.restores) && time.Since(began) < o.soakTime; {
		if err := k.batch(ctx); err != nil {
			return nil, err
		}
		now, err := s.metrics(ctx)
		if err != nil {
			return nil, err
		}
		k.restored = now[restored] - first[restored]
		if time.Since(told) > 30*time.Second {
			told = time.Now()
			fmt.Fprintf(os.Stderr, "bench: soak: %.0f restores after %v, %d wrong answers, %d repeated values; server %.1f MB, launcher %.1f MB\n",
				k.restored, time.Since(began).Round(time.Second), k.wrong, k.repeated, anonMB(s.cmd.Process.Pid), anonMB(k.launcher))
		}
	}
	took := time.Since(began)
	if err := idle.end(ctx); err != nil {
		return nil, err
	}
	after, err := k.leavings(ctx)
	if err != nil {
		return nil, err
	}
	last, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	out := []result{
		{what: "restores", value: k.restored}, {what: "time", value: took.Seconds(), unit: "s"}, {what: "throughput", value: k.restored / took.Seconds(), unit: "restores/s"},
		{what: "wrong answers", value: float64(k.wrong), none: true},
		{what: "restores that became an Init", value: last[fallbacks] - first[fallbacks], none: true},
		{what: "random values drawn", value: float64(len(k.seen))},
		{what: "random values that repeated", value: float64(k.repeated), none: true},
	}
	out = append(out, idle.table()...)
	out = append(out, growth(before, after)...)
	left, err := k.leftByTheServer(ctx)
	if err != nil {
		return nil, err
	}
	return append(out, result{what: "left when the server has ended: processes, mounts, cgroups, files", value: float64(left), none: true}), nil
}

// soaking is a soak under way.
type soaking struct {
	remains
	p    published
	hold time.Duration // from the sending of a batch to its answers

	restored        float64
	wrong, repeated int
	seen            map[string]bool
}

// batch brings soakWidth environments up, and waits until they are gone.
func (k *soaking) batch(ctx context.Context) error {
	before, err := k.s.metrics(ctx)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	var took time.Duration // until all were restored; zero: they were not
	var watch sync.WaitGroup
	began := time.Now()
	watch.Go(func() {
		for took == 0 {
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
			if m, err := k.s.metrics(ctx); err == nil && m[restored]-before[restored] >= soakWidth {
				took = time.Since(began)
			}
			if k.cgroup == "" {
				if envs, err := k.s.environments(ctx, k.p); err == nil {
					k.findCgroup(envs)
				}
			}
		}
	})
	answers := k.s.together(ctx, k.p, soakWidth, k.hold)
	close(ended)
	watch.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range answers {
		a := &answers[i]
		if !a.right() {
			if k.wrong++; k.wrong <= 5 {
				fmt.Fprintf(os.Stderr, "bench: soak: wrong answer: %v\n", a)
			}
			continue
		}
		for _, v := range a.Drawn {
			if k.seen[v] {
				if k.repeated++; k.repeated <= 5 {
					fmt.Fprintf(os.Stderr, "bench: soak: %q was drawn before\n", v)
				}
			}
			k.seen[v] = true
		}
	}
	if took == 0 { // somebody took a second event: next time they wait for longer
		k.hold = min(k.hold*3/2, 30*time.Second)
	} else {
		k.hold = max(took+took/4, 500*time.Millisecond)
	}
	return k.s.until(ctx, "without environments", time.Minute, func() (bool, error) {
		envs, err := k.s.environments(ctx, k.p)
		return len(envs) == 0, err
	})
}
