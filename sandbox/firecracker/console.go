package firecracker

import (
	"strings"
	"sync"
)

// consoleKeep is how much of what a monitor and its machine said last is kept, in bytes: enough for a kernel's panic or a
// Go program's. The function's output never comes this way.
const consoleKeep = 8 << 10

// console keeps the end of what it is written.
type console struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, p[max(0, len(p)-consoleKeep):]...)
	if over := len(c.kept) - consoleKeep; over > 0 {
		c.kept = append(c.kept[:0], c.kept[over:]...)
	}
	return len(p), nil
}

// tail is what was said, on one line.
func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) == 0 {
		return "(silent)"
	}
	return strings.Join(strings.Fields(string(c.kept)), " ")
}
