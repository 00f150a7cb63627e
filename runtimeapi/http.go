package runtimeapi

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"syscall"
)

// Stream is one accepted connection: an *os.File on a non-blocking socket, or a *net.TCPConn.
type Stream interface {
	io.ReadWriteCloser
	syscall.Conn
}

const (
	// maxHead bounds a request's head and its trailers. Clients put JSON into headers (an X-Ray cause below 1 MiB).
	maxHead = 1<<20 + 64<<10
	// firstBuf is what a connection costs while it is idle.
	firstBuf = 4 << 10
	// discardChunk is read at a time of a body that nobody wants.
	discardChunk = 64 << 10
)

// errMalformed is the reason of a request that is no HTTP/1.x; the connection ends with 400.
var errMalformed = errors.New("malformed request")

// errHeadTooLarge is the reason of a 431.
var errHeadTooLarge = errors.New("request head too large")

// errNotImplemented is the reason of a 501: a transfer coding other than chunked.
var errNotImplemented = errors.New("transfer coding not implemented")

// errTooLarge says that a body was longer than allowed; it was read to its end all the same.
var errTooLarge = errors.New("body too large")

type field struct{ name, value string }

// request is the head of one request. Its strings are copies: the buffer they came from is used again.
type request struct {
	method, path string
	fields       []field
	length       int64 // of the body; -1: chunked
	close        bool  // the connection ends after the answer
	expect       bool  // the client waits for 100 Continue
	trailers     []field
}

// header returns the first field of that name, "" when there is none; name is lower case.
func (r *request) header(name string) string { return lookup(r.fields, name) }

func (r *request) trailer(name string) string { return lookup(r.trailers, name) }

func lookup(fields []field, name string) string {
	for i := range fields {
		if equalFold(fields[i].name, name) {
			return fields[i].value
		}
	}
	return ""
}

// equalFold compares ASCII without case; lower is lower case already.
func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// reader reads requests from one connection. The buffer is one page while the connection is idle, grows for a large head and
// shrinks again; bodies of known length are read past it, straight to where they stay.
type reader struct {
	r    io.Reader
	buf  []byte
	head int // first unread byte
	tail int // end of what was read
	err  error
}

func (r *reader) buffered() int { return r.tail - r.head }

// nextFollows says whether what was read holds a call of next, and all of it.
func (r *reader) nextFollows() bool {
	b := r.buf[r.head:r.tail]
	return bytes.HasPrefix(b, []byte("GET "+invocations+"next ")) && endOfBlock(b, 0) > 0
}

// fill reads once more; more says how much more room is wanted at least.
func (r *reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.head == r.tail {
		r.head, r.tail = 0, 0
	}
	if r.tail == len(r.buf) {
		if r.head > 0 {
			copy(r.buf, r.buf[r.head:r.tail])
			r.tail -= r.head
			r.head = 0
		} else {
			bigger := make([]byte, max(firstBuf, 4*len(r.buf)))
			copy(bigger, r.buf[:r.tail])
			r.buf = bigger
		}
	}
	n, err := r.r.Read(r.buf[r.tail:])
	r.tail += n
	if n == 0 && err != nil {
		r.err = err
		return err
	}
	return nil
}

// shrink lets go of a buffer that one large request needed.
func (r *reader) shrink() {
	if len(r.buf) > 4*firstBuf && r.buffered() == 0 {
		r.buf, r.head, r.tail = nil, 0, 0
	}
}

