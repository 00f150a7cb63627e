package eventsource

import (
	"bytes"
	"encoding/json"
	"strconv"
	"sync"
	"unicode/utf8"

	"thaw/eventpattern"
)

const invalidPattern = "Invalid filter pattern definition."

// Filter decides which records of a mapping reach its function. It does not change: any number of goroutines use it.
type Filter struct {
	data     []string
	mismatch Mismatch
	patterns []filterPattern
}

// filterPattern is a pattern, and what is left of it without the data members of a mask: bit i is member i.
type filterPattern struct {
	without []*eventpattern.Pattern
	shapes  []eventpattern.Shape
}

// NewFilter compiles the patterns of a mapping. nil: there are none, and everything passes. *InvalidError.
func NewFilter(k Kind, patterns []string) (*Filter, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	t := traits[k]
	f := &Filter{data: t.Data, mismatch: t.Mismatch}
	for _, text := range patterns {
		p, err := eventpattern.Compile([]byte(text))
		if err != nil {
			return nil, &InvalidError{invalidPattern}
		}
		fp := filterPattern{}
		for mask := range 1 << len(t.Data) {
			rest := p
			for i, name := range t.Data {
				if mask&(1<<i) != 0 {
					rest = rest.Without(name)
				}
			}
			fp.without = append(fp.without, rest)
		}
		for _, name := range t.Data {
			shape := p.Shape(name)
			if shape == eventpattern.Plain && t.Mismatch == DropOrRefuse {
				return nil, &InvalidError{invalidPattern}
			}
			fp.shapes = append(fp.shapes, shape)
		}
		f.patterns = append(f.patterns, fp)
	}
	return f, nil
}

// form is what the data of a record turned out to be.
type form uint8

const (
	formAbsent form = iota
	formPlain
	formJSON
	formBinary // not UTF-8
)

// formOf says what data are. A number or a word is plain text: only an object or an array has members to ask for.
func formOf(b []byte) form {
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && (t[0] == '{' || t[0] == '[') && json.Valid(b) {
		return formJSON
	}
	if utf8.Valid(b) {
		return formPlain
	}
	return formBinary
}

// documents are those of records that were decided about: the next one is read into the same memory.
var documents = sync.Pool{New: func() any { return new(eventpattern.Document) }}

// Passes says whether one of the patterns lets the record pass.
func (f *Filter) Passes(r Filtered) bool {
	if f == nil {
		return true
	}
	forms := make([]form, len(f.data))
	text := r.Meta
	for i, name := range f.data {
		for _, d := range r.Data {
			if d.Name == name {
				forms[i] = formOf(d.Bytes)
				text = withMember(text, name, d.Bytes, forms[i])
			}
		}
	}
	d := documents.Get().(*eventpattern.Document)
	defer documents.Put(d)
	defer d.Reset(nil) //nolint:errcheck // it lets go of the record
	if d.Reset(text) != nil {
		return false
	}
	for i := range f.patterns {
		if f.patterns[i].passes(d, forms, f.mismatch) {
			return true
		}
	}
	return false
}

// passes holds the pattern against the record. Source: the table of section 2.4.
func (p *filterPattern) passes(d *eventpattern.Document, forms []form, m Mismatch) bool {
	mask := 0
	for i, shape := range p.shapes {
		fits := true
		switch shape {
		case eventpattern.Plain:
			fits = forms[i] != formJSON && forms[i] != formBinary
		case eventpattern.Nested:
			fits = forms[i] != formPlain && forms[i] != formBinary
		}
		if fits {
			continue
		}
		if m != MetadataOnly {
			return false
		}
		mask |= 1 << i
	}
	return p.without[mask].Match(d)
}

// withMember puts data into a JSON object, before its other members.
func withMember(object []byte, name string, data []byte, as form) []byte {
	if as == formBinary {
		return object
	}
	rest := bytes.TrimPrefix(bytes.TrimSpace(object), []byte("{"))
	out := make([]byte, 0, len(rest)+len(name)+len(data)+8)
	out = append(strconv.AppendQuote(append(out, '{'), name), ':')
	if as == formJSON {
		out = append(out, data...)
	} else {
		text, err := json.Marshal(string(data))
		if err != nil {
			return object
		}
		out = append(out, text...)
	}
	if t := bytes.TrimSpace(rest); len(t) > 0 && t[0] != '}' {
		out = append(out, ',')
	}
	return append(out, rest...)
}
