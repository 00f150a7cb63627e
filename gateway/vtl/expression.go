package vtl

import "strings"

// An expression is a literal, a reference, a list, a map, a range, or an operation on others.
type (
	expression any
	literal    struct{ value any }
	quoted     struct{ t *Template } // "text with $references"
	list       []expression
	entries    []entry
	entry      struct{ key, value expression }
	span       struct{ from, to expression }
	not        struct{ of expression }
	operation  struct {
		op   string
		a, b expression
	}
)

// levels of operators, those that bind least first. Words are other names of some.
var levels = [][]string{{"||", "or"}, {"&&", "and"}, {"==", "!=", "eq", "ne"},
	{"<=", ">=", "<", ">", "le", "ge", "lt", "gt"}, {"+", "-"}, {"*", "/", "%"}}

var words = map[string]string{"or": "||", "and": "&&", "eq": "==", "ne": "!=", "le": "<=", "ge": ">=", "lt": "<", "gt": ">"}

func (p *parser) expression() expression {
	p.deeper()
	defer func() { p.depth-- }()
	return p.level(0)
}

func (p *parser) level(n int) expression {
	if n == len(levels) {
		return p.unary()
	}
	a := p.level(n + 1)
	for {
		op := p.operator(levels[n])
		if op == "" {
			return a
		}
		a = operation{op, a, p.level(n + 1)}
	}
}

func (p *parser) operator(of []string) string {
	p.space()
	for _, op := range of {
		if !strings.HasPrefix(p.rest(), op) {
			continue
		}
		symbol, word := words[op]
		if word && nameByte(p.peek(len(op))) {
			continue
		}
		p.at += len(op)
		if word {
			return symbol
		}
		return op
	}
	return ""
}

func (p *parser) unary() expression {
	p.space()
	c := p.peek(0)
	switch {
	case c == '!':
		p.at++
		p.deeper()
		defer func() { p.depth-- }()
		return not{p.unary()}
	case c == '(':
		p.at++
		v := p.expression()
		p.want(")")
		return v
	case c == '$':
		if r := p.reference(); r != nil {
			return r
		}
	case c == '"' || c == '\'':
		return p.text(c)
	case c >= '0' && c <= '9' || c == '-' && p.peek(1) >= '0' && p.peek(1) <= '9':
		return p.number()
	case c == '[':
		return p.brackets()
	case c == '{':
		return p.braces()
	case nameStart(c):
		return p.word()
	}
	p.fail("an expression is missing before %.20q", p.rest())
	return nil
}

func (p *parser) word() expression {
	switch name := p.name(); name {
	case "true":
		return literal{true}
	case "false":
		return literal{false}
	case "null":
		return literal{nil}
	case "not":
		p.deeper()
		defer func() { p.depth-- }()
		return not{p.unary()}
	default:
		p.fail("%s is no expression", name)
	}
	return nil
}

// text reads a text in quotes. In double ones references are replaced, and a doubled quote is one.
func (p *parser) text(quote byte) expression {
	var b strings.Builder
	for p.at++; ; p.at++ {
		c := p.peek(0)
		switch {
		case p.at >= len(p.src):
			p.fail("a text has no end")
		case c == quote && p.peek(1) == quote:
			p.at++
			b.WriteByte(quote)
		case c == quote:
			p.at++
			if s := b.String(); quote == '\'' || strings.IndexByte(s, '$') < 0 && strings.IndexByte(s, '#') < 0 {
				return literal{s}
			}
			in := &parser{src: b.String(), depth: p.depth}
			nodes, end := in.block()
			if end != "" {
				p.fail("#%s without its beginning in a text", end)
			}
			return quoted{&Template{nodes}}
		case c == '\\' && quote == '"' && (p.peek(1) == '"' || p.peek(1) == '\\' && p.peek(2) == '"'):
			p.at++
			b.WriteByte(p.peek(0))
		default:
			b.WriteByte(c)
		}
	}
}

// brackets reads [a, b] or [1..5].
func (p *parser) brackets() expression {
	p.at++
	p.space()
	if p.peek(0) == ']' {
		p.at++
		return list{}
	}
	first := p.expression()
	if p.space(); strings.HasPrefix(p.rest(), "..") {
		p.at += 2
		to := p.expression()
		p.want("]")
		return span{first, to}
	}
	all := list{first}
	if p.space(); p.peek(0) == ',' {
		p.at++
		return append(all, p.list("]")...)
	}
	p.want("]")
	return all
}

// braces reads {"a": b}.
func (p *parser) braces() expression {
	p.at++
	all := entries{}
	for p.space(); p.peek(0) != '}'; p.space() {
		if len(all) > 0 {
			p.want(",")
		}
		var e entry
		if p.space(); nameStart(p.peek(0)) {
			e.key = literal{p.name()}
		} else {
			e.key = p.expression()
		}
		p.want(":")
		e.value = p.expression()
		all = append(all, e)
	}
	p.at++
	return all
}
