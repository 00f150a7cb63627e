package api

import (
	"encoding/binary"
	"unicode/utf8"
)

// invalidJSON says where and how b is no JSON text; what is empty when it is one. It takes what encoding/json takes, except that bytes
// must be UTF-8, as for the service's own parser, and that depth has no limit. It allocates nothing for events less than 64 deep, and
// does not look into what it need not: events are up to 6 MB and most of them is text in strings.
func invalidJSON(b []byte) (at int, what string) {
	p := jsonCheck{b: b}
	p.value()
	if p.what == "" {
		p.space()
		if p.i < len(b) {
			p.fail("text after the end of the value")
		}
	}
	return p.i, p.what
}

type jsonCheck struct {
	b    []byte
	i    int
	what string
	// Which of the open brackets are objects: one bit each, the innermost in the lowest bit of the last word.
	depth int
	bits  uint64
	full  []uint64
}

func (p *jsonCheck) fail(what string) {
	if p.what == "" {
		p.what = what
		if p.i > len(p.b) {
			p.i = len(p.b)
		}
	}
}

func (p *jsonCheck) push(object bool) {
	if p.depth > 0 && p.depth%64 == 0 {
		p.full = append(p.full, p.bits)
	}
	p.bits <<= 1
	if object {
		p.bits |= 1
	}
	p.depth++
}

func (p *jsonCheck) pop() {
	p.depth--
	p.bits >>= 1
	if p.depth > 0 && p.depth%64 == 0 {
		p.bits = p.full[len(p.full)-1]
		p.full = p.full[:len(p.full)-1]
	}
}

func (p *jsonCheck) space() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\n', '\t', '\r':
			p.i++
		default:
			return
		}
	}
}

// next skips space and returns the byte there, 0 at the end.
func (p *jsonCheck) next() byte {
	p.space()
	if p.i == len(p.b) {
		return 0
	}
	return p.b[p.i]
}

const unexpectedEnd = "unexpected end"

// value checks one value with everything in it.
func (p *jsonCheck) value() {
	for {
		// A value begins here.
		opened := false
		switch c := p.next(); {
		case c == '{':
			p.i++
			p.push(true)
			if p.next() == '}' {
				break
			}
			if p.key(); p.what != "" {
				return
			}
			opened = true
		case c == '[':
			p.i++
			p.push(false)
			if p.next() == ']' {
				break
			}
			opened = true
		case c == '"':
			p.str()
		case c == '-' || '0' <= c && c <= '9':
			p.number()
		case c == 't':
			p.word("true")
		case c == 'f':
			p.word("false")
		case c == 'n':
			p.word("null")
		case p.i >= len(p.b):
			p.fail(unexpectedEnd)
		default:
			p.fail("unexpected character")
		}
		if p.what != "" {
			return
		}
		if opened {
			continue
		}
		// A value ended here, or an empty bracket waits to be closed.
		for {
			if p.depth == 0 {
				return
			}
			object := p.bits&1 == 1
			c := p.next()
			if c == ',' {
				p.i++
				if object {
					p.next()
					if p.key(); p.what != "" {
						return
					}
				}
				break
			}
			if object && c == '}' || !object && c == ']' {
				p.i++
				p.pop()
				continue
			}
			if p.i >= len(p.b) {
				p.fail(unexpectedEnd)
			} else {
				p.fail("unexpected character")
			}
			return
		}
	}
}

func (p *jsonCheck) key() {
	if p.next() != '"' {
		if p.i >= len(p.b) {
			p.fail(unexpectedEnd)
		} else {
			p.fail("unexpected character")
		}
		return
	}
	p.str()
	if p.what != "" {
		return
	}
	if p.next() != ':' {
		if p.i >= len(p.b) {
			p.fail(unexpectedEnd)
		} else {
			p.fail("unexpected character")
		}
		return
	}
	p.i++
}

func (p *jsonCheck) word(w string) {
	if len(p.b)-p.i < len(w) {
		if string(p.b[p.i:]) == w[:len(p.b)-p.i] {
			p.i = len(p.b)
			p.fail(unexpectedEnd)
		} else {
			p.fail("unexpected character")
		}
		return
	}
	if string(p.b[p.i:p.i+len(w)]) != w {
		p.fail("unexpected character")
		return
	}
	p.i += len(w)
}

func (p *jsonCheck) digits() bool {
	start := p.i
	for p.i < len(p.b) && '0' <= p.b[p.i] && p.b[p.i] <= '9' {
		p.i++
	}
	return p.i > start
}

func (p *jsonCheck) number() {
	if p.b[p.i] == '-' {
		p.i++
	}
	if p.i < len(p.b) && p.b[p.i] == '0' {
		p.i++
	} else if !p.digits() {
		p.fail("unexpected character in a number")
		return
	}
	if p.i < len(p.b) && p.b[p.i] == '.' {
		p.i++
		if !p.digits() {
			p.fail("unexpected character in a number")
			return
		}
	}
	if p.i < len(p.b) && (p.b[p.i] == 'e' || p.b[p.i] == 'E') {
		p.i++
		if p.i < len(p.b) && (p.b[p.i] == '+' || p.b[p.i] == '-') {
			p.i++
		}
		if !p.digits() {
			p.fail("unexpected character in a number")
		}
	}
}

// str checks a string from its first quote on. Eight plain ASCII bytes are passed over at once.
func (p *jsonCheck) str() {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	b := p.b
	i := p.i + 1
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			// A high bit is set for a byte that is not ASCII, below 0x20, a quote or a backslash (or for one above such a byte, which only costs time).
			if (w|(w-ones*0x20)|(quote-ones)|(slash-ones))&highs != 0 {
				break
			}
			i += 8
		}
		if i >= len(b) {
			p.i = len(b)
			p.fail("unexpected end in a string")
			return
		}
		switch c := b[i]; {
		case c == '"':
			p.i = i + 1
			return
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				p.i = i
				p.fail("wrong escape in a string")
				return
			}
			i += n
		case c < 0x20:
			p.i = i
			p.fail("control character in a string")
			return
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				p.i = i
				p.fail("invalid UTF-8")
				return
			}
			i += n
		}
	}
}

// escapeLen is the length of the escape at the start of b, 0 when it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}
