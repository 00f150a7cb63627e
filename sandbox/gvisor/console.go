package gvisor

import (
	"os"
	"strings"
	"sync"
	"time"
)

// consoleKeep is how much of what a guest said on its own standard streams is kept, in bytes: enough for the head of a Go panic. The function's output
// never comes this way.
const consoleKeep = 8 << 10

// console keeps the beginning of a guest's stdout and stderr, and swallows the rest.
type console struct {
	f    *os.File
	done chan struct{}

	mu   sync.Mutex // guards kept
	kept []byte
}

func newConsole(f *os.File) *console {
	c := &console{f: f, done: make(chan struct{})}
	go c.read()
	return c
}

func (c *console) read() {
	defer close(c.done)
	buf := make([]byte, 1024)
	for {
		n, err := c.f.Read(buf)
		c.mu.Lock()
		if room := consoleKeep - len(c.kept); room > 0 {
			c.kept = append(c.kept, buf[:min(n, room)]...)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// tail is what the guest said, on one line.
func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) == 0 {
		return "(silent)"
	}
	return strings.Join(strings.Fields(string(c.kept)), " ")
}

// all is tail when nobody can say more, or after limit.
func (c *console) all(limit time.Duration) string {
	select {
	case <-c.done:
	case <-time.After(limit):
	}
	return c.tail()
}

func (c *console) close() {
	c.f.Close()
	<-c.done
}
