package vtl

import (
	"fmt"
	"strconv"
	"strings"
)

// Template is a parsed template. It is not changed by rendering.
type Template struct{ nodes []node }

// A node is text, a reference, or a directive.
type (
	node any
	text string

	// reference is $name with what is asked of it.
	reference struct {
		name   string
		steps  []accessor
		quiet  bool   // $!name
		source string // as it was written
	}
	// accessor is .name, .name(args) or [index].
	accessor struct {
		name  string
		call  bool
		args  []expression
		index expression // nil: by name
	}
	set struct {
		to    *reference
		value expression
	}
	branch struct {
		condition expression // nil: #else
		body      []node
	}
	conditional []branch
	loop        struct {
		name string
		over expression
		body []node
	}
	breakLoop struct{}
	stop      struct{}
)

// Bounds of a template. Source: "Amazon API Gateway quotas": 300 KB; nesting is ours.
const (
	maxSource = 300 << 10
	maxDepth  = 64
)

// SyntaxError says what is wrong with a template, and where.
type SyntaxError struct {
	Line int
	What string
}

// Error tells both.
func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.What) }

// Parse reads a template. Errors: *SyntaxError.
func Parse(source string) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, &SyntaxError{1, fmt.Sprintf("the template has %d bytes, of %d that it may have", len(source), maxSource)}
	}
	p := &parser{src: source}
	defer p.recovered(&err)
	nodes, end := p.block()
	if end != "" {
		p.fail("#%s without its beginning", end)
	}
	return &Template{nodes}, nil
}

// parser goes through a source once. It panics with a *SyntaxError, which Parse returns.
type parser struct {
	src   string
	at    int
	depth int
}

func (p *parser) recovered(err *error) {
	switch e := recover().(type) {
	case nil:
	case *SyntaxError:
		*err = e
	default:
		panic(e)
	}
}

func (p *parser) fail(format string, v ...any) {
	panic(&SyntaxError{1 + strings.Count(p.src[:min(p.at, len(p.src))], "\n"), fmt.Sprintf(format, v...)})
}

func (p *parser) deeper() {
	if p.depth++; p.depth > maxDepth {
		p.fail("it is nested deeper than %d", maxDepth)
	}
}

func (p *parser) rest() string { return p.src[p.at:] }

func (p *parser) peek(i int) byte {
	if p.at+i < len(p.src) {
		return p.src[p.at+i]
	}
	return 0
}

// block reads nodes up to the directive that ends them, which is not read further than its name: end, else, elseif.
func (p *parser) block() (nodes []node, end string) {
	p.deeper()
	defer func() { p.depth-- }()
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			nodes = append(nodes, text(b.String()))
			b.Reset()
		}
	}
	for p.at < len(p.src) {
		c := p.src[p.at]
		switch {
		case c == '\\' && (p.peek(1) == '$' || p.peek(1) == '#'):
			b.WriteByte(p.peek(1))
			p.at += 2
		case c == '$':
			if r := p.reference(); r != nil {
				flush()
				nodes = append(nodes, r)
				continue
			}
			b.WriteByte(c)
			p.at++
		case c == '#':
			n, ending, is := p.hash()
			if !is {
				b.WriteByte(c)
				p.at++
				continue
			}
			if t, is := n.(text); is {
				b.WriteString(string(t))
				continue
			}
			flush()
			if ending != "" {
				return nodes, ending
			}
			if n != nil {
				nodes = append(nodes, n)
			}
		default:
			b.WriteByte(c)
			p.at++
		}
	}
	flush()
	return nodes, ""
}

// hash reads what begins with #: a comment, a part that is not read, or a directive; else it is text.
func (p *parser) hash() (n node, end string, is bool) {
	switch rest := p.rest(); {
	case strings.HasPrefix(rest, "##"):
		p.at += 2
		if i := strings.IndexByte(p.rest(), '\n'); i >= 0 {
			p.at += i + 1
		} else {
			p.at = len(p.src)
		}
		return nil, "", true
	case strings.HasPrefix(rest, "#*"):
		p.skipTo("*#")
		return nil, "", true
	case strings.HasPrefix(rest, "#[["):
		from := p.at + 3
		p.skipTo("]]#")
		return text(p.src[from : p.at-3]), "", true
	}
	name := p.directive()
	switch name {
	case "":
		return nil, "", false
	case "set":
		return p.set(), "", true
	case "if":
		return p.conditional(), "", true
	case "foreach":
		return p.loop(), "", true
	case "break":
		return breakLoop{}, "", true
	case "stop", "return":
		return stop{}, "", true
	}
	return nil, name, true // end, else, elseif
}

func (p *parser) skipTo(end string) {
	i := strings.Index(p.rest(), end)
	if i < 0 {
		p.fail("%s is missing", end)
	}
	p.at += i + len(end)
}

// directive reads the name of one: #name or #{name}. A colour of a style sheet is none.
func (p *parser) directive() string {
	for _, name := range []string{"set", "if", "elseif", "else", "end", "foreach", "break", "stop", "return"} {
		if strings.HasPrefix(p.rest(), "#{"+name+"}") {
			p.at += len(name) + 3
			return name
		}
		if strings.HasPrefix(p.rest(), "#"+name) && !nameByte(p.peek(len(name)+1)) {
			p.at += len(name) + 1
			return name
		}
	}
	return ""
}

