package forkid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
)

// point is where OpenSSL's way to getpid is led elsewhere.
type point struct {
	at   uint64 // of the pointer, or of the operand of a jump or call
	near bool   // an operand: 32 bits, counted from its own end
}

// find is the point of an image; nil: it has none.
func (p *process) find(proc *os.File, dir string, im *image, names *files) (*point, error) {
	if im.isLibcrypto() {
		slot, err := p.imported(im, "getpid")
		if errors.Is(err, errOdd) {
			return nil, nil // somebody's file of that name
		}
		if err != nil || slot == 0 {
			return nil, err
		}
		return &point{at: slot}, nil
	}
	at, err := names.function(proc, dir, im)
	if err != nil || at == 0 {
		return nil, err
	}
	var code [16]byte
	if err := p.read(code[:], at); err != nil {
		return nil, err
	}
	i := operand(code[:])
	if i == 0 {
		return nil, fmt.Errorf("%s does not call getpid as expected: % x", symbol, code)
	}
	return &point{at: at + uint64(i), near: true}, nil
}

// target is where a point leads.
func (p *process) target(pt *point) (uint64, error) {
	if !pt.near {
		var to uint64
		err := p.decode(&to, pt.at)
		return to, err
	}
	var rel int32
	err := p.decode(&rel, pt.at)
	return pt.at + 4 + uint64(int64(rel)), err
}

// lead leads a point to instructions that add to the pid.
func (p *process) lead(im *image, pt *point, add uint32) error {
	to, err := p.target(pt)
	if err != nil {
		return err
	}
	code := instructions(add)
	now := make([]byte, len(code))
	if p.read(now, to) == nil && ours(now) {
		return p.write(code, to) // of an earlier generation: only the number differs
	}
	place, err := p.place(im, pt, len(code))
	if err != nil {
		return err
	}
	if err := p.write(code, place); err != nil {
		return err
	}
	if !pt.near {
		return p.write(binary.LittleEndian.AppendUint64(nil, place), pt.at)
	}
	rel := int64(place) - int64(pt.at+4)
	return p.write(binary.LittleEndian.AppendUint32(nil, uint32(int32(rel))), pt.at)
}

// place finds room for instructions behind the last ones of an image: its own, or where a pointer leads anywhere,
// another's.
func (p *process) place(im *image, pt *point, size int) (uint64, error) {
	if at, ok := p.room(im, size); ok && (!pt.near || near(at, pt.at)) {
		return at, nil
	}
	for _, other := range p.images {
		if at, ok := p.room(other, size); ok && (!pt.near || near(at, pt.at)) {
			return at, nil
		}
	}
	return 0, errors.New("there is no room behind its code")
}

func near(a, b uint64) bool {
	d := int64(a) - int64(b+4)
	return d >= math.MinInt32 && d <= math.MaxInt32
}

// room is free memory of a last page of code.
func (p *process) room(im *image, size int) (uint64, bool) {
	h, ok, err := p.header(im)
	if !ok || err != nil {
		return 0, false
	}
	l, err := p.layout(im, &h)
	if err != nil {
		return 0, false
	}
	for _, end := range l.codeEnds {
		for _, m := range im.maps {
			if m.executable() && m.start < end && end < m.end {
				if at, ok := p.free(end, m.end, size); ok {
					return at, true
				}
			}
		}
	}
	return 0, false
}

// free finds zeros.
func (p *process) free(from, to uint64, size int) (uint64, bool) {
	const align, most = 16, 1 << 16
	b := make([]byte, min(to-from, most))
	if size > align || p.read(b, from) != nil {
		return 0, false
	}
	zeros := make([]byte, align)
	for at := (from + align - 1) &^ (align - 1); at+align <= from+uint64(len(b)); at += align {
		if bytes.Equal(b[at-from:at-from+align], zeros) {
			return at, true
		}
	}
	return 0, false
}
