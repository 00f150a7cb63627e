package logfeed

import (
	"context"
	"errors"
	"time"

	"thaw/logpattern"
	"thaw/logstore"
	"thaw/push"
	"thaw/trigger"
)

// Bounds of a message. Compressed at worst by nothing, and in base64, it is below what a function's queue takes.
const (
	maxEvents = 10_000
	maxBytes  = 512 << 10 // of messages together
	overhead  = 100       // what an event costs beside its message
	longest   = time.Minute
)

// follow is the work of a filter until ctx ends.
func (d *Feed) follow(ctx context.Context, f *Filter) {
	pattern, err := logpattern.Parse(f.Pattern)
	if err != nil { // it could be read when it was put
		d.o.Log.Error("subscription filter", "group", f.Group, "filter", f.Name, "error", err)
		return
	}
	events := make(chan logstore.Event)
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		defer close(events)
		for e, err := range d.o.Logs.Follow(ctx, logstore.Query{Group: f.Group, After: f.After, Pattern: pattern}) {
			if err != nil {
				d.o.Log.Error("subscription filter", "group", f.Group, "filter", f.Name, "error", err)
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { <-done }()
	for {
		batch := d.collect(ctx, events)
		if len(batch) == 0 || !d.deliver(ctx, f, batch) {
			return
		}
	}
}

// collect waits for an event, and takes with it what comes within the window. Empty: nothing follows.
func (d *Feed) collect(ctx context.Context, events <-chan logstore.Event) (batch []logstore.Event) {
	var over <-chan time.Time
	for size := 0; len(batch) < maxEvents && size < maxBytes; {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return batch
		case e, ok := <-events:
			if !ok {
				return batch
			}
			if over == nil {
				over = time.After(d.o.Window)
			}
			batch = append(batch, e)
			size += len(e.Message) + overhead
		}
	}
	return batch
}

// deliver puts a batch into the function's queue, a message for each log stream, and then moves the filter's position. It
// goes on until that has succeeded. false: ctx has ended.
func (d *Feed) deliver(ctx context.Context, f *Filter, batch []logstore.Event) bool {
	for _, m := range messages(f, batch) {
		payload, err := m.Event()
		if err != nil {
			d.o.Log.Error("subscription filter", "group", f.Group, "filter", f.Name, "error", err)
			continue
		}
		for pause := d.o.Retry; ; pause = min(2*pause, longest) {
			if d.o.GroupOf(f.Function) == f.Group { // since the filter was made
				err = &LoopError{f.Group, string(f.Function)}
			} else {
				err = d.accept(ctx, f, payload)
			}
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				d.o.Log.Warn("subscription filter: events wait", "group", f.Group, "filter", f.Name, "fn", string(f.Function), "again", pause, "error", err)
			}
			select {
			case <-ctx.Done():
				return false
			case <-time.After(pause):
			}
		}
	}
	last := batch[len(batch)-1].ID
	err := d.rows.Change(context.WithoutCancel(ctx), f.key(), func(old *Filter) (*Filter, error) {
		if old == nil {
			return nil, nil
		}
		next := *old
		next.After = max(next.After, last)
		return &next, nil
	})
	if err != nil {
		d.o.Log.Warn("subscription filter: after a restart some events come again", "group", f.Group, "filter", f.Name, "error", err)
	}
	return ctx.Err() == nil
}

// messages are the events of a batch, by stream, in the order in which streams come first.
func messages(f *Filter, batch []logstore.Event) (list []*trigger.LogMessage) {
	of := map[string]*trigger.LogMessage{}
	for i := range batch {
		e := &batch[i]
		m := of[e.Stream]
		if m == nil {
			m = &trigger.LogMessage{Type: "DATA_MESSAGE", Owner: f.Account, Group: f.Group, Stream: e.Stream, Filters: []string{f.Name}}
			of[e.Stream] = m
			list = append(list, m)
		}
		m.Events = append(m.Events, trigger.LogEvent{ID: e.At().EventID(), Time: e.Time, Message: e.Message})
	}
	return list
}

// accept puts an event into the function's queue, for the service's name with the region and without: policies have one
// or the other.
func (d *Feed) accept(ctx context.Context, f *Filter, payload []byte) error {
	var err error
	for _, service := range []string{"logs." + f.Region + ".amazonaws.com", "logs.amazonaws.com"} {
		_, err = d.o.Functions.Accept(ctx, &push.Delivery{Function: f.Function, Service: service, Account: f.Account, Payload: payload,
			Source: "arn:aws:logs:" + f.Region + ":" + f.Account + ":log-group:" + f.Group + ":*"})
		if !errors.As(err, new(*push.NotAllowedError)) {
			return err
		}
	}
	return err
}
