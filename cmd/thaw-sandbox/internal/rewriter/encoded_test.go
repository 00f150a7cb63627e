package rewriter

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/state/wire"
)

// loadAll reads a graph as gVisor does.
func loadAll(b []byte) (left int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	in := bytes.NewReader(b)
	r := &wire.Reader{Reader: in}
	for n := wire.LoadUint(r) &^ graphBit; n > 0; {
		if _, ok := wire.Load(r).(wire.Uint); ok {
			n--
			wire.Load(r)
		}
	}
	return in.Len(), nil
}

func TestSurveyReadsWhatGVisorWrites(t *testing.T) {
	name := wire.FieldName("field")
	str := wire.String("text")
	c64, c128 := wire.Complex64(1), wire.Complex128(2)
	types := []*wire.Type{{Name: "a", Fields: []string{"x", "y"}}, {Name: "b", Fields: []string{}}}
	ref := wire.Ref{Root: 3, Dots: []wire.Dot{wire.Index(7), &name, wire.Index(1<<32 - 1)}, Type: &wire.TypeSpecMap{
		Key: &wire.TypeSpecPointer{Type: wire.TypeID(1)}, Value: &wire.TypeSpecArray{Count: 4, Type: &wire.TypeSpecSlice{Type: wire.TypeSpecNil{}}}}}
	for _, o := range []wire.Object{
		wire.Bool(true), wire.Int(-1 << 63), wire.Uint(1<<64 - 1), wire.Float32(1.5), wire.Float64(-2.5), wire.Nil{}, &str, &c64, &c128,
		&wire.Ref{}, &ref, &wire.Slice{Length: 3, Capacity: 300, Ref: ref}, &wire.Array{}, &wire.Map{},
		&wire.Array{Contents: []wire.Object{wire.Int(1), wire.Int(-300)}}, &wire.Array{Contents: []wire.Object{wire.Nil{}, wire.Nil{}, wire.Nil{}}},
		&wire.Map{Keys: []wire.Object{&str, &str}, Values: []wire.Object{wire.Nil{}, wire.Nil{}}},
		&wire.Map{Keys: []wire.Object{wire.Uint(1), wire.Uint(2)}, Values: []wire.Object{object(1, wire.Int(1), &ref), object(1, wire.Int(2), &ref)}},
		object(0), object(2, wire.Bool(false)), object(1, &str, object(2)), &wire.Interface{Type: wire.TypeID(1), Value: object(2)},
		&wire.Interface{Type: wire.TypeSpecNil{}, Value: wire.Nil{}}, types[0],
	} {
		b := graph(types, o, wire.Uint(1))
		parts, err := survey(append(b, 2, 'x', 'y'))
		if err != nil {
			t.Errorf("%T: %v", o, err)
			continue
		}
		if len(parts) != 2 || len(parts[0].objects) != 2 || string(parts[1].other) != "xy" || !reflect.DeepEqual(parts[0].types, types) {
			t.Fatalf("%T: %+v", o, parts)
		}
		var again bytes.Buffer
		wire.Save(&wire.Writer{Writer: &again}, parts[0].objects[0].load())
		if !bytes.Equal(again.Bytes(), parts[0].objects[0].bytes) || !bytes.Contains(b, again.Bytes()) {
			t.Errorf("%T: %x became %x", o, parts[0].objects[0].bytes, again.Bytes())
		}
	}
}

// crafted are kernels that gVisor's own reader does not survive: it allocates what a length says, or calls itself without end.
func crafted() map[string][]byte {
	begin := func(b ...byte) []byte { // one graph of two objects, of which the first follows
		head := graph(nil, wire.Uint(0), wire.Uint(0))
		return append(head[:len(head)-6:len(head)-6], append([]byte{kindUint, 1}, b...)...)
	}
	trillion := []byte{0x80, 0xa0, 0x94, 0xa5, 0x8d, 0x1d}
	return map[string][]byte{
		"a string of 10^12 bytes":         begin(append([]byte{kindString}, trillion...)...),
		"an array of 10^12 numbers":       begin(append(append([]byte{kindArray}, trillion...), kindUint, 1)...),
		"an array of 10^12 nothings":      begin(append(append([]byte{kindArray}, trillion...), kindNil)...),
		"a map of 10^12 entries":          begin(append(append([]byte{kindMap}, trillion...), kindNil, kindNil)...),
		"10^12 fields":                    begin(append([]byte{kindStruct, 1, kindMultipleObjects}, trillion...)...),
		"a reference of 10^12 steps":      begin(append([]byte{kindRef, 1}, trillion...)...),
		"a step of 10^12 bytes":           begin(append([]byte{kindRef, 1, 1}, 0xff, 0xbf, 0xa8, 0xca, 0x9a, 0x3a)...),
		"a type with 10^12 fields":        begin(append([]byte{kindType, 0}, trillion...)...),
		"other data of 10^12 bytes":       trillion,
		"30 million interfaces, nested":   begin(bytes.Repeat([]byte{kindInterface, specNil}, 30e6)...),
		"30 million arrays, nested":       begin(bytes.Repeat([]byte{kindArray, 1}, 30e6)...),
		"30 million structs, nested":      begin(bytes.Repeat([]byte{kindStruct, 1}, 30e6)...),
		"30 million pointers to pointers": begin(append([]byte{kindInterface}, bytes.Repeat([]byte{specPointer}, 30e6)...)...),
	}
}

func TestSurveyRefusesWhatWouldKillItsReader(t *testing.T) {
	for name, b := range crafted() {
		if _, err := survey(b); err == nil {
			t.Errorf("%s: taken", name)
		} else if len(err.Error()) > 200 || !strings.Contains(err.Error(), "saved kernel") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSurvey(f *testing.F) {
	f.Add(graph([]*wire.Type{{Name: "a", Fields: []string{"x"}}}, object(1, &wire.Ref{Root: 2}), &wire.Map{Keys: []wire.Object{wire.Uint(2)}, Values: []wire.Object{wire.Int(1)}}))
	f.Add(graph(nil, &wire.Array{Contents: []wire.Object{wire.Nil{}, wire.Nil{}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := cursor{b: b}
		n := c.uint()
		if c.err != nil || n&graphBit == 0 {
			return
		}
		c.graph(n&^graphBit, new(part))
		if c.err != nil {
			return
		}
		if left, err := loadAll(b); err != nil || left != len(c.b) {
			t.Errorf("%x: survey leaves %d bytes, gVisor %d, %v", b, len(c.b), left, err)
		}
	})
}
