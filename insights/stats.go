package insights

import (
	"math"
	"slices"
	"strings"
)

// maxGroups bounds the groups of stats, and maxSamples what one of them remembers of its values: percentiles of more are
// of an even choice of them.
const (
	maxGroups  = 100_000
	maxSamples = 10_000
)

// aggregate is one column of stats.
type aggregate struct {
	name string
	f    string
	of   expr // nil: whole rows
	rank float64
}

// group is stats.
type group struct {
	aggs []aggregate
	by   []column
}

// tally is what is known of a group for an aggregate.
type tally struct {
	count          int
	sum, squares   float64
	low, high      value
	early, late    value
	earlyAt        float64
	lateAt         float64
	samples        []float64
	every, skipped int
	distinct       map[string]bool
}

func (t *tally) add(f string, v value, at float64) {
	if !v.present {
		return
	}
	if f == "count_distinct" {
		if t.distinct == nil {
			t.distinct = map[string]bool{}
		}
		if len(t.distinct) < maxGroups {
			t.distinct[v.String()] = true
		}
		return
	}
	if t.count == 0 || compare(v, t.low) < 0 {
		t.low = v
	}
	if t.count == 0 || compare(v, t.high) > 0 {
		t.high = v
	}
	if t.count == 0 || at < t.earlyAt {
		t.early, t.earlyAt = v, at
	}
	if t.count == 0 || at > t.lateAt {
		t.late, t.lateAt = v, at
	}
	n, ok := v.num()
	if !ok && f != "count" && f != "min" && f != "max" && f != "earliest" && f != "latest" && f != "sortsfirst" && f != "sortslast" {
		return
	}
	t.count++
	t.sum += n
	t.squares += n * n
	if f == "pct" || f == "median" {
		t.sample(n)
	}
}

// sample keeps every so many values: twice as few whenever there are too many.
func (t *tally) sample(n float64) {
	if t.skipped++; t.skipped <= t.every {
		return
	}
	t.skipped = 0
	t.samples = append(t.samples, n)
	if len(t.samples) >= maxSamples {
		for i := range len(t.samples) / 2 {
			t.samples[i] = t.samples[2*i]
		}
		t.samples = t.samples[:len(t.samples)/2]
		t.every = 2*t.every + 1
	}
}

func (t *tally) result(a aggregate) value {
	switch a.f {
	case "count":
		return numberOf(float64(t.count))
	case "count_distinct":
		return numberOf(float64(len(t.distinct)))
	}
	if t.count == 0 {
		return value{}
	}
	n := float64(t.count)
	switch a.f {
	case "sum":
		return numberOf(t.sum)
	case "avg":
		return numberOf(t.sum / n)
	case "stddev":
		return numberOf(math.Sqrt(max(0, t.squares/n-t.sum*t.sum/n/n)))
	case "min", "sortsfirst":
		return t.low
	case "max", "sortslast":
		return t.high
	case "earliest":
		return t.early
	case "latest":
		return t.late
	}
	slices.Sort(t.samples)
	i := int(math.Ceil(a.rank/100*float64(len(t.samples)))) - 1
	return numberOf(t.samples[min(max(i, 0), len(t.samples)-1)])
}

func (g *group) open(next sink) sink {
	type one struct {
		keys    []value
		tallies []tally
	}
	found := map[string]*one{}
	var order []*one
	return sink{func(w *row) bool {
		keys := make([]value, len(g.by))
		var b strings.Builder
		for i, c := range g.by {
			keys[i] = c.e.eval(w)
			b.WriteString(keys[i].String())
			b.WriteByte(0)
		}
		o := found[b.String()]
		if o == nil {
			if len(found) >= maxGroups {
				return true
			}
			o = &one{keys, make([]tally, len(g.aggs))}
			found[b.String()] = o
			order = append(order, o)
		}
		at, _ := w.get("@timestamp").num()
		for i, a := range g.aggs {
			v := value{present: true, isNum: true}
			if a.of != nil {
				v = a.of.eval(w)
			}
			o.tallies[i].add(a.f, v, at)
		}
		return true
	}, func() {
		if len(order) == 0 && len(g.by) == 0 {
			order = append(order, &one{nil, make([]tally, len(g.aggs))})
		}
		for _, o := range order {
			w := &row{columns: []string{}}
			for i, c := range g.by {
				w.columns = append(w.columns, c.name)
				w.set(c.name, o.keys[i])
			}
			for i, a := range g.aggs {
				w.columns = append(w.columns, a.name)
				w.set(a.name, o.tallies[i].result(a))
			}
			if !next.take(w) {
				break
			}
		}
		next.done()
	}}
}

var aggregates = []string{"count", "count_distinct", "sum", "avg", "min", "max", "pct", "median", "stddev", "earliest", "latest", "sortsfirst", "sortslast"}

func (p *parser) stats(q *Query) error {
	g := &group{}
	for {
		a, err := p.aggregate()
		if err != nil {
			return err
		}
		g.aggs = append(g.aggs, a)
		if !p.take(",") {
			break
		}
	}
	if p.take("by") {
		var err error
		if g.by, err = p.columns(); err != nil {
			return err
		}
	}
	q.stages = append(q.stages, g)
	q.stats, q.shown = true, nil
	return nil
}

func (p *parser) aggregate() (aggregate, error) {
	t := p.next()
	a := aggregate{f: strings.ToLower(t.text)}
	if a.f == "count_distinct" || a.f == "countdistinct" {
		a.f = "count_distinct"
	}
	if t.kind != word || !slices.Contains(aggregates, a.f) {
		return a, &Error{"there is no function " + t.text + " for stats", t.start, t.end}
	}
	if err := p.want("("); err != nil {
		return a, err
	}
	var err error
	switch {
	case a.f == "count" && (p.is(")") || p.take("*")):
	default:
		if a.of, err = p.expression(); err != nil {
			return a, err
		}
	}
	a.rank = 50
	if a.f == "pct" {
		if err := p.want(","); err != nil {
			return a, err
		}
		r := p.next()
		n, ok := textOf(r.text).num()
		if !ok || n < 0 || n > 100 {
			return a, &Error{"a percentile from 0 to 100 is wanted", r.start, r.end}
		}
		a.rank = n
	}
	if err := p.want(")"); err != nil {
		return a, err
	}
	c, err := p.named(constant{}, t.start)
	a.name = c.name
	return a, err
}
