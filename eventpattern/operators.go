package eventpattern

import (
	"errors"
	"net/netip"
	"strconv"
)

// operators make a leaf of their operand, which is the value with the index.
var operators map[string]func(c compiler, at int32) (leaf, error)

func init() {
	operators = map[string]func(compiler, int32) (leaf, error){
		"exists":             compiler.exists,
		"prefix":             func(c compiler, at int32) (leaf, error) { return c.affix(at, hasPrefix) },
		"suffix":             func(c compiler, at int32) (leaf, error) { return c.affix(at, hasSuffix) },
		"equals-ignore-case": func(c compiler, at int32) (leaf, error) { return c.operand(at, equalsFold) },
		"wildcard":           func(c compiler, at int32) (leaf, error) { return c.operand(at, isLike) },
		"cidr":               func(c compiler, at int32) (leaf, error) { return c.operand(at, isInNetwork) },
		"numeric":            compiler.numeric,
		"anything-but":       compiler.anythingBut,
	}
}

func (c compiler) exists(at int32) (leaf, error) {
	switch string(c.raw(&c.values[at])) {
	case "true":
		return leaf{test: isPresent}, nil
	case "false":
		return leaf{test: isAbsent}, nil
	}
	return leaf{}, errors.New("takes true or false")
}

// affix is a prefix or a suffix: a string, or an object that says that case does not matter.
func (c compiler) affix(at int32, t test) (leaf, error) {
	if c.values[at].kind != object {
		return c.operand(at, t)
	}
	children := c.children(at)
	if len(children) != 1 || c.key(children[0]) != "equals-ignore-case" {
		return leaf{}, errors.New("takes a string, or equals-ignore-case with one")
	}
	l, err := c.operand(children[0], t)
	l.fold = true
	return l, err
}

// operand makes a leaf of a test whose operand is one string.
func (c compiler) operand(at int32, t test) (leaf, error) {
	v := &c.values[at]
	if v.kind != text {
		return leaf{}, errors.New("takes a string")
	}
	l := leaf{test: t, text: string(c.string(v))}
	var err error
	switch t {
	case isLike:
		l.wildcard, err = newWildcard(l.text)
	case isInNetwork:
		l.network, err = network(l.text)
	}
	return l, err
}

func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("takes an address, or a network such as 10.0.0.0/24")
	}
	return p.Masked(), nil
}

// numeric takes one comparison, or a lower and then an upper bound.
func (c compiler) numeric(at int32) (leaf, error) {
	wrong := errors.New(`takes a comparison such as [">=", 10], or a lower and an upper bound such as [">", 0, "<=", 5]`)
	children := c.children(at)
	if c.values[at].kind != array || len(children) != 2 && len(children) != 4 {
		return leaf{}, wrong
	}
	l := leaf{test: isInRange}
	for i := 0; i < len(children); i += 2 {
		operator, bound := &c.values[children[i]], &c.values[children[i+1]]
		n, err := strconv.ParseFloat(string(c.raw(bound)), 64)
		if operator.kind != text || bound.kind != number || err != nil {
			return leaf{}, wrong
		}
		side := string(c.string(operator))
		if len(children) == 4 && (side == "=" || (side[:min(1, len(side))] == ">") != (i == 0)) {
			return leaf{}, wrong
		}
		if !l.numbers.bound(side, n) {
			return leaf{}, wrong
		}
	}
	if r := l.numbers; len(children) == 4 && r.low >= r.high {
		return leaf{}, errors.New("has a lower bound that is not below the upper one")
	}
	return l, nil
}

// bound sets one side, or with = both.
func (i *interval) bound(operator string, n float64) bool {
	switch operator {
	case "=":
		i.low, i.lowBounded, i.high, i.highBounded = n, true, n, true
	case ">", ">=":
		i.low, i.lowBounded, i.lowOpen = n, true, operator == ">"
	case "<", "<=":
		i.high, i.highBounded, i.highOpen = n, true, operator == "<"
	default:
		return false
	}
	return true
}

// anythingBut takes a string, a number, a list of one of the two, or an operator on strings with one of them or a list.
func (c compiler) anythingBut(at int32) (leaf, error) {
	l := leaf{test: isNoneOf}
	if c.values[at].kind != object {
		for _, i := range c.oneOrMore(at) {
			l.but = append(l.but, c.literal(i))
		}
		for _, o := range l.but {
			if o.kind != text && o.kind != number || o.kind != l.but[0].kind {
				return leaf{}, errors.New("takes strings or numbers, not both")
			}
		}
		return l, l.isEmpty()
	}
	children := c.children(at)
	if len(children) != 1 {
		return leaf{}, errors.New("takes one operator")
	}
	tests := map[string]test{"prefix": hasPrefix, "suffix": hasSuffix, "equals-ignore-case": equalsFold, "wildcard": isLike}
	t, known := tests[c.key(children[0])]
	if !known {
		return leaf{}, errors.New("takes prefix, suffix, equals-ignore-case or wildcard, no other operator")
	}
	for _, i := range c.oneOrMore(children[0]) {
		o, err := c.operand(i, t)
		if err == nil && o.text == "" && t != equalsFold {
			err = errors.New("of an empty string lets nothing pass")
		}
		if err != nil {
			return leaf{}, err
		}
		l.but = append(l.but, o)
	}
	return l, l.isEmpty()
}

func (c compiler) oneOrMore(at int32) []int32 {
	if c.values[at].kind == array {
		return c.children(at)
	}
	return []int32{at}
}

func (l *leaf) isEmpty() error {
	if len(l.but) == 0 {
		return errors.New("takes at least one value")
	}
	return nil
}
