package rewriter

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/state/wire"
)

// graph encodes objects as gVisor's state files hold them.
func graph(types []*wire.Type, objects ...wire.Object) []byte {
	var b bytes.Buffer
	w := &wire.Writer{Writer: &b}
	wire.SaveUint(w, uint64(len(objects))|1<<63)
	for _, t := range types {
		wire.Save(w, t)
	}
	for i, o := range objects {
		wire.Save(w, wire.Uint(i+1))
		wire.Save(w, o)
	}
	return b.Bytes()
}

func object(id wire.TypeID, fields ...wire.Object) *wire.Struct {
	s := &wire.Struct{TypeID: id}
	s.Alloc(len(fields))
	for i, f := range fields {
		*s.Field(i) = f
	}
	return s
}

// stopClock does to a kernel what the rewriter does to a file.
func stopClock(body []byte, from, to time.Time) error {
	parts, err := survey(body)
	if err != nil {
		return err
	}
	p, err := findClock(body, parts, from, to)
	if err == nil {
		copy(body[p.at:], p.bytes)
	}
	return err
}

func TestStopClock(t *testing.T) {
	now := time.Now()
	from, to := now.Add(-time.Second), now.Add(time.Second)
	wall := wire.Int(now.UnixNano())
	types := []*wire.Type{{Name: "other", Fields: []string{"saveRealtime"}}, {Name: timekeeperType, Fields: []string{"bootTime", "saveMonotonic", "saveRealtime"}}}
	features := graph(nil, wire.Uint(7))
	keeper := func(wall wire.Int) *wire.Struct { return object(2, wire.Int(1), wire.Int(5e9), wall) }
	for _, c := range []struct {
		name string
		body []byte
		want bool
	}{
		{"one timekeeper", graph(types, object(1, wall), keeper(wall)), true},
		{"no timekeeper", graph(types, object(1, wall)), false},
		{"two timekeepers", graph(types, keeper(wall), keeper(wall)), false},
		{"saved at another time", graph(types, keeper(wall-3e9)), false},
		{"saved later", graph(types, keeper(wall+3e9)), false},
		{"a timekeeper without a saved wall time", graph([]*wire.Type{types[0], {Name: timekeeperType, Fields: []string{"bootTime"}}}, object(2, wire.Int(1))), false},
		{"a wall time that is no number", graph(types, object(2, wire.Int(1), wire.Int(2), wire.Bool(true))), false},
		{"cut short", graph(types, keeper(wall))[:40], false},
		{"nothing", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := append(slices.Clone(features), c.body...)
			before := slices.Clone(body)
			err := stopClock(body, from, to)
			if (err == nil) != c.want {
				t.Fatalf("error %v, want one: %v", err, !c.want)
			}
			if err != nil {
				return
			}
			if bytes.Equal(before, body) || len(before) != len(body) {
				t.Error("nothing was changed")
			}
			want := append(slices.Clone(features), graph(types, object(1, wall), keeper(farFuture))...)
			if !bytes.Equal(body, want) {
				t.Error("something else was changed")
			}
		})
	}
}

func FuzzStopClock(f *testing.F) {
	now := time.Now()
	f.Add(graph([]*wire.Type{{Name: timekeeperType, Fields: []string{"saveRealtime"}}}, object(1, wire.Int(now.UnixNano()))))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := len(b)
		stopClock(b, now.Add(-time.Hour), now.Add(time.Hour))
		if len(b) != before {
			t.Error("the length changed")
		}
	})
}
