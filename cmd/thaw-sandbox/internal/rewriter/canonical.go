package rewriter

import (
	"bufio"
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

// What is too large to be written anew within rewriterMemory. gVisor's reader takes up to 24 bytes for one of an
// object; each object takes some 130 beside it. 100,000 files are 200,000 objects, and one of 2 MB.
const (
	maxObjects    = 1 << 21
	maxObjectSize = 8 << 20
)

// canonical rewrites all graphs of a saved kernel: what survey has found. The error says that it is none, or one of a
// gVisor that saves otherwise.
func canonical(parts []part, to io.Writer) (err error) {
	defer func() {
		if r := recover(); r != nil { // wire panics on anything it does not expect, and when it cannot write
			err = fmt.Errorf("saved kernel: %v", r)
		}
	}()
	b := bufio.NewWriterSize(to, 256<<10)
	w := &wire.Writer{Writer: b}
	for _, p := range parts {
		if p.objects != nil {
			if err := (&objectGraph{types: p.types, objects: p.objects}).write(w); err != nil {
				return err
			}
			continue
		}
		wire.SaveUint(w, uint64(len(p.other)))
		if _, err := b.Write(p.other); err != nil {
			return err
		}
	}
	return b.Flush()
}

// objectGraph is one of the graphs that a saved kernel consists of. Objects are loaded when they are looked at, and are
// named by their place in objects.
type objectGraph struct {
	types     []*wire.Type
	objects   []savedObject
	places    map[wire.Uint]int // of the numbers that gVisor gave
	packetIDs int               // the object that holds IPv4's packet numbers; -1: none

	local   []uint64 // what an object holds itself: see hash
	typeIDs []wire.TypeID
	ids     []wire.Uint // the new number of each object that was reached, or 0
	order   []int       // objects as they are reached, so that gVisor meets each after one that refers to it
	space   uint64      // new numbers are at most a little larger
	next    map[uint64]uint64
}

// rootID is the object that gVisor asks for, before and after.
const rootID = 1

// write numbers all objects and writes them in the order in which they are reached.
func (g *objectGraph) write(w *wire.Writer) error {
	if err := g.find(); err != nil {
		return err
	}
	wire.SaveUint(w, uint64(len(g.objects))|graphBit)
	for _, t := range g.sortTypes() {
		wire.Save(w, t)
	}
	// Most numbers take two bytes, and gVisor's table of them 128 KB. The steps are large, so that snapshots of one function are seldom on two sides of one.
	for g.space = 1<<14 - 256; g.space < 2*uint64(len(g.objects)); {
		g.space *= 8
	}
	root, ok := g.places[rootID]
	if !ok {
		return fmt.Errorf("saved kernel: no object %d", rootID)
	}
	g.ids = make([]wire.Uint, len(g.objects))
	g.next = make(map[uint64]uint64, len(g.objects))
	g.ids[root] = rootID
	g.order = append(make([]int, 0, len(g.objects)), root)
	for i := 0; i < len(g.order); i++ {
		o := g.load(g.order[i])
		g.renumber(o)
		wire.Save(w, g.ids[g.order[i]])
		wire.Save(w, o)
	}
	if len(g.order) != len(g.objects) {
		return fmt.Errorf("saved kernel: %d of %d objects are reached", len(g.order), len(g.objects))
	}
	return nil
}

// find fills places and packetIDs.
func (g *objectGraph) find() error {
	if len(g.objects) > maxObjects {
		return fmt.Errorf("saved kernel: %d objects, and room for %d", len(g.objects), maxObjects)
	}
	g.places = make(map[wire.Uint]int, len(g.objects))
	for i, o := range g.objects {
		if len(o.bytes) > maxObjectSize {
			return fmt.Errorf("saved kernel: an object of %d bytes, and room for %d", len(o.bytes), maxObjectSize)
		}
		if _, ok := g.places[o.id]; ok {
			return fmt.Errorf("saved kernel: two objects %d", o.id)
		}
		g.places[o.id] = i
	}
	return g.findPacketIDs()
}

// load returns an object as it is going to be written, but for the numbers in it.
func (g *objectGraph) load(place int) wire.Object {
	o := g.objects[place].load()
	if place == g.packetIDs {
		forgetPacketIDs(o)
	}
	return o
}

// sortTypes numbers the types: those that are used often come first, so that one which only some snapshots have moves
// no numbers but of rare ones. It fills local.
func (g *objectGraph) sortTypes() (sorted []*wire.Type) {
	uses := make([]int, len(g.types))
	local := make([]uint64, len(g.objects))
	for i := range g.objects {
		o := g.load(i)
		eachStruct(o, func(s *wire.Struct) {
			if s.TypeID != 0 {
				uses[s.TypeID-1]++
			}
		})
		local[i] = g.hash(o)
	}
	g.local = local
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
	place, ok := g.places[r.Root]
	if !ok {
		panic(fmt.Errorf("no object %d", r.Root))
	}
	if g.ids[place] == 0 {
		g.ids[place] = wire.Uint(g.free(g.local[place]%g.space + rootID + 1))
		g.order = append(g.order, place)
	}
	r.Root = g.ids[place]
}

// free takes the first number from n on that no object has. Objects that are alike ask for the same one: a hundred
// thousand files would each look at all numbers of those before. So next says of a number that is taken where to go on,
// and who has been far along the way leaves word of it.
func (g *objectGraph) free(n uint64) uint64 {
	found := n
	for {
		next, taken := g.next[found]
		if !taken {
			break
		}
		found = next
	}
	for n != found {
		n, g.next[n] = g.next[n], found
	}
	g.next[found] = found + 1
	return found
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
		h := mix(1, g.localOf(o.Root))
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

// localOf is 0 while local is not there.
func (g *objectGraph) localOf(id wire.Uint) uint64 {
	place, ok := g.places[id]
	if !ok || g.local == nil {
		return 0
	}
	return g.local[place]
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

// findPacketIDs finds the random numbers that IPv4 counts packets from, 10 KB that no compression makes less. They are
// cleared: nobody reads them, for a restored kernel takes its interfaces from the network stack of the sandbox that it
// comes into, and that has drawn its own.
func (g *objectGraph) findPacketIDs() error {
	g.packetIDs = -1
	for _, o := range g.objects {
		id := o.structType()
		if id == 0 || uint64(id) > uint64(len(g.types)) || g.types[id-1].Name != ipv4Type {
			continue
		}
		s := o.load().(*wire.Struct)
		i := slices.Index(g.types[id-1].Fields, "ids")
		if i < 0 || i >= s.Fields() {
			return errPacketIDs
		}
		list, ok := (*s.Field(i)).(*wire.Slice)
		if !ok {
			return errPacketIDs
		}
		if g.packetIDs, ok = g.places[list.Ref.Root]; !ok {
			return errPacketIDs
		}
	}
	return nil
}

func forgetPacketIDs(o wire.Object) {
	ids, ok := o.(*wire.Array)
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