func nameStart(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func nameByte(c byte) bool  { return nameStart(c) || c >= '0' && c <= '9' }

// gobble takes the rest of a line on which nothing else is.
func (p *parser) gobble() {
	i := p.at
	for i < len(p.src) && (p.src[i] == ' ' || p.src[i] == '\t' || p.src[i] == '\r') {
		i++
	}
	if i < len(p.src) && p.src[i] == '\n' {
		p.at = i + 1
	}
}

func (p *parser) set() node {
	p.open("#set")
	p.space()
	if p.peek(0) != '$' {
		p.fail("#set needs a $reference")
	}
	to := p.reference()
	if to == nil {
		p.fail("#set needs a $reference")
	}
	p.want("=")
	v := p.expression()
	p.want(")")
	p.gobble()
	return set{to, v}
}

func (p *parser) open(what string) {
	if p.space(); p.peek(0) != '(' {
		p.fail("%s needs (", what)
	}
	p.at++
}

func (p *parser) conditional() node {
	var all conditional
	for kind := "if"; ; {
		one := branch{}
		if kind != "else" {
			p.open("#" + kind)
			one.condition = p.expression()
			p.want(")")
		}
		p.gobble()
		var end string
		if one.body, end = p.block(); end == "" || end != "end" && kind == "else" {
			p.fail("#if without #end")
		}
		all = append(all, one)
		if kind = end; kind == "end" {
			p.gobble()
			return all
		}
	}
}

func (p *parser) loop() node {
	p.open("#foreach")
	p.space()
	r := p.reference()
	if r == nil || len(r.steps) > 0 {
		p.fail("#foreach needs a $name")
	}
	p.want("in")
	l := loop{name: r.name, over: p.expression()}
	p.want(")")
	p.gobble()
	var end string
	if l.body, end = p.block(); end != "end" {
		p.fail("#foreach without #end")
	}
	p.gobble()
	return l
}

func (p *parser) space() {
	for p.at < len(p.src) && strings.IndexByte(" \t\r\n", p.src[p.at]) >= 0 {
		p.at++
	}
}

func (p *parser) want(token string) {
	if p.space(); !strings.HasPrefix(p.rest(), token) {
		p.fail("%q is missing before %.20q", token, p.rest())
	}
	p.at += len(token)
}

// reference reads $name, $!name, ${name} with what follows; nil: the dollar is text.
func (p *parser) reference() *reference {
	p.deeper()
	defer func() { p.depth-- }()
	from, r := p.at, &reference{}
	p.at++
	if p.peek(0) == '!' {
		r.quiet = true
		p.at++
	}
	formal := p.peek(0) == '{'
	if formal {
		p.at++
	}
	if !nameStart(p.peek(0)) {
		p.at = from
		return nil
	}
	r.name = p.name()
	for {
		switch c := p.peek(0); {
		case c == '.' && nameStart(p.peek(1)):
			p.at++
			s := accessor{name: p.name()}
			if p.peek(0) == '(' {
				p.at++
				s.call, s.args = true, p.list(")")
			}
			r.steps = append(r.steps, s)
			continue
		case c == '[':
			if i := p.index(); i != nil {
				r.steps = append(r.steps, accessor{index: i})
				continue
			}
		}
		break
	}
	if formal {
		if p.peek(0) != '}' {
			p.fail("} is missing after %s", p.src[from:p.at])
		}
		p.at++
	}
	r.source = p.src[from:p.at]
	return r
}

// index reads [expression]; nil: it is none, and the bracket is text.
func (p *parser) index() (i expression) {
	from, depth := p.at, p.depth
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *SyntaxError:
			p.at, p.depth, i = from, depth, nil
		default:
			panic(e)
		}
	}()
	p.at++
	i = p.expression()
	p.want("]")
	return i
}

// name reads letters, digits, _ and -. A - that ends it belongs to what follows.
func (p *parser) name() string {
	from := p.at
	for nameByte(p.peek(0)) || p.peek(0) == '-' && nameByte(p.peek(1)) {
		p.at++
	}
	return p.src[from:p.at]
}

// list reads expressions up to a closing token.
func (p *parser) list(end string) (all []expression) {
	for p.space(); !strings.HasPrefix(p.rest(), end); p.space() {
		if len(all) > 0 {
			p.want(",")
		}
		all = append(all, p.expression())
	}
	p.at += len(end)
	return all
}

// number reads one; it begins with a digit, or with - and a digit.
func (p *parser) number() expression {
	from := p.at
	if p.peek(0) == '-' {
		p.at++
	}
	for p.peek(0) >= '0' && p.peek(0) <= '9' || p.peek(0) == '.' && p.peek(1) >= '0' && p.peek(1) <= '9' {
		p.at++
	}
	digits := p.src[from:p.at]
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return literal{n}
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		p.fail("%s is no number", digits)
	}
	return literal{f}
}
