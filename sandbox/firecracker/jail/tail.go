package jail

import (
	"io"
	"strings"
	"sync"
)

// tailSize is how much of what a process says is kept, in bytes.
const tailSize = 4 << 10

// tail keeps the end of what is written, and hands all of it on.
type tail struct {
	to io.Writer // may be nil

	mu   sync.Mutex // guards what follows
	last []byte
}

// Write implements io.Writer. It never fails: the process must not stop because nobody wants to hear it.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.last = append(t.last, p...)
	if n := len(t.last) - tailSize; n > 0 {
		t.last = append(t.last[:0], t.last[n:]...)
	}
	t.mu.Unlock()
	if t.to != nil {
		t.to.Write(p) //nolint:errcheck // see above
	}
	return len(p), nil
}

// String is what was said last.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := strings.TrimSpace(string(t.last)); s != "" {
		return s
	}
	return "nothing"
}
