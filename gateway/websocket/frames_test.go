package websocket

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// frame is one of a client, with a payload of n bytes.
func frame(n int) []byte {
	head := []byte{0x81}
	switch {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n)) //nolint:gosec // in range
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	return append(append(head, 1, 2, 3, 4), bytes.Repeat([]byte{0xff}, n)...)
}

// The heads of frames are found however the stream is cut, and the first that is too long is refused at its head.
func TestFramesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int
		ok    bool
	}{
		{"short", []int{0, 1, 125, 126, 127, 65_000 / 2}, true},
		{"as long as one may be", []int{maxFrame, 5, maxFrame}, true},
		{"one byte more", []int{maxFrame + 1}, false},
		{"the third", []int{1, maxFrame, 70_000}, false},
	} {
		var stream []byte
		for _, n := range c.sizes {
			stream = append(stream, frame(n)...)
		}
		for seed := range uint64(50) {
			f, r, ok := &framed{}, rand.New(rand.NewPCG(seed, 2)), true
			for rest := stream; len(rest) > 0 && ok; {
				n := min(1+r.IntN(1+int(seed)*700), len(rest))
				ok = f.pass(rest[:n])
				rest = rest[n:]
			}
			if ok != c.ok {
				t.Fatalf("%s, seed %d: %v", c.name, seed, ok)
			}
			if ok && (f.left != 0 || f.have != 0) {
				t.Fatalf("%s, seed %d: ends within a frame: %d, %d", c.name, seed, f.left, f.have)
			}
		}
	}
	huge := []byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}
	if (&framed{}).pass(huge) {
		t.Error("a frame of 2^63 bytes passes")
	}
}
