package guest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"thaw/guest/wire"
)

// TestLines holds E-114's splitting.
func TestLines(t *testing.T) {
	long := strings.Repeat("l", 100_000)
	huge := strings.Repeat("ä", wire.MaxLogEvent) // two bytes each
	for _, c := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"a line", []string{"one\n"}, []string{"one\n"}},
		{"lines of one write stay together", []string{"one\ntwo\n"}, []string{"one\ntwo\n"}},
		{"a line in pieces", []string{"o", "n", "e\ntw", "o\n"}, []string{"one\n", "two\n"}},
		{"a carriage return does not split", []string{"another\rline\n"}, []string{"another\rline\n"}},
		{"nor does it vanish", []string{"line\r\n"}, []string{"line\r\n"}},
		{"a last line without end", []string{"one\ntwo"}, []string{"one\n", "two"}},
		{"a line over a chunk", []string{"a\n" + long + "\nb\n"}, []string{"a\n", long + "\n", "b\n"}},
		{"nothing", []string{"", ""}, nil},
		{"a line over an event is cut between characters", []string{huge + "\n"},
			[]string{huge[:wire.MaxLogEvent], huge[wire.MaxLogEvent : 2*wire.MaxLogEvent], "\n"}},
		{"one that is no text is cut where it must", []string{strings.Repeat("\x80", wire.MaxLogEvent+5)},
			[]string{strings.Repeat("\x80", wire.MaxLogEvent), strings.Repeat("\x80", 5)}},
	} {
		var got []string
		emit := func(b []byte) { got = append(got, string(b)) }
		var l lines
		for _, w := range c.writes {
			l.write([]byte(w), emit)
		}
		l.flush(emit)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %d pieces, want %d: %.100q", c.name, len(got), len(c.want), got)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\r\nthree"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		if len(b) > 0 { // long lines too
			b = bytes.Repeat(b, 1+300_000/len(b)*int(step%2))
		}
		var l lines
		var got []byte
		emit := func(piece []byte) {
			if len(piece) == 0 || len(piece) > wire.MaxLogEvent || len(piece) > wire.MaxChunk && bytes.IndexByte(piece[:len(piece)-1], '\n') >= 0 {
				t.Fatalf("a piece of %d bytes", len(piece))
			}
			got = append(got, piece...)
		}
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 1+int(step)*100)
			l.write(rest[:n], emit)
			rest = rest[n:]
		}
		if i := bytes.LastIndexByte(b, '\n'); len(got) < i+1 {
			t.Fatalf("%d bytes of %d complete ones came out", len(got), i+1)
		}
		l.flush(emit)
		if !bytes.Equal(got, b) {
			t.Fatal("what went in did not come out")
		}
	})
}

