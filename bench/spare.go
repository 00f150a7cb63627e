package main

import (
	"context"
	"time"

	"thaw/admin"
)

// spareWait is how long a spare may take to be ready after the invoke that used the last one.
const spareWait = 15 * time.Second

// measureSpare compares the first answer of an environment that was restored ahead of demand with that of one that has answered before; both were frozen.
func measureSpare(ctx context.Context, o options, s *server) ([]result, error) {
	const what = "Node, 40 MB of heap"
	if !knows(ctx, s.thaw, "--spares") {
		return orWords(what, leftOut{"this server keeps no spares"})
	}
	p, err := s.makeAndPublish(ctx, nodeHeap)
	if err != nil {
		return nil, err
	}
	if _, err := s.once(ctx, p, smallEvent); err != nil { // a version that is in use has spares
		return nil, err
	}
	var spare, warm []float64
	for i := range o.rounds + 1 {
		err := s.until(ctx, "left with a spare alone", spareWait, func() (bool, error) {
			envs, err := s.environments(ctx, p)
			ready := 0
			for _, e := range envs {
				if e.Invokes > 0 {
					return false, err
				}
				if e.State == "Frozen" {
					ready++
				}
			}
			return ready > 0, err
		})
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return nil, err
		}
		first, err := s.once(ctx, p, smallEvent)
		if err != nil {
			return nil, err
		}
		var again []float64
		for range 5 {
			if err := s.until(ctx, "frozen", time.Second, func() (bool, error) { return s.frozen(ctx, p) }); err != nil {
				return nil, err
			}
			a, err := s.once(ctx, p, smallEvent)
			if err != nil {
				return nil, err
			}
			again = append(again, ms(a.took))
		}
		if i > 0 {
			spare, warm = append(spare, ms(first.took)), append(warm, median(again))
		}
	}
	var more []float64
	for i := range spare {
		more = append(more, spare[i]-warm[i])
	}
	return []result{
		{what: what + ", first answer of a spare", value: median(spare), unit: "ms"},
		{what: what + ", an answer of a frozen environment", value: median(warm), unit: "ms"},
		{what: what + ", the one more than the other", value: median(more), unit: "ms", aim: 3},
	}, nil
}

// frozen says whether the environments of a version that were invoked are at rest.
func (s *server) frozen(ctx context.Context, p published) (bool, error) {
	envs, err := s.environments(ctx, p)
	var used []admin.Environment
	for _, e := range envs {
		if e.Invokes > 0 {
			used = append(used, e)
			if e.State != "Frozen" {
				return false, err
			}
		}
	}
	return len(used) > 0, err
}
