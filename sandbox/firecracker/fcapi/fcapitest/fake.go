// Package fcapitest is a Firecracker without a machine in it: its API, as strict as a release's own, its files and the
// unix socket of its ports. Tests of what drives Firecracker run against it where there is no KVM.
//
// What it says of unknown fields, wrong order and missing files is what release 1.12.1 says; the tests of package fcapi
// send both the same. What it cannot know of other releases than which fields they take, it answers as 1.12.1 does.
package fcapitest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"thaw/sandbox/firecracker/fcapi"
	"thaw/sandbox/firecracker/pages/pagestest"
)

// Guest is what runs in the machine: it is called for each connection to one of its ports, and closes it.
type Guest func(port uint32, c net.Conn, m *Memory)

// Memory is what the machine holds. It is saved and restored with it.
type Memory struct {
	mu     sync.Mutex
	page   []byte            // the first
	served *pagestest.Memory // all of it, where somebody else has its content
}

const pageSize = 4096

// Set writes into the machine's memory.
func (m *Memory) Set(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.page)
	copy(m.page, s)
}

// Get reads it back.
func (m *Memory) Get() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < len(m.page) && m.page[n] != 0 {
		n++
	}
	return string(m.page[:n])
}

// Touch reads the first byte of a page of memory that was handed over; it may have to be served first.
func (m *Memory) Touch(page int64) (byte, error) {
	if m.served == nil {
		return 0, errors.New("this memory is not served")
	}
	return m.served.Page(page)[0], nil
}

// state of the instance, as GET / says it.
type state string

const (
	notStarted state = fcapi.NotStarted
	running    state = fcapi.Running
	paused     state = fcapi.Paused
)

// Fake is one process of Firecracker.
type Fake struct {
	version fcapi.Version
	root    string // what a process in a jail has as /
	guest   Guest
	server  *http.Server
	ended   chan struct{}
	end     sync.Once
	conns   sync.WaitGroup // goroutines: the API's, and one for each connection to a port

	mu       sync.Mutex // guards what follows: one call is answered at a time
	state    state
	began    bool // something was set: a snapshot cannot be loaded any more
	config   config
	memory   Memory
	ports    net.Listener // of the vsock device; nil: none yet
	open     map[net.Conn]bool
	resets   int // connections that are accepted and then reset: the first after a restore
	deaf     bool
	LoadedBy string // the body of the /snapshot/load that succeeded
}

// config is what the machine is made of; the state file of a snapshot holds it.
type config struct {
	Version string
	Machine machineConfig
	Boot    *bootSource
	Drives  []drive
	Network []networkInterface
	Vsock   *vsock
	Entropy bool
	Memory  int64 // size of the memory file, in bytes
}

// Open makes a process that listens at root/socket. Paths of calls are looked up below root. A nil guest is Echo.
func Open(root, socket string, v fcapi.Version, g Guest) (*Fake, error) {
	if g == nil {
		g = Echo
	}
	l, err := net.Listen("unix", filepath.Join(root, socket))
	if err != nil {
		return nil, err
	}
	f := &Fake{version: v, root: root, guest: g, ended: make(chan struct{}), state: notStarted, open: make(map[net.Conn]bool)}
	f.config.Machine = machineConfig{VCPUs: 1, MemoryMiB: 128}
	f.memory.page = make([]byte, pageSize)
	f.server = &http.Server{Handler: f}
	f.conns.Go(func() { f.server.Serve(l) }) //nolint:errcheck // it ends with Close
	return f, nil
}

// Ended is closed when the process has ended: by Close, or after a snapshot that could not be loaded.
func (f *Fake) Ended() <-chan struct{} { return f.ended }

// Close ends the process.
func (f *Fake) Close() error {
	f.stop()
	f.conns.Wait()
	return nil
}

// stop lets everything end; it does not wait, since an API call may be the caller.
func (f *Fake) stop() {
	f.end.Do(func() {
		close(f.ended)
		f.conns.Go(func() {
			// The answer that is being written still gets out.
			f.server.Shutdown(context.Background()) //nolint:errcheck
		})
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.ports != nil {
			f.ports.Close()
		}
		for c := range f.open {
			c.Close()
		}
	})
}

// path is where a path of a call lies.
func (f *Fake) path(p string) string { return filepath.Join(f.root, p) }

// fault is a refusal.
type fault struct {
	message string
	fatal   bool // the process ends with it
}

func (e *fault) Error() string { return e.message }

func refuse(format string, args ...any) error { return &fault{message: fmt.Sprintf(format, args...)} }

// osError renders an error of the system as Rust does.
func osError(err error) string {
	var number interface{ Is(error) bool }
	for _, known := range []struct {
		is   error
		text string
	}{
		{os.ErrNotExist, "No such file or directory (os error 2)"},
		{os.ErrPermission, "Permission denied (os error 13)"},
		{os.ErrExist, "File exists (os error 17)"},
	} {
		if errors.Is(err, known.is) {
			return known.text
		}
	}
	if errors.As(err, &number) {
		return fmt.Sprint(number)
	}
	return err.Error()
}