func frame(kind uint32, micros uint64, text string) []byte {
	b := binary.BigEndian.AppendUint32(nil, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	b = binary.BigEndian.AppendUint64(b, micros)
	return append(b, text...)
}

// TestLogFrames holds E-115 and E-116.
func TestLogFrames(t *testing.T) {
	huge := strings.Repeat("h", wire.MaxLogEvent+10)
	type record struct {
		wire.LogHead
		text string
	}
	framed := func(level string, json bool, text string) record {
		return record{wire.LogHead{Source: wire.LogFrame, UnixMicros: 1234, Level: level, JSON: json}, text}
	}
	plain := func(text string) record {
		return record{wire.LogHead{Source: wire.LogFrame, UnixMicros: 99}, text}
	}
	join := func(parts ...[]byte) string { return string(bytes.Join(parts, nil)) }
	for _, c := range []struct {
		name string
		in   string
		want []record
	}{
		{"an ERROR text", join(frame(0xa55a0017, 1234, "two\nlines")), []record{framed("ERROR", false, "two\nlines")}},
		{"every level", join(frame(0xa55a0003, 1234, "a"), frame(0xa55a0006, 1234, "b"), frame(0xa55a000b, 1234, "c"), frame(0xa55a000e, 1234, "d"), frame(0xa55a0013, 1234, "e"), frame(0xa55a001a, 1234, "f")),
			[]record{framed("", false, "a"), framed("TRACE", true, "b"), framed("DEBUG", false, "c"), framed("INFO", true, "d"), framed("WARN", false, "e"), framed("FATAL", true, "f")}},
		{"an empty message", join(frame(0xa55a000f, 1234, "")), []record{framed("INFO", false, "")}},
		{"a half frame is flushed as text", join(frame(0xa55a000e, 1234, `{"half`)[:20]), []record{framed("INFO", false, `{"ha`)}},
		{"a half head is nothing", join(frame(0xa55a000e, 1234, "x")[:9]), nil},
		{"text between frames", join([]byte("text\nmore"), frame(0xa55a000f, 1234, "a"), []byte("\xa5\n")), []record{plain("text\n"), plain("more"), framed("INFO", false, "a"), plain("\xa5\n")}},
		{"a wrong type is text", join(frame(0xa55a0001, 1234, "x\n")), []record{plain("\xa5Z\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x04\xd2x\n")}},
		{"a message over an event comes in pieces", join(frame(0xa55a000f, 1234, huge)), []record{framed("INFO", false, huge[:wire.MaxLogEvent]), framed("INFO", false, huge[wire.MaxLogEvent:])}},
	} {
		for _, step := range []int{len(c.in), 1000, 7, 1} {
			if step == 1 && len(c.in) > 10_000 {
				continue
			}
			var got []record
			emit := func(h wire.LogHead, b []byte) { got = append(got, record{h, string(b)}) }
			var l logFrames
			for rest := []byte(c.in); len(rest) > 0; {
				n := min(len(rest), step)
				l.write(rest[:n], 99, emit)
				rest = rest[n:]
			}
			l.flush(99, emit)
			if step < len(c.in) && strings.Contains(c.name, "text") { // text may be cut anywhere
				continue
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, %d bytes at a time: got %.300q, want %.300q", c.name, step, fmt.Sprint(got), fmt.Sprint(c.want))
			}
		}
	}
}

func FuzzLogFrames(f *testing.F) {
	f.Add(frame(0xa55a0017, 1, "text"), uint8(1))
	f.Add(append([]byte("garbage\n\xa5\x5a"), frame(0xa55a000e, 1, "{}")...), uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var l logFrames
		out := 0
		emit := func(h wire.LogHead, piece []byte) {
			if len(piece) > wire.MaxLogEvent {
				t.Fatalf("a record of %d bytes", len(piece))
			}
			out += len(piece)
		}
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 1+int(step))
			l.write(rest[:n], 1, emit)
			rest = rest[n:]
			if len(l.rest) > wire.MaxLogEvent+frameHeader {
				t.Fatalf("it holds %d bytes", len(l.rest))
			}
		}
		l.flush(1, emit)
		if out > len(b) {
			t.Fatalf("%d bytes came out of %d", out, len(b))
		}
	})
}

// TestLogFramesAfterGarbage: whatever came before, a writer that writes whole frames from now on is understood again.
func TestLogFramesAfterGarbage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		junk := make([]byte, r.IntN(50))
		for i := range junk {
			junk[i] = byte(r.UintN(0x80)) // of it no frame can begin
		}
		found := false
		var l logFrames
		l.write(append(junk, frame(0xa55a000f, 1, "after")...), 1, func(h wire.LogHead, b []byte) {
			found = found || h.Level == "INFO" && string(b) == "after"
		})
		if !found {
			t.Fatalf("after %q", junk)
		}
	}
}

func TestWhole(t *testing.T) {
	text := []byte(strings.Repeat("€", 10))
	for limit := 4; limit < len(text); limit++ {
		if n := whole(text, limit); n > limit || n < limit-3 || !utf8.Valid(text[:n]) {
			t.Errorf("at most %d bytes: %d", limit, n)
		}
	}
}
