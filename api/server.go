// Package api is the public HTTP API of AWS Lambda: one file per operation, errors mapped once in errors.go, every operation of the
// service in operations.go, those that are not there yet included.
//
// A change goes: validate, write the record (function.Store), wait until the in-memory view has it, answer. What must be prepared
// before it can serve (code unpacked, runtime found) is settled afterwards by one goroutine per function (settle.go), which also
// continues after a restart what an earlier process began. Invocations read the view only: no store, no lock.
//
// Owner: a Server owns its watch of the store and its settling goroutines; Close stops and waits for both. Requests are the HTTP
// server's: shut that down first. Lock order: reserveMu, stripe (mutate.go), codeMu.
package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
)

// Pool runs invocations; *pool.Pool is one.
type Pool interface {
	invoke.Pool
	// Retire says that environments of a function with an epoch below beforeEpoch must take no more invocations. number is $LATEST, a
	// version's, or empty for all. It does not wait.
	Retire(unqualifiedARN function.ARN, number function.VersionNumber, beforeEpoch uint64)
	// Provision says how many environments of a version are kept initialised, 0: none. It does not wait. Provisioned says how far that is.
	Provision(v *function.Version, n int)
	Provisioned(v *function.Version) pool.Allocation
}

// Runtimes knows which runtime identifiers there are, and makes them ready; *runtimes.Registry does.
type Runtimes interface {
	// Check says whether functions can run now: nil, *runtimes.UnknownError or *runtimes.NotInstalledError.
	Check(identifier, architecture string) error
	// Provide fetches what is lacking, which can take minutes. Errors: those of Check, *runtimes.FetchError, the context's.
	Provide(ctx context.Context, identifier, architecture string) error
	// Recoverable says whether Provide is worth calling again for a runtime that failed.
	Recoverable(identifier, architecture string) bool
	// Fetching says in words what is being fetched for a runtime now; empty: nothing.
	Fetching(identifier string) string
}

// Snapshots make published versions with SnapStart start from a snapshot.
type Snapshots interface {
	// Begin is called once, before all others, when it is known which functions there are. incarnation returns that of
	// the function that has a version, now and at every later time; 0 when there is no such version.
	Begin(incarnation func(function.ARN, function.VersionNumber) uint64)
	// Sweep removes what is kept of versions that are not there. It is called before the first Make, and only when
	// function.Store.Complete.
	Sweep(ctx context.Context) error
	// Make makes and verifies the first snapshot of a version. A code says that it failed for good, for the function's
	// own reason; an error that the platform could not, and should try again. The error is function.ErrNotFound when
	// the version was deleted.
	Make(ctx context.Context, v *function.Version, tags map[string]string) (reason, code string, err error)
	// Optimized says whether the next environment of a version begins from a snapshot.
	Optimized(v *function.Version) bool
	// Retag says what a function's tags are from now on. They can be read as a policy: checkSnapshotTags has seen them. It does not wait.
	Retag(unqualifiedARN function.ARN, tags map[string]string)
	// Forget removes what is kept for a version of an incarnation, or for all of its versions when number is empty: it
	// cancels what is being made, waits for it, and nothing is made or written afterwards. Call it when the function,
	// or its list of versions, no longer has it. When ctx ends it goes on alone.
	Forget(ctx context.Context, unqualifiedARN function.ARN, incarnation uint64, number function.VersionNumber)
}

// Blobs keeps code packages; *blob.Store is one.
type Blobs interface {
	Put(ctx context.Context, r io.Reader) (sha256 string, size int64, err error)
	Open(ctx context.Context, sha256 string) (io.ReadCloser, error)
	Delete(ctx context.Context, sha256 string) error
	List(ctx context.Context, f func(sha256 string, size int64) bool) error
}

// Codes unpacks code packages; *codepackage.Store is one.
type Codes interface {
	Unpack(ctx context.Context, zip []byte) (sha256 string, release func(), err error)
	Dir(ctx context.Context, v *function.Version) (dir string, release func(), err error)
	Drop(sha256 string)
	DropExcept(wanted func(sha256 string) bool)
}

// Credential is one pair of keys that requests may be signed with.
type Credential struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string // empty: none is wanted
}

// Options of a Server. Members without a stated default are required.
type Options struct {
	Store     function.Store
	Blobs     Blobs
	Codes     Codes
	Pool      Pool
	Runtimes  Runtimes
	Snapshots Snapshots // nil: this server has none, and versions with SnapStart are ordinary ones
	Services  []Service // others than Lambda
	Log       *slog.Logger

	AccountID   string       // 12 digits
	Region      string       // of requests that name none; empty: us-east-1
	Credentials []Credential // who may sign
	// Verify refuses requests that none of Credentials signed. Otherwise any credential, or none, will do, and only its region is read.
	Verify bool
	// Guard refuses requests before anything else is looked at; its error is told to the sender. nil: none. It is for a
	// server that does not Verify.
	Guard func(*http.Request) error
	// Uploads is a folder of this server alone, for big bodies on their way in; made when missing. Empty: the system's
	// folder for temporary files.
	Uploads string
	// Strict refuses what AWS refuses though this server could do it: SnapStart for runtimes that AWS has it not for, with much /tmp, and with
	// provisioned concurrency.
	Strict      bool
	Concurrency int // of the account; 0: 1000
	// Settle is how long a change can be seen as Pending or InProgress at least; 0: 150 ms. AWS takes seconds.
	Settle time.Duration
	// PendingInvoke is how long an invocation waits for a function that is Pending; 0: 15 s.
	PendingInvoke time.Duration
	// FetchInvoke is how long one waits for a runtime that is being fetched; 0: 50 s. Clients give up after a minute.
	FetchInvoke time.Duration
	// Recovery is the interval at which functions that failed for want of a runtime are looked at; 0: 2 s.
	Recovery time.Duration
	Now      func() time.Time // nil: time.Now
}

