package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// Frame is one message as read. Head and Body are valid until the caller lets go of them: each frame has its own buffer.
type Frame struct {
	Kind Kind
	Head []byte // JSON, or empty
	Body []byte
}

// ErrFrame is the reason of every stream that ended because its bytes were no frame.
var ErrFrame = errors.New("malformed frame")

// Decode unpacks the head into v. An empty head leaves v as it is.
func (f Frame) Decode(v any) error {
	if len(f.Head) == 0 {
		return nil
	}
	if err := json.Unmarshal(f.Head, v); err != nil {
		return fmt.Errorf("head of frame kind %d: %w", f.Kind, err)
	}
	return nil
}

// Reader reads frames. It belongs to one goroutine.
type Reader struct{ r *bufio.Reader }

// NewReader reads from r through a buffer of its own.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next frame. io.EOF at a frame's border is the peer's orderly end; io.ErrUnexpectedEOF is its death in
// mid-frame; ErrFrame is nonsense.
func (r *Reader) Next() (Frame, error) {
	var head [9]byte
	if _, err := io.ReadFull(r.r, head[:4]); err != nil {
		return Frame{}, err
	}
	length := binary.BigEndian.Uint32(head[:4])
	if length < 5 || length > MaxFrame {
		return Frame{}, fmt.Errorf("%w: length %d", ErrFrame, length)
	}
	if _, err := io.ReadFull(r.r, head[4:9]); err != nil {
		return Frame{}, eofIsUnexpected(err)
	}
	rest, headLen := length-5, binary.BigEndian.Uint32(head[5:9])
	if headLen > rest {
		return Frame{}, fmt.Errorf("%w: head of %d in %d bytes", ErrFrame, headLen, rest)
	}
	buf := make([]byte, rest)
	if _, err := io.ReadFull(r.r, buf); err != nil {
		return Frame{}, eofIsUnexpected(err)
	}
	return Frame{Kind: Kind(head[4]), Head: buf[:headLen:headLen], Body: buf[headLen:]}, nil
}

func eofIsUnexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Writer writes frames, one at a time whoever calls: it may be shared.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte // queued frames; grows to one small frame more; large bodies are written from where they are
}

// NewWriter writes to w without delay: each Send is one write, or two when the body is large.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// smallBody is the size up to which copying a body behind its head is cheaper than a second write.
const smallBody = 64 << 10

// Send writes one frame. head is a message struct, or nil. A frame over MaxFrame is refused with ErrFrame before a byte is written.
func (w *Writer) Send(kind Kind, head any, body []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, large, err := appendFrame(w.buf, kind, head, body)
	if err != nil {
		return err
	}
	w.buf = b[:0]
	if cap(b) > 2*smallBody {
		w.buf = nil
	}
	if _, err := w.w.Write(b); err != nil {
		return err
	}
	if large {
		if _, err := w.w.Write(body); err != nil {
			return err
		}
	}
	return nil
}

// Queue keeps a frame back until the next Send, which writes both at once. It is for small frames that another follows directly.
func (w *Writer) Queue(kind Kind, head any, body []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, large, err := appendFrame(w.buf, kind, head, body)
	if err != nil {
		return err
	}
	if large {
		b = append(b, body...)
	}
	w.buf = b
	if len(b) <= smallBody {
		return nil
	}
	return w.flushLocked()
}

// Flush writes what is queued.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flushLocked()
}

func (w *Writer) flushLocked() error {
	b := w.buf
	if len(b) == 0 {
		return nil
	}
	w.buf = b[:0]
	if cap(b) > 2*smallBody {
		w.buf = nil
	}
	_, err := w.w.Write(b)
	return err
}

// appendFrame puts a frame behind b; large: the body has still to follow.
func appendFrame(b []byte, kind Kind, head any, body []byte) (_ []byte, large bool, err error) {
	var h []byte
	if head != nil {
		if h, err = json.Marshal(head); err != nil {
			return nil, false, fmt.Errorf("head of frame kind %d: %w", kind, err)
		}
	}
	if 5+len(h)+len(body) > MaxFrame {
		return nil, false, fmt.Errorf("%w: %d bytes to send", ErrFrame, len(h)+len(body))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(5+len(h)+len(body)))
	b = append(b, byte(kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h)))
	b = append(b, h...)
	if large = len(body) > smallBody; !large {
		b = append(b, body...)
	}
	return b, large, nil
}

func exitReason(e Exited) string {
	switch {
	case e.LaunchText != "":
		return e.LaunchText
	case e.Extension != "" && e.Signal != 0:
		return "signal: " + syscall.Signal(e.Signal).String()
	case e.Extension != "" && e.Code != 0:
		return fmt.Sprintf("exit status %d", e.Code)
	case e.Extension != "":
		return "exit code 0"
	case e.Signal != 0:
		return "Runtime exited with error: signal: " + syscall.Signal(e.Signal).String()
	case e.Code != 0:
		return fmt.Sprintf("Runtime exited with error: exit status %d", e.Code)
	}
	return "Runtime exited without providing a reason"
}
