package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"gvisor.dev/gvisor/pkg/state/wire"
)

// # Why a saved kernel is written anew
//
// Snapshots of one function are kept as differences from each other, and two saved kernels with the same contents had little in common: gVisor numbers objects and
// types as it meets them, and meets many of them in a map, whose order changes each time. So objects get numbers that follow from what they hold, types are numbered
// by use and name, maps are sorted. What gVisor loads is the same. A kernel that cannot be written so stays as it was saved.

// maxObjects bounds a graph that is written anew; the number of a trivial Node function's is 1,700.
const maxObjects = 1 << 20

// graphBit marks the size of an object graph in objects; without it, it is one of other data in bytes.
const graphBit = 1 << 63

// canonical rewrites all graphs of a saved kernel. The error says that it is none, or one of a gVisor that saves otherwise.
func canonical(body []byte) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil { // wire panics on anything it does not expect
			err = fmt.Errorf("saved kernel: %v", r)
		}
	}()
	in := bytes.NewReader(body)
	r := &wire.Reader{Reader: in}
	b := bytes.NewBuffer(make([]byte, 0, len(body)))
	w := &wire.Writer{Writer: b}
	for in.Len() > 0 {
		n := wire.LoadUint(r)
		if n&graphBit != 0 {
			g, err := readObjectGraph(r, n&^graphBit)
			if err == nil {
				err = g.number()
			}
			if err != nil {
				return nil, err
			}
			g.write(w)
			continue
		}
		wire.SaveUint(w, n)
		if m, err := io.CopyN(b, in, int64(min(n, uint64(in.Len())))); err != nil || uint64(m) != n {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return b.Bytes(), nil
}

// objectGraph is one of the graphs that a saved kernel consists of. Until number has been called all numbers are those that gVisor gave.
type objectGraph struct {
	types   []*wire.Type
	objects map[wire.Uint]wire.Object
	local   map[wire.Uint]uint64 // what an object holds itself: see hash

	typeIDs []wire.TypeID           // the new number of each type
	ids     map[wire.Uint]wire.Uint // the new number of each object that was reached
	taken   map[wire.Uint]bool      // new numbers
	order   []wire.Uint             // objects as they are reached, so that gVisor meets each after one that refers to it
	space   uint64                  // new numbers are at most a little larger
}

func readObjectGraph(r *wire.Reader, count uint64) (*objectGraph, error) {
	if count == 0 || count > maxObjects {
		return nil, fmt.Errorf("saved kernel: %d objects", count)
	}
	g := &objectGraph{objects: map[wire.Uint]wire.Object{}}
	for uint64(len(g.objects)) < count {
		switch o := wire.Load(r).(type) {
		case *wire.Type:
			g.types = append(g.types, o)
		case wire.Uint:
			if g.objects[o] != nil {
				return nil, fmt.Errorf("saved kernel: two objects %d", o)
			}
			g.objects[o] = wire.Load(r)
		default:
			return nil, fmt.Errorf("saved kernel: %T in the stream", o)
		}
	}
	return g, nil
}

// rootID is the object that gVisor asks for, before and after.
const rootID = 1

func (g *objectGraph) number() error {
	g.forgetPacketIDs()
	sorted := g.sortTypes()
	local := make(map[wire.Uint]uint64, len(g.objects))
	for id, o := range g.objects {
		local[id] = g.hash(o)
	}
	g.local = local
	g.ids = map[wire.Uint]wire.Uint{rootID: rootID}
	g.taken = map[wire.Uint]bool{rootID: true}
	g.order = []wire.Uint{rootID}
	// Most numbers take two bytes, and gVisor's table of them 128 KB. The steps are large, so that snapshots of one function are seldom on two sides of one.
	for g.space = 1<<14 - 256; g.space < 2*uint64(len(g.objects)); {
		g.space *= 8
	}
	for i := 0; i < len(g.order); i++ {
		o := g.objects[g.order[i]]
		if o == nil {
			return fmt.Errorf("saved kernel: no object %d", g.order[i])
		}
		g.renumber(o)
	}
	if len(g.order) != len(g.objects) {
		return fmt.Errorf("saved kernel: %d of %d objects are reached", len(g.order), len(g.objects))
	}
	g.types = sorted
	return nil
}

// sortTypes numbers the types: those that are used often come first, so that one which only some snapshots have moves no numbers but of rare ones.
func (g *objectGraph) sortTypes() (sorted []*wire.Type) {
	uses := make([]int, len(g.types))
	for _, o := range g.objects {
		eachStruct(o, func(s *wire.Struct) {
			if s.TypeID != 0 {
				uses[s.TypeID-1]++
			}
		})
	}
	order := make([]int, len(g.types))
	for i := range order {
		order[i] = i
	}
	// The exact number changes from one snapshot to the next, its size in bits seldom does.
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(bits.Len(uint(uses[b]))/2, bits.Len(uint(uses[a]))/2), cmp.Compare(g.types[a].Name, g.types[b].Name))
	})
	g.typeIDs = make([]wire.TypeID, len(g.types))
	for i, old := range order {
		sorted = append(sorted, g.types[old])
		g.typeIDs[old] = wire.TypeID(i + 1)
	}
	return sorted
}

