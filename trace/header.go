package trace

import (
	"strings"
)

// Decision is whether a trace is sampled, as the header spells it.
type Decision string

// The decisions.
const (
	Undecided  Decision = ""
	Sampled    Decision = "1"
	NotSampled Decision = "0"
	Asked      Decision = "?" // the sender wants to be told
)

// Header is an X-Amzn-Trace-Id header.
type Header struct {
	Root    string // 1-5759e988-bd862e3fe1be46a994272793; empty: it names no trace
	Parent  string // 16 hexadecimal digits; may be empty
	Sampled Decision
	More    string // what else stands there, Lineage or Self for one, with semicolons in between
}

// maxMore bounds what is kept of other members; a lineage is the longest that means something.
const maxMore = 2048

// ParseHeader reads a header. It comes from anybody: what it does not know it keeps, what makes no sense it drops.
func ParseHeader(s string) (h Header) {
	for part := range strings.SplitSeq(s, ";") {
		part = strings.TrimSpace(part)
		name, value, ok := strings.Cut(part, "=")
		switch {
		case !ok:
		case name == "Root":
			if isRoot(value) {
				h.Root = value
			}
		case name == "Parent":
			if isHex(value, 16) {
				h.Parent = value
			}
		case name == "Sampled":
			switch d := Decision(value); d {
			case Sampled, NotSampled, Asked:
				h.Sampled = d
			}
		case len(h.More)+len(part) < maxMore && printable(part):
			if h.More != "" {
				h.More += ";"
			}
			h.More += part
		}
	}
	return h
}

// String is the header in the order of the service.
func (h Header) String() string {
	var b strings.Builder
	b.Grow(96 + len(h.More))
	add := func(s ...string) {
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		for _, s := range s {
			b.WriteString(s)
		}
	}
	if h.Root != "" {
		add("Root=", h.Root)
	}
	if h.Parent != "" {
		add("Parent=", h.Parent)
	}
	if h.Sampled != Undecided {
		add("Sampled=", string(h.Sampled))
	}
	if h.More != "" {
		add(h.More)
	}
	return b.String()
}

func isRoot(s string) bool {
	return len(s) == 35 && s[:2] == "1-" && s[10] == '-' && isHex(s[2:10], 8) && isHex(s[11:], 24)
}

// isHex says whether s is n hexadecimal digits in small letters.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// FromW3C is the header that means what a W3C traceparent says; empty: that makes no sense.
// Source: W3C Trace Context, traceparent header field values; X-Ray Developer Guide, Trace ID format.
func FromW3C(traceparent string) string {
	const zeros = "00000000000000000000000000000000"
	s := strings.TrimSpace(traceparent)
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return ""
	}
	version, id, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	switch {
	case !isHex(version, 2) || !isHex(id, 32) || !isHex(parent, 16) || !isHex(flags, 2):
		return ""
	case version == "ff" || id == zeros || parent == zeros[:16]:
		return ""
	case len(s) > 55 && (version == "00" || s[55] != '-'): // a later version may say more
		return ""
	}
	h := Header{Root: "1-" + id[:8] + "-" + id[8:], Parent: parent, Sampled: NotSampled}
	if strings.ContainsRune("13579bdf", rune(flags[1])) {
		h.Sampled = Sampled
	}
	return h.String()
}

// W3CTraceID is the id of a trace as the rest of the world writes it: 32 hexadecimal digits.
func W3CTraceID(root string) string {
	if !isRoot(root) {
		return ""
	}
	return root[2:10] + root[11:]
}

// FromHTTP is the header of a request: its X-Amzn-Trace-Id where that names a trace, else what its traceparent says. State is
// the tracestate that belongs to the latter.
func FromHTTP(xray, traceparent string, tracestate []string) (header, state string) {
	if traceparent == "" || ParseHeader(xray).Root != "" {
		return xray, ""
	}
	h := FromW3C(traceparent)
	if h == "" {
		return xray, ""
	}
	state = strings.Join(tracestate, ",")
	if len(state) > maxState || !printable(state) {
		state = ""
	}
	return h, state
}

// maxState is what W3C has everybody hand on at least.
const maxState = 512
