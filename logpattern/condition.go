package logpattern

import (
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
)

// comparison is SELECTOR OPERATOR VALUE. A selector that leads to nothing, to an object or to an array fits no value,
// and with != neither.
type comparison struct {
	at selector
	op string
	v  value
}

func (c *comparison) holds(root gjson.Result) bool { return c.at.values(root, c.fits) }

func (c *comparison) fits(have gjson.Result) bool {
	switch have.Type {
	case gjson.Number:
		return c.fitsNumber(have)
	case gjson.String:
		return !ordered(c.op) && c.v.like(have.Str) == (c.op == "=")
	case gjson.True, gjson.False:
		return !ordered(c.op) && c.v.like(have.Raw) == (c.op == "=")
	}
	return false
}

func (c *comparison) fitsNumber(have gjson.Result) bool {
	switch {
	case c.v.isNumber:
		return compare(have.Num, c.op, c.v.number)
	case c.v.wild():
		return c.v.like(have.Raw) == (c.op == "=")
	}
	return c.op == "!="
}

// posture is SELECTOR IS NULL, IS TRUE, IS FALSE, EXISTS or NOT EXISTS.
type posture struct {
	at   selector
	want string
}

func (c *posture) holds(root gjson.Result) bool {
	if c.want == "NOT EXISTS" {
		return !c.at.values(root, func(gjson.Result) bool { return true })
	}
	return c.at.values(root, func(have gjson.Result) bool {
		switch c.want {
		case "IS NULL":
			return have.Type == gjson.Null
		case "IS TRUE":
			return have.Type == gjson.True
		case "IS FALSE":
			return have.Type == gjson.False
		}
		return true
	})
}

// jsonCondition reads one condition of a JSON pattern.
func jsonCondition(p *parser) (expr[gjson.Result], error) {
	at, err := p.selector()
	if err != nil {
		return nil, err
	}
	p.space()
	if op := p.operator(); op != "" {
		v, err := p.value(op)
		if err != nil {
			return nil, err
		}
		return &comparison{at, op, v}, nil
	}
	first := strings.ToUpper(p.word(unicode.IsLetter))
	p.space()
	want := first
	if first == "IS" || first == "NOT" {
		want = first + " " + strings.ToUpper(p.word(unicode.IsLetter))
	}
	switch want {
	case "IS NULL", "IS TRUE", "IS FALSE", "EXISTS", "NOT EXISTS":
		return &posture{at, want}, nil
	case "":
		return nil, p.badCharacters(inSelector)
	}
	return nil, invalid("Invalid filter pattern: %s is no operator", want)
}

// needs gives texts of which every message that e selects has one, if it has no backslash: a message without them need
// not be read as JSON. Empty: not known.
func needs(e expr[gjson.Result]) []string {
	switch e := e.(type) {
	case and[gjson.Result]:
		return needsOfAll(e)
	case or[gjson.Result]:
		var all []string
		for _, part := range e {
			n := needs(part)
			if len(n) == 0 {
				return nil
			}
			all = append(all, n...)
		}
		return all
	case *comparison:
		if e.op == "=" && e.v.regex == nil && !e.v.isNumber && e.v.text != "" && verbatim(e.v.text) {
			return []string{e.v.text}
		}
		return e.at.need()
	case *posture:
		if e.want != "NOT EXISTS" {
			return e.at.need()
		}
	}
	return nil
}

// needsOfAll is the longest need of the parts: the longest is in the fewest messages, as a rule.
func needsOfAll(parts and[gjson.Result]) (best []string) {
	for _, part := range parts {
		if n := needs(part); len(n) > 0 && (best == nil || len(n[0]) > len(best[0])) {
			best = n
		}
	}
	return best
}

func (s selector) need() []string {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i].name != "" && verbatim(s[i].name) {
			return []string{s[i].name}
		}
	}
	return nil
}

// verbatim says that a text stands in JSON as it is, unless its writer escaped what it need not.
func verbatim(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune("\"\\<>&", r) }) < 0
}
