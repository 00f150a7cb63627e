package logsapi

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// violations collects what the framework of the service checks before the operation sees a request: all of a request
// are reported together.
type violations []string

func (v *violations) add(value, member, rule string) {
	*v = append(*v, "Value "+value+" at '"+member+"' failed to satisfy constraint: "+rule)
}

// err is the exception of everything collected; nil when there is nothing.
func (v violations) err() error {
	switch len(v) {
	case 0:
		return nil
	case 1:
		return invalidParameter("1 validation error detected: %s", v[0])
	}
	return invalidParameter("%d validation errors detected: %s", len(v), strings.Join(v, "; "))
}

// shape is what a text must be like; lengths are in characters.
type shape struct {
	min, max int
	pattern  string
	re       *regexp.Regexp // the pattern, anchored
}

func newShape(low, high int, pattern string) shape {
	sh := shape{min: low, max: high, pattern: pattern}
	if pattern != "" {
		sh.re = regexp.MustCompile("^(?:" + pattern + ")$")
	}
	return sh
}

// Shapes of the service's model.
var (
	groupName   = newShape(1, 512, `[\.\-_/#A-Za-z0-9]+`)
	groupPart   = newShape(0, 512, `[\.\-_/#A-Za-z0-9]*`)
	identifier  = newShape(1, 2048, `[\w#+=/:,.@-]*`)
	streamName  = newShape(1, 512, `[^:*]*`)
	patternText = newShape(0, 1024, "")
	resourceARN = newShape(1, 1011, `[\w+=/:,.@-]*`)
	someToken   = newShape(1, 1<<20, "")
	tagKey      = newShape(1, 128, `([\p{L}\p{Z}\p{N}_.:/=+\-@]+)`)
	tagValue    = newShape(0, 256, `([\p{L}\p{Z}\p{N}_.:/=+\-@]*)`)
)

// text checks an optional string.
func (v *violations) text(member string, s *string, sh shape) {
	if s == nil {
		return
	}
	switch n := utf8.RuneCountInString(*s); {
	case n > sh.max:
		v.add("'"+*s+"'", member, fmt.Sprintf("Member must have length less than or equal to %d", sh.max))
	case n < sh.min:
		v.add("'"+*s+"'", member, fmt.Sprintf("Member must have length greater than or equal to %d", sh.min))
	case sh.re != nil && !sh.re.MatchString(*s):
		v.add("'"+*s+"'", member, "Member must satisfy regular expression pattern: "+sh.pattern)
	}
}

// required checks a string that must be there.
func (v *violations) required(member string, s *string, sh shape) {
	if s == nil {
		v.add("null", member, "Member must not be null")
	}
	v.text(member, s, sh)
}

// number checks an optional number; a high of 0 is none.
func (v *violations) number(member string, n *int64, low, high int64) {
	switch {
	case n == nil:
	case *n < low:
		v.add(fmt.Sprintf("'%d'", *n), member, fmt.Sprintf("Member must have value greater than or equal to %d", low))
	case high > 0 && *n > high:
		v.add(fmt.Sprintf("'%d'", *n), member, fmt.Sprintf("Member must have value less than or equal to %d", high))
	}
}

// names checks an optional list of names, of which there may be high.
func (v *violations) names(member string, list []string, high int, sh shape) {
	if list == nil {
		return
	}
	all := "'[" + strings.Join(list, ", ") + "]'"
	if len(list) > high {
		v.add(all, member, fmt.Sprintf("Member must have length less than or equal to %d", high))
	} else if len(list) == 0 {
		v.add(all, member, "Member must have length greater than or equal to 1")
	}
	for i := range list {
		v.text(fmt.Sprintf("%s.%d.member", member, i+1), &list[i], sh)
	}
}

// oneOf checks an enumeration.
func (v *violations) oneOf(member string, s *string, allowed ...string) {
	if s != nil && !slices.Contains(allowed, *s) {
		v.add("'"+*s+"'", member, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
	}
}

// number or text of an optional member.
func or[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}
