// Package logfeed sends what functions log to functions: subscription filters of log groups.
//
// A Feed owns its filters, and for each a goroutine that follows the group and one that delivers. What was read is in the
// queue of the function before the filter's position moves, so a kill repeats what was in flight and loses nothing.
//
// Source: CloudWatch Logs User Guide, "Log group-level subscription filters".
package logfeed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"thaw/function"
	"thaw/logpattern"
	"thaw/logstore"
	"thaw/push"
	"thaw/trigger"
)

// MaxPerGroup is how many filters a group may have. Source: CloudWatch Logs quotas.
const MaxPerGroup = 2

// Filter is a subscription filter, as it is stored: members may be added, never renamed.
type Filter struct {
	Group, Name, Region, Account string
	Pattern                      string
	Function                     function.ARN
	Distribution                 string `json:",omitempty"`
	Transformed                  bool   `json:",omitempty"` // applyOnTransformedLogs: kept and shown
	Created                      time.Time
	// After is the ID of the last event that is with the function.
	After uint64
}

func (f *Filter) key() string { return f.Group + "\n" + f.Name } // neither name has a newline

// Errors of Put and Delete.
var (
	ErrNone = errors.New("there is no such subscription filter")
	ErrMany = errors.New("the log group has as many subscription filters as it may")
)

// LoopError refuses a filter whose function's own log would come back to it.
type LoopError struct{ Group, Function string }

// Error implements error.
func (e *LoopError) Error() string {
	return fmt.Sprintf("what %s logs would come back to it: its log group is %s, or is sent there by another subscription filter", e.Function, e.Group)
}

// Options of a Feed. Members without a stated default are required.
type Options struct {
	Documents push.Documents
	Logs      *logstore.Store
	Functions *push.Functions
	// GroupOf is the log group of a function; empty: there is no such function.
	GroupOf func(function.ARN) string
	Log     *slog.Logger
	Window  time.Duration // in which what is logged becomes one message; 1 s
	Retry   time.Duration // the first pause after a delivery that did not succeed; 1 s
}

// Feed runs subscription filters. Open it, Close it.
type Feed struct {
	o    Options
	rows *push.Table[Filter]

	mu      sync.Mutex // of changes, one at a time
	running map[string]*follower
	closed  bool
}

// follower is a filter at work.
type follower struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// Open reads the filters and has them go on where they were.
func Open(ctx context.Context, o Options) (*Feed, error) {
	if o.Window == 0 {
		o.Window = time.Second
	}
	if o.Retry == 0 {
		o.Retry = time.Second
	}
	rows, err := push.OpenTable[Filter](ctx, o.Documents)
	if err != nil {
		return nil, fmt.Errorf("subscription filters: %w", err)
	}
	d := &Feed{o: o, rows: rows, running: map[string]*follower{}}
	for _, f := range rows.All() {
		d.start(f)
	}
	return d, nil
}

// Close ends all deliveries. What was not accepted yet comes after the next Open.
func (d *Feed) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, w := range d.running {
		w.cancel()
	}
	for key, w := range d.running {
		<-w.done
		delete(d.running, key)
	}
}

// List are the filters of a group, by name; all of them where group is empty.
func (d *Feed) List(group string) []*Filter {
	var list []*Filter
	for _, f := range d.rows.All() {
		if group == "" || f.Group == group {
			list = append(list, f)
		}
	}
	return list
}

// Put makes a filter, or changes the one of its name, and sends the function the message that it is there. Errors: ErrMany,
// *LoopError, *push.NotAllowedError, *invoke.NotFoundError.
func (d *Feed) Put(ctx context.Context, f *Filter) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.New("the server is stopping")
	}
	if _, err := logpattern.Parse(f.Pattern); err != nil {
		return err
	}
	others := 0
	for _, o := range d.List(f.Group) {
		if o.Name != f.Name {
			others++
		}
	}
	if others >= MaxPerGroup {
		return ErrMany
	}
	if d.loops(f) {
		return &LoopError{f.Group, string(f.Function)}
	}
	check, err := trigger.LogCheck(time.Now().UnixMilli()).Event()
	if err != nil {
		return err
	}
	if err := d.accept(ctx, f, check); err != nil {
		return err
	}
	next := *f
	next.After = d.o.Logs.Now()
	err = d.rows.Change(ctx, f.key(), func(old *Filter) (*Filter, error) {
		if old != nil {
			next.After, next.Created = old.After, old.Created
		}
		return &next, nil
	})
	if err != nil {
		return err
	}
	d.end(f.key())
	d.start(d.rows.Get(f.key()))
	return nil
}

// Delete removes a filter. ErrNone.
func (d *Feed) Delete(ctx context.Context, group, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := (&Filter{Group: group, Name: name}).key()
	if err := d.rows.Delete(ctx, key); err != nil {
		if errors.Is(err, push.ErrNone) {
			return ErrNone
		}
		return err
	}
	d.end(key)
	return nil
}

// Forget removes the filters of a group that is deleted.
func (d *Feed) Forget(ctx context.Context, group string) error {
	var errs []error
	for _, f := range d.List(group) {
		if err := d.Delete(ctx, group, f.Name); !errors.Is(err, ErrNone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// loops says whether what the filter's function logs comes back to the filter, by its own group or by other filters.
func (d *Feed) loops(f *Filter) bool {
	seen := map[string]bool{}
	var from func(group string) bool
	from = func(group string) bool {
		if group == f.Group {
			return true
		}
		if group == "" || seen[group] {
			return false
		}
		seen[group] = true
		for _, o := range d.List(group) {
			if from(d.o.GroupOf(o.Function)) {
				return true
			}
		}
		return false
	}
	return from(d.o.GroupOf(f.Function))
}

// start has a filter work. d.mu is held, or nobody knows d yet.
func (d *Feed) start(f *Filter) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &follower{cancel, make(chan struct{})}
	d.running[f.key()] = w
	go func() {
		defer close(w.done)
		d.follow(ctx, f)
	}()
}

// end stops a filter's work and waits. d.mu is held.
func (d *Feed) end(key string) {
	if w := d.running[key]; w != nil {
		w.cancel()
		<-w.done
		delete(d.running, key)
	}
}
