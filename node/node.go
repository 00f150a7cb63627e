// Package node puts a server together: it is the only place that knows every package. Open starts everything in the order of its needs,
// Close ends it in reverse. The end-to-end tests of the project live here.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"thaw/access"
	"thaw/admin"
	"thaw/agenda"
	"thaw/api"
	"thaw/async"
	"thaw/backup"
	"thaw/blob"
	"thaw/bucket"
	"thaw/codepackage"
	"thaw/controlplane"
	"thaw/destination"
	"thaw/eventsource/poller"
	"thaw/execenv"
	"thaw/function"
	"thaw/gateway"
	"thaw/gateway/websocket"
	"thaw/internal/cleanup"
	"thaw/internal/door"
	"thaw/jetstream"
	"thaw/jetstream/backlog"
	"thaw/layer"
	"thaw/logfeed"
	"thaw/logsapi"
	"thaw/logstore"
	"thaw/pool"
	"thaw/runtimes"
	"thaw/sandbox"
	"thaw/signing"
	"thaw/snapstart"
	"thaw/sts"
	"thaw/vpc"
)

// Node is a running server.
type Node struct {
	cfg          Config
	log          *slog.Logger
	started      time.Time
	listener     net.Listener
	http         *door.Server
	certificates *certificates // nil: no TLS
	public       http.Handler  // what it serves
	plane        *controlplane.Plane
	api          *api.Server
	admin        *admin.Server
	pool         *pool.Pool
	backend      sandbox.Backend
	runtimes     *runtimes.Registry
	logs         *logstore.Store
	backup       admin.Backup
	complete     func() error // of the records: function.Store
	starter      *starter
	snapshots    *snapstart.Service // nil where the sandbox has none
	backlog      *backlog.Store
	access       *access.Store
	events       *async.Queue
	topics       ownTopics
	sender       *destination.Sender
	buses        ownBuses
	due          *agenda.Agenda
	sources      *poller.Service
	gateway      *gateway.Server
	sockets      *websocket.Server
	logsAPI      *logsapi.Server
	feed         *logfeed.Feed
	triggers     triggers
	metrics      *metrics
	traces       *traces
	drain        chan struct{} // closed when somebody asks for the end
	drainOnce    sync.Once
	undo         cleanup.Stack // what Open has opened, closed in reverse
}

// Version of this build, for Health and `thaw version`.
var Version = "0.1.0"

// Open starts a server and returns when it answers.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: log, started: time.Now(), drain: make(chan struct{}), buses: ownBuses{open: make(chan struct{})}}
	n.sender = &destination.Sender{Topics: &n.topics, Buses: &n.buses}
	if err := n.open(ctx); err != nil {
		n.undo.Run()
		return nil, err
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) error {
	cfg := n.cfg
	dir := func(name string) string { return filepath.Join(cfg.DataDir, name) }
	if err := makePrivate(cfg.DataDir); err != nil {
		return err
	}
	release, err := admin.Claim(cfg.DataDir)
	if err != nil {
		return err
	}
	n.undo.Add(release)
	store, err := jetstream.Open(ctx, recordsOf(cfg.DataDir, n.log))
	if err != nil {
		return err
	}
	n.undo.Add(func() error { store.Close(); return nil })
	n.complete = store.Complete
	if n.access, err = access.Open(access.Options{Dir: cfg.AccessDir(), Account: cfg.AccountID, Log: n.log, Now: cfg.now}); err != nil {
		return err
	}
	if n.backlog, err = backlog.Open(ctx, backlog.Options{Dir: dir("async"), Log: n.log}); err != nil {
		return err
	}
	n.undo.Add(func() error { n.backlog.Close(); return nil })
	endBackups, err := openBackups(dir("backups"), store, n.log)
	if err != nil {
		return err
	}
	n.undo.Add(endBackups)
	blobs, err := blob.Open(dir("blobs"))
	if err != nil {
		return err
	}
	n.undo.Add(blobs.Close)
	n.backup = func(ctx context.Context, w io.Writer, recordsOnly bool) error {
		return backup.Write(ctx, w, backupSource(cfg.DataDir, store, blobs, recordsOnly))
	}
	codes, err := codepackage.Open(codepackage.Options{Dir: dir("code"), Source: blobs, Log: n.log})
	if err != nil {
		return err
	}
	if n.logs, err = logstore.Open(logstore.Options{Dir: dir("logs"), MaxBytes: int64(cfg.LogBoundMiB) << 20, Log: n.log}); err != nil {
		return err
	}
	n.undo.Add(n.logs.Close)
	if n.runtimes, err = runtimes.Open(runtimes.Options{Dir: dir("runtimes"), Log: n.log, Offline: cfg.Offline, InstallCommand: cfg.InstallCommand()}); err != nil {
		return err
	}
	if n.backend, err = openBackend(ctx, cfg, dir, n.log); err != nil {
		return err
	}
	n.undo.Add(n.backend.Close)
	if n.traces, err = openTraces(ctx, cfg, n.log); err != nil {
		return err
	}
	n.undo.Add(func() error { // when opening fails; Close has waited already
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return n.traces.Close(ctx)
	})
	if err := n.openPool(ctx, store, codes, dir("snapshots")); err != nil {
		return err
	}
	if err := n.openPlane(ctx, store, blobs, codes); err != nil {
		return err
	}
	if err := n.openAPI(ctx, store); err != nil {
		return err
	}
	return n.listen(ctx, store)
}

