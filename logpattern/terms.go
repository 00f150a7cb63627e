package logpattern

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// term is a word, a phrase or a regular expression that occurs in a message, or does not.
type term struct {
	text  string
	regex *regexp.Regexp
}

func (t term) in(message string) bool {
	if t.regex != nil {
		return t.regex.MatchString(message)
	}
	return strings.Contains(message, t.text)
}

// terms is a pattern of words. Words with a question mark have a meaning only where there are no others.
type terms struct{ all, none, any []term }

func (ts *terms) matches(message string) bool {
	in := func(t term) bool { return t.in(message) }
	if len(ts.all)+len(ts.none) == 0 {
		return slices.ContainsFunc(ts.any, in)
	}
	return !slices.ContainsFunc(ts.none, in) && !slices.ContainsFunc(ts.all, func(t term) bool { return !t.in(message) })
}

// needs is the longest word that must occur, or all those of which one must.
func (ts *terms) needs() []string {
	if len(ts.all)+len(ts.none) > 0 {
		var best string
		for _, t := range ts.all {
			if len(t.text) > len(best) && verbatim(t.text) {
				best = t.text
			}
		}
		if best == "" {
			return nil
		}
		return []string{best}
	}
	var all []string
	for _, t := range ts.any {
		if t.text == "" || !verbatim(t.text) {
			return nil
		}
		all = append(all, t.text)
	}
	return all
}

// inWord are the characters of a word without quotes.
func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// terms reads a pattern of words.
func (p *parser) terms() (matcher, error) {
	ts := &terms{}
	for p.space(); !p.done(); p.space() {
		into := &ts.all
		switch {
		case p.take("?"):
			into = &ts.any
		case p.take("-"):
			into = &ts.none
			p.space() // as the guide writes it
		}
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		*into = append(*into, t)
	}
	return ts, nil
}

func (p *parser) term() (t term, err error) {
	switch {
	case strings.HasPrefix(p.rest(), `"`):
		if t.text, err = p.quoted(); err == nil && t.text == "" {
			err = invalid("Invalid filter pattern: a term without text")
		}
	case strings.HasPrefix(p.rest(), "%"):
		p.regexes = 0 // their number is bounded in patterns of the other kinds alone
		t.regex, err = p.regex()
	default:
		if t.text = p.word(inWord); t.text == "" {
			err = p.badCharacters(inWord)
		}
	}
	return t, err
}
