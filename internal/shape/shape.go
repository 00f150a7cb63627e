// Package shape checks members of requests as the models of AWS's services describe them, and says what is wrong in the
// words that all of these services use.
package shape

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Violations are what is wrong with one request: all of it is told together.
type Violations []string

// Add adds one. value is as it is shown.
func (v *Violations) Add(value, member, rule string) {
	*v = append(*v, "Value "+value+" at '"+member+"' failed to satisfy constraint: "+rule)
}

// String is the message; empty: nothing is wrong.
func (v Violations) String() string {
	switch len(v) {
	case 0:
		return ""
	case 1:
		return "1 validation error detected: " + v[0]
	}
	return fmt.Sprintf("%d validation errors detected: %s", len(v), strings.Join(v, "; "))
}

// Text is what a string must be like; lengths are in characters.
type Text struct {
	min, max int
	pattern  string
	re       *regexp.Regexp // the pattern, anchored
}

// NewText makes a Text. An empty pattern is none.
func NewText(low, high int, pattern string) Text {
	t := Text{min: low, max: high, pattern: pattern}
	if pattern != "" {
		t.re = regexp.MustCompile("^(?:" + pattern + ")$")
	}
	return t
}

// Text checks an optional string.
func (v *Violations) Text(member string, s *string, t Text) {
	if s == nil {
		return
	}
	switch n := utf8.RuneCountInString(*s); {
	case n > t.max:
		v.Add("'"+*s+"'", member, fmt.Sprintf("Member must have length less than or equal to %d", t.max))
	case n < t.min:
		v.Add("'"+*s+"'", member, fmt.Sprintf("Member must have length greater than or equal to %d", t.min))
	case t.re != nil && !t.re.MatchString(*s):
		v.Add("'"+*s+"'", member, "Member must satisfy regular expression pattern: "+t.pattern)
	}
}

// Required checks a string that must be there.
func (v *Violations) Required(member string, s *string, t Text) {
	if s == nil {
		v.Missing(member)
	}
	v.Text(member, s, t)
}

// Missing says that a member must be there.
func (v *Violations) Missing(member string) { v.Add("null", member, "Member must not be null") }

// Number checks an optional number.
func (v *Violations) Number(member string, n *int, low, high int) {
	switch {
	case n == nil:
	case *n < low:
		v.Add(fmt.Sprintf("'%d'", *n), member, fmt.Sprintf("Member must have value greater than or equal to %d", low))
	case *n > high:
		v.Add(fmt.Sprintf("'%d'", *n), member, fmt.Sprintf("Member must have value less than or equal to %d", high))
	}
}

// Length checks how many there are of something.
func (v *Violations) Length(member string, n, low, high int) {
	switch {
	case n < low:
		v.Add("'[]'", member, fmt.Sprintf("Member must have length greater than or equal to %d", low))
	case n > high:
		v.Add(fmt.Sprintf("'[%d members]'", n), member, fmt.Sprintf("Member must have length less than or equal to %d", high))
	}
}

// OneOf checks an optional member of an enumeration.
func (v *Violations) OneOf(member string, s *string, allowed ...string) {
	if s != nil && !slices.Contains(allowed, *s) {
		v.Add("'"+*s+"'", member, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
	}
}