// block reads up to and including an empty line and returns the lines before it, at most limit bytes. It is valid until the next read.
func (r *reader) block(limit int) ([]byte, error) {
	scanned := 0
	for {
		if n := endOfBlock(r.buf[r.head:r.tail], scanned); n > limit {
			return nil, errHeadTooLarge
		} else if n >= 0 {
			b := r.buf[r.head : r.head+n]
			r.head += n
			return b, nil
		}
		if scanned = r.buffered(); scanned > limit {
			return nil, errHeadTooLarge
		}
		if err := r.fill(); err != nil {
			if err == io.EOF && scanned > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// endOfBlock is the length of b up to and including its first empty line, -1 when there is none. The first scanned bytes were
// searched before.
func endOfBlock(b []byte, scanned int) int {
	if len(b) > 0 && b[0] == '\n' {
		return 1
	}
	if len(b) > 1 && b[0] == '\r' && b[1] == '\n' {
		return 2
	}
	for i := max(0, scanned-3); ; {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return -1
		}
		i += j + 1
		if i < len(b) && b[i] == '\n' {
			return i + 1
		}
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2
		}
	}
}

// request reads the next request's head.
func (r *reader) request() (*request, error) {
	r.shrink()
	// Empty lines before a request line are skipped (RFC 9112, section 2.2), a few of them.
	for range 4 {
		b, err := r.block(maxHead)
		if err != nil {
			return nil, err
		}
		if len(b) > 2 {
			return parseHead(b)
		}
	}
	return nil, errMalformed
}

// parseHead takes a head apart: request line, fields, empty line. Lines end in CRLF or LF.
func parseHead(b []byte) (*request, error) {
	text := string(b)
	line, text := cutLine(text)
	method, rest, ok := strings.Cut(line, " ")
	if !ok || !isToken(method) {
		return nil, errMalformed
	}
	target, proto, ok := strings.Cut(rest, " ")
	if !ok || target == "" {
		return nil, errMalformed
	}
	q := &request{method: method}
	switch proto {
	case "HTTP/1.1":
	case "HTTP/1.0":
		q.close = true
	default:
		return nil, errMalformed
	}
	if q.path, ok = pathOf(target); !ok {
		return nil, errMalformed
	}
	var err error
	if q.fields, err = parseFields(text); err != nil {
		return nil, err
	}
	return q, q.framing()
}

// pathOf is the path of an origin-form or absolute-form target, without its query.
func pathOf(target string) (string, bool) {
	if target[0] != '/' {
		scheme, rest, ok := strings.Cut(target, "://")
		if !ok || !isToken(scheme) {
			return "", false
		}
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			target = rest[i:]
		} else {
			target = "/"
		}
	}
	target, _, _ = strings.Cut(target, "?")
	for i := range len(target) {
		if target[i] <= ' ' || target[i] == 0x7f {
			return "", false
		}
	}
	return target, true
}

func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

func parseFields(text string) ([]field, error) {
	fields := make([]field, 0, 12)
	for text != "" {
		var line string
		if line, text = cutLine(text); line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) { // also refuses folded lines, which begin with a blank
			return nil, errMalformed
		}
		value = strings.Trim(value, " \t")
		for i := range len(value) {
			if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
				return nil, errMalformed
			}
		}
		fields = append(fields, field{name, value})
	}
	return fields, nil
}

