package guest

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"thaw/guest/telemetry"
	"thaw/guest/wire"
)

// output captures what the processes of one generation write. Each pipe has a goroutine that reads it when there is
// something; drain reads all of them now, so that what was written before a call is sent before the call's
// consequences. Both wait for the window. Reading and queueing happen under mu, so that the order of a pipe's bytes is
// kept whoever reads.
type output struct {
	box *outbox
	win *window
	hub *telemetry.Hub
	end chan struct{} // closed when nothing waits for the window any more
	cut sync.Once     // closes end
	// turn is held by who waits for the window and then reads. Those who want it next get it in their order: without that,
	// the pipe of a process that never stops writing takes all that the window gives, and nobody else reads.
	turn chan struct{}

	mu      sync.Mutex
	sources []*source
	buf     []byte
	polled  []unix.PollFd

	done sync.WaitGroup
}

// source is one pipe.
type source struct {
	which  wire.LogSource
	r      *os.File
	raw    syscall.RawConn
	fd     int
	lines  lines
	frames logFrames
	ended  bool
}

// pipeBytes is what a pipe holds unless its writer enlarged it.
const pipeBytes = 64 << 10

// readBytes is how much is read at a time. It bounds what the window is overdrawn by: of nothing but empty lines, each
// byte is an event.
const readBytes = 16 << 10

// lastWords bounds how long the output of a process that has ended waits for the window: its end must be told.
const lastWords = time.Second

// newOutput makes a pipe per source and returns the ends for the processes, in that order. They are the caller's to close.
func newOutput(box *outbox, win *window, hub *telemetry.Hub, sources ...wire.LogSource) (*output, []*os.File, error) {
	o := &output{box: box, win: win, hub: hub, end: make(chan struct{}), turn: make(chan struct{}, 1)}
	var ends []*os.File
	fail := func(err error) (*output, []*os.File, error) {
		for _, s := range o.sources {
			s.r.Close()
		}
		closeAll(ends)
		return nil, nil, fmt.Errorf("pipe for output: %w", err)
	}
	for _, which := range sources {
		var p [2]int
		if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
			return fail(err)
		}
		// Only our end does not block: the processes expect ordinary pipes.
		syscall.SetNonblock(p[0], true)
		s := &source{which: which, r: os.NewFile(uintptr(p[0]), string(which)), fd: p[0]}
		o.sources = append(o.sources, s)
		ends = append(ends, os.NewFile(uintptr(p[1]), string(which)))
		var err error
		if s.raw, err = s.r.SyscallConn(); err != nil {
			return fail(err)
		}
	}
	return o, ends, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// start begins to read.
func (o *output) start() {
	for _, s := range o.sources {
		o.done.Go(func() { o.pump(s) })
	}
}

// await waits for its turn and then for the window, until nobody does any more or until limit. What it returns ends the
// turn.
func (o *output) await(limit <-chan struct{}) (done func()) {
	done = func() {}
	select {
	case o.turn <- struct{}{}:
		done = func() { <-o.turn }
	case <-o.end:
	case <-limit:
	}
	o.win.wait(o.end, limit)
	return done
}

func (o *output) pump(s *source) {
	for ended := false; !ended; {
		err := s.raw.Read(func(uintptr) bool {
			defer o.await(nil)()
			o.mu.Lock()
			defer o.mu.Unlock()
			n := o.readLocked(s, readBytes)
			if n > 0 {
				o.box.flush()
			}
			ended = s.ended
			return n > 0 || ended
		})
		if err != nil {
			return
		}
	}
}

// readLocked reads once, at most limit bytes, and queues what is complete. 0: there is nothing now, or never again.
func (o *output) readLocked(s *source, limit int) int {
	if s.ended {
		return 0
	}
	if o.buf == nil {
		o.buf = make([]byte, readBytes)
	}
	for {
		n, err := syscall.Read(s.fd, o.buf[:min(limit, len(o.buf))])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0
		case err != nil || n == 0:
			s.ended = true
			o.flushLocked(s)
			return 0
		}
		now := time.Now().UnixMicro()
		if s.which == wire.LogFrame {
			s.frames.write(o.buf[:n], now, o.record)
		} else {
			s.lines.write(o.buf[:n], o.text(s, now))
		}
		return n
	}
}

func (o *output) record(h wire.LogHead, b []byte) {
	o.win.take(wire.LogCost(b))
	o.box.queue(wire.KindLog, h, b)
	kind := telemetry.Function
	if h.Source == wire.LogExtension {
		kind = telemetry.Extension
	}
	o.hub.Output(kind, h.UnixMicros, b, h.Source == wire.LogFrame)
}

func (o *output) text(s *source, now int64) func([]byte) {
	return func(b []byte) { o.record(wire.LogHead{Source: s.which, UnixMicros: now}, b) }
}

func (o *output) flushLocked(s *source) {
	now := time.Now().UnixMicro()
	s.lines.flush(o.text(s, now))
	s.frames.flush(now, o.record)
	o.box.flush()
}

// drain queues what the pipes hold now; limit, when it is not nil, bounds how long it waits for the window. One system
// call finds out that they hold nothing, which is the usual case. A process that goes on writing cannot keep it busy:
// of each pipe it reads what was there when it looked.
func (o *output) drain(limit <-chan struct{}) {
	all := o.held()
	if all != nil {
		o.box.flush() //nolint:errcheck // an answer does not wait for the output behind it
	}
	queued := false
	for i, held := range all {
		for held > 0 {
			if queued { // the server gives room for what it has got, not for what waits here for company
				o.box.flush() //nolint:errcheck // who sends next hears of it
			}
			done := o.await(limit)
			o.mu.Lock()
			n := o.readLocked(o.sources[i], held)
			o.mu.Unlock()
			done()
			queued = true
			if n == 0 {
				break // the pump was here, and took the rest
			}
			held -= n
		}
	}
}

// held is how much there is to read from each source; nil: nothing from any.
func (o *output) held() []int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.polled == nil {
		o.polled = make([]unix.PollFd, len(o.sources))
	}
	for i, s := range o.sources {
		o.polled[i] = unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN}
		if s.ended {
			o.polled[i].Fd = -1
		}
	}
	if n, _, e := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(o.polled))), uintptr(len(o.polled)), uintptr(unsafe.Pointer(&unix.Timespec{})), 0, 0, 0); e == 0 && n == 0 {
		return nil
	}
	held := make([]int, len(o.sources))
	for i, s := range o.sources {
		held[i] = pipeBytes
		if !s.ended {
			if n, err := unix.IoctlGetInt(s.fd, unix.TIOCINQ); err == nil {
				held[i] = max(n, 1) // 1: to see the end
			}
		}
	}
	return held
}

// say queues a line of ours, as if the runtime had written it to stderr.
func (o *output) say(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.record(wire.LogHead{Source: wire.LogStderr, UnixMicros: time.Now().UnixMicro()}, []byte(line+"\n"))
}

// finish sends what is there, also a line without end. Processes that live on may write more.
func (o *output) finish() {
	limit := make(chan struct{})
	timer := time.AfterFunc(lastWords, func() { close(limit) })
	defer timer.Stop()
	o.drain(limit)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.sources {
		o.flushLocked(s)
	}
}

// hurry ends all waiting for the window: the processes are gone, and what the pipes hold is all that will come.
func (o *output) hurry() { o.cut.Do(func() { close(o.end) }) }

// close ends the capture and waits for its goroutines.
func (o *output) close() {
	o.hurry()
	o.finish()
	for _, s := range o.sources {
		s.r.Close()
	}
	o.done.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.sources {
		s.ended = true
	}
}
