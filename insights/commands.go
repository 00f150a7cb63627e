package insights

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// column reads an expression and its name: what follows as, else its text.
func (p *parser) column() (column, error) {
	start := p.now().start
	e, err := p.expression()
	if err != nil {
		return column{}, err
	}
	return p.named(e, start)
}

// named reads as NAME, for an expression that began at start.
func (p *parser) named(e expr, start int) (column, error) {
	c := column{name: strings.TrimSpace(p.text[start:p.tokens[p.at-1].end]), e: e}
	if f, ok := e.(field); ok {
		c.name = string(f)
	}
	if p.take("as") {
		t := p.next()
		if t.kind != word && t.kind != name {
			return c, p.unexpected("a name")
		}
		c.name = t.text
	}
	return c, nil
}

// columns reads some, with commas between.
func (p *parser) columns() (all []column, err error) {
	for {
		c, err := p.column()
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		if !p.take(",") {
			return all, nil
		}
	}
}

// compute adds columns that are no fields to each row.
type compute []column

func (c compute) open(next sink) sink {
	return sink{func(w *row) bool {
		for _, col := range c {
			if _, plain := col.e.(field); !plain || string(col.e.(field)) != col.name {
				w.set(col.name, col.e.eval(w))
			}
		}
		return next.take(w)
	}, next.done}
}

func (p *parser) fields(q *Query) error {
	cols, err := p.columns()
	q.shown = append(q.shown, cols...)
	q.stages = append(q.stages, compute(cols))
	return err
}

func (p *parser) display(q *Query) error {
	cols, err := p.columns()
	q.shown = cols
	return err
}

// keep is filter.
type keep struct{ e expr }

func (k keep) open(next sink) sink {
	return sink{func(w *row) bool { return !k.e.eval(w).truth() || next.take(w) }, next.done}
}

func (p *parser) filter(q *Query) error {
	e, err := p.expression()
	q.stages = append(q.stages, keep{e})
	return err
}

// extract is parse: parts of a field become fields.
type extract struct {
	from  expr
	re    *regexp.Regexp
	names []string // of its groups; empty: not named
}

func (x *extract) open(next sink) sink {
	return sink{func(w *row) bool {
		if v := x.from.eval(w); v.present {
			if m := x.re.FindStringSubmatch(v.String()); m != nil {
				for i, n := range x.names {
					if n != "" {
						w.set(n, textOf(m[i+1]))
					}
				}
			}
		}
		return next.take(w)
	}, next.done}
}

func (p *parser) parse(q *Query) error {
	x := &extract{from: field("@message")}
	if k := p.now().kind; k == word || k == name {
		x.from = field(p.next().text)
	}
	t := p.now()
	var err error
	switch t.kind {
	case regex:
		if x.re, err = p.regexp(); err != nil {
			return err
		}
		x.names = x.re.SubexpNames()[1:]
	case text:
		p.next()
		x.re, x.names = glob(t.text), make([]string, strings.Count(t.text, "*"))
	default:
		return p.unexpected("a pattern")
	}
	for i := 0; (i > 0 || p.take("as")) && i < len(x.names); i++ {
		n := p.next()
		if n.kind != word && n.kind != name {
			return p.unexpected("a name")
		}
		x.names[i] = n.text
		if !p.take(",") {
			break
		}
	}
	if slices.Contains(x.names, "") && t.kind == text || len(x.names) == 0 {
		return &Error{"parse wants as many names as the pattern has parts", t.start, t.end}
	}
	q.stages = append(q.stages, x)
	return nil
}

// glob is a text in which * stands for a part.
func glob(s string) *regexp.Regexp {
	parts := strings.Split(s, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	last := len(parts) - 1
	if last > 0 && parts[last] == "" { // nothing ends the last part but the end
		return regexp.MustCompile(`(?s)` + strings.Join(parts[:last], `(.*?)`) + `(.*)`)
	}
	return regexp.MustCompile(`(?s)` + strings.Join(parts, `(.*?)`))
}

// order is sort.
type order struct {
	by   []column
	desc []bool
	keep int // rows that later stages can want; 0: all
}

func (o *order) open(next sink) sink {
	var rows []*row
	var bytes int64
	arrange := func() {
		slices.SortStableFunc(rows, o.compare)
		if o.keep > 0 && len(rows) > o.keep {
			clear(rows[o.keep:])
			rows = rows[:o.keep]
		}
		for bytes = 0; len(rows) > 0; {
			for _, w := range rows {
				bytes += w.size()
			}
			if bytes <= maxRunBytes {
				return
			}
			bytes = 0
			rows = rows[:len(rows)/2]
		}
	}
	return sink{func(w *row) bool {
		rows = append(rows, w)
		if bytes += w.size(); bytes > 2*maxRunBytes || o.keep > 0 && len(rows) >= 2*o.keep+1000 {
			arrange()
		}
		return true
	}, func() {
		arrange()
		for _, w := range rows {
			if !next.take(w) {
				break
			}
		}
		next.done()
	}}
}

func (o *order) compare(a, b *row) int {
	for i, c := range o.by {
		d := compare(a.eval(c), b.eval(c))
		if o.desc[i] {
			d = -d
		}
		if d != 0 {
			return d
		}
	}
	return 0
}

func (p *parser) sort(q *Query) error {
	o := &order{keep: MaxRows}
	for {
		c, err := p.column()
		if err != nil {
			return err
		}
		desc := p.take("desc")
		if !desc {
			p.take("asc")
		}
		o.by, o.desc = append(o.by, c), append(o.desc, desc)
		if !p.take(",") {
			break
		}
	}
	q.stages = append(q.stages, o)
	q.sorted = true
	return nil
}

// first is limit.
type first int

func (n first) open(next sink) sink {
	left := int(n)
	return sink{func(w *row) bool {
		if left == 0 {
			return false
		}
		left--
		return next.take(w) && left > 0
	}, next.done}
}

func (p *parser) limit(q *Query) error {
	t := p.next()
	n, err := strconv.Atoi(t.text)
	if err != nil || n < 1 || n > MaxRows {
		return &Error{"limit wants a number from 1 to 10000", t.start, t.end}
	}
	q.stages = append(q.stages, first(n))
	q.limit = n
	return nil
}

// distinct is dedup: the first row of each combination of values.
type distinct []column

func (d distinct) open(next sink) sink {
	seen := map[string]bool{}
	return sink{func(w *row) bool {
		var b strings.Builder
		for _, c := range d {
			b.WriteString(w.eval(c).String())
			b.WriteByte(0)
		}
		if seen[b.String()] || len(seen) >= maxGroups {
			return true
		}
		seen[b.String()] = true
		return next.take(w)
	}, next.done}
}

func (p *parser) dedup(q *Query) error {
	cols, err := p.columns()
	q.stages = append(q.stages, distinct(cols))
	return err
}
