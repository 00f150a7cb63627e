// Package guest is what PID 1 of a sandbox does: it starts the runtime, serves it the Lambda APIs, captures its output, reaps what
// it leaves behind, and talks to the server over one stream (guest/wire). In the process sandbox it does the same as an ordinary process.
//
// # Goroutines and owners
//
//	reader    Run itself: reads the stream and never waits for a runtime. Start is done here; Kill is not, because it waits
//	accept    one per listener; a goroutine per connection of the runtime (runtimeapi)
//	pumps     one per output pipe, and one for datagrams where they are wanted; they sleep while drain does their work before each Ready
//	reaper    collects whatever ends
//
// Lock order: Guest.mu, processes.mu, output.mu or segments.mu, outbox.mu; window.mu is taken last, and nobody waits for the window
// with a lock held. What is said to the server goes through outbox, which holds everybody back while the sandbox is
// being snapshotted.
//
// # What is not obvious
//
// The bytes that a runtime wrote before a call are in a pipe, the call is in a socket, and nothing orders the two. So a call's consequence
// (Ready, Exited) is only sent after the pipes were found empty. And an exit is seen before the last bytes of the dead process's connections, so
// Exited waits for their end.
package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"thaw/guest/platform"
	"thaw/guest/wire"
	"thaw/runtimeapi"
)

// StreamFD is the descriptor of the stream.
const StreamFD = 3

// Guest is one running guest.
type Guest struct {
	box    *outbox
	win    window
	stream io.Reader
	in     *wire.Reader
	procs  *processes
	asPID1 bool
	place  Place
	stdin  *os.File

	mu   sync.Mutex
	gen  *generation
	api  *listener
	segs *segments
	tmp  int64 // size of the mounted /tmp; 0: not mounted
	mark restoreMark
	// kills is how many of the kernel's at the memory limit the server has told of.
	kills int64
	work  sync.WaitGroup

	large atomic.Int64 // bytes of large bodies since memory was last given back
}

// Main is the whole program: it serves the stream on descriptor 3 until that ends, kills everything, and returns the exit status.
//
// The caller has locked itself to the program's first thread in its init. All that this thread does is fork: so the children of the guest are the
// children of that thread, and whoever walks the process tree (sandbox/process, for every freeze) need not look at the others.
func Main() int {
	forks, status := make(chan func()), make(chan int)
	go func() { status <- serve(forks) }()
	for {
		select {
		case fork := <-forks:
			fork()
		case code := <-status:
			return code
		}
	}
}

func serve(forks chan func()) int {
	Tune()
	syscall.CloseOnExec(StreamFD)
	if err := syscall.SetNonblock(StreamFD, true); err != nil {
		fmt.Fprintln(os.Stderr, "thaw-guest: descriptor 3 is no stream to a server:", err)
		return 2
	}
	stream, err := newSocket(StreamFD, "stream")
	if err != nil {
		fmt.Fprintln(os.Stderr, "thaw-guest: descriptor 3 is no stream to a server:", err)
		return 2
	}
	g, err := Open(stream)
	if err != nil {
		fmt.Fprintln(os.Stderr, "thaw-guest:", err)
		return 1
	}
	g.procs.forker = forks
	ask := make(chan os.Signal, 1)
	signal.Notify(ask, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		<-ask
		g.procs.killAll()
		os.Exit(143)
	}()
	err = g.Run()
	if left := g.Close(); left > 0 && err == nil {
		err = fmt.Errorf("%d processes do not end", left)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "thaw-guest:", err)
		return 1
	}
	return 0
}

// Tune makes the guest small. The sandbox's environment is the runtime's, so it is done here and not by variables. One processor: two
// goroutines that talk to each other never need another thread woken, which is the dearest thing inside gVisor.
func Tune() {
	debug.SetGCPercent(50)
	setProcs()
}

