package logpattern

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
)

// object is a pattern for messages that are JSON.
type object struct {
	expr expr[gjson.Result]
	// needs are texts of which one is in every message that the pattern selects and that has no backslash; empty: not known.
	needs []string
}

func (o *object) matches(message string) bool {
	begin := strings.TrimLeft(message, " \t\r\n")
	if begin == "" || begin[0] != '{' && begin[0] != '[' {
		return false
	}
	if len(o.needs) > 0 && !slices.ContainsFunc(o.needs, func(s string) bool { return strings.Contains(message, s) }) &&
		strings.IndexByte(message, '\\') < 0 {
		return false
	}
	return gjson.Valid(message) && o.expr.holds(gjson.Parse(message))
}

// json reads what follows the opening brace.
func (p *parser) json() (matcher, error) {
	e, err := either(p, 0, jsonCondition)
	if err != nil {
		return nil, err
	}
	if p.space(); !p.take("}") {
		return nil, p.badCharacters(inSelector)
	}
	if p.space(); !p.done() {
		return nil, p.badCharacters(inSelector)
	}
	return &object{expr: e, needs: needs(e)}, nil
}

// step is one step of a selector: a member's name, or an element's number.
type step struct {
	name    string
	element int // with name empty
	every   bool
}

// selector is the way to a value in a message.
type selector []step

func inSelector(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_'
}

// selector reads $.name, $.list[0], $.list[*].name, $['a name'].
func (p *parser) selector() (selector, error) {
	begin := p.at
	if !p.take("$") {
		return nil, p.badCharacters(inSelector)
	}
	var s selector
	for {
		switch {
		case p.take(".") && !strings.HasPrefix(p.rest(), "["):
			name := p.word(inSelector)
			if name == "" {
				p.at = begin // the service names what stands before them, too
				return nil, p.badCharacters(inSelector)
			}
			s = append(s, step{name: name})
		case p.take("["):
			st, err := p.element()
			if err != nil {
				return nil, err
			}
			s = append(s, st)
		case len(s) == 0:
			return nil, p.badCharacters(inSelector)
		default:
			return s, nil
		}
	}
}

func (p *parser) element() (step, error) {
	bad := invalid("Invalid filter pattern: brackets hold a number, * or a name in quotes")
	inside, _, closed := strings.Cut(p.rest(), "]")
	if !closed {
		return step{}, bad
	}
	p.at += len(inside) + 1
	if inside == "*" {
		return step{every: true}, nil
	}
	if n := len(inside); n > 2 && inside[0] == inside[n-1] && (inside[0] == '\'' || inside[0] == '"') {
		return step{name: inside[1 : n-1]}, nil
	}
	n, err := strconv.ParseUint(inside, 10, 31)
	if err != nil {
		return step{}, bad
	}
	return step{element: int(n)}, nil //nolint:gosec // at most 31 bits
}

// values calls f with each value that the selector leads to, until it returns true.
func (s selector) values(at gjson.Result, f func(gjson.Result) bool) bool {
	if len(s) == 0 {
		return f(at)
	}
	st := s[0]
	switch {
	case st.name != "":
		return at.IsObject() && visit(at, func(key, v gjson.Result, _ int) (bool, bool) {
			if key.Str != st.name {
				return false, false
			}
			return s[1:].values(v, f), true
		})
	case st.every:
		return at.IsArray() && visit(at, func(_, v gjson.Result, _ int) (bool, bool) {
			found := s[1:].values(v, f)
			return found, found
		})
	}
	return at.IsArray() && visit(at, func(_, v gjson.Result, i int) (bool, bool) {
		if i != st.element {
			return false, false
		}
		return s[1:].values(v, f), true
	})
}

// visit calls f with the members of an object or the elements of an array, until it says that it is done.
func visit(at gjson.Result, f func(key, v gjson.Result, i int) (found, done bool)) (found bool) {
	i := 0
	at.ForEach(func(key, v gjson.Result) bool {
		var done bool
		found, done = f(key, v, i)
		i++
		return !done
	})
	return found
}
