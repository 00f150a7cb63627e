package eventpattern

import (
	"encoding/json"
	"errors"
	"fmt"
)

// maxDepth is how deep documents and patterns may be nested: as deep as encoding/json reads.
const maxDepth = 10_000

// errNotJSON is what Parse says of everything that is not one JSON text.
var errNotJSON = errors.New("eventpattern: not a JSON text")

type kind uint8

const (
	absent kind = iota // no such member: there is no value of this kind in a document
	object
	array
	text
	number
	truth // true or false
	null
)

// value is one value of a document. The values of a document stand in one slice, each before what it contains, so that
// a document costs one allocation, which the next document takes over.
type value struct {
	start, end       int32 // where it stands in the text; of a string without its quotes
	keyStart, keyEnd int32 // its name, if it is a member of an object, without quotes
	next             int32 // the first value behind it that is not a part of it
	kind             kind
	escaped          bool // a string with escapes
	keyEscaped       bool
}

// Document is a JSON text that was read, for any number of patterns. It refers to the text, which must not change.
type Document struct {
	source []byte
	values []value
}

// Parse reads one JSON text of any type. It does not look whether strings are valid UTF-8.
func Parse(source []byte) (*Document, error) {
	d := &Document{}
	return d, d.Reset(source)
}

// Reset makes d the document of another text and uses its memory again. After an error d matches nothing that needs a
// value.
func (d *Document) Reset(source []byte) error {
	d.source, d.values = source, d.values[:0]
	if len(source) > 1<<30 {
		return fmt.Errorf("eventpattern: a document of %d bytes", len(source))
	}
	r := reader{Document: d}
	r.space()
	if r.value(0) {
		r.space()
		if r.at == len(source) {
			return nil
		}
	}
	d.values = d.values[:0]
	return errNotJSON
}

// IsObject says whether the document is an object, as all are that a pattern can match by its members.
func (d *Document) IsObject() bool { return len(d.values) > 0 && d.values[0].kind == object }

// member gives the index of the last member of an object with that name, or -1.
func (d *Document) member(of int32, name string) int32 {
	found := int32(-1)
	o := &d.values[of]
	for i := of + 1; i < o.next; i = d.values[i].next {
		v := &d.values[i]
		if v.keyEscaped {
			if d.unescape(v.keyStart, v.keyEnd) == name {
				found = i
			}
		} else if string(d.source[v.keyStart:v.keyEnd]) == name {
			found = i
		}
	}
	return found
}

// raw is the text of a value: of a string, what stands between its quotes.
func (d *Document) raw(v *value) []byte { return d.source[v.start:v.end] }

// string is a string's value. Only strings with escapes cost an allocation here.
func (d *Document) string(v *value) []byte {
	if v.escaped {
		return []byte(d.unescape(v.start, v.end))
	}
	return d.raw(v)
}

func (d *Document) unescape(start, end int32) string {
	var s string
	// The reader found a whole string literal there, and left the judgement of escapes to the one who needs them.
	if json.Unmarshal(d.source[start-1:end+1], &s) != nil {
		return string(d.source[start:end])
	}
	return s
}
