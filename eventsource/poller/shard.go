package poller

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"thaw/eventsource"
)

// shard is one shard that is being read. Its goroutine reads; lanes have its records run and say what is done with.
type shard struct {
	*session
	id     string
	ctx    context.Context // ends with the session, with the lease, or when the shard is somebody else's
	stop   context.CancelCauseFunc
	lease  eventsource.Lease // nil: the source assigns
	lanes  *lanes
	own    bool  // lanes are this shard's alone
	number int   // chooses among lanes that are shared
	lane   *lane // of them; nil: none yet

	reader  eventsource.Reader
	tracker tracker

	saving  sync.Mutex // one save at a time; guards what follows
	mark    eventsource.Checkpoint
	stored  eventsource.Checkpoint // mark, as far as it is stored
	saved   time.Time
	windows windows
}

// read reads until the shard has ended and is done with, or until it is to be read no more.
func (sh *shard) read() {
	defer sh.watched.reads(sh)()
	defer sh.farewell()
	if sh.lease != nil {
		go sh.watch(sh.lease.Lost(), eventsource.ErrStale)
	}
	for failures := 0; sh.ctx.Err() == nil; {
		reader, err := sh.src.Stream.Read(sh.ctx, sh.id, sh.from())
		if err == nil {
			if reader.Revoked() != nil {
				go sh.watch(reader.Revoked(), eventsource.ErrRevoked)
			}
			sh.replace(reader)
			err = sh.drink(reader, &failures)
		}
		switch {
		case sh.ctx.Err() != nil:
			return
		case errors.Is(err, io.EOF):
			sh.end()
			return
		case errors.Is(err, eventsource.ErrRevoked):
			sh.stop(err)
			return
		case errors.Is(err, eventsource.ErrPositionLost):
			sh.lost()
			continue
		}
		failures++
		if !sh.trouble(err, failures) {
			return
		}
	}
}

// replace makes a reader the one that commits; the one before ends.
func (sh *shard) replace(reader eventsource.Reader) {
	sh.saving.Lock()
	old := sh.reader
	sh.reader = reader
	sh.saving.Unlock()
	if old != nil {
		old.Close()
	}
}

// lag is how many records wait behind those that were read, and how far behind the end these are; -1: nobody knows.
func (sh *shard) lag() (records int64, behind time.Duration) {
	if !sh.saving.TryLock() { // being stored: next time
		return -1, -1
	}
	defer sh.saving.Unlock()
	if sh.reader == nil {
		return -1, -1
	}
	behind = -1
	if b, ok := sh.reader.(Behind); ok {
		behind = b.Behind()
	}
	return sh.reader.Lag(), behind
}

// watch stops the shard when a channel is closed.
func (sh *shard) watch(lost <-chan struct{}, why error) {
	select {
	case <-lost:
		sh.stop(why)
	case <-sh.ctx.Done():
	}
}

// from is where the next read begins: behind everything that was read, done with or not.
func (sh *shard) from() eventsource.Start {
	if p, ok := sh.tracker.last(); ok {
		return eventsource.Start{At: eventsource.After, Position: p}
	}
	return sh.mark.Start
}

// lost goes on with the oldest record there is.
func (sh *shard) lost() {
	sh.s.o.Log.Warn("event source mapping: records were lost: the position is no longer in the source, reading goes on with the oldest record",
		"mapping", sh.m.ID, "shard", sh.id)
	sh.o.tell(eventsource.SourceFailed, &eventsource.ProblemError{Text: "Records were lost: the position is no longer in the source. Reading goes on with the oldest record."})
	sh.saving.Lock()
	sh.mark.Start = eventsource.Start{At: eventsource.TrimHorizon}
	sh.saving.Unlock()
	sh.tracker.restart()
}

// drink reads with one reader until an error says what is next.
func (sh *shard) drink(reader eventsource.Reader, failures *int) error {
	for {
		all, err := reader.Next(sh.ctx, sh.limits().Count)
		if len(all) > 0 {
			if *failures > 0 {
				*failures = 0
			}
			sh.well()
			sh.take(all)
		}
		if err == nil {
			if len(all) == 0 {
				sh.idle(reader)
			}
			continue
		}
		var p *eventsource.ProblemError
		if !errors.As(err, &p) || sh.ctx.Err() != nil {
			return err
		}
		*failures++
		if !sh.trouble(err, *failures) {
			return context.Cause(sh.ctx)
		}
	}
}

