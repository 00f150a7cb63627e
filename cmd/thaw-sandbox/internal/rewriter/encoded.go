package rewriter

import (
	"bytes"
	"fmt"
	"math"

	"gvisor.dev/gvisor/pkg/state/wire"
)

// # How a saved kernel is read
//
// A saved kernel is written by a sandbox, and a sandbox may be in an enemy's hands. gVisor's own reader
// (pkg/state/wire) believes it: it allocates what a length says, and calls itself once for each level of nesting;
// neither a missing terabyte nor an overflown stack can be recovered from. So survey goes over the bytes first, without
// allocating for them: every length must fit into what is left, and nesting is bounded. Only objects that it has passed
// are given to gVisor's reader, one at a time, so what is held is one object, not the whole kernel.

// The kinds of objects, by which each begins. Source: pkg/state/wire/wire.go, "Object types";
// TestSurveyReadsWhatGVisorWrites compares them.
const (
	kindBool = iota
	kindInt
	kindUint
	kindFloat32
	kindFloat64
	kindNil
	kindRef
	kindString
	kindSlice
	kindArray
	kindMap
	kindStruct
	kindNoObjects
	kindMultipleObjects
	kindInterface
	kindComplex64
	kindComplex128
	kindType
)

// The kinds of type specifications. Source: the same file, "TypeSpec types".
const (
	specTypeID = iota
	specPointer
	specArray
	specSlice
	specMap
	specNil
)

const (
	// maxNesting bounds objects within objects. Go's own types nest; some 20 levels were seen.
	maxNesting = 1000
	// maxEmpty bounds the elements of an array or a map that take no bytes each (nil pointers).
	maxEmpty = 1 << 20
)

// graphBit marks the size of an object graph in objects; without it, it is one of other data in bytes.
const graphBit = 1 << 63

// A part of a saved kernel: an object graph, or other data.
type part struct {
	other   []byte
	types   []*wire.Type
	objects []savedObject // nil: other data
}

// savedObject is one object as it was saved.
type savedObject struct {
	id    wire.Uint
	bytes []byte // of the saved kernel, not a copy
}

func (e savedObject) load() wire.Object {
	return wire.Load(&wire.Reader{Reader: bytes.NewReader(e.bytes)})
}

// structType is the number of the object's type; 0: it is no struct, or one without a type.
func (e savedObject) structType() wire.TypeID {
	c := cursor{b: e.bytes}
	if c.uint() != kindStruct {
		return 0
	}
	return wire.TypeID(c.uint())
}

// survey finds all objects of a saved kernel. What came before an error is returned with it.
func survey(body []byte) (parts []part, err error) {
	c := cursor{b: body}
	for c.err == nil && len(c.b) > 0 {
		n := c.uint()
		if n&graphBit == 0 {
			parts = append(parts, part{other: c.take(n)})
			continue
		}
		parts = append(parts, part{objects: []savedObject{}})
		c.graph(n&^graphBit, &parts[len(parts)-1])
	}
	return parts, c.err
}

// cursor is a place in an encoded kernel. After the first error nothing is read any more.
type cursor struct {
	b     []byte // what is left
	err   error
	depth int
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("saved kernel: "+format, args...)
	}
	c.b = nil
}

func (c *cursor) graph(count uint64, p *part) {
	if count == 0 {
		c.fail("no objects")
	}
	for c.err == nil && uint64(len(p.objects)) < count {
		begin := c.b
		switch kind := c.uint(); kind {
		case kindType:
			c.value(kind)
			if c.err == nil {
				p.types = append(p.types, savedObject{bytes: begin[:len(begin)-len(c.b)]}.load().(*wire.Type))
			}
		case kindUint:
			id := c.uint()
			begin = c.b
			c.object()
			if c.err == nil {
				p.objects = append(p.objects, savedObject{wire.Uint(id), begin[:len(begin)-len(c.b)]})
			}
		default:
			c.fail("an object of kind %d in the stream", kind)
		}
	}
}

