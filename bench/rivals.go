package main

import "context"

// rival is one of several requests that are compared: the rounds of all are measured in turns, so that what the machine
// does meanwhile is in all of them.
type rival struct {
	name string
	ask  func(context.Context) ([]byte, error) // the request, signed anew
	p50s []float64                             // of its rounds, in milliseconds
}

// compare measures the rounds of all rivals. The first round warms.
func (s *server) compare(ctx context.Context, o options, rivals []rival) error {
	for round := range o.rounds + 1 {
		for i := range rivals {
			r := &rivals[(i+round)%len(rivals)]
			raw, err := r.ask(ctx)
			if err != nil {
				return err
			}
			l, err := dialLoad(ctx, s.host, raw)
			if err != nil {
				return err
			}
			took, err := l.round(ctx, o.invokes)
			l.close()
			if err != nil {
				return err
			}
			if round > 0 {
				r.p50s = append(r.p50s, median(took))
			}
		}
	}
	return nil
}

// adds is what it takes longer than another, the median over the rounds.
func (r rival) adds(than rival) float64 {
	var d []float64
	for i := range r.p50s {
		d = append(d, r.p50s[i]-than.p50s[i])
	}
	return median(d)
}

// ratio is how many times as long as another it takes, the median over the rounds.
func (r rival) ratio(to rival) float64 {
	var d []float64
	for i := range r.p50s {
		d = append(d, r.p50s[i]/to.p50s[i])
	}
	return median(d)
}
