package insights

import (
	"math"
	"slices"
	"strings"
)

// call is a function with its arguments.
type call struct {
	f    func(args []value) value
	args []expr
}

func (c *call) eval(w *row) value {
	args := make([]value, len(c.args))
	for i, a := range c.args {
		args[i] = a.eval(w)
	}
	return c.f(args)
}

// bin is bin(5m) of the event's time, or datefloor(field, 5m).
type bin struct {
	of   expr
	ms   float64
	ceil bool
}

func (b *bin) eval(w *row) value {
	n, ok := b.of.eval(w).num()
	if !ok {
		return value{}
	}
	n /= b.ms
	if b.ceil {
		return timeOf(math.Ceil(n) * b.ms)
	}
	return timeOf(math.Floor(n) * b.ms)
}

func arithmetic(op string, a, b value) value {
	x, ok := a.num()
	y, also := b.num()
	if !ok || !also {
		return value{}
	}
	var n float64
	switch op {
	case "+":
		n = x + y
	case "-":
		n = x - y
	case "*":
		n = x * y
	case "/":
		n = x / y
	case "%":
		n = math.Mod(x, y)
	case "^":
		n = math.Pow(x, y)
	}
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return value{}
	}
	return numberOf(n)
}

// function of a number.
func ofNumber(f func(float64) float64) func([]value) value {
	return func(args []value) value {
		n, ok := args[0].num()
		if n = f(n); !ok || math.IsNaN(n) || math.IsInf(n, 0) {
			return value{}
		}
		return numberOf(n)
	}
}

// function of a text.
func ofText(f func(string) value) func([]value) value {
	return func(args []value) value {
		if !args[0].present {
			return value{}
		}
		return f(args[0].String())
	}
}

type signature struct {
	least, most int // arguments
	f           func([]value) value
}

const many = 100

// functions, by their names in small letters. Source: the guide, "Supported operations and functions".
var functions = map[string]signature{
	"abs":       {1, 1, ofNumber(math.Abs)},
	"ceil":      {1, 1, ofNumber(math.Ceil)},
	"floor":     {1, 1, ofNumber(math.Floor)},
	"log":       {1, 1, ofNumber(math.Log)},
	"sqrt":      {1, 1, ofNumber(math.Sqrt)},
	"greatest":  {1, many, func(args []value) value { return extreme(args, 1) }},
	"least":     {1, many, func(args []value) value { return extreme(args, -1) }},
	"ispresent": {1, 1, func(args []value) value { return truthOf(args[0].present) }},
	"isempty":   {1, 1, func(args []value) value { return truthOf(!args[0].present || args[0].String() == "") }},
	"isblank":   {1, 1, func(args []value) value { return truthOf(strings.TrimSpace(args[0].String()) == "") }},
	"coalesce":  {1, many, coalesce},
	"concat":    {1, many, concat},
	"strlen":    {1, 1, ofText(func(s string) value { return numberOf(float64(len([]rune(s)))) })},
	"toupper":   {1, 1, ofText(func(s string) value { return textOf(strings.ToUpper(s)) })},
	"tolower":   {1, 1, ofText(func(s string) value { return textOf(strings.ToLower(s)) })},
	"trim":      {1, 1, ofText(func(s string) value { return textOf(strings.TrimSpace(s)) })},
	"ltrim":     {1, 1, ofText(func(s string) value { return textOf(strings.TrimLeft(s, " \t\r\n")) })},
	"rtrim":     {1, 1, ofText(func(s string) value { return textOf(strings.TrimRight(s, " \t\r\n")) })},
	"substr":    {2, 3, substr},
	"replace": {3, 3, func(args []value) value {
		return textOf(strings.ReplaceAll(args[0].String(), args[1].String(), args[2].String()))
	}},
	"strcontains": {2, 2, func(args []value) value {
		return truthOf(args[0].present && strings.Contains(args[0].String(), args[1].String()))
	}},
	"frommillis": {1, 1, func(args []value) value {
		if n, ok := args[0].num(); ok {
			return timeOf(n)
		}
		return value{}
	}},
	"tomillis": {1, 1, ofNumber(func(n float64) float64 { return n })},
}

func extreme(args []value, sign int) (best value) {
	for i, a := range args {
		if i == 0 || compare(a, best)*sign > 0 {
			best = a
		}
	}
	return best
}

func coalesce(args []value) value {
	for _, a := range args {
		if a.present {
			return a
		}
	}
	return value{}
}

// maxText bounds what functions make.
const maxText = 1 << 20

func concat(args []value) value {
	var b strings.Builder
	for _, a := range args {
		if s := a.String(); b.Len()+len(s) <= maxText {
			b.WriteString(s)
		}
	}
	return textOf(b.String())
}

func substr(args []value) value {
	if !args[0].present {
		return value{}
	}
	s := []rune(args[0].String())
	from, ok := args[1].num()
	if !ok || from < 0 || from > float64(len(s)) {
		return textOf("")
	}
	s = s[int(from):]
	if len(args) == 3 {
		if n, ok := args[2].num(); ok && n >= 0 && n < float64(len(s)) {
			s = s[:int(n)]
		}
	}
	return textOf(string(s))
}

// function reads the arguments of one.
func (p *parser) function(t token) (expr, error) {
	low := strings.ToLower(t.text)
	switch low {
	case "bin":
		return p.bin(field("@timestamp"), false)
	case "datefloor", "dateceil":
		of, err := p.sum()
		if err == nil {
			err = p.want(",")
		}
		if err != nil {
			return nil, err
		}
		return p.bin(of, low == "dateceil")
	}
	if slices.Contains(aggregates, low) { // a column of an earlier stats
		for depth := 1; depth > 0; {
			if p.end() {
				return nil, p.unexpected(")")
			}
			switch p.next().text {
			case "(":
				depth++
			case ")":
				depth--
			}
		}
		return field(p.text[t.start:p.tokens[p.at-1].end]), nil
	}
	sig, known := functions[low]
	if !known {
		return nil, &Error{"there is no function " + t.text, t.start, t.end}
	}
	c := &call{f: sig.f}
	for !p.take(")") {
		if len(c.args) > 0 {
			if err := p.want(","); err != nil {
				return nil, err
			}
		}
		a, err := p.expression()
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, a)
	}
	if len(c.args) < sig.least || len(c.args) > sig.most {
		return nil, &Error{"wrong number of arguments for " + t.text, t.start, p.now().start}
	}
	return c, nil
}

// bin reads a period and the closing parenthesis.
func (p *parser) bin(of expr, ceil bool) (expr, error) {
	t := p.next()
	if ms, ok := duration(t.text); ok && t.kind == word {
		return &bin{of, ms, ceil}, p.want(")")
	}
	return nil, &Error{"a period such as 5m is wanted", t.start, t.end}
}
