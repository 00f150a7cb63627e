package iam

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Context is what is known of a request, by condition key in small letters. Several values are those of a key that has
// several, such as lambda:layer.
type Context map[string][]string

// Set makes a key have one value; an empty one is none.
func (c Context) Set(key, value string) {
	if value != "" {
		c[strings.ToLower(key)] = []string{value}
	}
}

// Condition is one test of a key.
type Condition struct {
	test     *test
	Key      string // in small letters
	Values   []string
	ifExists bool
	each     quantifier
}

// quantifier says how the values of a key that has several are taken. Source: IAM User Guide, "Set operators for
// multivalued context keys".
type quantifier uint8

const (
	plain  quantifier = iota
	forAny            // ForAnyValue:
	forAll            // ForAllValues:
)

// test is an operator.
type test struct {
	name string
	// not: the values must not match.
	not bool
	// check says whether a policy may have the value; nil: every text.
	check func(value string) error
	match matcher
}

// matcher says whether a value of a request is as the policy's.
type matcher func(want, got string, known lookup) bool

// tests are all operators, without Null, which is another kind.
var tests = func() map[string]*test {
	m := map[string]*test{}
	add := func(name string, check func(string) error, match matcher) {
		m[name] = &test{name, false, check, match}
	}
	both := func(name, not string, check func(string) error, match matcher) {
		add(name, check, match)
		m[not] = &test{not, true, check, match}
	}
	both("StringEquals", "StringNotEquals", nil, equal)
	both("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", nil, func(want, got string, known lookup) bool {
		text, ok := literal(want, known)
		return ok && strings.EqualFold(text, got)
	})
	both("StringLike", "StringNotLike", nil, func(want, got string, known lookup) bool {
		p, ok := compile(want, known)
		return ok && p.matches(got)
	})
	arn := func(want, got string, known lookup) bool {
		p, ok := compile(want, known)
		return ok && p.matchesARN(got)
	}
	both("ArnEquals", "ArnNotEquals", nil, arn) // the two behave alike: documented
	both("ArnLike", "ArnNotLike", nil, arn)
	add("Bool", checkBool, func(want, got string, _ lookup) bool { return strings.EqualFold(want, got) })
	add("BinaryEquals", checkBinary, func(want, got string, _ lookup) bool { return want == got })
	both("IpAddress", "NotIpAddress", checkPrefix, inPrefix)
	ordered(both, add, "Numeric", func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	ordered(both, add, "Date", func(s string) (float64, error) {
		t, err := readTime(s)
		return float64(t.UnixMilli()), err
	})
	return m
}()

// ordered adds the six operators of something that has an order.
func ordered(both func(name, not string, check func(string) error, match matcher), add func(string, func(string) error, matcher), kind string, read func(string) (float64, error)) {
	check := func(s string) error {
		_, err := read(s)
		return err
	}
	compare := func(holds func(got, want float64) bool) matcher {
		return func(want, got string, _ lookup) bool {
			w, err1 := read(want)
			g, err2 := read(got)
			return err1 == nil && err2 == nil && holds(g, w)
		}
	}
	both(kind+"Equals", kind+"NotEquals", check, compare(func(g, w float64) bool { return g == w }))
	add(kind+"LessThan", check, compare(func(g, w float64) bool { return g < w }))
	add(kind+"LessThanEquals", check, compare(func(g, w float64) bool { return g <= w }))
	add(kind+"GreaterThan", check, compare(func(g, w float64) bool { return g > w }))
	add(kind+"GreaterThanEquals", check, compare(func(g, w float64) bool { return g >= w }))
}

// equal compares texts; variables count, wildcards do not.
func equal(want, got string, known lookup) bool {
	text, ok := literal(want, known)
	return ok && text == got
}

// literal is a text of a policy with its variables, in which * and ? are characters like others.
func literal(want string, known lookup) (string, bool) {
	p, ok := compile(want, known)
	for i, r := range p {
		switch r {
		case anyText:
			p[i] = '*'
		case anyRune:
			p[i] = '?'
		}
	}
	return string(p), ok
}

func checkBool(s string) error {
	if !strings.EqualFold(s, "true") && !strings.EqualFold(s, "false") {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	return nil
}

func checkBinary(s string) error {
	_, err := base64.StdEncoding.DecodeString(s)
	return err
}

func checkPrefix(s string) error {
	_, err := prefix(s)
	return err
}

func prefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

func inPrefix(want, got string, _ lookup) bool {
	p, err1 := prefix(want)
	a, err2 := netip.ParseAddr(got)
	return err1 == nil && err2 == nil && p.Masked().Contains(a.Unmap())
}

// readTime reads a date as the W3C's ISO 8601 has it, or seconds since 1970. Source: IAM User Guide, "Date condition
// operators".
func readTime(s string) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) > 4 {
		return time.Unix(n, 0), nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", time.DateOnly, "2006-01", "2006"} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date such as 2026-11-20T12:00:00Z", s)
}

// null is the operator that asks whether a key is there at all.
var null = &test{name: "Null", check: checkBool}

func readConditions(written map[string]map[string]texts) ([]Condition, error) {
	var list []Condition
	for _, op := range sortedKeys(written) {
		name, c := op, Condition{}
		if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
			name, c.each = rest, forAny
		} else if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
			name, c.each = rest, forAll
		}
		if rest, ok := strings.CutSuffix(name, "IfExists"); ok {
			name, c.ifExists = rest, true
		}
		if c.test = tests[name]; name == "Null" && op == "Null" {
			c.test = null
		}
		if c.test == nil {
			return nil, fmt.Errorf("there is no condition operator %q", op)
		}
		for _, key := range sortedKeys(written[op]) {
			c.Key, c.Values = strings.ToLower(key), written[op][key]
			for _, v := range c.Values {
				if c.test.check == nil {
					continue
				}
				if err := c.test.check(v); err != nil {
					return nil, fmt.Errorf("condition %s of %s: %w", op, key, err)
				}
			}
			list = append(list, c)
		}
	}
	return list, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// holds says whether a condition is met. A key that a request does not have meets no operator but those with Not, and
// those with IfExists.
func (c *Condition) holds(in Context, known lookup) bool {
	got := in[c.Key]
	if c.test == null {
		return slices.ContainsFunc(c.Values, func(v string) bool { return strings.EqualFold(v, "true") == (len(got) == 0) })
	}
	if len(got) == 0 {
		return c.ifExists || c.each == forAll || c.each == plain && c.test.not
	}
	// A value of the request is fine when one of the policy's is like it, or, with Not, when none is.
	fine := func(g string) bool {
		return slices.ContainsFunc(c.Values, func(w string) bool { return c.test.match(w, g, known) }) != c.test.not
	}
	if c.each == forAll || c.each == plain && c.test.not {
		return !slices.ContainsFunc(got, func(g string) bool { return !fine(g) })
	}
	return slices.ContainsFunc(got, fine)
}

// NewCondition is a test that was not read from a document. It panics for an operator that there is not.
func NewCondition(operator, key string, values ...string) Condition {
	c := Condition{test: tests[operator], Key: strings.ToLower(key), Values: values}
	if c.test == nil {
		panic("iam: no operator " + operator)
	}
	return c
}