func (c *cursor) uint() (n uint64) {
	for i := range 10 {
		if i == len(c.b) {
			break
		}
		b := c.b[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i == 9 && b > 1 {
				break
			}
			c.b = c.b[i+1:]
			return n
		}
	}
	c.fail("no number where one is expected, %d bytes before the end", len(c.b))
	return 0
}

func (c *cursor) int() int64 {
	u := c.uint()
	if u&1 != 0 {
		return ^int64(u >> 1)
	}
	return int64(u >> 1)
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.fail("%d bytes where %d are left", n, len(c.b))
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

// enter is called at the beginning of what can hold its like, and leave at the end.
func (c *cursor) enter() {
	if c.depth++; c.depth > maxNesting {
		c.fail("more than %d levels of nesting", maxNesting)
	}
}

func (c *cursor) leave() { c.depth-- }

func (c *cursor) object() { c.value(c.uint()) }

func (c *cursor) value(kind uint64) {
	if c.err != nil {
		return
	}
	switch kind {
	case kindBool, kindInt, kindUint, kindFloat32, kindFloat64:
		c.uint()
	case kindComplex64, kindComplex128:
		c.uint()
		c.uint()
	case kindNil, kindNoObjects:
	case kindString:
		c.take(c.uint())
	case kindRef:
		c.ref()
	case kindSlice:
		c.uint()
		c.uint()
		c.ref()
	case kindType:
		c.take(c.uint())
		for n := c.uint(); n > 0 && c.err == nil; n-- {
			c.take(c.uint())
		}
	default:
		c.enter()
		c.composite(kind)
		c.leave()
	}
}

func (c *cursor) composite(kind uint64) {
	if c.err != nil {
		return
	}
	switch kind {
	case kindArray:
		c.elements(1)
	case kindMap:
		c.elements(2)
	case kindStruct:
		c.uint()
		c.object()
	case kindMultipleObjects:
		for n := c.uint(); n > 0 && c.err == nil; n-- {
			c.object()
		}
	case kindInterface:
		c.spec()
		c.object()
	default:
		c.fail("an object of kind %d", kind)
	}
}

// elements passes those of an array, or the keys and values of a map: only the first of each says its kind.
func (c *cursor) elements(each int) {
	n := c.uint()
	if n == 0 {
		return
	}
	kinds := make([]uint64, 0, 2)
	for range each {
		kind := c.uint()
		kinds = append(kinds, kind)
		c.value(kind)
	}
	empty := true
	for _, kind := range kinds {
		empty = empty && (kind == kindNil || kind == kindNoObjects)
	}
	switch {
	case c.err != nil:
	case !empty && n-1 > uint64(len(c.b)), empty && n > maxEmpty:
		c.fail("%d elements where %d bytes are left", n, len(c.b))
	case !empty:
		for ; n > 1 && c.err == nil; n-- {
			for _, kind := range kinds {
				c.value(kind)
			}
		}
	}
}

func (c *cursor) ref() {
	c.uint()
	n := c.uint()
	if n > uint64(len(c.b)) {
		c.fail("a reference of %d steps where %d bytes are left", n, len(c.b))
	}
	for left := n; left > 0 && c.err == nil; left-- {
		switch d := c.int(); {
		case d > math.MaxUint32:
			c.fail("element %d", d)
		case d < 0:
			c.take(-uint64(d))
		}
	}
	if n != 0 {
		c.spec()
	}
}

func (c *cursor) spec() {
	c.enter()
	defer c.leave()
	if c.err != nil {
		return
	}
	switch kind := c.uint(); kind {
	case specTypeID:
		c.uint()
	case specPointer, specSlice:
		c.spec()
	case specArray:
		c.uint()
		c.spec()
	case specMap:
		c.spec()
		c.spec()
	case specNil:
	default:
		c.fail("a type of kind %d", kind)
	}
}
