package guest

import (
	"bytes"
	"unicode/utf8"

	"thaw/guest/wire"
)

// lines cuts output into pieces for Log frames. Only \n ends a line: a bare \r stays inside (recorded from the service). A line
// over wire.MaxLogEvent is cut, between characters. Many short lines go into one piece.
type lines struct{ rest []byte }

// write calls emit with complete lines, at most wire.MaxChunk together, or with one longer line, or with a piece of a line that is
// too long. What emit gets is valid during the call.
func (l *lines) write(b []byte, emit func([]byte)) {
	if len(l.rest) == 0 { // the usual case copies nothing
		l.rest = append(l.rest, cut(b, emit)...)
		return
	}
	l.rest = append(l.rest, b...)
	if len(l.rest) <= wire.MaxLogEvent && bytes.IndexByte(b, '\n') < 0 {
		return // a long line in many small writes is not searched again and again
	}
	left := cut(l.rest, emit)
	l.rest = l.rest[:copy(l.rest, left)]
	if len(left) == 0 && cap(l.rest) > wire.MaxChunk {
		l.rest = nil
	}
}

// flush emits a last line that has no end.
func (l *lines) flush(emit func([]byte)) {
	if len(l.rest) > 0 {
		emit(l.rest)
	}
	l.rest = nil
}

// cut emits what is complete in b and returns the rest, less than one line.
func cut(b []byte, emit func([]byte)) []byte {
	for {
		window := b[:min(len(b), wire.MaxChunk)]
		end := bytes.LastIndexByte(window, '\n') + 1
		if end == 0 && len(b) > len(window) { // a line longer than a chunk
			end = bytes.IndexByte(b[:min(len(b), wire.MaxLogEvent)], '\n') + 1
			if end == 0 && len(b) > wire.MaxLogEvent {
				end = whole(b, wire.MaxLogEvent)
			}
		}
		if end == 0 {
			return b
		}
		emit(b[:end])
		b = b[end:]
	}
}

// whole is the largest n <= limit such that b[:n] ends between two characters.
func whole(b []byte, limit int) int {
	for n := limit; n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(b[n]) {
			return n
		}
	}
	return limit // it is no UTF-8
}
