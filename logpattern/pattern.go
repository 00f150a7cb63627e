// Package logpattern reads the filter patterns of CloudWatch Logs and matches messages against them. It is pure: no
// I/O, no clock.
//
//	ERROR "two words" -quiet       words and phrases that must all occur, or must not
//	?ERROR ?WARN                   words of which one must occur
//	%5[0-9]{2}%                    a regular expression, here and wherever a value may stand
//	{ $.level = "ERROR" && ($.n > 3 || $.user NOT EXISTS) }      for messages that are JSON objects
//	[ip, ..., status = 4* && status != 404, bytes > 1000]        for messages of fields with spaces between
//
// Matching takes time that grows with the message's length times the pattern's and no faster: messages come from functions,
// which may be hostile.
//
// Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters, filter log
// events, and Live Tail".
package logpattern

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength is the length of the longest pattern, in characters.
const MaxLength = 1024

// maxRegexes bounds the regular expressions in one JSON or space-delimited pattern.
const maxRegexes = 2

// Pattern selects messages. The zero Pattern selects all.
type Pattern struct {
	match matcher // nil: everything
}

// matcher is a pattern of one of the three kinds.
type matcher interface {
	matches(message string) bool
}

// Error says why a text is no pattern, in the service's words where they are known.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func invalid(format string, v ...any) error { return &Error{fmt.Sprintf(format, v...)} }

// Parse reads a pattern; a text of spaces alone selects everything. Its error is *Error.
func Parse(text string) (Pattern, error) {
	if utf8.RuneCountInString(text) > MaxLength {
		return Pattern{}, invalid("Invalid filter pattern: it is longer than %d characters", MaxLength)
	}
	p := &parser{text: text}
	p.space()
	var m matcher
	var err error
	switch {
	case p.done():
		return Pattern{}, nil
	case p.take("{"):
		m, err = p.json()
	case p.take("["):
		m, err = p.fields()
	default:
		m, err = p.terms()
	}
	if err != nil {
		if !errors.As(err, new(*Error)) {
			err = invalid("Invalid filter pattern: %v", err)
		}
		return Pattern{}, err
	}
	return Pattern{m}, nil
}

// Match says whether the pattern selects a message.
func (p Pattern) Match(message string) bool { return p.match == nil || p.match.matches(message) }

// Needs gives texts of which one is in every message that the pattern selects and that has no backslash. They are
// printable ASCII without quotes, backslashes and <, > and &, so that JSON's escapes leave them alone. Empty: not known.
func (p Pattern) Needs() []string {
	switch m := p.match.(type) {
	case *object:
		return m.needs
	case *terms:
		return m.needs()
	}
	return nil
}

// Empty says that the pattern selects everything.
func (p Pattern) Empty() bool { return p.match == nil }

// parser walks over a pattern's text.
type parser struct {
	text    string
	at      int
	regexes int
}

func (p *parser) done() bool   { return p.at >= len(p.text) }
func (p *parser) rest() string { return p.text[p.at:] }

func (p *parser) space() {
	for !p.done() && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take moves over token if it comes next.
func (p *parser) take(token string) bool {
	if strings.HasPrefix(p.rest(), token) {
		p.at += len(token)
		return true
	}
	return false
}

// word is the longest run of characters that ok accepts; it may be empty.
func (p *parser) word(ok func(rune) bool) string {
	end := strings.IndexFunc(p.rest(), func(r rune) bool { return !ok(r) })
	if end < 0 {
		end = len(p.rest())
	}
	w := p.rest()[:end]
	p.at += end
	return w
}

// badCharacters names the run of characters that stand where they may not.
func (p *parser) badCharacters(ok func(rune) bool) error {
	if p.done() {
		return invalid("Invalid filter pattern: it ends too early")
	}
	run := p.word(func(r rune) bool { return !ok(r) && r != ' ' })
	if run == "" {
		run = p.rest()[:1]
	}
	return invalid("Invalid character(s) in term '%s'", run)
}
