// Package calls is what the launcher asks of a sandbox's agent: arguments, answers, and the launcher's end of the socket.
// The agent itself is package agent; it tells in which order it is asked, and why.
package calls

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/pkg/urpc"

	"thaw/cmd/thaw-sandbox/internal/statefile"
	"thaw/sandbox/gvisor/launch"
)

// ArmArgs begin a restore. The file is the server's end of the socket that gVisor's restore reads from.
type ArmArgs struct {
	urpc.FilePayload
	Header []byte // see Head
	Layout []byte // where pages are likely to lie: that of another Lesson
}

// GiveArgs bring a snapshot: files state, pages_meta, pages, and with Progress a pipe on which arrives, in 8 bytes
// each, how much of the pages is there.
type GiveArgs struct {
	urpc.FilePayload
	Progress bool
	Key      string
	Layout   []byte // where its pages lie, if that is known
}

// GoArgs bring what earlier restores of the snapshot touched first.
type GoArgs struct{ Touched []byte }

// Learned is what the next restore of the same snapshot is told. The launcher keeps it, the agent alone reads it.
type Learned struct {
	Touched []byte
	Layout  []byte
}

// What an agent may have learned, in bytes.
const (
	MaxTouched = 1024 * 13 // addresses. Seen: 120 for Node, 200 for Java
	MaxLayout  = 4096 * 8  // ranges
)

// Fits says whether it is of a size that is kept.
func (l *Learned) Fits() bool { return len(l.Touched) <= MaxTouched && len(l.Layout) <= MaxLayout }

// LearnedArgs ask what was learned; Last says that nobody will ask again.
type LearnedArgs struct{ Last bool }

// Client asks one agent. Its methods say at the agent's what they do.
type Client struct{ c *urpc.Client }

// Open makes the socket and returns the sandbox's end with it.
func Open() (*Client, *os.File, error) {
	ours, theirs, err := socketPair("agent")
	if err != nil {
		return nil, nil, err
	}
	return &Client{urpc.NewClient(ours)}, theirs, nil
}

func socketPair(name string) (*unet.Socket, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	sock, err := unet.NewSocket(fds[0])
	if err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return sock, os.NewFile(uintptr(fds[1]), name), nil
}

// Close unblocks whoever waits for an agent, which has ended by now.
func (c *Client) Close() error { return c.c.Socket.Close() }

func (c *Client) Arm(args *ArmArgs) error { return c.c.Call("Agent.Arm", args, nil) }
func (c *Client) Parked() error           { return c.c.Call("Agent.Parked", nil, nil) }
func (c *Client) Abandon() error          { return c.c.Call("Agent.Abandon", nil, nil) }
func (c *Client) Bound() error            { return c.c.Call("Agent.Bound", nil, nil) }
func (c *Client) Trim() error             { return c.c.Call("Agent.Trim", nil, nil) }

func (c *Client) Give(args *GiveArgs) (m statefile.Made, err error) {
	return m, c.c.Call("Agent.Give", args, &m)
}

func (c *Client) Go(touched []byte) error { return c.c.Call("Agent.Go", &GoArgs{touched}, nil) }

func (c *Client) Marks() (m []launch.Mark, err error) { return m, c.c.Call("Agent.Marks", nil, &m) }

func (c *Client) Learned(last bool) (l Learned, err error) {
	return l, c.c.Call("Agent.Learned", &LearnedArgs{last}, &l)
}
