package logstore

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// record is an event as it stands in a segment.
type record struct {
	ID      uint64 `json:"i"`
	Time    int64  `json:"t"`
	Arrived int64  `json:"a"`
	Stream  string `json:"s"`
	Message string `json:"m"`
}

const (
	recordBegin = `{"i":`
	recordEnd   = `"}`
)

// appendPlace appends what stands between the ID and the message of a record's line, which is written by hand because
// functions may print half a million lines a second.
func appendPlace(b []byte, at, arrived int64, stream string) []byte {
	b = strconv.AppendInt(append(b, `,"t":`...), at, 10)
	b = strconv.AppendInt(append(b, `,"a":`...), arrived, 10)
	return append(escape(append(b, `,"s":"`...), stream), `","m":"`...)
}

const hexDigits = "0123456789abcdef"

// plain are the bytes that stand in a JSON string as they are.
var plain = func() (is [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		is[c] = c != '"' && c != '\\'
	}
	return is
}()

// escape appends a text as it stands between the quotes of a JSON string. What is no UTF-8 becomes U+FFFD.
func escape(b []byte, s string) []byte {
	from := 0 // where the part begins that needs no escape
	for i := 0; ; {
		for i < len(s) && plain[s[i]] {
			i++
		}
		if i == len(s) {
			return append(b, s[from:]...)
		}
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += size
			continue
		}
		b = append(append(b, s[from:i]...), '\\')
		i++
		from = i
		switch c {
		case '\n':
			b = append(b, 'n')
		case '\t':
			b = append(b, 't')
		case '\r':
			b = append(b, 'r')
		case '"', '\\':
			b = append(b, c)
		default:
			b = append(b, 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
}

// line is a record that is read only as far as is needed: most events of a group are not those that are asked for.
type line struct {
	id            uint64
	time, arrived int64
	stream        []byte
	message       []byte // as it stands in the file, with JSON's escapes
}

// event makes an event of the line, with interned as the stream's name.
func (l *line) event(stream string) Event {
	return Event{ID: l.id, Time: l.time, Arrived: l.arrived, Stream: stream, Message: unescape(l.message)}
}

// parseLine reads a line of a segment, without its newline. It fails for one that a crash of the machine spoiled.
func parseLine(b []byte) (l line, ok bool) {
	p := linePart{b, true}
	l.id = p.number(`{"i":`)
	l.time = int64(p.number(`,"t":`))    //nolint:gosec // as written
	l.arrived = int64(p.number(`,"a":`)) //nolint:gosec // as written
	p.skip(`,"s":"`)
	end := bytes.IndexByte(p.rest, '"')
	if p.ok && end >= 0 && bytes.IndexByte(p.rest[:end], '\\') < 0 {
		l.stream = p.rest[:end]
		p.rest = p.rest[end:]
		p.skip(`","m":"`)
		if message, whole := bytes.CutSuffix(p.rest, []byte(`"}`)); p.ok && whole {
			l.message = message
			return l, true
		}
	}
	var r record // whatever is unusual: times before 1970, quotes in a stream's name
	if json.Unmarshal(b, &r) != nil {
		return line{}, false
	}
	return line{r.ID, r.Time, r.Arrived, []byte(r.Stream), escape(nil, r.Message)}, true
}

// linePart is what is left of a line that is being read.
type linePart struct {
	rest []byte
	ok   bool
}

func (p *linePart) skip(prefix string) {
	if !p.ok || len(p.rest) < len(prefix) || string(p.rest[:len(prefix)]) != prefix {
		p.ok = false
		return
	}
	p.rest = p.rest[len(prefix):]
}

func (p *linePart) number(prefix string) (n uint64) {
	p.skip(prefix)
	i := 0
	for i < len(p.rest) && i < 20 && p.rest[i] >= '0' && p.rest[i] <= '9' {
		n = n*10 + uint64(p.rest[i]-'0')
		i++
	}
	p.ok = p.ok && i > 0
	p.rest = p.rest[i:]
	return n
}

// unescape takes JSON's escapes out of a text.
func unescape(b []byte) string {
	at := bytes.IndexByte(b, '\\')
	if at < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for rest := b; ; at = bytes.IndexByte(rest, '\\') {
		if at < 0 || at+1 >= len(rest) {
			return string(append(out, rest...))
		}
		out = append(out, rest[:at]...)
		c, n := rest[at+1], 2
		switch c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'u':
			if at+6 > len(rest) {
				return string(append(out, rest[at:]...))
			}
			code, err := strconv.ParseUint(string(rest[at+2:at+6]), 16, 16)
			if err != nil {
				code = utf8.RuneError
			}
			out = utf8.AppendRune(out, rune(code)) //nolint:gosec // 16 bits; halves of a pair are never written
			n = 6
		default:
			out = append(out, c)
		}
		rest = rest[at+n:]
	}
}
