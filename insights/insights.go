// Package insights reads the query language of CloudWatch Logs Insights and runs queries over log events. It is pure: no
// I/O, no clock.
//
//	fields @timestamp, @message | filter level = "ERROR" and n > 3 | sort @timestamp desc | limit 20
//	filter @type = "REPORT" | stats count(*), avg(@duration) as took by bin(5m)
//	parse @message "user * took * ms" as user, ms | stats pct(ms, 95) by user
//
// Fields are found in events: @timestamp, @message, @ingestionTime, @logStream, @log and @ptr in all, the members of
// messages that are JSON (a.b, list.0), and what the platform's lines say of a Lambda function (@type, @requestId,
// @duration ...). A field that is not there is not present, and compares with nothing.
//
// Source: Amazon CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax". Commands that are there:
// fields, display, filter, parse, stats, sort, limit, dedup.
package insights

import (
	"fmt"
	"slices"
	"strings"
)

// MaxRows is the number of rows that a query gives at most, and when it has no limit.
const MaxRows = 10_000

// Error says where and why a text is no query.
type Error struct {
	Message    string
	Start, End int // characters of the query
}

func (e *Error) Error() string { return e.Message }

// Query is a query that can be run.
type Query struct {
	stages []stage
	limit  int
	sorted bool
	stats  bool
	shown  []column // nil: @timestamp, @message
}

// column is an expression under a name.
type column struct {
	name string
	e    expr
}

// Row is what a query gives for an event or a group of them: names and values, in order.
type Row []Cell

// Cell is one value of a row.
type Cell struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// stage is one command of a query. It takes rows one at a time, and hands on what is left of them.
type stage interface {
	// open gives a function that takes rows and one that says that there are no more. next is the next stage's.
	open(next sink) sink
}

// sink takes rows. take returns false when it wants no more.
type sink struct {
	take func(*row) bool
	done func()
}

// Run is a query at work. Feed it events, the latest first, until Add returns false; then Rows are the result.
type Run struct {
	q    *Query
	head sink
	// Matched are the events that all filters let pass.
	Matched int
	rows    []*row
	bytes   int64
}

// maxRunBytes bounds the rows that a run holds; beyond it those that would come last are left out.
const maxRunBytes = 64 << 20

// Start begins a run, with at most limit rows; 0: the query's own limit.
func (q *Query) Start(limit int) *Run {
	if limit <= 0 || limit > q.limit {
		limit = q.limit
	}
	r := &Run{q: q}
	last := sink{take: func(w *row) bool {
		if len(r.rows) >= limit || r.bytes > maxRunBytes {
			return false
		}
		r.rows = append(r.rows, w)
		r.bytes += w.size()
		return len(r.rows) < limit
	}, done: func() {}}
	counted := false
	count := func(next sink) sink {
		counted = true
		return sink{func(w *row) bool { r.Matched++; return next.take(w) }, next.done}
	}
	for _, st := range slices.Backward(q.stages) {
		if _, ok := st.(keep); ok && !counted {
			last = count(last)
		}
		last = st.open(last)
	}
	if !counted {
		last = count(last)
	}
	r.head = last
	return r
}

// Add gives the run an event. It returns false when no other can change the result.
func (r *Run) Add(e Event) bool { return r.head.take(newRow(e)) }

// Rows ends the run.
func (r *Run) Rows() []Row {
	r.head.done()
	out := []Row{}
	for _, w := range r.rows {
		out = append(out, r.q.show(w))
	}
	return out
}

// show makes a row of what is to be seen of it. Fields that are not present are left out.
func (q *Query) show(w *row) Row {
	var out Row
	add := func(name string, v value) {
		if v.present {
			out = append(out, Cell{name, v.String()})
		}
	}
	switch {
	case len(q.shown) > 0:
		for _, c := range q.shown {
			add(c.name, w.eval(c))
		}
	case w.columns != nil: // of stats
		for _, name := range w.columns {
			add(name, w.get(name))
		}
	default:
		add("@timestamp", w.get("@timestamp"))
		add("@message", w.get("@message"))
	}
	if !q.stats {
		add("@ptr", w.get("@ptr"))
	}
	return out
}

// Parse reads a query. Its error is *Error.
func Parse(text string) (*Query, error) {
	text = strings.ToValidUTF8(text, "\ufffd")
	p := &parser{text: text}
	if err := p.scan(); err != nil {
		return nil, err
	}
	q := &Query{limit: MaxRows}
	for {
		if p.is("|") {
			p.next()
			continue
		}
		if p.end() {
			break
		}
		if err := p.command(q); err != nil {
			return nil, err
		}
		if !p.end() && !p.is("|") {
			return nil, p.unexpected("| or the end of the query")
		}
	}
	if len(q.stages) == 0 && len(q.shown) == 0 && q.limit == MaxRows {
		return nil, &Error{"the query is empty", 0, len(text)}
	}
	return q, nil
}

func (p *parser) command(q *Query) error {
	name := strings.ToLower(p.now().text)
	read := map[string]func(*Query) error{"fields": p.fields, "display": p.display, "filter": p.filter, "parse": p.parse, "stats": p.stats,
		"sort": p.sort, "limit": p.limit, "dedup": p.dedup}[name]
	if read == nil || p.now().kind != word {
		return p.unexpected("one of fields, display, filter, parse, stats, sort, limit, dedup")
	}
	p.next()
	return read(q)
}

func (p *parser) unexpected(wanted string) error {
	t := p.now()
	if p.end() {
		return &Error{fmt.Sprintf("unexpected end of the query; wanted %s", wanted), t.start, t.end}
	}
	return &Error{fmt.Sprintf("unexpected symbol found %s at position %d; wanted %s", t.text, t.start, wanted), t.start, t.end}
}
