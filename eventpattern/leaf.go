package eventpattern

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// test is what a leaf asks of a value that is neither object nor array.
type test uint8

const (
	isAbsent    test = iota // exists: false. Asked of what is not there, so no value holds it
	isPresent               // exists: true
	isLiteral               // the same kind and the same text
	hasPrefix               // of a string, in its own case or, with fold, in any
	hasSuffix               //
	equalsFold              // equals-ignore-case
	isLike                  // wildcard
	isInNetwork             // cidr
	isInRange               // numeric
	isNoneOf                // anything-but
)

// leaf is one item of a list.
type leaf struct {
	test     test
	kind     kind   // of a literal
	text     string // of a literal, or an operand
	fold     bool
	wildcard wildcard
	network  netip.Prefix
	numbers  interval
	but      []leaf
}

// interval is what numeric asks for. A side without a bound has none set.
type interval struct {
	low, high               float64
	lowOpen, highOpen       bool // the bound itself is outside
	lowBounded, highBounded bool
}

func (i interval) holds(n float64) bool {
	if i.lowBounded && (n < i.low || i.lowOpen && n == i.low) {
		return false
	}
	return !i.highBounded || n < i.high || !i.highOpen && n == i.high
}

func (l *leaf) holds(d *Document, v *value) bool {
	switch l.test {
	case isPresent:
		return true
	case isLiteral:
		return v.kind == l.kind && string(d.string(v)) == l.text
	case isNoneOf:
		return !slices.ContainsFunc(l.but, func(o leaf) bool { return o.holds(d, v) })
	case isInRange:
		if v.kind != number {
			return false
		}
		n, err := strconv.ParseFloat(string(d.raw(v)), 64)
		return err == nil && l.numbers.holds(n)
	}
	if v.kind != text {
		return false
	}
	s := d.string(v)
	switch l.test {
	case hasPrefix:
		if l.fold {
			return foldedPrefix(s, l.text)
		}
		return len(s) >= len(l.text) && string(s[:len(l.text)]) == l.text
	case hasSuffix:
		if l.fold {
			return foldedSuffix(s, l.text)
		}
		return len(s) >= len(l.text) && string(s[len(s)-len(l.text):]) == l.text
	case equalsFold:
		return strings.EqualFold(string(s), l.text)
	case isLike:
		return l.wildcard.match(s)
	case isInNetwork:
		a, err := netip.ParseAddr(string(s))
		return err == nil && l.network.Contains(a.WithZone("").Unmap())
	}
	return false
}

// foldedPrefix looks at as many characters as the prefix has: letters of different case can differ in length.
func foldedPrefix(s []byte, prefix string) bool {
	end := 0
	for range utf8.RuneCountInString(prefix) {
		_, n := utf8.DecodeRune(s[end:])
		end += n
	}
	return bytes.EqualFold(s[:end], []byte(prefix))
}

func foldedSuffix(s []byte, suffix string) bool {
	start := len(s)
	for range utf8.RuneCountInString(suffix) {
		_, n := utf8.DecodeLastRune(s[:start])
		start -= n
	}
	return bytes.EqualFold(s[start:], []byte(suffix))
}
