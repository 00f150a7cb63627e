package insights

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"thaw/logpattern"
)

// expr is an expression over a row.
type expr interface{ eval(*row) value }

type field string

func (f field) eval(w *row) value { return w.get(string(f)) }

type constant value

func (c constant) eval(*row) value { return value(c) }

// binary is a OP b.
type binary struct {
	op   string
	a, b expr
}

func (e *binary) eval(w *row) value {
	switch e.op {
	case "and":
		return truthOf(e.a.eval(w).truth() && e.b.eval(w).truth())
	case "or":
		return truthOf(e.a.eval(w).truth() || e.b.eval(w).truth())
	}
	a, b := e.a.eval(w), e.b.eval(w)
	if !a.present || !b.present {
		return value{present: e.op == "!=" && a.present != b.present, isNum: true, number: 1}
	}
	switch e.op {
	case "=":
		return truthOf(compare(a, b) == 0)
	case "!=":
		return truthOf(compare(a, b) != 0)
	case "<":
		return truthOf(compare(a, b) < 0)
	case "<=":
		return truthOf(compare(a, b) <= 0)
	case ">":
		return truthOf(compare(a, b) > 0)
	case ">=":
		return truthOf(compare(a, b) >= 0)
	}
	return arithmetic(e.op, a, b)
}

type not struct{ e expr }

func (e not) eval(w *row) value { return truthOf(!e.e.eval(w).truth()) }

// matches is e like /regex/ or e like "part".
type matches struct {
	e     expr
	regex *regexp.Regexp
	part  expr
}

func (e *matches) eval(w *row) value {
	v := e.e.eval(w)
	if !v.present {
		return truthOf(false)
	}
	if e.regex != nil {
		return truthOf(e.regex.MatchString(v.String()))
	}
	part := e.part.eval(w)
	return truthOf(part.present && strings.Contains(v.String(), part.String()))
}

// among is e in [a, b].
type among struct {
	e    expr
	list []expr
}

func (e *among) eval(w *row) value {
	v := e.e.eval(w)
	return truthOf(v.present && slices.ContainsFunc(e.list, func(x expr) bool {
		o := x.eval(w)
		return o.present && compare(v, o) == 0
	}))
}

const maxDepth = 100

// expression reads an expression; the words that bind least are or and and.
func (p *parser) expression() (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.unexpected("less parentheses")
	}
	defer func() { p.depth-- }()
	return p.chain([]string{"or", "||"}, "or", func() (expr, error) {
		return p.chain([]string{"and", "&&"}, "and", p.negation)
	})
}

// chain reads operands joined by words that all mean op.
func (p *parser) chain(words []string, op string, operand func() (expr, error)) (expr, error) {
	e, err := operand()
	for err == nil && slices.ContainsFunc(words, p.is) {
		p.next()
		var b expr
		if b, err = operand(); err == nil {
			e = &binary{op, e, b}
		}
	}
	return e, err
}

func (p *parser) negation() (expr, error) {
	negated := false
	for p.take("not") {
		negated = !negated
	}
	e, err := p.comparison()
	if err == nil && negated {
		e = not{e}
	}
	return e, err
}

func (p *parser) comparison() (expr, error) {
	e, err := p.sum()
	if err != nil {
		return nil, err
	}
	for _, op := range []string{"=", "!=", "<=", ">=", "<", ">"} {
		if p.take(op) {
			b, err := p.sum()
			return &binary{op, e, b}, err
		}
	}
	negated := p.take("not")
	switch {
	case p.take("like"), p.take("=~"):
		e, err = p.pattern(e)
	case p.take("in"):
		e, err = p.list(e)
	case negated:
		return nil, p.unexpected("like or in")
	}
	if err == nil && negated {
		e = not{e}
	}
	return e, err
}

func (p *parser) pattern(e expr) (expr, error) {
	if p.now().kind == regex {
		re, err := p.regexp()
		return &matches{e: e, regex: re}, err
	}
	part, err := p.sum()
	return &matches{e: e, part: part}, err
}

func (p *parser) regexp() (*regexp.Regexp, error) {
	t := p.next()
	re, err := logpattern.Regexp(t.text)
	if err != nil {
		return nil, &Error{"the regular expression is wrong: " + err.Error(), t.start, t.end}
	}
	return re, nil
}

func (p *parser) list(e expr) (expr, error) {
	if err := p.want("["); err != nil {
		return nil, err
	}
	in := &among{e: e}
	for {
		x, err := p.sum()
		if err != nil {
			return nil, err
		}
		in.list = append(in.list, x)
		if p.take("]") {
			return in, nil
		}
		if err := p.want(","); err != nil {
			return nil, err
		}
	}
}

func (p *parser) sum() (expr, error) {
	return p.arithmetic([]string{"+", "-"}, func() (expr, error) { return p.arithmetic([]string{"*", "/", "%", "^"}, p.primary) })
}

func (p *parser) arithmetic(ops []string, operand func() (expr, error)) (expr, error) {
	e, err := operand()
	for err == nil {
		i := slices.IndexFunc(ops, p.is)
		if i < 0 {
			return e, nil
		}
		p.next()
		var b expr
		if b, err = operand(); err == nil {
			e = &binary{ops[i], e, b}
		}
	}
	return nil, err
}

// primary is a constant, a field, a function, or an expression in parentheses.
func (p *parser) primary() (expr, error) {
	t := p.now()
	switch {
	case p.take("("):
		e, err := p.expression()
		if err == nil {
			err = p.want(")")
		}
		return e, err
	case p.take("-"):
		if p.depth++; p.depth > maxDepth {
			return nil, p.unexpected("less signs")
		}
		defer func() { p.depth-- }()
		e, err := p.primary()
		return &binary{"-", constant(numberOf(0)), e}, err
	case t.kind == text:
		p.next()
		return constant(textOf(t.text)), nil
	case t.kind == name:
		p.next()
		return field(t.text), nil
	case t.kind != word:
		return nil, p.unexpected("a field or a value")
	}
	p.next()
	if p.take("(") {
		return p.function(t)
	}
	if n, ok := textOf(t.text).num(); ok {
		return constant(value{present: true, text: t.text, number: n, isNum: true}), nil
	}
	return field(t.text), nil
}

// duration reads 5m, 1h, 30s, 500ms, 1d, 1w, and months and years as the guide has them.
func duration(s string) (ms float64, ok bool) {
	digits := strings.TrimRight(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz")
	unit := strings.ToLower(s[len(digits):])
	n, isNum := textOf(digits).num()
	each, known := units[unit]
	return n * float64(each.Milliseconds()), isNum && known && n > 0
}

const dayLong = 24 * time.Hour

var units = map[string]time.Duration{
	"ms": time.Millisecond, "msec": time.Millisecond, "millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": dayLong, "day": dayLong, "days": dayLong, "w": 7 * dayLong, "week": 7 * dayLong, "weeks": 7 * dayLong,
	"mo": 30 * dayLong, "month": 30 * dayLong, "q": 91 * dayLong, "quarter": 91 * dayLong, "y": 365 * dayLong, "year": 365 * dayLong, "years": 365 * dayLong,
}
