package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// client speaks QEMU's Machine Protocol: JSON objects, of which an answer has the request's id, and events have none.
// Source: QEMU, docs/interop/qmp-spec.txt.
type client struct {
	conn *net.UnixConn
	gone chan struct{} // closed when QEMU has ended the connection

	mu      sync.Mutex
	last    int
	waiting map[int]chan message
}

type message struct {
	ID     *int            `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

var errGone = errors.New("QEMU has ended")

// openClient leaves the negotiation that each connection begins with. The caller closes c, also after an error.
func openClient(ctx context.Context, conn *net.UnixConn) (c *client, err error) {
	c = &client{conn: conn, gone: make(chan struct{}), waiting: make(map[int]chan message)}
	go c.read()
	return c, c.call(ctx, "qmp_capabilities", nil, nil)
}

func (c *client) close() {
	c.conn.Close()
	<-c.gone
}

func (c *client) read() {
	defer close(c.gone)
	d := json.NewDecoder(c.conn)
	for {
		var m message
		if d.Decode(&m) != nil {
			return
		}
		if m.ID == nil {
			continue // the greeting, and events: whatever happens is asked for
		}
		c.mu.Lock()
		ch := c.waiting[*m.ID]
		delete(c.waiting, *m.ID)
		c.mu.Unlock()
		if ch != nil {
			ch <- m
		}
	}
}

// call has QEMU do a command; files go with it as descriptors. result takes what it returns; nil: nobody asks.
func (c *client) call(ctx context.Context, command string, args, result any, files ...*os.File) error {
	type request struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int    `json:"id"`
	}
	ch := make(chan message, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()
	b, err := json.Marshal(request{command, args, id})
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := c.conn.WriteMsgUnix(append(b, '\n'), rights, nil); err != nil {
		return fmt.Errorf("%s: %w", command, errors.Join(errGone, err))
	}
	select {
	case m := <-ch:
		if m.Error != nil {
			return fmt.Errorf("%s: %s", command, m.Error.Desc)
		}
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(m.Return, result); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		return nil
	case <-c.gone:
		return fmt.Errorf("%s: %w", command, errGone)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", command, context.Cause(ctx))
	}
}
