package vtl

import (
	"fmt"
	"math"
	"strings"
)

// value is what an expression gives.
func (r *run) value(e expression) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	switch e := e.(type) {
	case literal:
		return e.value, nil
	case *reference:
		return r.walk(e.name, e.steps)
	case quoted:
		return r.quoted(e)
	case list:
		items, err := r.values(e)
		return &List{items}, err
	case entries:
		return r.entries(e)
	case span:
		return r.span(e)
	case not:
		v, err := r.value(e.of)
		return !truth(v), err
	case operation:
		return r.operation(e)
	}
	return nil, nil
}

func (r *run) values(all []expression) ([]any, error) {
	made := make([]any, 0, len(all))
	for _, e := range all {
		v, err := r.value(e)
		if err != nil {
			return nil, err
		}
		made = append(made, v)
	}
	return made, nil
}

func (r *run) quoted(e quoted) (any, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, fmt.Errorf("%w: texts within texts", ErrBounds)
	}
	defer func() { r.depth-- }()
	var b strings.Builder
	if _, err := r.nodes(e.t.nodes, &b); err != nil {
		return nil, err
	}
	return b.String(), r.charge(b.Len())
}

func (r *run) entries(all entries) (any, error) {
	m := NewMap()
	for _, e := range all {
		key, err := r.value(e.key)
		if err != nil {
			return nil, err
		}
		v, err := r.value(e.value)
		if err != nil {
			return nil, err
		}
		m.Put(Text(key), v)
	}
	return m, nil
}

func (r *run) span(e span) (any, error) {
	a, err := r.value(e.from)
	if err != nil {
		return nil, err
	}
	b, err := r.value(e.to)
	if err != nil {
		return nil, err
	}
	from, is := whole(a)
	to, also := whole(b)
	if !is || !also {
		return nil, nil
	}
	step := int64(1)
	if to < from {
		step = -1
	}
	l := &List{}
	for i := from; ; i += step {
		if err := r.step(); err != nil {
			return nil, err
		}
		if l.Items = append(l.Items, i); i == to {
			return l, nil
		}
	}
}

func (r *run) operation(e operation) (any, error) {
	a, err := r.value(e.a)
	if err != nil {
		return nil, err
	}
	if e.op == "||" && truth(a) || e.op == "&&" && !truth(a) {
		return e.op == "||", nil
	}
	b, err := r.value(e.b)
	if err != nil {
		return nil, err
	}
	if err := r.charge(weight(a) + weight(b)); err != nil {
		return nil, err
	}
	switch e.op {
	case "||", "&&":
		return truth(b), nil
	case "==":
		return equal(a, b), nil
	case "!=":
		return !equal(a, b), nil
	case "+":
		_, text := a.(string)
		if _, also := b.(string); text || also {
			s := Text(a) + Text(b)
			return s, r.charge(len(s))
		}
	case "<", ">", "<=", ">=":
		return compared(e.op, a, b), nil
	}
	return calculated(e.op, a, b), nil
}

// truth is what #if asks: false and null are not. An empty text is true, as in Velocity 1.7.
func truth(v any) bool {
	b, is := v.(bool)
	return v != nil && (b || !is)
}

func equal(a, b any) bool {
	if x, is := number(a); is {
		if y, also := number(b); also {
			return x == y
		}
	}
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return Text(a) == Text(b)
}

func compared(op string, a, b any) bool {
	x, is := number(a)
	y, also := number(b)
	c := 0
	switch {
	case is && also && x < y:
		c = -1
	case is && also && x > y:
		c = 1
	case !is || !also:
		s, is := a.(string)
		t, also := b.(string)
		if !is || !also {
			return false
		}
		c = strings.Compare(s, t)
	}
	switch op {
	case "<":
		return c < 0
	case ">":
		return c > 0
	case "<=":
		return c <= 0
	}
	return c >= 0
}

// calculated is arithmetic: of whole numbers whole, and null where a number is missing or the divisor is 0.
func calculated(op string, a, b any) any {
	x, is := whole(a)
	y, also := whole(b)
	if is && also {
		switch op {
		case "+":
			return x + y
		case "-":
			return x - y
		case "*":
			return x * y
		}
		if y == 0 {
			return nil
		}
		if op == "/" {
			return x / y
		}
		return x % y
	}
	f, is := number(a)
	g, also := number(b)
	if !is || !also {
		return nil
	}
	switch op {
	case "+":
		return f + g
	case "-":
		return f - g
	case "*":
		return f * g
	}
	if g == 0 {
		return nil
	}
	if op == "/" {
		return f / g
	}
	return math.Mod(f, g)
}

// walk goes from a variable along its steps. What is not there is null, and so is all below it.
func (r *run) walk(name string, steps []accessor) (any, error) {
	v := r.vars[name]
	for _, s := range steps {
		if v == nil {
			return nil, nil
		}
		var err error
		if v, err = r.follow(v, s); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (r *run) follow(v any, s accessor) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	switch {
	case s.index != nil:
		key, err := r.value(s.index)
		if err != nil {
			return nil, err
		}
		return member(v, key), nil
	case !s.call:
		return member(v, s.name), nil
	}
	args, err := r.values(s.args)
	if err != nil {
		return nil, err
	}
	if o, is := v.(Object); is {
		made, known, err := o.Call(s.name, args)
		if err == nil && !known {
			err = fmt.Errorf("there is no method %s with %d arguments", s.name, len(args))
		}
		if t, is := made.(string); is && err == nil {
			err = r.charge(len(t))
		}
		return made, err
	}
	return r.method(v, s.name, args)
}

// member is a value below another, by its name or its index.
func member(v, key any) any {
	switch v := v.(type) {
	case Object:
		return v.Get(Text(key))
	case *Map:
		found, is := v.Get(Text(key))
		if !is && key == "empty" {
			return v.Len() == 0
		}
		return found
	case *List:
		if i, is := index(key, len(v.Items)); is {
			return v.Items[i]
		}
		if key == "empty" {
			return len(v.Items) == 0
		}
	case string:
		if key == "empty" {
			return v == ""
		}
	}
	return nil
}
