package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"thaw/access"
	"thaw/execenv"
	"thaw/function"
	"thaw/logstore"
	"thaw/runtimes"
	"thaw/sandbox"
	"thaw/snapstart"
)

// vcpuMiB is the memory size that is worth one CPU. Source: Lambda Developer Guide, memory: "at 1,769 MB, a function has the equivalent of one vCPU".
const vcpuMiB = 1769

// freezeGrace is how long a parked environment stays thawed. Back-to-back invokes then pay for no freeze and no thaw; the service does
// not say how long it waits itself.
const freezeGrace = 2 * time.Millisecond

// codeDirs gives unpacked code, kept until release.
type codeDirs interface {
	Dir(ctx context.Context, v *function.Version) (dir string, release func(), err error)
	// Opt is as Dir for its layers; empty when it has none.
	Opt(ctx context.Context, v *function.Version) (dir string, release func(), err error)
}

// starter makes environments for the pool: it finds the code and the runtime, and hands over to a driver.
type starter struct {
	backend   sandbox.Backend
	runtimes  *runtimes.Registry
	code      codeDirs
	logs      *logstore.Store
	metrics   *metrics
	segments  func() func(datagram []byte, dropped int64) // of one environment, as in execenv.Options
	log       *slog.Logger
	strict    bool
	snapshots *snapstart.Service // nil: none
	access    *access.Store
	api       map[string]string // where functions reach this server's API, as variables; nil: they do not
}

// Open implements pool.Starter: an environment from the version's snapshot where there is a good one, else from Init. A restore that fails, and not by
// the function's own doing, becomes an Init without anybody noticing but the log and a counter.
func (s *starter) Open(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	return s.restoreOrInit(ctx, v, owner, nil)
}

// restoreOrInit is Open; init changes the options of an environment that runs Init.
func (s *starter) restoreOrInit(ctx context.Context, v *function.Version, owner execenv.Owner, init func(*execenv.Options)) (*execenv.Environment, error) {
	if s.snapshots == nil || !s.snapshots.Concerns(v) {
		return s.open(ctx, v, owner, init)
	}
	restore, release, err := s.snapshots.Lend(ctx, v)
	if err != nil {
		return nil, err
	}
	if restore == nil {
		return s.open(ctx, v, owner, init)
	}
	return s.restore(ctx, &restoring{Owner: owner, s: s, v: v, id: restore.ID, init: init}, restore, release)
}

// errNoSnapshot is why there is no spare: a new environment would run Init.
var errNoSnapshot = errors.New("there is no snapshot to restore from")

// Ready implements pool.Restorer.
func (s *starter) Ready(v *function.Version) bool { return s.snapshots.Ready(v) }

// Restore implements pool.Restorer: an environment from the version's snapshot, or none.
func (s *starter) Restore(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	restore, release, err := s.snapshots.Lend(ctx, v)
	if err != nil {
		return nil, err
	}
	if restore == nil {
		return nil, errNoSnapshot
	}
	return s.restore(ctx, &restoring{Owner: owner, s: s, v: v, id: restore.ID, spare: true}, restore, release)
}

// Provision implements pool.Provider: as Open, with an Init that is ahead of demand.
func (s *starter) Provision(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	return s.restoreOrInit(ctx, v, owner, func(o *execenv.Options) { o.Provisioned = true })
}

func (s *starter) restore(ctx context.Context, r *restoring, restore *execenv.Restore, release func()) (*execenv.Environment, error) {
	env, err := s.open(ctx, r.v, r, func(o *execenv.Options) {
		o.Restore = restore
		exit := o.OnExit
		o.OnExit = func() { exit(); release() }
	})
	if err != nil {
		release()
	}
	return env, err
}

// restoring stands between the pool and an environment that is being restored, until it is ready.
type restoring struct {
	execenv.Owner
	s       *starter
	v       *function.Version
	id      string
	spare   bool                   // nobody waits for it: it does not become an Init
	init    func(*execenv.Options) // of the Init that it may become
	offered bool
}

func (r *restoring) Offered(e *execenv.Environment) {
	first := !r.offered
	r.offered = true
	r.Owner.Offered(e)
	if first {
		r.s.metrics.restores.Inc()
		r.s.snapshots.Offered(r.v, r.id)
	}
}

func (r *restoring) Gone(e *execenv.Environment, err error) {
	// One that was told to go in the middle of its restore says nothing about the snapshot.
	if r.offered || err == nil || errors.As(err, new(*execenv.RestoreError)) || errors.Is(err, context.Canceled) {
		r.Owner.Gone(e, err)
		return
	}
	r.s.snapshots.Lost(r.v, r.id, err)
	if r.spare {
		r.Owner.Gone(e, err)
		return
	}
	r.s.metrics.fallbacks.Inc()
	go func() { // the driver that told us must go on; the place in the pool is the new environment's as soon as it is opened
		if _, err := r.s.open(context.Background(), r.v, r.Owner, r.init); err != nil {
			r.Owner.Gone(e, err)
		}
	}()
}