// Server is the API. It is an http.Handler.
type Server struct {
	Options
	view    *function.View
	invoker *invoke.Invoker
	router  router
	auth    *verifier
	tokens  tokens

	ctx     context.Context // of background work: ends with Close
	cancel  context.CancelCauseFunc
	unwatch func()
	work    sync.WaitGroup // settling goroutines, provideUsed, recoverRuntimes

	stripes [64]sync.Mutex // writers of one function, one at a time: mutate.go

	settleMu sync.Mutex
	settling map[function.Key]bool

	reserveMu sync.Mutex // before a stripe

	codeMu sync.Mutex     // held while a package is removed, so that it is not being taken into use
	pins   map[string]int // packages that a request is about to use, by hash

	uploads, bigBodies chan struct{} // places: body.go
}

// Open reads all functions, continues what an earlier process left unsettled, and returns a Server ready to serve. ctx bounds the
// opening only.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Concurrency == 0 {
		o.Concurrency = function.DefaultConcurrency
	}
	if o.Settle == 0 {
		o.Settle = 150 * time.Millisecond
	}
	if o.PendingInvoke == 0 {
		o.PendingInvoke = 15 * time.Second
	}
	if o.FetchInvoke == 0 {
		o.FetchInvoke = 50 * time.Second
	}
	if o.Recovery == 0 {
		o.Recovery = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		Options: o, view: function.NewView(), router: newRouter(), auth: newVerifier(o.Credentials, o.Now),
		settling: map[function.Key]bool{}, pins: map[string]int{},
		uploads: make(chan struct{}, maxUploads), bigBodies: make(chan struct{}, maxBigBodies),
	}
	if err := sweepUploads(o.Uploads); err != nil {
		return nil, err
	}
	rand.Read(s.tokens.key[:]) //nolint:errcheck // never fails: documented
	s.tokens.now = o.Now
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.invoker = invoke.New(invoke.Options{View: s.view, Pool: o.Pool, Concurrency: o.Concurrency, Pending: o.PendingInvoke, Fetch: o.FetchInvoke,
		Wake: s.wake, Fetching: o.Runtimes.Fetching, Provide: s.provide, Stopping: s.ctx.Done()})
	var err error
	if s.unwatch, err = o.Store.Watch(ctx, s.view.Apply); err != nil {
		s.cancel(err)
		return nil, fmt.Errorf("functions: %w", err)
	}
	s.view.Loaded()
	if s.Snapshots != nil {
		s.Snapshots.Begin(s.incarnation)
	}
	if err := s.sweep(ctx); err != nil {
		s.Close()
		return nil, err
	}
	for _, e := range s.view.All() {
		s.settleSoon(e.Record.Key)
		s.provision(e)
	}
	s.work.Go(s.provideUsed)
	s.work.Go(s.recoverRuntimes)
	return s, nil
}

// Functions are all functions, in the order of account, region and name.
func (s *Server) Functions() []*function.Entry { return s.view.All() }

// Close stops the background work and waits for it. What is unsettled is continued by the next Open.
func (s *Server) Close() {
	s.cancel(errClosed)
	s.work.Wait()
	s.unwatch()
}

var errClosed = fmt.Errorf("server is closing")

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r, id: newRequestID()}
	w.Header()["X-Amzn-Requestid"] = []string{c.id}
	if err := c.answer(); err != nil {
		c.writeError(err)
	}
}

// tellLost says of records which the others show to be missing.
func (s *Server) tellLost() {
	for _, e := range s.view.All() {
		for _, n := range e.Record.Numbers {
			if e.Version(n) == nil {
				s.Log.Error("the record of a published version is lost", "fn", e.Record.Name, "region", e.Record.Region, "qualifier", n)
			}
		}
	}
	told := map[function.Key]bool{}
	for _, c := range s.view.Unlisted() {
		if s.view.Get(c.Key) == nil && !told[c.Key] {
			told[c.Key] = true
			s.Log.Error("the record of a function is lost; versions of it are kept", "fn", c.Key.Name, "region", c.Key.Region)
		}
	}
}

// sweep removes what a death between two writes left: versions that no function lists, packages that no version uses,
// and snapshots of versions that are not there. While records may be missing it removes nothing.
func (s *Server) sweep(ctx context.Context) error {
	if s.Store.Complete() != nil {
		s.tellLost()
		return nil
	}
	for _, c := range s.view.Unlisted() {
		if err := s.Store.DeleteVersion(ctx, c.Key, c.Incarnation, c.Number); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	wanted := map[string]bool{}
	for _, e := range s.view.All() {
		e.Codes(func(hash string) { wanted[hash] = true })
	}
	var unwanted []string
	err := s.Blobs.List(ctx, func(hash string, _ int64) bool {
		if !wanted[hash] {
			unwanted = append(unwanted, hash)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, hash := range unwanted {
		if err := s.Blobs.Delete(ctx, hash); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	s.Codes.DropExcept(func(hash string) bool { return wanted[hash] })
	if s.Snapshots != nil {
		return s.Snapshots.Sweep(ctx)
	}
	return nil
}

// incarnation returns that of the function that has a version; 0 when there is no such version.
func (s *Server) incarnation(unqualifiedARN function.ARN, number function.VersionNumber) uint64 {
	ref, err := function.ParseRead(string(unqualifiedARN))
	if err != nil {
		return 0
	}
	e := s.view.Get(function.Key{Account: ref.Account, Region: ref.Region, Name: ref.Name})
	if e == nil || number != function.Latest && !e.Record.Has(number.Int()) {
		return 0
	}
	return e.Record.Incarnation
}
