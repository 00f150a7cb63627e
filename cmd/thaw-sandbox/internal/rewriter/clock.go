package rewriter

import (
	"bytes"
	"errors"
	"fmt"
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

// clockPatch is what stops the clock of a saved kernel: bytes that take the place of as many.
type clockPatch struct {
	at    int // in the saved kernel
	bytes []byte
}

// findClock insists on one timekeeper whose saved wall time lies within the checkpoint: a gVisor that saves its clocks
// otherwise fails the checkpoint, instead of giving functions a wrong clock. parts are what survey found in body.
func findClock(body []byte, parts []part, from, to time.Time) (p clockPatch, err error) {
	defer func() {
		if r := recover(); r != nil { // wire panics on anything it does not expect
			err = fmt.Errorf("%w: %v", errClock, r)
		}
	}()
	found := 0
	for _, part := range parts { // two object graphs: the processor's features, and the kernel
		for _, o := range part.objects {
			id := o.structType()
			if id == 0 || uint64(id) > uint64(len(part.types)) || part.types[id-1].Name != timekeeperType {
				continue
			}
			found++
			p.at = cap(body) - cap(o.bytes) // both are slices of the same bytes
			if p.bytes, err = stopTimekeeper(o, part.types[id-1], from, to); err != nil {
				return p, err
			}
		}
	}
	if found != 1 {
		return p, fmt.Errorf("%w: %d timekeepers", errClock, found)
	}
	return p, nil
}

// stopTimekeeper encodes one object anew.
func stopTimekeeper(o savedObject, t *wire.Type, from, to time.Time) ([]byte, error) {
	s := o.load().(*wire.Struct)
	for i, name := range t.Fields {
		if name != "saveRealtime" || i >= s.Fields() {
			continue
		}
		wall, ok := (*s.Field(i)).(wire.Int)
		if !ok || int64(wall) < from.UnixNano() || int64(wall) > to.UnixNano() {
			return nil, fmt.Errorf("%w: saved at %T %d", errClock, *s.Field(i), wall)
		}
		var old, changed bytes.Buffer
		wire.Save(&wire.Writer{Writer: &old}, s)
		*s.Field(i) = wire.Int(farFuture)
		wire.Save(&wire.Writer{Writer: &changed}, s)
		if !bytes.Equal(old.Bytes(), o.bytes) || changed.Len() != len(o.bytes) {
			return nil, fmt.Errorf("%w: it encodes otherwise", errClock)
		}
		return changed.Bytes(), nil
	}
	return nil, fmt.Errorf("%w: no saved wall time", errClock)
}