// Open makes a guest on its end of the stream and says Hello.
func Open(stream io.ReadWriter) (*Guest, error) { return OpenIn(Place{}, stream) }

// OpenIn is Open for a guest that has prepared its sandbox itself.
func OpenIn(place Place, stream io.ReadWriter) (*Guest, error) {
	procs, err := openProcesses()
	if err != nil {
		return nil, err
	}
	g := &Guest{box: newOutbox(stream, place.Quiet), stream: stream, in: wire.NewReader(stream), procs: procs, asPID1: procs.alone, place: place}
	if g.stdin, err = emptyInput(); err != nil {
		procs.close()
		return nil, err
	}
	if g.asPID1 {
		noNewPrivileges()
		syscall.Rmdir("/dev/shm") // the service has none; whoever may write to it would take memory that is nobody's
	}
	hello := wire.Hello{Version: wire.Version, PID: os.Getpid(), MakesTmp: g.asPID1 && !place.machine()}
	if err := g.box.send(wire.KindHello, hello, nil); err != nil {
		g.Close()
		return nil, fmt.Errorf("hello to the server: %w", err)
	}
	return g, nil
}

// emptyInput is /dev/null, or a pipe that nobody writes to where there is none.
func emptyInput() (*os.File, error) {
	if f, err := os.Open(os.DevNull); err == nil {
		return f, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("input of the runtime: %w", err)
	}
	w.Close()
	return r, nil
}

// Run does what the server says until it says Exit or goes away: then nil. Close must follow.
func (g *Guest) Run() error {
	for {
		f, err := g.in.Next()
		if errors.Is(err, ErrRenewed) {
			g.in = wire.NewReader(g.stream)
			continue
		}
		if err != nil {
			if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
				return nil
			}
			return fmt.Errorf("stream from the server: %w", err)
		}
		if f.Kind == wire.KindExit {
			return nil
		}
		if err := g.handle(f); err != nil {
			return err
		}
	}
}

// Close ends everything, and returns how many processes did not end.
func (g *Guest) Close() (left int) {
	left = g.procs.killAll()
	g.box.resume()
	g.win.open()
	g.work.Wait()
	g.mu.Lock()
	if g.gen != nil {
		g.gen.api.Close()
		g.gen.out.close()
		g.gen.hub.Close()
	}
	if g.api != nil {
		g.api.change(nil)
		g.api.close()
	}
	if g.segs != nil {
		g.segs.close()
	}
	g.mu.Unlock()
	g.procs.close()
	g.stdin.Close()
	return left
}

// handle does one thing that the server asked for. An error is the end of the stream.
func (g *Guest) handle(f wire.Frame) error {
	switch f.Kind {
	case wire.KindStart:
		var s wire.Start
		if err := f.Decode(&s); err != nil {
			return err
		}
		if err := g.start(&s, f.Body); err != nil {
			return g.fault("start", err)
		}
	case wire.KindInvoke:
		var i wire.Invoke
		if err := f.Decode(&i); err != nil {
			return err
		}
		g.note(len(f.Body))
		gen := g.generation()
		if gen == nil {
			return g.fault("invoke "+i.RequestID, errors.New("no runtime was started"))
		}
		gen.hub.Resume()
		gen.api.Deliver(i, f.Body)
	case wire.KindKill:
		var k wire.Kill
		if err := f.Decode(&k); err != nil {
			return err
		}
		g.work.Go(func() { g.kill(k) })
	case wire.KindCredit:
		var c wire.Credit
		if err := f.Decode(&c); err != nil {
			return err
		}
		if api := g.current(); api != nil {
			api.Credit(c.RequestID, c.Bytes)
		}
	case wire.KindLogCredit:
		var c wire.LogCredit
		if err := f.Decode(&c); err != nil {
			return err
		}
		g.win.give(c.Cost)
	case wire.KindPlatform:
		return g.platform(f)
	case wire.KindOutOfMemory:
		g.outOfMemory()
	case wire.KindPing:
		var p wire.Ping
		if err := f.Decode(&p); err != nil {
			return err
		}
		return g.box.send(wire.KindPong, p, nil)
	case wire.KindCredentials:
		var c wire.Credentials
		if err := f.Decode(&c); err != nil {
			return err
		}
		if api := g.current(); api != nil {
			api.SetCredentials(c)
		}
	case wire.KindQuiesce:
		if api := g.current(); api != nil {
			api.BlockCredentials()
		}
		return g.box.quiesce()
	case wire.KindRestored:
		var r wire.Restored
		if err := f.Decode(&r); err != nil {
			return err
		}
		return g.restored(&r, f.Body)
	default:
		return g.fault(fmt.Sprintf("frame of kind %d", f.Kind), errors.New("unknown kind"))
	}
	return nil
}

