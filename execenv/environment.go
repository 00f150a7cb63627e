package execenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync/atomic"
	"time"

	"thaw/function"
	"thaw/sandbox"
)

// ID names an environment: 32 hexadecimal digits, never used twice. It is also the last part of its log stream's name.
type ID string

// NewID draws an ID.
func NewID() ID {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return ID(hex.EncodeToString(b[:]))
}

// Launch is how to run the function's runtime; paths are paths inside.
type Launch struct {
	Argv        []string // empty: the first of Candidates that exists
	Candidates  []string
	Mounts      []sandbox.Mount   // code, layers, interpreter, client; outer targets first
	Vars        map[string]string // defaults that the customer may override
	Reserved    map[string]string // values that he may not
	PathLists   []string          // names of Vars that hold ':'-separated lists of paths
	Release     string            // nodejs:22.v1; empty: not known
	ReleaseHash string            // 64 hexadecimal digits, for the runtime version ARN
	LogFrames   bool
	APISocket   bool // the client takes a connected socket
}

// Owner is told about an environment by its driver. Calls come from the driver's goroutine, Opened from that of Open,
// and must not block.
type Owner interface {
	// Opened: the environment is the owner's, and a Stop reaches it. It comes before all others.
	Opened(e *Environment)
	// Offered: an invoke can be assigned now. The environment stays offered until it is assigned, withdrawn or gone.
	Offered(e *Environment)
	Withdrawn(e *Environment)
	// Gone: nothing is left of it. err is why, when it was not asked to go.
	Gone(e *Environment, err error)
}

// Limits of the life cycle. Source: Lambda Developer Guide, execution environment life cycle; spec 1.3, 1.5.
const (
	// initLimit bounds Init of on-demand environments. Past it we do not fail: Init runs again inside the first invoke, under the
	// function's own timeout.
	initLimit = 10 * time.Second
	// longInitLimit is what SnapStart and provisioned Init get at least.
	longInitLimit = 130 * time.Second
	// initErrorGrace is how long a runtime that posted init/error has to exit by itself.
	initErrorGrace = 500 * time.Millisecond
	// killLimit bounds the wait for killed processes; past it the sandbox is discarded. The guest itself waits two seconds.
	killLimit = 5 * time.Second
	// helloLimit is how long a guest has to answer once its sandbox runs.
	helloLimit = 30 * time.Second
	// restoreLimit bounds the restore phase: resume, load and after-restore hooks together.
	restoreLimit = 10 * time.Second
	// checkpointLimit bounds the saving of a sandbox.
	checkpointLimit = 2 * time.Minute
	// CredentialsLife is how long the credentials are good that an environment gets when it is restored.
	CredentialsLife = 6 * time.Hour
	// createLimit bounds the making of a sandbox.
	createLimit = 60 * time.Second
)

// Options are what an environment is made of.
type Options struct {
	Backend sandbox.Backend
	Version *function.Version
	Launch  Launch
	Sink    LogSink
	Owner   Owner
	Log     *slog.Logger
	// Stream is the name of the log stream, for AWS_LAMBDA_LOG_STREAM_NAME.
	Stream string
	// FreezeGrace is how long a parked environment stays thawed, so that back-to-back invokes pay for no freeze and no thaw. The service does
	// not say how long it waits. 0 freezes at once.
	FreezeGrace time.Duration
	CPUs        float64                                // 0: no limit
	Processors  int                                    // as in sandbox.Spec
	Observe     func(stage string, took time.Duration) // one call per stage of a cold start; may be nil
	Reported    func(Reported)                         // one call per invocation of the function; must not block; may be nil
	// Segments is given each datagram that the function or an extension sends to the daemon of X-Ray, as it came: nobody
	// has looked at it. dropped is how many the guest has not let through since the last one. It must not block; nil:
	// nobody is there, and the guest lets none through.
	Segments func(datagram []byte, dropped int64)
	// Credentials of the function's role, for the environment variables.
	AccessKeyID, SecretAccessKey, SessionToken string
	// Make, when set: the environment makes a snapshot instead of serving invokes. Restore, when set: it begins from one instead of with Init. At
	// most one is set.
	Make    *Make
	Restore *Restore
	// Provisioned: Init is ahead of demand and has the long limit. After a reset the environment is of no more use to its owner: see Spent.
	Provisioned bool
	OnExit      func() // runs after everything of the environment is gone: releases what it held (its code folder); may be nil
}

// Reported is what is counted of an invocation that reached its function. One that failed by the platform's doing did not.
type Reported struct {
	InvokedARN function.ARN
	TenantID   string        // of functions that tell tenants apart
	Error      bool          // of the function
	Duration   time.Duration // as in REPORT
	Extensions time.Duration // what extensions took when the runtime had finished; negative: there are none
}

// Environment is the handle on one execution environment. Its driver runs until Gone has been told.
type Environment struct {
	id     ID
	o      Options
	cmds   chan command
	done   chan struct{}
	status atomic.Pointer[Status]
	spent  atomic.Bool // one that was made ahead or restored lost its processes: Init inside an invoke is slower than another one
}

type command struct {
	assign *task
	stop   string // reason
}

