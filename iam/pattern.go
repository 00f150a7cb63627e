package iam

import (
	"strings"
	"unicode/utf8"
)

// The marks of a pattern's wildcards. They are no runes, so no text of a request can hold one.
const (
	anyText rune = utf8.MaxRune + 1 + iota // *
	anyRune                                // ?
)

// lookup gives what a policy variable stands for, by its name in small letters.
type lookup = func(key string) (string, bool)

// pattern is a text with wildcards. What a variable stood for has none.
type pattern []rune

// compile reads a text of a policy. known gives what policy variables stand for; nil: the policy's version has none.
// ok is false when a variable stands for nothing: then nothing matches. Source: IAM User Guide, "IAM policy elements:
// Variables and tags".
func compile(text string, known lookup) (p pattern, ok bool) {
	p = make(pattern, 0, len(text))
	for text != "" {
		if known != nil && strings.HasPrefix(text, "${") {
			if name, rest, closed := strings.Cut(text[2:], "}"); closed {
				value, ok := variable(name, known)
				if !ok {
					return nil, false
				}
				p, text = append(p, []rune(value)...), rest
				continue
			}
		}
		r, n := utf8.DecodeRuneInString(text)
		switch r {
		case '*':
			r = anyText
		case '?':
			r = anyRune
		}
		p, text = append(p, r), text[n:]
	}
	return p, true
}

// variable is what ${name} stands for: one of the three characters, a value of the request, or its default.
func variable(name string, known lookup) (string, bool) {
	switch name = strings.TrimSpace(name); name {
	case "*", "?", "$":
		return name, true
	}
	key, fallback, has := strings.Cut(name, ",")
	if v, ok := known(strings.ToLower(strings.TrimSpace(key))); ok {
		return v, true
	}
	if fallback = strings.TrimSpace(fallback); has && len(fallback) >= 2 && fallback[0] == '\'' && fallback[len(fallback)-1] == '\'' {
		return fallback[1 : len(fallback)-1], true
	}
	return "", false
}

// matches says whether the whole of s is as the pattern says. It goes back to the last * alone, so its time is the
// product of the lengths at most.
func (p pattern) matches(s string) bool {
	t := []rune(s)
	i, star, from := 0, -1, 0
	for j := 0; j < len(t); {
		switch {
		case i < len(p) && p[i] == anyText:
			star, from = i, j
			i++
		case i < len(p) && (p[i] == anyRune || p[i] == t[j]):
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == anyText {
		i++
	}
	return i == len(p)
}

// matchesARN compares part by part: a wildcard does not reach over a colon, but for those in the last part, which is the
// resource. Source: IAM User Guide, "IAM JSON policy elements: Resource", and of conditions, ArnLike.
func (p pattern) matchesARN(arn string) bool {
	for n := range 6 {
		want, rest := p, pattern(nil)
		if at := index(p, ':'); at >= 0 && n < 5 {
			want, rest = p[:at], p[at+1:]
		} else if n < 5 {
			return false
		}
		got, tail := arn, ""
		if at := strings.IndexByte(arn, ':'); at >= 0 && n < 5 {
			got, tail = arn[:at], arn[at+1:]
		} else if n < 5 {
			return false
		}
		if !want.matches(got) {
			return false
		}
		p, arn = rest, tail
	}
	return true
}

func index(p pattern, r rune) int {
	for i := range p {
		if p[i] == r {
			return i
		}
	}
	return -1
}

// like is a match of one text with another, capital letters or small.
func like(text, s string) bool {
	p, _ := compile(strings.ToLower(text), nil)
	return p.matches(strings.ToLower(s))
}