func (g *Guest) fault(doing string, err error) error {
	return g.box.send(wire.KindFault, wire.Fault{Doing: doing, Text: err.Error()}, nil)
}

func (g *Guest) generation() *generation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gen
}

func (g *Guest) current() *runtimeapi.API {
	if gen := g.generation(); gen != nil {
		return gen.api
	}
	return nil
}

// platform takes an event for those who subscribed.
func (g *Guest) platform(f wire.Frame) error {
	var p wire.Platform
	if err := f.Decode(&p); err != nil {
		return err
	}
	if gen := g.generation(); gen != nil {
		gen.told(p, f.Body)
	}
	return nil
}

// told gives telemetry an event. No type: there is none.
func (n *generation) told(p wire.Platform, body []byte) {
	if p.Type != "" {
		n.hub.Event(time.UnixMicro(p.UnixMicros), platform.Encoded{Name: p.Type, JSON: body})
	}
}

// listenLocked makes the address, or keeps the one that is there.
func (g *Guest) listenLocked(host string) error {
	if g.api != nil && (host == "" || host == g.api.addr.String()) {
		return nil
	}
	if g.api != nil {
		g.api.close()
		g.api = nil
	}
	var err error
	g.api, err = listen(host)
	return err
}

// takeSegmentsLocked makes the address for datagrams, or keeps the one that is there.
func (g *Guest) takeSegmentsLocked(s *wire.Start) (err error) {
	if g.segs == nil {
		if g.segs, err = listenSegments(s.XRayHost, g.box); err != nil {
			return err
		}
	}
	g.segs.want(s.Segments)
	return nil
}

// restored goes on after a snapshot: fresh randomness and credentials first, then the runtime.
func (g *Guest) restored(r *wire.Restored, first []byte) error {
	mixEntropy(r.Entropy)
	g.mu.Lock()
	gen, segs := g.gen, g.segs
	told := g.mark.tell(g.procs)
	g.mu.Unlock()
	g.box.resume()
	if segs != nil {
		segs.want(r.Segments)
	}
	g.win.renew()
	if told != nil {
		return told // rather no copy than one that believes it is the original
	}
	if gen == nil {
		return nil
	}
	gen.primed.Store(false)
	gen.hub.Resume()
	gen.told(r.First, first)
	var err error
	gen.hub.Subscriptions(func(name string, logs bool, types []string) {
		err = errors.Join(err, g.box.send(wire.KindSubscribed, wire.Subscribed{Generation: gen.number, Name: name, Logs: logs, Restored: true, Types: types}, nil))
	})
	if err != nil {
		return err
	}
	return gen.api.Restored(r.Credentials)
}

// freeAbove is from how many bytes of large bodies on memory is given back to the kernel after an invocation: they would lie around in
// a frozen sandbox, where no collector runs.
const freeAbove = 1 << 20

func (g *Guest) note(n int) {
	if n >= 256<<10 {
		g.large.Add(int64(n))
	}
}

func (g *Guest) giveBack() {
	if g.large.Load() >= freeAbove {
		g.large.Store(0)
		go debug.FreeOSMemory()
	}
}
