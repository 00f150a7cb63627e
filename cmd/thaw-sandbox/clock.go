package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"gvisor.dev/gvisor/pkg/state/wire"
)

// # Why a restored function's timers do not all fire at once
//
// gVisor saves the monotonic and the wall clock, and at the restore adds to the first what has passed by the second: "monotonic time jumps
// forward by approximately the same amount as real time", but "if real time went backwards, it remains the same". Source:
// Timekeeper.SetClocks, pkg/sentry/kernel/timekeeper.go. On AWS a snapshot's age does not show in the monotonic clock. So the saved wall
// time is moved to a far future: then real time always went backwards. The wall clock itself is not taken from the snapshot.

const timekeeperType = "pkg/sentry/kernel.Timekeeper"

// farFuture is as long as every wall time of this century, in gVisor's encoding.
const farFuture = math.MaxInt64 / 2

var errClock = errors.New("saved clock not found where expected")

// stopClock edits a saved kernel in place. It reads the whole of it by gVisor's own rules and insists on one timekeeper whose saved wall time lies within
// the checkpoint: a gVisor that saves its clocks otherwise fails the checkpoint, instead of giving functions a wrong clock.
func stopClock(body []byte, from, to time.Time) (err error) {
	defer func() {
		if r := recover(); r != nil { // wire panics on anything it does not expect
			err = fmt.Errorf("%w: %v", errClock, r)
		}
	}()
	in := bytes.NewReader(body)
	r := &wire.Reader{Reader: in}
	found := 0
	for in.Len() > 0 { // two object graphs: the processor's features, and the kernel
		n, object := wire.LoadUint(r), false
		if object = n&graphBit != 0; !object {
			if _, err := in.Seek(int64(n), io.SeekCurrent); err != nil {
				return err
			}
			continue
		}
		var types []*wire.Type
		for left := n &^ graphBit; left > 0; {
			switch o := wire.Load(r).(type) {
			case *wire.Type:
				types = append(types, o)
			case wire.Uint:
				left--
				begin := len(body) - in.Len()
				s, ok := wire.Load(r).(*wire.Struct)
				if !ok || s.TypeID == 0 || int(s.TypeID) > len(types) || types[s.TypeID-1].Name != timekeeperType {
					continue
				}
				found++
				if err := stopTimekeeper(body[begin:len(body)-in.Len()], s, types[s.TypeID-1], from, to); err != nil {
					return err
				}
			default:
				return fmt.Errorf("%w: %T in the stream", errClock, o)
			}
		}
	}
	if found != 1 {
		return fmt.Errorf("%w: %d timekeepers", errClock, found)
	}
	return nil
}

// stopTimekeeper replaces the encoding of one object.
func stopTimekeeper(encoded []byte, s *wire.Struct, t *wire.Type, from, to time.Time) error {
	for i, name := range t.Fields {
		if name != "saveRealtime" || i >= s.Fields() {
			continue
		}
		wall, ok := (*s.Field(i)).(wire.Int)
		if !ok || int64(wall) < from.UnixNano() || int64(wall) > to.UnixNano() {
			return fmt.Errorf("%w: saved at %v", errClock, *s.Field(i))
		}
		var old, changed bytes.Buffer
		wire.Save(&wire.Writer{Writer: &old}, s)
		*s.Field(i) = wire.Int(farFuture)
		wire.Save(&wire.Writer{Writer: &changed}, s)
		if !bytes.Equal(old.Bytes(), encoded) || changed.Len() != len(encoded) {
			return fmt.Errorf("%w: it encodes otherwise", errClock)
		}
		copy(encoded, changed.Bytes())
		return nil
	}
	return fmt.Errorf("%w: no saved wall time", errClock)
}