// framing finds out how long the body is. A request whose length can be read in two ways is refused.
func (q *request) framing() error {
	lengths, codings := 0, 0
	for _, f := range q.fields {
		switch {
		case equalFold(f.name, "content-length"):
			n, err := strconv.ParseUint(f.value, 10, 62)
			if err != nil || f.value[0] == '+' || lengths > 0 && int64(n) != q.length {
				return errMalformed
			}
			q.length = int64(n)
			lengths++
		case equalFold(f.name, "transfer-encoding"):
			if codings++; codings > 1 || !strings.EqualFold(f.value, "chunked") {
				return errNotImplemented
			}
		case equalFold(f.name, "connection"):
			for option := range strings.SplitSeq(f.value, ",") {
				option = strings.TrimSpace(option)
				if strings.EqualFold(option, "close") {
					q.close = true
				} else if strings.EqualFold(option, "keep-alive") && q.close && lookup(q.fields, "connection") == f.value {
					q.close = false
				}
			}
		case equalFold(f.name, "expect"):
			q.expect = strings.EqualFold(f.value, "100-continue")
		}
	}
	if codings > 0 {
		if lengths > 0 {
			return errMalformed
		}
		q.length = -1
	}
	return nil
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(isLetter(c) || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// body calls take with each piece of the body as it comes, and reads to the body's end whatever take says; the first error of
// take is returned then. io.ErrUnexpectedEOF: the connection broke before the declared end. errMalformed: bad chunks. Either
// way the connection is of no more use.
func (r *reader) body(q *request, take func([]byte) error) error {
	var refused error
	give := func(b []byte) {
		if refused == nil && len(b) > 0 {
			refused = take(b)
		}
	}
	if q.length >= 0 {
		if err := r.pass(q.length, give); err != nil {
			return err
		}
		return refused
	}
	for {
		size, err := r.chunkSize()
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if err := r.pass(size, give); err != nil {
			return err
		}
		if line, err := r.line(2); err != nil {
			return err
		} else if line != "" {
			return errMalformed
		}
	}
	b, err := r.block(maxHead)
	if err != nil {
		return unexpected(err)
	}
	if q.trailers, err = parseFields(string(b)); err != nil {
		return err
	}
	return refused
}

func unexpected(err error) error {
	if err == errMalformed || err == errHeadTooLarge {
		return err
	}
	return io.ErrUnexpectedEOF
}

// pass hands n bytes on.
func (r *reader) pass(n int64, give func([]byte)) error {
	for n > 0 {
		if r.buffered() == 0 {
			if n > int64(len(r.buf)) && len(r.buf) < discardChunk {
				r.buf, r.head, r.tail = make([]byte, discardChunk), 0, 0
			}
			if err := r.fill(); err != nil {
				return unexpected(err)
			}
		}
		k := int(min(n, int64(r.buffered())))
		give(r.buf[r.head : r.head+k])
		r.head += k
		n -= int64(k)
	}
	return nil
}

// line reads one short line without its end.
func (r *reader) line(limit int) (string, error) {
	for {
		b := r.buf[r.head:r.tail]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			r.head += i + 1
			return strings.TrimSuffix(string(b[:i]), "\r"), nil
		}
		if len(b) > limit {
			return "", errMalformed
		}
		if err := r.fill(); err != nil {
			return "", unexpected(err)
		}
	}
}

func (r *reader) chunkSize() (int64, error) {
	line, err := r.line(4 << 10)
	if err != nil {
		return 0, err
	}
	digits, _, _ := strings.Cut(line, ";")
	digits = strings.TrimRight(digits, " \t")
	if digits == "" || digits[0] == '+' || digits[0] == '-' || strings.Contains(digits, "_") {
		return 0, errMalformed
	}
	n, err := strconv.ParseUint(digits, 16, 62)
	if err != nil {
		return 0, errMalformed
	}
	return int64(n), nil
}

// whole reads a body of at most limit bytes into one slice of its own. errTooLarge: it was longer, and is gone.
func (r *reader) whole(q *request, limit int64) ([]byte, error) {
	if q.length > limit {
		if err := r.body(q, func([]byte) error { return nil }); err != nil {
			return nil, err
		}
		return nil, errTooLarge
	}
	if q.length >= 0 {
		b := make([]byte, q.length)
		n := copy(b, r.buf[r.head:r.tail])
		r.head += n
		for n < len(b) {
			k, err := r.r.Read(b[n:])
			if n += k; k == 0 && err != nil {
				r.err = err
				return nil, io.ErrUnexpectedEOF
			}
		}
		return b, nil
	}
	var b []byte
	err := r.body(q, func(piece []byte) error {
		if int64(len(b)+len(piece)) > limit {
			b = nil
			return errTooLarge
		}
		b = append(b, piece...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// discard reads a body that is not wanted.
func (r *reader) discard(q *request) error {
	if q.length == 0 {
		return nil
	}
	return r.body(q, func([]byte) error { return nil })
}
