package rewriter

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"gvisor.dev/gvisor/pkg/state"
	"gvisor.dev/gvisor/pkg/state/wire"
)

// room is what the test saves by gVisor's own rules: cycles, maps by name and by pointer, a pointer into another object, interfaces, slices.
type room struct {
	name   string
	doors  map[string]*room
	seen   map[*room]int
	next   *room
	inside *int
	size   int
	things []thing
}

type thing interface{ label() string }

type (
	lamp struct{ watts int }
	book struct{ title string }
)

func (l *lamp) label() string { return fmt.Sprint(l.watts, " watts") }
func (b *book) label() string { return b.title }

func (*room) StateTypeName() string { return "thaw.room" }
func (*room) StateFields() []string {
	return []string{"name", "doors", "seen", "next", "inside", "size", "things"}
}
func (r *room) fields() []any {
	return []any{&r.name, &r.doors, &r.seen, &r.next, &r.inside, &r.size, &r.things}
}
func (r *room) StateSave(s state.Sink) {
	for i, f := range r.fields() {
		s.Save(i, f)
	}
}
func (r *room) StateLoad(_ context.Context, s state.Source) {
	for i, f := range r.fields() {
		s.Load(i, f)
	}
}
func (*lamp) StateTypeName() string                         { return "thaw.lamp" }
func (*lamp) StateFields() []string                         { return []string{"watts"} }
func (l *lamp) StateSave(s state.Sink)                      { s.Save(0, &l.watts) }
func (l *lamp) StateLoad(_ context.Context, s state.Source) { s.Load(0, &l.watts) }
func (*book) StateTypeName() string                         { return "thaw.book" }
func (*book) StateFields() []string                         { return []string{"title"} }
func (b *book) StateSave(s state.Sink)                      { s.Save(0, &b.title) }
func (b *book) StateLoad(_ context.Context, s state.Source) { s.Load(0, &b.title) }

func init() {
	state.Register((*room)(nil))
	state.Register((*lamp)(nil))
	state.Register((*book)(nil))
}

// building makes n rooms, in any order; size is what changes from one snapshot to the next.
func building(n, size int) *room {
	rooms := make([]*room, n)
	for _, i := range rand.Perm(n) {
		rooms[i] = &room{name: fmt.Sprint("room ", i), doors: map[string]*room{}, seen: map[*room]int{}, size: 1<<20 + size}
	}
	for _, i := range rand.Perm(n) {
		r := rooms[i]
		r.next = rooms[(i+1)%n]
		r.inside = &rooms[(i+n/2)%n].size
		for d := range 5 {
			to := rooms[(i*7+d*3)%n]
			r.doors[fmt.Sprint("door ", d)] = to
			r.seen[to] = i + d
		}
		r.things = []thing{&lamp{i}, &book{fmt.Sprint("book ", i%3)}}
	}
	return rooms[0]
}