// idle takes note of a position that has moved while nothing came, and stores it now and then: a log keeps it only for so
// long.
func (sh *shard) idle(reader eventsource.Reader) {
	i, ok := reader.(eventsource.Idler)
	if !ok {
		return
	}
	if position, ok := i.Idle(); !ok || !sh.tracker.move(position) {
		return
	}
	sh.well()
	sh.saving.Lock()
	due := time.Since(sh.saved) >= sh.s.o.Idle
	sh.saving.Unlock()
	if due {
		sh.saveNow(false)
	}
}

// take gives records that were read to the lanes.
func (sh *shard) take(all []*eventsource.Record) {
	sh.s.o.Metrics.Polled(sh.m, len(all))
	var pass, out []*eventsource.Record
	for _, r := range all {
		if sh.wanted(r) {
			pass = append(pass, r)
		} else {
			out = append(out, r)
		}
	}
	sh.tracker.add(all, out)
	if len(out) > 0 {
		sh.s.o.Metrics.FilteredOut(sh.m, len(out))
	}
	if len(pass) == 0 {
		if !sh.traits.FilteredWait {
			sh.saveNow(false)
		}
		return
	}
	sh.lanes.put(sh, pass)
}

// end waits until everything of a closed shard is done with, and stores that.
func (sh *shard) end() {
	select {
	case <-sh.tracker.finish():
	case <-sh.ctx.Done():
		return
	}
	if sh.own {
		sh.lanes.flush(sh)
	}
	if sh.ctx.Err() != nil {
		return
	}
	sh.saving.Lock()
	sh.mark.Ended = true
	sh.saved = time.Time{}
	sh.saving.Unlock()
	sh.saveNow(true)
}

// done says that records are done with, and stores how far the shard is.
func (sh *shard) done(records []*eventsource.Record) {
	sh.tracker.done(records)
	sh.saveNow(true)
}

// idleSave is how often a position is stored that only records without interest have moved.
const idleSave = 5 * time.Second

// saveNow stores how far the shard is, if that has changed; lazily: not too often. It insists while the server runs: what
// is not stored comes again.
func (sh *shard) saveNow(insist bool) {
	sh.saving.Lock()
	defer sh.saving.Unlock()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		position, ok := sh.tracker.reached()
		next := sh.mark
		if ok {
			next.Start = eventsource.Start{At: eventsource.After, Position: position}
		}
		next.Window = sh.windowTextLocked()
		if next.Ended == sh.stored.Ended && next.Start == sh.stored.Start && bytes.Equal(next.Window, sh.stored.Window) || !insist && time.Since(sh.saved) < idleSave {
			return
		}
		err := sh.store(&next)
		switch {
		case err == nil:
			sh.mark, sh.stored, sh.saved = next, next, time.Now()
			return
		case errors.Is(err, eventsource.ErrStale), errors.Is(err, eventsource.ErrRevoked):
			sh.stop(err)
			return
		}
		sh.s.o.Log.Error("event source mapping: the position cannot be stored", "mapping", sh.m.ID, "shard", sh.id, "error", err)
		if !insist || !wait(sh.s.hard, pause) || sh.ctx.Err() != nil {
			return
		}
	}
}

func (sh *shard) store(c *eventsource.Checkpoint) (err error) {
	ctx, cancel := sh.settling()
	defer cancel()
	if sh.lease == nil {
		if sh.reader == nil || c.Ended {
			return nil
		}
		return sh.reader.Commit(ctx, c.Start.Position)
	}
	c.Revision, err = sh.s.o.Checkpoints.Save(ctx, sh.m.ID, sh.id, *c)
	return err
}

// farewell waits for what is in flight, stores the last position, and gives the shard up.
func (sh *shard) farewell() {
	why := context.Cause(sh.ctx)
	sh.stop(nil)
	sh.lanes.leave(sh)
	if !errors.Is(why, eventsource.ErrStale) && !errors.Is(why, eventsource.ErrRevoked) && !sh.traits.FilteredWait {
		sh.saveNow(true)
	}
	sh.replace(nil) // not before: what was in flight has been committed with it
	if sh.lease != nil {
		ctx, cancel := sh.settling()
		defer cancel()
		sh.lease.Release(ctx)
	}
}
