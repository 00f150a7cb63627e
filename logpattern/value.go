package logpattern

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
)

// value is what a pattern compares with: text in which a * at either end stands for anything, a number, or a regular
// expression.
type value struct {
	text        string
	front, back bool // a * stood there
	quoted      bool // it is text, also where it looks like a number
	number      float64
	isNumber    bool
	regex       *regexp.Regexp
}

func newValue(text string, quoted bool) value {
	v := value{text: text, quoted: quoted}
	if n, err := strconv.ParseFloat(text, 64); err == nil && !quoted && isNumber(text) {
		v.number, v.isNumber = n, true
	}
	v.front = strings.HasPrefix(text, "*")
	v.back = len(text) > 1 && strings.HasSuffix(text, "*")
	v.text = strings.TrimPrefix(v.text, "*")
	if v.back {
		v.text = strings.TrimSuffix(v.text, "*")
	}
	return v
}

// isNumber keeps out what ParseFloat takes beside decimal numbers: hexadecimal, Inf, NaN, digits with underscores.
func isNumber(text string) bool {
	return strings.Trim(text, "0123456789+-.eE") == "" && strings.ContainsAny(text, "0123456789")
}

// like says whether have is the value, as text.
func (v *value) like(have string) bool {
	switch {
	case v.regex != nil:
		return v.regex.MatchString(have)
	case v.front && v.back:
		return strings.Contains(have, v.text)
	case v.front:
		return strings.HasSuffix(have, v.text)
	case v.back:
		return strings.HasPrefix(have, v.text)
	}
	return have == v.text
}

// wild says that more than one text is like the value.
func (v *value) wild() bool { return v.front || v.back || v.regex != nil }

// operators, the longer ones first.
var operators = []string{"!=", "<=", ">=", "=", "<", ">"}

func (p *parser) operator() string {
	for _, op := range operators {
		if p.take(op) {
			return op
		}
	}
	return ""
}

// compare is a op b.
func compare(a float64, op string, b float64) bool {
	switch op {
	case "=":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}

// ordered says that an operator wants numbers.
func ordered(op string) bool { return op[0] == '<' || op[0] == '>' }

// plain are the characters of a value without quotes.
func plain(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-.*+:/#@", r)
}

// value reads what stands behind an operator.
func (p *parser) value(op string) (value, error) {
	p.space()
	var v value
	switch {
	case strings.HasPrefix(p.rest(), `"`):
		text, err := p.quoted()
		if err != nil {
			return v, err
		}
		v = newValue(text, true)
	case strings.HasPrefix(p.rest(), "%"):
		re, err := p.regex()
		if err != nil {
			return v, err
		}
		v.regex = re
	default:
		text := p.word(plain)
		if text == "" {
			return v, p.badCharacters(plain)
		}
		v = newValue(text, false)
	}
	if ordered(op) && !v.isNumber {
		return v, invalid("Invalid filter pattern: %s wants a number", op)
	}
	return v, nil
}

// quoted reads a text in double quotes, in which \" and \\ stand for " and \.
func (p *parser) quoted() (string, error) {
	p.at++
	var b strings.Builder
	for !p.done() {
		c := p.text[p.at]
		p.at++
		switch {
		case c == '"':
			return b.String(), nil
		case c == '\\' && !p.done() && (p.text[p.at] == '"' || p.text[p.at] == '\\'):
			b.WriteByte(p.text[p.at])
			p.at++
		default:
			b.WriteByte(c)
		}
	}
	return "", invalid("Invalid filter pattern: a quote is not closed")
}

// regex reads a regular expression between percent signs. The service's are a part of Go's.
func (p *parser) regex() (*regexp.Regexp, error) {
	p.at++
	text, _, closed := strings.Cut(p.rest(), "%")
	if !closed || text == "" {
		return nil, invalid("Invalid filter pattern: a regular expression is not closed with %%")
	}
	if bad := strings.IndexFunc(text, func(r rune) bool { return !inRegex(r) }); bad >= 0 {
		p.at += bad
		return nil, p.badCharacters(func(r rune) bool { return inRegex(r) || r == '%' })
	}
	p.at += len(text) + 1
	if p.regexes++; p.regexes > maxRegexes {
		return nil, invalid("Invalid filter pattern: it has more than %d regular expressions", maxRegexes)
	}
	re, err := Regexp(text)
	if err != nil {
		return nil, invalid("Invalid filter pattern: %v", err)
	}
	return re, nil
}

// Regexp is regexp.Compile for expressions of strangers: what would be too large is refused.
func Regexp(text string) (*regexp.Regexp, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > maxRegexSize {
		return nil, errors.New("the regular expression is too large")
	}
	return regexp.Compile(text)
}

// maxRegexSize bounds a compiled regular expression, in instructions: each may cost a step at each byte of a message,
// and a few characters such as {1000} stand for a thousand.
const maxRegexSize = 4000

func inRegex(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(`_#=@/;,:-^$?[]{}|\*+.`, r)
}