func saved(t *testing.T, r *room) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := state.Save(context.Background(), &b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func rewritten(b []byte) ([]byte, error) {
	parts, err := survey(b)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = canonical(parts, &out)
	return out.Bytes(), err
}

func canonicalOf(t *testing.T, b []byte) []byte {
	t.Helper()
	c, err := rewritten(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAKernelThatIsWrittenAnewIsTheSame(t *testing.T) {
	const n = 40
	var got room
	both := append(canonicalOf(t, saved(t, building(n, 0))), "more"...)
	if _, err := state.Load(context.Background(), bytes.NewReader(both), &got); err != nil {
		t.Fatal(err)
	}
	r := &got
	rooms := map[string]*room{}
	for range n {
		rooms[r.name] = r
		r = r.next
	}
	if r != &got || len(rooms) != n {
		t.Fatalf("%d rooms stand in a circle", len(rooms))
	}
	for i := range n {
		r := rooms[fmt.Sprint("room ", i)]
		if r.inside != &rooms[fmt.Sprint("room ", (i+n/2)%n)].size || r.size != 1<<20 {
			t.Errorf("%s: a pointer into another room leads elsewhere", r.name)
		}
		if len(r.doors) != 5 || len(r.seen) != 5 {
			t.Errorf("%s has %d doors and has seen %d", r.name, len(r.doors), len(r.seen))
		}
		for d := range 5 {
			to := rooms[fmt.Sprint("room ", (i*7+d*3)%n)]
			if r.doors[fmt.Sprint("door ", d)] != to || r.seen[to] != i+d {
				t.Errorf("%s: door %d leads elsewhere", r.name, d)
			}
		}
		if len(r.things) != 2 || r.things[0].label() != fmt.Sprint(i, " watts") || r.things[1].label() != fmt.Sprint("book ", i%3) {
			t.Errorf("%s has other things", r.name)
		}
	}
}

func TestKernelsOfTheSameContentsAreTheSame(t *testing.T) {
	first := saved(t, building(40, 0))
	want := canonicalOf(t, first)
	for range 5 {
		again := saved(t, building(40, 0))
		if bytes.Equal(again, first) {
			t.Error("gVisor saves in an order of its own: there is nothing to do any more")
		}
		if !bytes.Equal(canonicalOf(t, again), want) {
			t.Error("the same rooms were written otherwise")
		}
	}
	if !bytes.Equal(canonicalOf(t, want), want) {
		t.Error("what was written anew is written otherwise once more")
	}
	// Where contents differ, only they do: a number here, a door there.
	other := canonicalOf(t, saved(t, building(40, 1)))
	if len(other) != len(want) {
		t.Fatalf("%d bytes and %d", len(other), len(want))
	}
	differ := 0
	for i := range other {
		if other[i] != want[i] {
			differ++
		}
	}
	if differ == 0 || differ > 40*3 {
		t.Errorf("%d of %d bytes differ, where 40 numbers do", differ, len(other))
	}
}

func TestNumbersOfPacketsAreForgotten(t *testing.T) {
	types := []*wire.Type{{Name: ipv4Type, Fields: []string{"stack", "ids"}}, {Name: "pkg/atomicbitops.Uint32", Fields: []string{"value"}}}
	number := func(n wire.Uint) wire.Object { return object(2, n) }
	ids := func(list ...wire.Object) []byte {
		return graph(types, object(1, wire.Nil{}, &wire.Slice{Length: 2, Capacity: 2, Ref: wire.Ref{Root: 2}}), &wire.Array{Contents: list})
	}
	if a, b := canonicalOf(t, ids(number(70000), number(5))), canonicalOf(t, ids(number(1), number(80000))); !bytes.Equal(a, b) {
		t.Errorf("%x and %x", a, b)
	}
	for name, b := range map[string][]byte{
		"numbers that are none": ids(object(2, wire.Uint(1), wire.Uint(2))),
		"no list":               graph(types, object(1, wire.Nil{}, wire.Uint(7))),
		"a list elsewhere":      graph(types, object(1, wire.Nil{}, &wire.Slice{Ref: wire.Ref{Root: 9}})),
		"no field":              graph([]*wire.Type{{Name: ipv4Type, Fields: []string{"stack"}}}, object(1, wire.Nil{})),
	} {
		if _, err := rewritten(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestWhatIsNoKernelIsNotWritten(t *testing.T) {
	good := saved(t, building(5, 0))
	for i := range len(good) - 1 {
		if _, err := rewritten(good[:i+1]); err == nil {
			t.Fatalf("the first %d of %d bytes were taken", i+1, len(good))
		}
	}
	ref := func(id wire.Uint) wire.Object { return &wire.Ref{Root: id} }
	for name, b := range map[string][]byte{
		"an object that is not there":   graph(nil, ref(2)),
		"an object that nobody reaches": graph(nil, wire.Uint(1), wire.Uint(2)),
		"a type that is not there":      graph(nil, object(3, wire.Uint(1))),
		"no objects":                    graph(nil),
		"too much other data":           {0xff, 0xff, 0x03, 1},
	} {
		if _, err := rewritten(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	other := append([]byte{3, 'a', 'b', 'c'}, good...)
	if got := canonicalOf(t, other); !bytes.Equal(got[:4], other[:4]) || !bytes.Equal(got[4:], canonicalOf(t, good)) {
		t.Error("other data between the graphs is not what it was")
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte{})
	f.Add(graph([]*wire.Type{{Name: "a", Fields: []string{"x"}}}, object(1, &wire.Ref{Root: 2}), &wire.Map{Keys: []wire.Object{wire.Uint(2), wire.Uint(1)}, Values: []wire.Object{wire.Int(1), wire.Int(2)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<10 {
			return
		}
		once, err := rewritten(b)
		if err != nil {
			return
		}
		if twice, err := rewritten(once); err != nil || len(twice) != len(once) {
			t.Fatalf("%x became %x, then %x, %v", b, once, twice, err)
		}
	})
}
