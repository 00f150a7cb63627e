package guest

import (
	"bytes"
	"encoding/binary"

	"thaw/guest/wire"
)

// A record of the framed log descriptor:
//
//	0        4        8                 16              16+len
//	| type   | length | time µs (epoch) | message bytes  |     big-endian
//
// type is 0xa55a0000, bit 0 text (else JSON), bit 1 always set (the time is there), level from bit 2 on.
// Source: AWS's runtime interface clients (lambda_runtime_log_utils.py, LogPatch.js, FramedTelemetryLogSink.java).
const (
	frameMagic  = 0xa55a0000
	frameHeader = 16
	frameText   = 1
	frameTimed  = 2
)

var frameLevels = [...]string{"", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

// logFrames takes a stream of framed records apart. It survives a writer that died in the middle of one, and bytes that
// are no frame: those come out as text. It never holds more than one log event.
type logFrames struct {
	rest []byte
	head wire.LogHead // of the record whose message is being read
	left int          // bytes of its message that have not been emitted
}

// write calls emit with each complete record, or piece of one that is larger than wire.MaxLogEvent. What emit gets is valid during the call.
func (l *logFrames) write(b []byte, now int64, emit func(wire.LogHead, []byte)) {
	if len(l.rest) > 0 {
		l.rest = append(l.rest, b...)
		b = l.rest
	}
	for {
		used := l.step(b, now, emit)
		if used == 0 {
			break
		}
		b = b[used:]
	}
	if len(b) == 0 && cap(l.rest) > wire.MaxChunk {
		l.rest = nil
		return
	}
	l.rest = append(l.rest[:0], b...)
}

// step deals with what stands first in b and returns how much of it that was; 0: more is needed.
func (l *logFrames) step(b []byte, now int64, emit func(wire.LogHead, []byte)) int {
	if l.left > 0 {
		if n := min(l.left, wire.MaxLogEvent); len(b) >= n {
			emit(l.head, b[:n])
			l.left -= n
			return n
		}
		return 0
	}
	if len(b) == 0 {
		return 0
	}
	if !beginsFrame(b) {
		n := garbage(b)
		emit(wire.LogHead{Source: wire.LogFrame, UnixMicros: now}, b[:n])
		return n
	}
	if len(b) < frameHeader {
		return 0
	}
	kind := binary.BigEndian.Uint32(b)
	l.left = int(binary.BigEndian.Uint32(b[4:]))
	l.head = wire.LogHead{
		Source: wire.LogFrame, UnixMicros: int64(binary.BigEndian.Uint64(b[8:])),
		Level: frameLevels[kind>>2&7], JSON: kind&frameText == 0,
	}
	if l.left == 0 {
		emit(l.head, nil)
	}
	return frameHeader
}

// flush emits what a writer left unfinished, as text.
func (l *logFrames) flush(now int64, emit func(wire.LogHead, []byte)) {
	switch {
	case l.left > 0 && len(l.rest) > 0:
		l.head.JSON = false
		emit(l.head, l.rest)
	case len(l.rest) > 0 && !beginsFrame(l.rest):
		emit(wire.LogHead{Source: wire.LogFrame, UnixMicros: now}, l.rest)
	}
	*l = logFrames{}
}

// beginsFrame says whether b may be the beginning of a frame, as far as it goes.
func beginsFrame(b []byte) bool {
	magic := [4]byte{0xa5, 0x5a, 0x00, 0}
	n := min(len(b), 3)
	if !bytes.Equal(b[:n], magic[:n]) {
		return false
	}
	if len(b) < 4 {
		return true
	}
	return b[3]&frameTimed != 0 && int(b[3]>>2) < len(frameLevels)
}

// garbage is the length of the first line of b, or of what stands before the next possible frame.
func garbage(b []byte) int {
	for i := 1; i < min(len(b), wire.MaxLogEvent); i++ {
		if b[i-1] == '\n' || b[i] == 0xa5 && beginsFrame(b[i:]) {
			return i
		}
	}
	return min(len(b), wire.MaxLogEvent)
}
