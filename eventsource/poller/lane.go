package poller

import (
	"context"
	"strconv"
	"sync"
	"time"

	"thaw/eventsource"
)

// lanes have the records of one shard, or of all shards of a source that mixes them, run. Records with one key, or of one
// shard, go through one lane, which has one batch in flight: so their order is kept.
type lanes struct {
	s    *session
	work sync.WaitGroup

	mu  sync.Mutex
	all []*lane // only grows
}

// now are the lanes that there are at this moment.
func (l *lanes) now() []*lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// newLanes makes n lanes, of one shard or, with sh nil, of all.
func newLanes(s *session, n int, sh *shard) *lanes {
	l := &lanes{s: s}
	l.grow(n, sh)
	return l
}

// grow makes as many lanes as are missing.
func (l *lanes) grow(n int, sh *shard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.s
	for i := len(l.all); i < n; i++ {
		ln := &lane{s: s, sh: sh, index: i, batcher: eventsource.NewBatcher(s.src.Envelope, s.limits()), wake: make(chan struct{}, 1), held: map[*shard]int{}, of: map[*eventsource.Record]*shard{}}
		ln.room = sync.NewCond(&ln.mu)
		if sh != nil {
			if w, ok := sh.windows[strconv.Itoa(i)]; ok && ln.tumbling() > 0 {
				ln.window = &w
			}
		}
		l.all = append(l.all, ln)
		l.work.Add(1)
		go func() {
			defer l.work.Done()
			ln.run()
		}()
	}
}

// seat is the lane of a shard that shares lanes with others. Where there are more lanes than before, it may be another
// one: as soon as the last has nothing of the shard any more, so that its order is kept. Called by the shard's goroutine.
func (l *lanes) seat(sh *shard) *lane {
	all := l.now()
	want := all[sh.number%len(all)]
	if sh.lane != nil && sh.lane != want {
		sh.lane.drained(sh)
	}
	sh.lane = want
	return want
}

// drained waits until a lane has nothing of a shard any more, or until that stops.
func (ln *lane) drained(sh *shard) {
	undo := context.AfterFunc(sh.ctx, func() {
		ln.mu.Lock()
		ln.room.Broadcast()
		ln.mu.Unlock()
	})
	defer undo()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for ln.held[sh] > 0 && sh.ctx.Err() == nil {
		ln.room.Wait()
	}
}

// put gives records of a shard to their lanes, and waits where a lane has many of that shard.
func (l *lanes) put(sh *shard, records []*eventsource.Record) {
	if !sh.own {
		l.seat(sh).put(sh, records)
		return
	}
	all := l.now()
	parts := make([][]*eventsource.Record, len(all))
	for _, r := range records {
		i := laneOf(r, len(parts))
		parts[i] = append(parts[i], r)
	}
	for i, part := range parts {
		if len(part) > 0 {
			all[i].put(sh, part)
		}
	}
}

// leave takes a shard that has stopped out of the lanes: what no invoke has in flight is forgotten, the rest is waited for.
func (l *lanes) leave(sh *shard) {
	for _, ln := range l.now() {
		ln.leave(sh)
	}
	if sh.own {
		for _, ln := range l.now() {
			ln.close()
		}
		l.work.Wait()
	}
}

// wait ends lanes that several shards share; all shards have left.
func (l *lanes) wait() {
	for _, ln := range l.now() {
		ln.close()
	}
	l.work.Wait()
}

// lane has batches run one after the other.
type lane struct {
	s     *session
	sh    *shard        // whose lane it is; nil: all shards'
	index int           // among the shard's
	wake  chan struct{} // buffered: something has changed

	mu      sync.Mutex
	room    *sync.Cond
	queue   []*eventsource.Record // waiting for a place in the batch
	bytes   int                   // of them
	batcher *eventsource.Batcher
	of      map[*eventsource.Record]*shard // waiting, in the batch or in flight
	held    map[*shard]int                 // how many
	closed  bool

	window   *eventsource.Window // tumbling, open; changed by the lane's goroutine alone
	filling  time.Time           // when the window begins that the batch belongs to
	flushing bool                // the shard has ended: the window closes
}

