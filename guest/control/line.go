package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
)

// # Ports without connections
//
// A machine with a vsock device has connections. Where it has none, each port is a port of a virtio console that bears
// the name PortName gives: two pipes, one in each direction. What was written to them stays in them, also over a
// restore, and a pipe does not say where one conversation ends and the next begins. So:
//
//   - The byte mark stands for nothing but the beginning of a word between the two ends of the line. Where a
//     conversation has it, it is escaped, as is the byte escape: escape, and the byte with flipped.
//   - A greeting is mark, a nonce (letters and digits), newline. The host greets to begin a conversation. The guest
//     that reads a greeting forgets the conversation before, and greets back with the same nonce. The host forgets
//     whatever comes before that answer.
//   - A farewell is a greeting without a nonce: the conversation is over, for either end.
//
// Whatever was lost or is left of older conversations, in the middle of anything, ends at the next mark. A host that
// gets no answer in time greets again with another nonce.
const (
	mark    = 0x7e
	escape  = 0x7d
	flipped = 0x20
	// maxNonce bounds a nonce, in bytes.
	maxNonce = 64
)

// PortName is the name of a port where the machine has ports by name and not by number.
func PortName(port uint32) string { return fmt.Sprintf("thaw.%d", port) }

// ErrOver is returned by writes to a conversation that is over.
var ErrOver = errors.New("the conversation is over")

// Line is one end of a port without connections. Reads of the port that end with an error (a deadline, no peer) can be
// repeated: nothing is lost by them.
type Line struct {
	rw      io.ReadWriter
	r       *bufio.Reader // read by one goroutine at a time: of Greet, Accept or the conversation
	inWord  bool          // behind a mark
	word    []byte        // of the word that has begun
	greeted string        // nonce of a greeting that was read and not answered
	escaped bool          // behind an escape

	mu  sync.Mutex // over writes
	cur *Conversation
}

// NewLine makes an end of a line.
func NewLine(rw io.ReadWriter) *Line { return &Line{rw: rw, r: bufio.NewReaderSize(rw, 32<<10)} }

// Greet begins a conversation as the host. It returns when the guest has answered.
func (l *Line) Greet(nonce string) (*Conversation, error) {
	if !isNonce([]byte(nonce)) {
		return nil, fmt.Errorf("greeting %q: no nonce", nonce)
	}
	l.mu.Lock()
	l.cur = nil
	err := l.sayLocked(nonce)
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for {
		got, err := l.greeting()
		if err != nil {
			return nil, err
		}
		if got == nonce {
			return l.begin(), nil
		}
	}
}

// Accept waits for the host to begin a conversation, and answers.
func (l *Line) Accept() (*Conversation, error) {
	for l.greeted == "" {
		got, err := l.greeting()
		if err != nil {
			return nil, err
		}
		l.greeted = got
	}
	nonce := l.greeted
	l.greeted = ""
	l.mu.Lock()
	err := l.sayLocked(nonce)
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return l.begin(), nil
}

func (l *Line) begin() *Conversation {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur = &Conversation{l}
	return l.cur
}

func (l *Line) sayLocked(nonce string) error {
	_, err := l.rw.Write(append(append([]byte{mark}, nonce...), '\n'))
	return err
}

// greeting reads until a word has come, and forgets all else. Empty: a farewell.
func (l *Line) greeting() (string, error) {
	for {
		if !l.inWord {
			b, err := l.r.ReadByte()
			if err != nil {
				return "", err
			}
			l.inWord = b == mark
			continue
		}
		nonce, ok, err := l.readWord()
		if err != nil {
			return "", err
		}
		if ok {
			return nonce, nil
		}
	}
}

// readWord reads what is behind a mark. It is not ok when it is none, or when another has begun: inWord says so.
func (l *Line) readWord() (nonce string, ok bool, err error) {
	for {
		b, err := l.r.ReadByte()
		switch {
		case err != nil:
			return "", false, err
		case b == mark:
			l.word, l.escaped = l.word[:0], false
			return "", false, nil
		case b == '\n':
			nonce = string(l.word)
			l.inWord, l.word, l.escaped = false, l.word[:0], false
			return nonce, true, nil
		case len(l.word) == maxNonce || !isNonce([]byte{b}):
			l.inWord, l.word, l.escaped = false, l.word[:0], false
			return "", false, nil
		}
		l.word = append(l.word, b)
	}
}

func isNonce(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxNonce
}

// Conversation is what a line carries between a greeting and the next word. Close says farewell; the line stays.
type Conversation struct{ l *Line }

// Read is io.Reader. At the end of the conversation, and of the port, it answers io.EOF.
func (c *Conversation) Read(p []byte) (n int, err error) {
	n, err = c.read(p)
	if err == io.EOF {
		c.end() // nobody is there for a farewell
	}
	return n, err
}

func (c *Conversation) read(p []byte) (n int, err error) {
	l := c.l
	if !c.current() {
		return 0, io.EOF
	}
	for n < len(p) && (n == 0 || l.r.Buffered() > 0) {
		if l.inWord {
			if n > 0 {
				return n, nil
			}
			nonce, ok, err := l.readWord()
			if err != nil {
				return 0, err
			}
			if ok || !l.inWord {
				l.greeted = nonce
				return 0, io.EOF
			}
			continue
		}
		b, err := l.r.ReadByte()
		if err != nil {
			return n, err
		}
		switch {
		case b == mark:
			l.inWord, l.escaped = true, false
		case l.escaped:
			p[n], l.escaped = b^flipped, false
			n++
		case b == escape:
			l.escaped = true
		default:
			p[n] = b
			n++
		}
	}
	return n, nil
}

// Write is io.Writer.
func (c *Conversation) Write(p []byte) (int, error) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.l.cur != c {
		return 0, ErrOver
	}
	if _, err := c.l.rw.Write(Escape(make([]byte, 0, len(p)+len(p)/64+16), p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the conversation and tells the other end. It does not end a Read that waits for the port.
func (c *Conversation) Close() error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.l.cur != c {
		return nil
	}
	c.l.cur = nil
	return c.l.sayLocked("")
}

func (c *Conversation) current() bool {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	return c.l.cur == c
}

func (c *Conversation) end() {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.l.cur == c {
		c.l.cur = nil
	}
}

// Escape appends p to b as a conversation carries it.
func Escape(b, p []byte) []byte {
	for _, c := range p {
		if c == mark || c == escape {
			b = append(b, escape, c^flipped)
			continue
		}
		b = append(b, c)
	}
	return b
}
