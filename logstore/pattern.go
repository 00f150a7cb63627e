package logstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Pattern selects messages as a CloudWatch Logs filter pattern does: words and "quoted phrases" that must all occur, -words that must
// not, ?words of which one must occur, or { $.field = value } for messages that are JSON objects, with = != < <= > >=.
// The zero Pattern matches everything.
// Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax". Differences: one comparison only, no regular expressions.
type Pattern struct {
	all, none, any []string
	path           []string // of a JSON comparison; nil: there is none
	op, value      string
	quoted         bool // value is text, even if it looks like a number
}

// ParsePattern reads a pattern; an empty text matches everything.
func ParsePattern(text string) (Pattern, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		return parseComparison(text)
	}
	var p Pattern
	for text != "" {
		sign := text[0]
		if sign == '-' || sign == '?' {
			text = text[1:]
		}
		var word string
		if strings.HasPrefix(text, `"`) {
			var ok bool
			if word, text, ok = strings.Cut(text[1:], `"`); !ok {
				return Pattern{}, fmt.Errorf("filter pattern: a quote that does not end")
			}
		} else {
			word, text, _ = strings.Cut(text, " ")
		}
		text = strings.TrimSpace(text)
		switch {
		case word == "":
			return Pattern{}, fmt.Errorf("filter pattern: a term without text")
		case sign == '-':
			p.none = append(p.none, word)
		case sign == '?':
			p.any = append(p.any, word)
		default:
			p.all = append(p.all, word)
		}
	}
	return p, nil
}

func parseComparison(text string) (Pattern, error) {
	bad := fmt.Errorf("filter pattern: %q is not of the form { $.field = value }", text)
	inner, ok := strings.CutSuffix(strings.TrimPrefix(text, "{"), "}")
	inner = strings.TrimSpace(inner)
	if !ok || !strings.HasPrefix(inner, "$.") {
		return Pattern{}, bad
	}
	at := strings.IndexAny(inner, "=!<> ")
	if at < 0 {
		return Pattern{}, bad
	}
	p := Pattern{path: strings.Split(inner[2:at], ".")}
	rest := strings.TrimSpace(inner[at:])
	for _, op := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if v, ok := strings.CutPrefix(rest, op); ok {
			p.op, p.value = op, strings.TrimSpace(v)
			break
		}
	}
	if n := len(p.value); n >= 2 && p.value[0] == '"' && p.value[n-1] == '"' {
		p.value, p.quoted = p.value[1:n-1], true
	} else if p.value == "" {
		return Pattern{}, bad
	}
	_, err := strconv.ParseFloat(p.value, 64)
	if p.op == "" || slices.Contains(p.path, "") || (p.op[0] == '<' || p.op[0] == '>') && (p.quoted || err != nil) {
		return Pattern{}, bad
	}
	return p, nil
}

// Match says whether the pattern selects a message.
func (p *Pattern) Match(message string) bool {
	if p.path != nil {
		return p.compare(message)
	}
	has := func(word string) bool { return strings.Contains(message, word) }
	return !slices.ContainsFunc(p.none, has) &&
		!slices.ContainsFunc(p.all, func(w string) bool { return !has(w) }) &&
		(len(p.any) == 0 || slices.ContainsFunc(p.any, has))
}

func (p *Pattern) compare(message string) bool {
	if !strings.HasPrefix(strings.TrimSpace(message), "{") {
		return false
	}
	var v any
	if json.Unmarshal([]byte(message), &v) != nil {
		return false
	}
	for _, name := range p.path {
		m, ok := v.(map[string]any)
		if !ok {
			return false
		}
		if v, ok = m[name]; !ok {
			return false
		}
	}
	switch v := v.(type) {
	case float64:
		n, err := strconv.ParseFloat(p.value, 64)
		if err != nil || p.quoted {
			return p.op == "!="
		}
		switch p.op {
		case "=":
			return v == n
		case "!=":
			return v != n
		case "<":
			return v < n
		case "<=":
			return v <= n
		case ">":
			return v > n
		default:
			return v >= n
		}
	case string:
		return p.op == "=" && like(p.value, v) || p.op == "!=" && !like(p.value, v)
	case bool:
		return p.op == "=" && strconv.FormatBool(v) == p.value || p.op == "!=" && strconv.FormatBool(v) != p.value
	}
	return false
}

// like compares text, where a * at the beginning or end of want stands for anything.
func like(want, have string) bool {
	front, back := strings.HasPrefix(want, "*"), len(want) > 1 && strings.HasSuffix(want, "*")
	want = strings.TrimPrefix(want, "*")
	if back {
		want = strings.TrimSuffix(want, "*")
	}
	switch {
	case front && back:
		return strings.Contains(have, want)
	case front:
		return strings.HasSuffix(have, want)
	case back:
		return strings.HasPrefix(have, want)
	}
	return have == want
}