// eachStruct calls f for every struct that is a part of an object.
func eachStruct(o wire.Object, f func(*wire.Struct)) {
	switch o := o.(type) {
	case *wire.Array:
		for _, e := range o.Contents {
			eachStruct(e, f)
		}
	case *wire.Map:
		for i := range o.Keys {
			eachStruct(o.Keys[i], f)
			eachStruct(o.Values[i], f)
		}
	case *wire.Struct:
		f(o)
		for i := range o.Fields() {
			eachStruct(*o.Field(i), f)
		}
	case *wire.Interface:
		eachStruct(o.Value, f)
	}
}

func (g *objectGraph) write(w *wire.Writer) {
	wire.SaveUint(w, uint64(len(g.order))|graphBit)
	for _, t := range g.types {
		wire.Save(w, t)
	}
	for _, id := range g.order {
		wire.Save(w, g.ids[id])
		wire.Save(w, g.objects[id])
	}
}

// renumber gives what an object refers to new numbers, and sorts its maps.
func (g *objectGraph) renumber(o wire.Object) {
	switch o := o.(type) {
	case *wire.Ref:
		g.renumberRef(o)
	case *wire.Slice:
		g.renumberRef(&o.Ref)
	case *wire.Array:
		for _, e := range o.Contents {
			g.renumber(e)
		}
	case *wire.Map:
		g.sort(o)
		for i := range o.Keys {
			g.renumber(o.Keys[i])
			g.renumber(o.Values[i])
		}
	case *wire.Struct:
		if o.TypeID != 0 {
			o.TypeID = g.typeIDs[o.TypeID-1]
		}
		for i := range o.Fields() {
			g.renumber(*o.Field(i))
		}
	case *wire.Interface:
		o.Type = g.renumberSpec(o.Type)
		g.renumber(o.Value)
	}
}

func (g *objectGraph) renumberRef(r *wire.Ref) {
	if len(r.Dots) > 0 {
		r.Type = g.renumberSpec(r.Type)
	}
	if r.Root == 0 {
		return // nil
	}
	id, ok := g.ids[r.Root]
	if !ok {
		id = wire.Uint(g.local[r.Root]%g.space) + rootID + 1
		for g.taken[id] {
			id++
		}
		g.taken[id] = true
		g.ids[r.Root] = id
		g.order = append(g.order, r.Root)
	}
	r.Root = id
}

func (g *objectGraph) renumberSpec(t wire.TypeSpec) wire.TypeSpec {
	switch t := t.(type) {
	case wire.TypeID:
		if t == 0 {
			return t
		}
		return g.typeIDs[t-1]
	case *wire.TypeSpecPointer:
		t.Type = g.renumberSpec(t.Type)
	case *wire.TypeSpecArray:
		t.Type = g.renumberSpec(t.Type)
	case *wire.TypeSpecSlice:
		t.Type = g.renumberSpec(t.Type)
	case *wire.TypeSpecMap:
		t.Key, t.Value = g.renumberSpec(t.Key), g.renumberSpec(t.Value)
	}
	return t
}

// sort brings a map into an order that follows from its contents. It has not been renumbered yet.
func (g *objectGraph) sort(m *wire.Map) {
	type entry struct {
		key, value         wire.Object
		keyHash, valueHash uint64
	}
	entries := make([]entry, len(m.Keys))
	for i, k := range m.Keys {
		entries[i] = entry{k, m.Values[i], g.hash(k), g.hash(m.Values[i])}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.keyHash, b.keyHash), cmp.Compare(a.valueHash, b.valueHash)) // keys that refer to others can look alike
	})
	for i, e := range entries {
		m.Keys[i], m.Values[i] = e.key, e.value
	}
}

