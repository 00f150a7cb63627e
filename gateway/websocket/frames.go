package websocket

import (
	"encoding/binary"
	"errors"
	"net"
)

// Limits. Source: API Gateway Developer Guide, "Quotas for configuring and running a WebSocket API".
const (
	maxFrame   = 32 << 10  // bytes of a frame's payload
	maxMessage = 128 << 10 // bytes
)

// errFrame is what reading a connection gives whose next frame is longer than maxFrame.
var errFrame = errors.New("the frame is too long")

// framed is a connection that looks at the heads of the frames that come: the library bounds messages, not frames. It is
// read by one goroutine.
type framed struct {
	net.Conn
	head [14]byte // of the next frame, as far as it has come
	have int
	left uint64 // of the payload of this frame
}

// Read implements net.Conn.
func (f *framed) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if !f.pass(p[:n]) {
		return 0, errFrame
	}
	return n, err
}

// pass follows what comes, and says whether all frames are short enough. Source: RFC 6455, 5.2.
func (f *framed) pass(b []byte) bool {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(uint64(len(b)), f.left)
			f.left -= n
			b = b[n:]
			continue
		}
		f.head[f.have] = b[0]
		f.have++
		b = b[1:]
		size, ok := frameSize(f.head[:f.have])
		if !ok {
			continue
		}
		if size > maxFrame {
			return false
		}
		f.have, f.left = 0, size
	}
	return true
}

// frameSize is the length of a frame's payload; not ok: there is more to its head.
func frameSize(head []byte) (uint64, bool) {
	if len(head) < 2 {
		return 0, false
	}
	long := map[byte]int{126: 2, 127: 8}[head[1]&0x7f]
	whole := 2 + long
	if head[1]&0x80 != 0 {
		whole += 4 // the mask
	}
	if len(head) < whole {
		return 0, false
	}
	switch long {
	case 2:
		return uint64(binary.BigEndian.Uint16(head[2:])), true
	case 8:
		return binary.BigEndian.Uint64(head[2:]), true
	}
	return uint64(head[1] & 0x7f), true
}