// open makes an environment; more changes its options.
func (s *starter) open(ctx context.Context, v *function.Version, owner execenv.Owner, more func(*execenv.Options)) (*execenv.Environment, error) {
	began := time.Now()
	plan, err := s.plan(v)
	if err != nil {
		return nil, err
	}
	if plan.Mounts, err = s.runtimes.Mounts(plan, v.Vars); err != nil {
		return nil, err
	}
	dir, release, err := s.code.Dir(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("code of %s: %w", v.ARN(), err)
	}
	opt, releaseOpt, err := s.code.Opt(ctx, v)
	if err != nil {
		release()
		return nil, fmt.Errorf("layers of %s: %w", v.ARN(), err)
	}
	id := execenv.NewID()
	stream := s.logs.Stream(v.LogGroup, streamName(began, v.Number, id))
	s.metrics.stage("place", time.Since(began))
	cred, err := s.credentials(v)
	if err != nil {
		release()
		releaseOpt()
		stream.Close()
		return nil, err
	}
	o := execenv.Options{
		Backend: s.backend, Version: v, Launch: launchOf(plan, v, dir, opt, s.backend.Capabilities().Mounts),
		Sink:   metered{stream, function.Key{Account: v.Account, Region: v.Region, Name: v.Name}, s.metrics.of.embedded},
		Stream: streamName(began, v.Number, id), Owner: owner, Log: s.log,
		FreezeGrace: freezeGrace, CPUs: s.cpus(v), Processors: processors(v),
		Observe: s.metrics.stage, Reported: s.metrics.of.reported(v), Segments: s.segments(),
		AccessKeyID: cred.AccessKeyID, SecretAccessKey: cred.SecretAccessKey, SessionToken: cred.SessionToken,
		OnExit: func() {
			release()
			releaseOpt()
			stream.Close()
		},
	}
	if more != nil {
		more(&o)
	}
	return execenv.Open(id, o), nil
}

// sandboxCPUs is what the sandbox's own work may take beside the function's: gVisor answers system calls on other threads than those that make them. Without it a
// single-threaded function at full speed was throttled for parts of each tenth of a second (p99 of a warm invoke 17 ms instead of 6).
const sandboxCPUs = 1

// cpus is the share of the host that an environment may use: decisions/0003. The service gives one CPU for each 1,769 MB and a part of one below that; here a
// function gets at least one whole CPU unless the server is strict, because nobody is billed and everybody waits.
func (s *starter) cpus(v *function.Version) float64 {
	share := float64(v.MemoryMiB) / vcpuMiB
	if s.strict {
		return share
	}
	return max(1, share) + sandboxCPUs
}

// processors are those that a function's programs find in a machine of their own: as many as its memory is worth. A copy on another
// host has as many, so the host's own count for nothing.
func processors(v *function.Version) int { return (v.MemoryMiB + vcpuMiB - 1) / vcpuMiB }

// streamName is the name of an environment's log stream. Source: spec control-plane 23.
func streamName(at time.Time, version function.VersionNumber, id execenv.ID) string {
	return fmt.Sprintf("%s/[%s]%s", at.UTC().Format("2006/01/02"), version, id)
}

func launchOf(p runtimes.Plan, v *function.Version, codeDir, optDir string, mounted bool) execenv.Launch {
	argv := p.Command(v.MemoryMiB, v.Handler, "") // the guest puts the customer's wrapper in front
	sum := sha256.Sum256([]byte(p.Identity + p.Release))
	mounts := []sandbox.Mount{{Source: codeDir, Target: "/var/task"}}
	if optDir != "" {
		mounts = append(mounts, sandbox.Mount{Source: optDir, Target: "/opt"})
	}
	mounts = append(mounts, p.Mounts...)
	if optDir != "" && !mounted { // AWS's client for Java looks into /opt/java/lib by itself; here /opt is the host's
		if i := slices.Index(argv, "-cp"); i >= 0 && i+1 < len(argv) {
			argv[i+1] += ":/opt/java/lib/*"
		}
	}
	return execenv.Launch{Argv: argv, Candidates: p.Candidates, Mounts: mounts, Vars: p.Vars, Reserved: p.Reserved, Release: p.Release,
		ReleaseHash: hex.EncodeToString(sum[:]), LogFrames: p.LogFrames, APISocket: p.APISocket, PathLists: runtimes.PathLists}
}

// plan is how a version's runtime is started. Where functions reach the API they are told so by a default, which the
// function's own variables change. It is part of the runtime's identity: snapshots hold it.
func (s *starter) plan(v *function.Version) (runtimes.Plan, error) {
	p, err := s.runtimes.Plan(v.Runtime, v.Architecture)
	if err != nil || s.api == nil {
		return p, err
	}
	p.Vars = maps.Clone(p.Vars)
	for _, name := range slices.Sorted(maps.Keys(s.api)) {
		p.Vars[name] = s.api[name]
		p.Identity += " " + name + "=" + s.api[name]
	}
	return p, nil
}

// credentials are those of the function's role. They are good for a little longer than its environment is told, and
// longer than the pool keeps one, so that none sees them end.
func (s *starter) credentials(v *function.Version) (access.Temporary, error) {
	return s.access.Issue(access.Session{Role: v.Role, Name: v.Name, Source: string(v.UnqualifiedARN()), Life: execenv.CredentialsLife + credentialsMargin})
}

const credentialsMargin = 10 * time.Minute
