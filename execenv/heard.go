package execenv

import "strings"

// heardBytes is how much of a runtime's last output is kept, to tell why it did not start. Its first line may be cut.
const heardBytes = 600

// hear keeps the end of what is printed while a runtime starts.
func (d *driver) hear(text string) {
	switch d.state {
	case Initializing, Reinitializing, Primed, Restoring:
		d.gen.heard += text[max(0, len(text)-heardBytes):]
		if len(d.gen.heard) > 4*heardBytes {
			d.gen.heard = strings.Clone(d.gen.heard[len(d.gen.heard)-heardBytes:])
		}
	}
}

// lastOutput is what was heard last, in whole lines where it is more than one.
func (d *driver) lastOutput() string {
	s := strings.TrimRight(d.gen.heard, "\n")
	if len(s) > heardBytes {
		s = s[len(s)-heardBytes:]
		if _, rest, ok := strings.Cut(s, "\n"); ok {
			s = rest
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