// Open starts the making of an environment and returns at once; ctx ends everything.
func Open(id ID, o Options) *Environment {
	e := &Environment{id: id, o: o, cmds: make(chan command, 4), done: make(chan struct{})}
	d := newDriver(e)
	d.publish()
	o.Owner.Opened(e)
	go d.run()
	return e
}

// ID returns the environment's name.
func (e *Environment) ID() ID { return e.id }

// Version returns what the environment runs.
func (e *Environment) Version() *function.Version { return e.o.Version }

// Spent says that the environment came from a snapshot, or was provisioned, and has been reset or failed in Init: whoever owns it does better to let it go and make another.
func (e *Environment) Spent() bool { return e.spent.Load() }

// Snapshot names what the environment was restored from; empty when it was not. Expires is when no invoke may start in it any more.
func (e *Environment) Snapshot() (id string, expires time.Time) {
	if e.o.Restore == nil {
		return "", time.Time{}
	}
	return e.o.Restore.ID, e.o.Restore.Expires
}

// Done is closed after Owner.Gone has returned.
func (e *Environment) Done() <-chan struct{} { return e.done }

// Stop ends the environment now, whatever it does. The reason goes to the log.
func (e *Environment) Stop(reason string) {
	select {
	case e.cmds <- command{stop: reason}:
	case <-e.done:
	}
}

// Invoke runs one invocation in an environment that was offered. The outcome arrives on the returned channel, exactly
// once; its Err is ErrNotTaken, or a *SandboxError when the platform failed it.
func (e *Environment) Invoke(inv *function.Invocation) <-chan function.Outcome {
	t := newTask(inv)
	select {
	case e.cmds <- command{assign: t}:
	case <-e.done:
		t.reply <- function.Outcome{Err: ErrNotTaken}
	}
	return t.reply
}

// Status is what the world may know of an environment.
type Status struct {
	ID          string
	Sandbox     string // backend and id
	Function    string
	Region      string
	Qualifier   string
	LogStream   string
	State       string
	Since       time.Time // of the state
	Created     time.Time
	Invokes     uint64
	Snapshot    string // that it was restored from
	Spare       bool   // it waits for its first invoke; only the pool knows this and the next
	Provisioned bool   // it is part of a version's provisioned concurrency
	MemoryMiB   int    // limit
	MemoryBytes int64  // most that its processes held at the end of an invoke
	CodeSHA256  string
	Epoch       uint64
	Moves       []Move // the last ones, oldest first
	PIDs        []int  // host processes of the sandbox
	Stages      []sandbox.Stage
}

// Move is one step of a life.
type Move struct {
	At    time.Time
	From  string
	Event string
	To    string
	Took  time.Duration // how long From had lasted
}

// Status returns the last published copy.
func (e *Environment) Status() Status { return *e.status.Load() }

// keepMoves is how many moves a Status remembers.
const keepMoves = 16

// moveChunk is how many moves are written behind each other before the last ones are copied into a new piece: published copies share the old.
const moveChunk = 4 * keepMoves

func (d *driver) publish() {
	s := &Status{ID: string(d.id), Function: d.o.Version.Name, Region: d.o.Version.Region, Qualifier: string(d.o.Version.Number), LogStream: d.o.Stream, State: d.state.String(),
		Since: d.since, Created: d.created, Invokes: d.invokes, MemoryBytes: d.maxMemory, CodeSHA256: d.o.Version.CodeSHA256,
		Epoch: d.o.Version.Epoch, MemoryMiB: d.o.Version.MemoryMiB, Moves: d.moves[max(0, len(d.moves)-keepMoves):len(d.moves):len(d.moves)], Sandbox: d.o.Backend.Name()}
	if d.box != nil {
		s.PIDs, s.Stages = d.pids, d.box.Stages()
	}
	s.Snapshot, _ = d.e.Snapshot()
	d.e.status.Store(s)
}

func (d *driver) remember(from, to State, ev Event) {
	now := time.Now()
	took := now.Sub(d.since)
	d.since = now
	if len(d.moves) == cap(d.moves) {
		d.moves = append(make([]Move, 0, moveChunk), d.moves[max(0, len(d.moves)-keepMoves):]...)
	}
	d.moves = append(d.moves, Move{At: now, From: from.String(), Event: ev.String(), To: to.String(), Took: took})
	if level := levelOf(from, to, ev); level >= slog.LevelWarn || to == Gone || d.o.Log.Enabled(context.Background(), slog.LevelDebug) {
		args := []any{"env", d.id, "fn", d.o.Version.Name, "qualifier", d.o.Version.Number, "from", from, "event", ev, "to", to, "duration", took}
		if d.failure != nil {
			args = append(args, "error", d.failure)
		}
		d.o.Log.Log(context.Background(), level, "environment moved", args...)
	}
}

func levelOf(from, to State, ev Event) slog.Level {
	switch {
	case ev == CreateFailed, ev == SandboxExited, ev == KillFailed, ev == Starved, ev == FreezeFailed, ev == ThawFailed,
		ev == LimitReached && (from == Freezing || from == Thawing || from == Waking):
		return slog.LevelWarn
	case to == Gone, ev == SandboxMade:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}
