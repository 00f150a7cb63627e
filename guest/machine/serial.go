package machine

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
)

// How long to wait before looking again: for a port that the machine may still find, and for a host that comes to one.
const (
	findPause = 5 * time.Millisecond
	hostPause = 5 * time.Millisecond
)

// openSerial takes conversations on the ports of a virtio console (see control.Line). It looks for them until all are
// there, since the devices of a machine come one by one, and takes nothing before.
func openSerial(take map[uint32]taker) {
	found := map[uint32]*os.File{}
	for len(found) < len(take) {
		for port := range take {
			if found[port] == nil {
				if f := findSerial(control.PortName(port)); f != nil {
					found[port] = f
				}
			}
		}
		time.Sleep(findPause)
	}
	for port, f := range found {
		go serveSerial(f, take[port])
	}
}

// findSerial opens the port of a name; nil: it is not there (yet).
func findSerial(name string) *os.File {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, n := range names {
		if text, err := os.ReadFile(n); err != nil || strings.TrimSpace(string(text)) != name {
			continue
		}
		f, err := os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(n))), os.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			return f
		}
	}
	return nil
}

// serveSerial takes one conversation after the other: the one that takes it reads it to its end.
func serveSerial(port *os.File, take taker) {
	line := control.NewLine(serialPort{port})
	for {
		c, err := line.Accept()
		if err != nil { // the host has closed its end, or never opened it: the port does not wait
			time.Sleep(hostPause)
			continue
		}
		take(c)()
	}
}

// serialPort is a port whose host may go away. A write would wait for it to come back; here it fails.
type serialPort struct{ f *os.File }

// Read is io.Reader: io.EOF when there is no host.
func (p serialPort) Read(b []byte) (int, error) {
	n, err := p.f.Read(b)
	if err != nil {
		p.f.SetWriteDeadline(time.Unix(1, 0))
	} else {
		p.f.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// Write is io.Writer.
func (p serialPort) Write(b []byte) (int, error) { return p.f.Write(b) }
