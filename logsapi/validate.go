package logsapi

import (
	"fmt"
	"strings"

	"thaw/internal/shape"
)

// violations collects what the framework of the service checks before the operation sees a request: all of a request
// are reported together.
type violations struct{ shape.Violations }

// err is the exception of everything collected; nil when there is nothing.
func (v violations) err() error {
	if s := v.String(); s != "" {
		return invalidParameter("%s", s)
	}
	return nil
}

// longestName is how long names of groups and streams may be.
const longestName = 512

// Shapes of the service's model.
var (
	groupName   = shape.NewText(1, longestName, `[\.\-_/#A-Za-z0-9]+`)
	groupPart   = shape.NewText(0, longestName, `[\.\-_/#A-Za-z0-9]*`)
	identifier  = shape.NewText(1, 2048, `[\w#+=/:,.@-]*`)
	streamName  = shape.NewText(1, longestName, `[^:*]*`)
	patternText = shape.NewText(0, 1024, "")
	resourceARN = shape.NewText(1, 1011, `[\w+=/:,.@-]*`)
	someToken   = shape.NewText(1, 1<<20, "")
	tagKey      = shape.NewText(1, 128, `([\p{L}\p{Z}\p{N}_.:/=+\-@]+)`)
	tagValue    = shape.NewText(0, 256, `([\p{L}\p{Z}\p{N}_.:/=+\-@]*)`)
)

// number checks an optional number; a high of 0 is none.
func (v *violations) number(member string, n *int64, low, high int64) {
	switch {
	case n == nil:
	case *n < low:
		v.Add(fmt.Sprintf("'%d'", *n), member, fmt.Sprintf("Member must have value greater than or equal to %d", low))
	case high > 0 && *n > high:
		v.Add(fmt.Sprintf("'%d'", *n), member, fmt.Sprintf("Member must have value less than or equal to %d", high))
	}
}

// names checks an optional list of names, of which there may be high.
func (v *violations) names(member string, list []string, high int, sh shape.Text) {
	if list == nil {
		return
	}
	all := "'[" + strings.Join(list, ", ") + "]'"
	if len(list) > high {
		v.Add(all, member, fmt.Sprintf("Member must have length less than or equal to %d", high))
	} else if len(list) == 0 {
		v.Add(all, member, "Member must have length greater than or equal to 1")
	}
	for i := range list {
		v.Text(fmt.Sprintf("%s.%d.member", member, i+1), &list[i], sh)
	}
}

// number or text of an optional member.
func or[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}