// ahead is how many batches of a shard wait for a lane, and how many bytes of all of them, before reading waits.
const (
	aheadBatches = 2
	aheadBytes   = 12 << 20
)

func (ln *lane) poke() {
	select {
	case ln.wake <- struct{}{}:
	default:
	}
}

func (ln *lane) put(sh *shard, records []*eventsource.Record) {
	undo := context.AfterFunc(sh.ctx, func() { // who waits for room has to hear of the end
		ln.mu.Lock()
		ln.room.Broadcast()
		ln.mu.Unlock()
	})
	defer undo()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for _, r := range records {
		for ln.held[sh] >= aheadBatches*ln.s.limits().Count || ln.held[sh] > 0 && ln.bytes >= aheadBytes {
			if sh.ctx.Err() != nil {
				return
			}
			ln.poke()
			ln.room.Wait()
		}
		if sh.ctx.Err() != nil {
			return
		}
		ln.queue = append(ln.queue, r)
		ln.bytes += r.Size()
		ln.of[r] = sh
		ln.held[sh]++
	}
	ln.poke()
}

// leave forgets what waits of a shard that has stopped, and waits for what is in flight.
func (ln *lane) leave(sh *shard) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	waiting := ln.queue[:0:0]
	gone := func(r *eventsource.Record) bool { return ln.of[r] == sh }
	for _, r := range ln.queue {
		if gone(r) {
			ln.bytes -= r.Size()
			ln.dropLocked(r)
		} else {
			waiting = append(waiting, r)
		}
	}
	ln.queue = waiting
	ln.batcher.Forget(func(r *eventsource.Record) bool {
		if !gone(r) {
			return false
		}
		ln.dropLocked(r)
		return true
	})
	ln.poke()
	for ln.held[sh] > 0 {
		ln.room.Wait()
	}
	delete(ln.held, sh)
}

// dropLocked forgets one record.
func (ln *lane) dropLocked(r *eventsource.Record) {
	sh := ln.of[r]
	delete(ln.of, r)
	ln.held[sh]--
	ln.room.Broadcast()
}

func (ln *lane) close() {
	ln.mu.Lock()
	ln.closed = true
	ln.mu.Unlock()
	ln.poke()
}

// run is the lane's goroutine.
func (ln *lane) run() {
	for {
		batch, due, ends := ln.next()
		switch {
		case batch != nil:
			ln.process(batch)
		case ends == windowEnds:
			ln.closeWindow(false)
		case ends == laneEnds:
			return
		default:
			ln.sleep(due)
		}
	}
}

// sleep waits until something changes, or until a time; zero: no time.
func (ln *lane) sleep(until time.Time) {
	if until.IsZero() {
		<-ln.wake
		return
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-ln.wake:
	case <-t.C:
	}
}

// ending is what a lane without a batch has to end.
type ending uint8

const (
	nothingEnds ending = iota
	windowEnds
	laneEnds
)

// next fills the batch, and takes it when it goes out. Otherwise it says when it will, if nothing else comes, and what
// ends instead.
func (ln *lane) next() (batch []*eventsource.Record, due time.Time, ends ending) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	now, full := time.Now(), false
	if !ln.closed && ln.closesLocked(now) {
		return nil, due, windowEnds
	}
	n := 0
	for _, r := range ln.queue {
		if ln.undeliverable(r) != nil { // alone: no function sees it
			if ln.batcher.Len() == 0 {
				ln.queue, ln.bytes = ln.queue[n+1:], ln.bytes-r.Size()
				return []*eventsource.Record{r}, due, nothingEnds
			}
			full = true
			break
		}
		if !ln.fitsLocked(r) || !ln.batcher.Put(r, now) {
			full = true
			break
		}
		ln.bytes -= r.Size()
		n++
	}
	if ln.queue = ln.queue[n:]; len(ln.queue) == 0 {
		ln.queue = nil
	}
	ln.room.Broadcast()
	if full && ln.batcher.Len() > 0 || ln.batcher.Ready(now) {
		return ln.batcher.Take(), due, nothingEnds
	}
	due, _ = ln.batcher.Due()
	if ln.batcher.Len() == 0 {
		due = time.Time{}
		if ln.window != nil {
			due = ln.windowEndLocked()
		}
	}
	if ln.closed {
		return nil, due, laneEnds
	}
	return nil, due, nothingEnds
}