// holdsFiles says whether there is a file in one of the folders, at any depth.
func holdsFiles(dirs ...string) bool {
	found := false
	for _, dir := range dirs {
		filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { //nolint:errcheck // none, or unreadable: whoever opens it says so
			if err == nil && d.Type().IsRegular() {
				found = true
				return fs.SkipAll
			}
			return nil
		})
	}
	return found
}

func (n *Node) openPool(ctx context.Context, store *jetstream.Store, codes codeDirs, snapshots string) error {
	n.metrics = newMetrics(func() pool.Counts { return n.pool.Counts() }, func() pool.InUse { return n.pool.InUse() })
	n.undo.Add(func() error { n.metrics.of.embedded.Close(); return nil })
	var memory pool.Memory // the host's own
	if n.cfg.MemoryBudgetMiB > 0 {
		memory = pool.FixedMemory{Bytes: int64(n.cfg.MemoryBudgetMiB) << 20, Used: n.promised}
	}
	n.starter = &starter{backend: n.backend, runtimes: n.runtimes, code: codes, logs: n.logs, metrics: n.metrics, segments: n.traces.environment, log: n.log, strict: n.cfg.Strict,
		access: n.access, api: n.functionAPI()}
	if n.backend.Capabilities().Snapshots && n.cfg.SnapStart != "none" {
		records, err := store.SnapshotRecords(ctx)
		if err != nil {
			return err
		}
		disk := int64(n.cfg.SnapshotDiskMiB) << 20
		n.snapshots, err = snapstart.Open(ctx, snapstart.Options{Dir: snapshots, DiskBytes: disk, CacheBytes: disk, InMemory: n.cfg.SnapshotCache == "memory",
			Records: records, Complete: store.Complete, Environments: alone{n}, Pool: servingPool{n}, Lines: n.linesOf, FellBack: n.metrics.fallbacks.Inc,
			Log: n.log, Now: n.cfg.now, All: n.cfg.SnapStart == "all", Strict: n.cfg.Strict,
			LateMemory: n.backend.Capabilities().LateMemory})
		if err != nil {
			return err
		}
		n.undo.Add(n.snapshots.Close)
		n.starter.snapshots = n.snapshots
	}
	spares := pool.Spares{Most: n.cfg.Spares, Window: n.cfg.SpareWindow}
	if n.snapshots != nil {
		spares.Restorer = n.starter
	}
	n.pool = pool.Open(pool.Options{Log: n.log, ColdStarts: n.cfg.ColdStarts, IdleExpiry: n.cfg.IdleExpiry, MaxEnvironments: n.cfg.Concurrency, Memory: memory,
		Starter: n.starter, Provider: n.starter, Spares: spares, Now: n.cfg.now,
		Provisioned: n.metrics.of.functions.Provisioned, RequestRate: map[bool]int{true: pool.RequestRate}[n.cfg.Strict]}) // no limit of this host
	n.undo.Add(func() error { // only when opening fails; Close drains first
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := n.pool.Close(ctx)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	return nil
}

// linesOf are the lines of a log stream.
func (n *Node) linesOf(ctx context.Context, group, stream string) ([]string, error) {
	events, err := n.logs.Filter(ctx, logstore.Query{Group: group, StreamPrefix: stream})
	if err != nil && !errors.Is(err, logstore.ErrNoGroup) {
		return nil, err
	}
	lines := make([]string, len(events))
	for i, e := range events {
		lines[i] = e.Message
	}
	return lines, nil
}

// promised is what all environments may hold together that are up; those that are not, the pool counts itself.
func (n *Node) promised() int64 {
	var sum int64
	for _, e := range n.pool.Environments() {
		switch e.State {
		case execenv.Creating.String(), execenv.Initializing.String(), execenv.Restoring.String():
		default:
			sum += int64(e.MemoryMiB) << 20
		}
	}
	return sum
}

func (n *Node) openAPI(ctx context.Context, store *jetstream.Store) error {
	keys, err := n.cfg.Keys()
	if err != nil {
		return err
	}
	loopback, err := n.cfg.loopback()
	if err != nil {
		return err
	}
	var who []api.Credential
	for id, secret := range keys {
		who = append(who, api.Credential{AccessKeyID: id, SecretAccessKey: secret})
	}
	kept, err := store.SigningConfigs(ctx)
	if err != nil {
		return err
	}
	configs, err := signing.Open(ctx, kept)
	if err != nil {
		return err
	}
	n.logsAPI = n.openLogsAPI()
	o := api.Options{Plane: n.plane, Signing: configs, AccountID: n.cfg.AccountID, Credentials: who, Access: n.access, Verify: len(who) > 0 || !loopback,
		Uploads: filepath.Join(n.cfg.DataDir, "uploads"), Services: []api.Service{n.logsAPI, &sts.Server{Access: n.access}}}
	if !o.Verify {
		o.Guard = (&door.Guard{Hosts: n.cfg.hosts(), SameUser: n.cfg.Unsigned == "same-user"}).Check
		o.URLDoor = n.cfg.urlDoor()
	}
	n.api, err = api.New(o)
	return err
}

// openPlane reads the functions and continues what was begun with them.
func (n *Node) openPlane(ctx context.Context, store *jetstream.Store, blobs *blob.Store, codes *codepackage.Store) (err error) {
	records, err := store.LayerRecords(ctx)
	if err != nil {
		return err
	}
	layers, err := layer.Open(ctx, records)
	if err != nil {
		return err
	}
	o := controlplane.Options{Store: store, Blobs: blobs, Codes: codes, Layers: layers, Objects: &bucket.Reader{}, Networks: &vpc.Lookup{Log: n.log}, Pool: timed{n.pool, n.metrics, n.snapshots},
		Runtimes: n.runtimes, Log: n.log,
		Strict: n.cfg.Strict, Concurrency: n.cfg.Concurrency, Looped: n.metrics.of.functions.Looped, Tracer: n.traces}
	if n.snapshots != nil {
		o.Snapshots = n.snapshots
	}
	if n.plane, err = controlplane.Open(ctx, o); err != nil {
		return err
	}
	n.undo.Add(func() error { n.plane.Close(); return nil })
	n.metrics.of.view.Store(n.plane.View())
	n.metrics.registry.MustRegister(n.traces)
	if n.snapshots != nil {
		n.snapshots.Serve(n.plane.Deactivate)
		n.plane.SnapStarted(n.snapshots.Known)
	}
	return nil
}

// openLogsAPI makes what speaks for CloudWatch Logs.
func (n *Node) openLogsAPI() *logsapi.Server {
	s := logsapi.New(logsapi.Options{Logs: n.logs, AccountID: n.cfg.AccountID, Log: n.log, Stopping: n.drain})
	n.undo.Add(func() error { s.Close(); return nil })
	return s
}

// timed measures invocations on their way to the pool.
type timed struct {
	*pool.Pool
	m         *metrics
	snapshots *snapstart.Service // nil: none
}

func (t timed) Invoke(ctx context.Context, r *pool.Request) (*function.Outcome, error) {
	began := time.Now()
	if t.snapshots != nil {
		t.snapshots.Used(r.Version)
	}
	res, err := t.Pool.Invoke(ctx, r)
	outcome := "success"
	switch {
	case errors.As(err, new(*pool.ThrottledError)):
		outcome = "throttled"
		resource := r.Version.Resource(r.InvokedARN)
		t.m.of.functions.Throttled(resource)
		t.m.of.tenants.Throttled(resource.Key, r.TenantID)
	case err != nil:
		outcome = "failed"
	case res.FunctionError != "":
		outcome = "function_error"
	}
	t.m.invokes.WithLabelValues(outcome).Observe(time.Since(began).Seconds())
	return res, err
}

func (n *Node) listen(ctx context.Context, store *jetstream.Store) error {
	l, err := net.Listen("tcp", n.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	n.listener = l
	if err := n.openEvents(ctx); err != nil { // not before it is certain that this server serves
		l.Close()
		return err
	}
	if err := n.openSources(ctx, store); err != nil {
		l.Close()
		return err
	}
	n.api.Sources = n.sources
	if err := n.openPush(ctx, store); err != nil {
		l.Close()
		return err
	}
	if n.api.URLs, err = n.cfg.urlNames(l.Addr().String()); err != nil {
		return err
	}
	n.public = n.api
	if ok, err := n.cfg.loopback(); err == nil && ok { // names of functions are nobody's business on an open network
		// A collector of metrics runs as a user of its own.
		n.public = withMetrics(promhttp.HandlerFor(n.metrics.registry, promhttp.HandlerOpts{}), &door.Guard{Hosts: n.cfg.hosts()}, n.api)
	}
	if n.certificates, err = n.openTLS(func(host string) bool { return n.api.HostOfURL(host) || n.gateway.HasHost(host) }); err != nil {
		l.Close()
		return err
	}
	n.http = door.Serve(l, n.public, door.Options{MaxConnections: maxConnections(), Busy: api.TooManyConnections, TLS: n.certificates.tls(),
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)})
	n.undo.Add(n.http.Close)
	if err := n.listenToFunctions(); err != nil {
		return err
	}
	private := admin.Options{DataDir: n.cfg.DataDir, Environments: n.pool.Environments, Functions: n.functions, Logs: n.logs, Log: n.log,
		Config: func() any { return n.cfg.Values() }, Health: n.Health, Drain: n.AskDrain, Backup: n.backup, Events: eventsAdmin{n.events}, Sources: n.sourcesNow, Triggers: &n.triggers, Access: n.access}
	if n.snapshots != nil {
		private.Snapshots = n.snapshots
	}
	n.admin, err = admin.Open(private)
	if err != nil {
		return err
	}
	n.undo.Add(n.admin.Close)
	n.log.Info("listening", "endpoint", n.Endpoint(), "sandbox", n.backend.Name(), "data", n.cfg.DataDir, "cores", runtime.GOMAXPROCS(0))
	return nil
}

// Addr is the host and port that the API listens on.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// Endpoint is the URL of the API, for --endpoint-url.
func (n *Node) Endpoint() string {
	if n.cfg.secure() {
		return "https://" + n.Addr()
	}
	return "http://" + n.Addr()
}

// Health says what this server is.
func (n *Node) Health() admin.Health {
	draining := false
	select {
	case <-n.drain:
		draining = true
	default:
	}
	h := admin.Health{PID: os.Getpid(), Version: Version, Endpoint: n.Endpoint(), Sandbox: n.backend.Name(), Isolates: n.backend.Capabilities().Isolates, Saves: n.snapshots != nil,
		Started: n.started, Account: n.cfg.AccountID, Signed: n.signed(), Draining: draining}
	n.trust(&h)
	return h
}

// signed says whether requests must be signed.
func (n *Node) signed() bool {
	return n.cfg.AccessKeyID != "" || n.cfg.Credentials != "" || n.access.Signed()
}

// AskDrain asks for the end of the server; whoever runs it sees Drained and calls Close.
func (n *Node) AskDrain() { n.drainOnce.Do(func() { close(n.drain) }) }

// Drained is closed when the end was asked for.
func (n *Node) Drained() <-chan struct{} { return n.drain }

// Close drains: new requests are refused, running invocations finish until ctx or the drain timeout ends, and then everything goes.
func (n *Node) Close(ctx context.Context) error {
	n.AskDrain()
	n.due.Close() // what it would fire nobody takes any more; the next start does
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout)
	defer cancel()
	shut, read := make(chan error, 1), make(chan error, 1)
	n.events.Leave()
	go func() { read <- n.sources.Close(ctx) }()
	go func() { shut <- n.http.Shutdown(ctx) }()
	n.feed.Close()
	n.closeSockets(ctx)      // while functions can be told
	err := n.pool.Close(ctx) // functions may call the API to their end
	if e := <-shut; e != nil {
		err = errors.Join(err, fmt.Errorf("requests: %w", e))
	}
	if e := <-read; e != nil {
		err = errors.Join(err, fmt.Errorf("event source mappings: %w", e))
	}
	return errors.Join(err, n.events.Close(ctx), n.traces.Close(ctx), n.undo.Run())
}
