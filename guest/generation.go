package guest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"thaw/guest/telemetry"
	"thaw/guest/wire"
	"thaw/runtimeapi"
)

// generation is what lives from a Start to its Killed.
type generation struct {
	number uint64
	api    *runtimeapi.API
	out    *output
	hub    *telemetry.Hub
	box    *outbox
	guest  *Guest

	mu        sync.Mutex // also held over forks: none comes after killed is set
	killed    bool       // asked for: its exit is no news
	oom       bool       // the memory limit was reached, and the runtime is killed for it
	processes int        // that there were then
	kills     int64      // of the kernel's at the memory limit, before this generation
	waiting   *launching // what the runtime is started with, as long as it is not
	exts      []*child
	primed    atomic.Bool   // priming may still come: output goes out before answers, because no Ready follows the last one soon
	gone      chan struct{} // closed when the exit of the runtime was dealt with, or there will be none
}

// launching is what a runtime is started with. Its files are ours until then.
type launching struct {
	start   *wire.Start
	vars    []string
	files   []*os.File // stdin, which stays the guest's, then the ends of the output
	theirs  *os.File   // connection to the API; nil: none
	refused error      // why it cannot be started; nil: nothing is known of that
}

func (l *launching) close() {
	closeAll(l.files[1:])
	if l.theirs != nil {
		l.theirs.Close()
	}
}

// start begins a generation. A runtime that cannot be launched is no fault: it is an exit that says so.
func (g *Guest) start(s *wire.Start, first []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gen != nil {
		return fmt.Errorf("generation %d: generation %d has not ended", s.Generation, g.gen.number)
	}
	if err := g.mountTmp(s.TmpBytes); err != nil {
		return err
	}
	if err := limits(s); err != nil {
		return err
	}
	if len(s.Layout) > 0 && !g.place.machine() {
		if err := placeBy(s.Layout); err != nil {
			return err
		}
	}
	if s.UID == 0 && g.asPID1 {
		if err := boundCapabilities(); err != nil {
			return err
		}
	}
	if err := g.listenLocked(s.APIHost); err != nil {
		return err
	}
	if err := g.takeSegmentsLocked(s); err != nil {
		return err
	}
	marked := g.asPID1 && s.SnapStart
	var misused *launchError
	if marked {
		if err := g.mark.prepare(s.Vars); err != nil && !errors.As(err, &misused) {
			return err
		}
	}
	sources := []wire.LogSource{wire.LogStdout, wire.LogStderr}
	if s.LogFrames {
		sources = append(sources, wire.LogFrame)
	}
	runtimes := len(sources)
	names, disabled, err := externals(s.Opt)
	if err != nil {
		return err
	}
	for range min(len(names), runtimeapi.MaxExtensions) {
		sources = append(sources, wire.LogExtension)
	}
	g.win.begin(s.LogWindow)
	hub := telemetry.New(telemetry.Options{Dial: dialLoopback, LogsJSON: s.LogsJSON})
	out, ends, err := newOutput(g.box, &g.win, hub, sources...)
	if err != nil {
		return err
	}
	defer closeAll(ends[runtimes:])
	l := &launching{start: s, files: append([]*os.File{g.stdin}, ends[:runtimes]...)}
	if misused != nil {
		l.refused = misused
	}
	var direct *socket
	if s.APISocket {
		if direct, l.theirs, err = socketPair(); err != nil {
			l.close()
			return fmt.Errorf("connection for the runtime: %w", err)
		}
	}

	gen := &generation{
		number: s.Generation, out: out, hub: hub, box: g.box, guest: g, waiting: l, gone: make(chan struct{}), kills: g.place.kills(),
	}
	token := runtimeapi.NewUUID()
	gen.api = runtimeapi.New(runtimeapi.Options{
		Generation: s.Generation, SnapStart: s.SnapStart, Token: token, Host: gen, Credentials: s.Credentials, Function: s.Function, NoExtensions: disabled, Telemetry: hub,
	})
	gen.primed.Store(s.Priming)
	gen.told(s.First, first)
	for _, name := range names {
		gen.api.AddExternal(name)
	}
	g.gen = gen
	g.api.begin(gen.api)
	out.start()
	l.vars = append(environment(s, g.api.addr.String(), token), g.segs.vars()...)
	if marked {
		l.vars = append(l.vars, restoreFileVar+"="+restoreFile)
	}
	outside := extensionVars(l.vars)
	if direct != nil {
		l.vars = append(l.vars, apiSocketVar(l.theirs))
		g.api.serve(direct, gen.api)
	}
	if len(names) > 0 {
		return gen.launchExtensions(s, names, outside, ends[runtimes:])
	}
	return gen.launchRuntime()
}