// telling is up to which value a number is a part of what an object is: larger ones are times, addresses and sizes, which change from one snapshot to the next.
const telling = 1 << 12

// hash is of what an object holds, and of what those hold that it refers to once local is there. It depends neither on numbers nor on the order of maps.
func (g *objectGraph) hash(o wire.Object) uint64 {
	switch o := o.(type) {
	case *wire.Ref:
		h := mix(1, g.local[o.Root])
		if o.Root == 0 {
			h = 2
		}
		for _, d := range o.Dots {
			switch d := d.(type) {
			case wire.Index:
				h = mix(h, uint64(d))
			case *wire.FieldName:
				h = mix(h, hashString(string(*d)))
			}
		}
		return h
	case *wire.Slice:
		return mix(mix(3, uint64(o.Length)), g.hash(&o.Ref))
	case *wire.Array:
		h := uint64(4)
		for _, e := range o.Contents {
			h = mix(h, g.hash(e))
		}
		return h
	case *wire.Map:
		h := uint64(5)
		for i := range o.Keys {
			h += mix(g.hash(o.Keys[i]), g.hash(o.Values[i]))
		}
		return h
	case *wire.Struct:
		h := g.hashType(o.TypeID)
		for i := range o.Fields() {
			h = mix(h, g.hash(*o.Field(i)))
		}
		return h
	case *wire.Interface:
		return mix(g.hashSpec(o.Type), g.hash(o.Value))
	case *wire.String:
		return hashString(string(*o))
	case wire.Uint:
		return mix(6, min(uint64(o), telling))
	case wire.Int:
		return mix(7, min(uint64(max(o, -o)), telling))
	case wire.Bool:
		if o {
			return 8
		}
	}
	return 9
}

func (g *objectGraph) hashType(id wire.TypeID) uint64 {
	if id == 0 {
		return 10
	}
	return hashString(g.types[id-1].Name)
}

func (g *objectGraph) hashSpec(t wire.TypeSpec) uint64 {
	switch t := t.(type) {
	case wire.TypeID:
		return g.hashType(t)
	case *wire.TypeSpecPointer:
		return mix(11, g.hashSpec(t.Type))
	case *wire.TypeSpecArray:
		return mix(12, g.hashSpec(t.Type))
	case *wire.TypeSpecSlice:
		return mix(13, g.hashSpec(t.Type))
	case *wire.TypeSpecMap:
		return mix(mix(14, g.hashSpec(t.Key)), g.hashSpec(t.Value))
	}
	return 15
}

func mix(a, b uint64) uint64 {
	a = (a ^ b*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	return a ^ a>>32
}

func hashString(s string) uint64 {
	h := uint64(len(s))
	for i := range len(s) {
		h = mix(h, uint64(s[i]))
	}
	return h
}

const ipv4Type = "pkg/tcpip/network/ipv4.protocol"

var errPacketIDs = errors.New("saved kernel: numbers of packets not found where expected")

// forgetPacketIDs clears the random numbers that IPv4 counts packets from, 10 KB that no compression makes less. Nobody reads them: a restored kernel
// takes its interfaces from the network stack of the sandbox that it comes into, and that has drawn its own.
func (g *objectGraph) forgetPacketIDs() {
	for _, o := range g.objects {
		s, ok := o.(*wire.Struct)
		if !ok || s.TypeID == 0 || g.types[s.TypeID-1].Name != ipv4Type {
			continue
		}
		i := slices.Index(g.types[s.TypeID-1].Fields, "ids")
		if i < 0 || i >= s.Fields() {
			panic(errPacketIDs)
		}
		list, ok := (*s.Field(i)).(*wire.Slice)
		if !ok {
			panic(errPacketIDs)
		}
		ids, ok := g.objects[list.Ref.Root].(*wire.Array)
		if !ok {
			panic(errPacketIDs)
		}
		for _, e := range ids.Contents {
			n, ok := e.(*wire.Struct)
			if !ok || n.Fields() != 1 {
				panic(errPacketIDs)
			}
			*n.Field(0) = wire.Uint(0)
		}
	}
}
