package eventpattern

// reader reads the text of a document into its values, strictly as RFC 8259 has it. It stops at the first fault.
type reader struct {
	*Document
	at int
}

func (r *reader) space() {
	for r.at < len(r.source) {
		switch r.source[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// is takes one byte if it is the next one.
func (r *reader) is(b byte) bool {
	if r.at < len(r.source) && r.source[r.at] == b {
		r.at++
		return true
	}
	return false
}

func (r *reader) value(depth int) bool {
	if depth > maxDepth || r.at == len(r.source) {
		return false
	}
	i := len(r.values)
	r.values = append(r.values, value{start: int32(r.at)})
	ok := false
	var v value
	switch c := r.source[r.at]; {
	case c == '{':
		v.kind, ok = object, r.members(depth)
	case c == '[':
		v.kind, ok = array, r.elements(depth)
	case c == '"':
		v.kind = text
		var start, end int32
		start, end, v.escaped, ok = r.quoted()
		r.values[i].start, v.end = start, end
	case c == '-' || '0' <= c && c <= '9':
		v.kind, ok = number, r.number()
	case c == 't':
		v.kind, ok = truth, r.word("true")
	case c == 'f':
		v.kind, ok = truth, r.word("false")
	case c == 'n':
		v.kind, ok = null, r.word("null")
	}
	if !ok {
		return false
	}
	o := &r.values[i]
	o.kind, o.escaped, o.next = v.kind, v.escaped, int32(len(r.values))
	if o.end = v.end; v.kind != text {
		o.end = int32(r.at)
	}
	return true
}

func (r *reader) members(depth int) bool {
	r.at++
	r.space()
	if r.is('}') {
		return true
	}
	for {
		if r.at == len(r.source) || r.source[r.at] != '"' {
			return false
		}
		start, end, escaped, ok := r.quoted()
		r.space()
		if !ok || !r.is(':') {
			return false
		}
		r.space()
		i := len(r.values)
		if !r.value(depth + 1) {
			return false
		}
		v := &r.values[i]
		v.keyStart, v.keyEnd, v.keyEscaped = start, end, escaped
		r.space()
		if r.is('}') {
			return true
		}
		if !r.is(',') {
			return false
		}
		r.space()
	}
}

func (r *reader) elements(depth int) bool {
	r.at++
	r.space()
	if r.is(']') {
		return true
	}
	for {
		if !r.value(depth + 1) {
			return false
		}
		r.space()
		if r.is(']') {
			return true
		}
		if !r.is(',') {
			return false
		}
		r.space()
	}
}

// quoted reads a string literal and tells where it stands, without its quotes, and whether it has escapes.
func (r *reader) quoted() (start, end int32, escaped, ok bool) {
	r.at++
	start = int32(r.at)
	for r.at < len(r.source) {
		switch c := r.source[r.at]; {
		case c == '"':
			end = int32(r.at)
			r.at++
			return start, end, escaped, true
		case c < ' ':
			return 0, 0, false, false
		case c == '\\':
			escaped = true
			if !r.escape() {
				return 0, 0, false, false
			}
		default:
			r.at++
		}
	}
	return 0, 0, false, false
}

func (r *reader) escape() bool {
	if r.at++; r.at == len(r.source) {
		return false
	}
	switch r.source[r.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		r.at++
		return true
	case 'u':
		r.at++
		for range 4 {
			if r.at == len(r.source) || !isHex(r.source[r.at]) {
				return false
			}
			r.at++
		}
		return true
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (r *reader) number() bool {
	r.is('-')
	if !r.is('0') && !r.digits() {
		return false
	}
	if r.is('.') && !r.digits() {
		return false
	}
	if r.is('e') || r.is('E') {
		if !r.is('+') {
			r.is('-')
		}
		return r.digits()
	}
	return true
}

func (r *reader) digits() bool {
	from := r.at
	for r.at < len(r.source) && '0' <= r.source[r.at] && r.source[r.at] <= '9' {
		r.at++
	}
	return r.at > from
}

func (r *reader) word(w string) bool {
	if len(r.source)-r.at < len(w) || string(r.source[r.at:r.at+len(w)]) != w {
		return false
	}
	r.at += len(w)
	return true
}