// AllRegistered is runtimeapi.Host.
func (n *generation) AllRegistered() {
	n.launchRuntime() //nolint:errcheck // the server is gone: Run notices
}

// launchRuntime starts the runtime, once. One that cannot be launched is no fault: it is an exit that says so.
func (n *generation) launchRuntime() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.waiting
	if l == nil || n.killed {
		return nil
	}
	n.waiting = nil
	defer l.close()
	// The runtime may call before Started is out: nobody else speaks until it is.
	n.box.lock()
	var run launched
	err := l.refused
	if err == nil {
		n.guest.procs.forkRuntime(func() int {
			run, err = launch(l.start, n.guest.place, l.vars, l.files, l.theirs)
			return run.pid
		}, func(status syscall.WaitStatus) {
			n.guest.work.Go(func() { n.exited(status) })
		})
	}
	if run.pid > 0 {
		sent := n.box.w.Send(wire.KindStarted, wire.Started{Generation: n.number, APIHost: n.guest.api.addr.String()}, nil)
		n.box.mu.Unlock()
		return sent
	}
	n.box.mu.Unlock()

	e := wire.Exited{Generation: n.number, Code: run.status, Starved: starved(err) || starved(run.err)}
	var refused *launchError
	if errors.As(err, &refused) {
		e.Code, e.LaunchError, e.LaunchText = 1, refused.errorType, refused.text
	} else if err != nil {
		e.Code, e.LaunchError, e.LaunchText = 1, runtimeapi.RuntimeInvalidEntrypoint, err.Error()
	}
	if run.line != "" {
		n.out.say(run.line)
	}
	close(n.gone)
	return n.box.send(wire.KindExited, e, nil)
}

// exited deals with the end of the runtime.
func (n *generation) exited(status syscall.WaitStatus) {
	defer close(n.gone)
	n.mu.Lock()
	e := wire.Exited{Generation: n.number, OutOfMemory: n.oom || n.killedForMemory(), Processes: n.processes}
	killed := n.killed
	n.mu.Unlock()
	if killed {
		return
	}
	e.Code, e.Signal = ending(status)
	n.api.Exiting()
	// Its connections end with it, unless a child has inherited one.
	const lastCalls = time.Second // a busy machine comes to what was sent just before the exit after a tenth of it
	enough := make(chan struct{})
	timer := time.AfterFunc(lastCalls, func() { close(enough) })
	n.api.Idle(enough)
	timer.Stop()
	n.out.finish()
	n.box.send(wire.KindExited, e, nil)
}

// ending is how a process ended; code -1: by the signal.
func ending(status syscall.WaitStatus) (code, signal int) {
	if status.Signaled() {
		return -1, int(status.Signal())
	}
	return status.ExitStatus(), 0
}

// Send is runtimeapi.Host.
func (n *generation) Send(kind wire.Kind, head any, body []byte) error {
	n.guest.note(len(body))
	if n.primed.Load() && (kind == wire.KindResponse || kind == wire.KindError || kind == wire.KindStreamEnd) {
		n.out.drain(nil)
	}
	return n.box.send(kind, head, body)
}

// Queue is runtimeapi.Host.
func (n *generation) Queue(kind wire.Kind, head any, body []byte) error {
	if n.primed.Load() { // output first
		return n.Send(kind, head, body)
	}
	return n.box.queue(kind, head, body)
}

// Flush is runtimeapi.Host.
func (n *generation) Flush() error { return n.box.flush() }

// SendReady is runtimeapi.Host: output first.
func (n *generation) SendReady(r wire.Ready) error {
	n.out.drain(nil)
	n.guest.segs.drain()
	n.hub.Pause() // before the server can begin another phase
	err := n.box.send(wire.KindReady, r, nil)
	n.guest.giveBack()
	return err
}

// SendRuntimeDone is runtimeapi.Host: output first.
func (n *generation) SendRuntimeDone(r wire.RuntimeDone) error {
	n.out.drain(nil)
	n.guest.segs.drain()
	return n.box.send(wire.KindRuntimeDone, r, nil)
}
