// Package controlplane creates, changes, publishes, settles, idles, deletes and sweeps functions. Everybody who changes
// one calls it: the API, and so will the console and commands. It knows no HTTP; what the service answers to a refused
// change is the message of a *Refusal.
//
// A change goes: check, write the record (function.Store), wait until the view in memory has it, return. What must be
// prepared before it can serve (code unpacked, runtime found, snapshot made) is settled afterwards by one goroutine per
// function (settle.go), which also continues after a restart what an earlier process began.
//
// Owner: a Plane owns its watch of the store and its settling goroutines; Close stops and waits for both. Lock order:
// reserveMu, layersMu, stripe (change.go), codeMu.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"thaw/function"
	"thaw/invoke"
	"thaw/layer"
)

// Options of a Plane. Members without a stated default are required.
type Options struct {
	Store     function.Store
	Blobs     Blobs
	Codes     Codes
	Objects   Objects
	Layers    *layer.Library
	Pool      Pool
	Runtimes  Runtimes
	Networks  Networks  // nil: any name will do
	Snapshots Snapshots // nil: this server has none, and versions with SnapStart are ordinary ones
	Log       *slog.Logger

	// Strict refuses what AWS refuses though this server could do it: SnapStart for runtimes that AWS has it not for,
	// with much /tmp, and with provisioned concurrency.
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
	// Looped is told of invocations that the guard against loops stopped; nil: nobody is.
	Looped func(function.Resource)
	Tracer invoke.Tracer // of invocations; nil: there is none
}

func (o *Options) defaults() {
	for _, d := range []struct {
		of *time.Duration
		is time.Duration
	}{{&o.Settle, 150 * time.Millisecond}, {&o.PendingInvoke, 15 * time.Second}, {&o.FetchInvoke, 50 * time.Second}, {&o.Recovery, 2 * time.Second}} {
		if *d.of == 0 {
			*d.of = d.is
		}
	}
	if o.Concurrency == 0 {
		o.Concurrency = function.DefaultConcurrency
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Plane is all functions of a server, and what may be done to them.
type Plane struct {
	Options
	view    *function.View
	invoker *invoke.Invoker

	ctx     context.Context // of background work: ends with Close
	cancel  context.CancelCauseFunc
	unwatch func()
	work    sync.WaitGroup // settling goroutines, provideUsed, recoverRuntimes

	stripes [64]sync.Mutex // writers of one function, one at a time: change.go

	settleMu sync.Mutex
	settling map[function.Key]bool

	reserveMu sync.Mutex // before a stripe

	fetching chan struct{} // a place for each object that is read
	// layersMu is held shared while a function takes layers into use, and for the deletion of a layer's version; before a
	// stripe and codeMu.
	layersMu sync.RWMutex

	codeMu sync.Mutex     // held while a package is removed, so that it is not being taken into use
	pins   map[string]int // packages that a request is about to use, by hash
}

// Open reads all functions, continues what an earlier process left unsettled, and returns a Plane. ctx bounds the opening
// only.
func Open(ctx context.Context, o Options) (*Plane, error) {
	o.defaults()
	p := &Plane{Options: o, view: function.NewView(), settling: map[function.Key]bool{}, pins: map[string]int{}, fetching: make(chan struct{}, fetches)}
	p.ctx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	p.invoker = invoke.New(invoke.Options{View: p.view, Pool: o.Pool, Concurrency: o.Concurrency, Pending: o.PendingInvoke, Fetch: o.FetchInvoke,
		Wake: p.wake, Fetching: o.Runtimes.Fetching, Provide: p.provide, Stopping: p.ctx.Done(), Looped: o.Looped, Tracer: o.Tracer})
	var err error
	if p.unwatch, err = o.Store.Watch(ctx, p.view.Apply); err != nil {
		p.cancel(err)
		return nil, fmt.Errorf("functions: %w", err)
	}
	p.view.Loaded()
	if p.Snapshots != nil {
		p.Snapshots.Begin(p.incarnation)
	}
	if err := p.sweep(ctx); err != nil {
		p.Close()
		return nil, err
	}
	for _, e := range p.view.All() {
		p.settleSoon(e.Record.Key)
		p.provision(nil, e)
	}
	p.work.Go(p.provideUsed)
	p.work.Go(p.recoverRuntimes)
	return p, nil
}

var errClosed = errors.New("server is closing")

// Close stops the background work and waits for it. What is unsettled is continued by the next Open.
func (p *Plane) Close() {
	p.cancel(errClosed)
	p.work.Wait()
	p.unwatch()
}

// View is all functions as they are. Whoever asks it need not ask again until Entry.Replaced.
func (p *Plane) View() *function.View { return p.view }

// Invoker has the functions run.
func (p *Plane) Invoker() *invoke.Invoker { return p.invoker }

// SnapStarted calls f with every published version that has SnapStart and serves, and its function's tags.
func (p *Plane) SnapStarted(f func(v *function.Version, tags map[string]string)) {
	for _, e := range p.view.All() {
		for _, v := range e.Versions() {
			if served := e.Serving(v.Number); served != nil && served.SnapStart {
				f(served, e.Record.Tags)
			}
		}
	}
}

// Optimized says whether the next environment of a version begins from a snapshot, where nothing waits for that.
func (p *Plane) Optimized(e *function.Entry, v *function.VersionRecord) bool {
	serving := e.Serving(v.Number)
	return p.Snapshots != nil && serving != nil && v.Life == function.Live && p.Snapshots.Optimized(serving)
}

// incarnation returns that of the function that has a version; 0 when there is no such version.
func (p *Plane) incarnation(unqualifiedARN function.ARN, number function.VersionNumber) uint64 {
	ref, err := function.ParseRead(string(unqualifiedARN))
	if err != nil {
		return 0
	}
	e := p.view.Get(function.Key{Account: ref.Account, Region: ref.Region, Name: ref.Name})
	if e == nil || number != function.Latest && !e.Record.Has(number.Int()) {
		return 0
	}
	return e.Record.Incarnation
}