// undeliverable says how a record is given up that no function can be given; nil: one can.
func (ln *lane) undeliverable(r *eventsource.Record) *eventsource.Loss {
	switch {
	case r.Unreadable != "":
		return &eventsource.Loss{Records: []*eventsource.Record{r}, Condition: r.Unreadable}
	case ln.batcher.Oversized(r):
		return &eventsource.Loss{Records: []*eventsource.Record{r}, Condition: ln.s.traits.Oversized}
	}
	return nil
}

// process has the function run for a batch, or for what becomes of it, until all of it is settled or its shards have
// stopped.
func (ln *lane) process(all []*eventsource.Record) {
	if len(all) == 1 {
		if l := ln.undeliverable(all[0]); l != nil {
			ln.lose(*l, attempt{})
			return
		}
	}
	var last attempt
	for work := []eventsource.Batch{{Records: all}}; len(work) > 0; {
		b := work[0]
		work = work[1:]
		if !b.NotUntil.IsZero() && len(ln.alive(b.Records)) > 0 {
			ln.pause(b)
		}
		if b.Records = ln.alive(b.Records); len(b.Records) == 0 {
			continue
		}
		var lost []eventsource.Loss
		b, lost = eventsource.Expire(b, ln.s.policy, time.Now())
		for _, l := range lost {
			ln.lose(l, attempt{requestID: last.requestID})
		}
		if len(b.Records) == 0 {
			continue
		}
		if b.Attempts == 0 && b.Refusals == 0 && b.Failures == 0 {
			ln.age(b.Records)
		}
		a := ln.s.invoke(ln.event(b.Records, false, false), traceOf(b.Records))
		early := ln.takeState(&a)
		if a.gone {
			ln.wait(b.Records)
			continue
		}
		last = a
		v := eventsource.Judge(b, a.outcome, ln.s.policy, time.Now())
		ln.s.tellResult(a, len(b.Records), &v)
		ln.settle(v.Done)
		for _, l := range v.Lost {
			ln.lose(l, a)
		}
		work = append(v.Again, work...)
		if early {
			ln.closeWindow(true)
		}
	}
}

// pause waits for the time of the next attempt, or until one of the batch's shards stops.
func (ln *lane) pause(b eventsource.Batch) {
	for time.Now().Before(b.NotUntil) && len(ln.alive(b.Records)) > 0 {
		ln.sleep(b.NotUntil)
	}
	ln.poke() // what came meanwhile is looked at later
}

// wait waits until the shards of a batch stop that nothing can be done with.
func (ln *lane) wait(records []*eventsource.Record) {
	for len(ln.alive(records)) > 0 {
		<-ln.wake
	}
	ln.poke()
}

// alive drops those records whose shard has stopped, and returns the others.
func (ln *lane) alive(records []*eventsource.Record) []*eventsource.Record {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	var rest []*eventsource.Record
	for _, r := range records {
		switch sh := ln.of[r]; {
		case sh == nil: // dropped before
		case sh.ctx.Err() != nil:
			ln.dropLocked(r)
		default:
			rest = append(rest, r)
		}
	}
	return rest
}

// settle says that records are done with: their shards move on.
func (ln *lane) settle(records []*eventsource.Record) {
	if len(records) == 0 {
		return
	}
	parts := map[*shard][]*eventsource.Record{}
	ln.mu.Lock()
	for _, r := range records {
		if sh := ln.of[r]; sh != nil {
			parts[sh] = append(parts[sh], r)
		}
	}
	ln.mu.Unlock()
	for sh, part := range parts {
		sh.done(part)
	}
	ln.mu.Lock()
	for _, r := range records {
		if ln.of[r] != nil {
			ln.dropLocked(r)
		}
	}
	ln.mu.Unlock()
}

// age tells the metrics how old the last record is that goes to the function.
func (ln *lane) age(records []*eventsource.Record) {
	if at := records[len(records)-1].Arrived; !at.IsZero() {
		ln.s.s.o.Metrics.IteratorAge(ln.s.m, max(time.Since(at), 0))
	}
}
