package poller

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"time"

	"thaw/eventsource"
)

// streamReaders are the shards of a stream that this server reads. The session's goroutine alone starts shards and
// forgets them.
type streamReaders struct {
	*session
	shards  map[string]*shard // being read
	marks   map[string]eventsource.Checkpoint
	known   bool // there were checkpoints, or the first ones are stored: shards that come later are read from their beginning
	started int  // shards, ever
	held    bool // another server reads what this one would read
	ended   chan *shard
	lanes   *lanes // of a source that mixes shards; nil: each shard has its own
}

// readStream reads all shards until the session ends, and until all batches are settled.
func (s *session) readStream() {
	r := &streamReaders{session: s, shards: map[string]*shard{}, ended: make(chan *shard)}
	if s.traits.Mixes {
		r.lanes = newLanes(s, s.leastLanes(), nil)
		defer r.lanes.wait()
	}
	defer r.stopAll()
	for failures := 0; ; {
		if err := r.load(); err == nil {
			break
		} else if failures++; !s.trouble(err, failures) {
			return
		}
	}
	r.follow()
}

// load reads the checkpoints.
func (r *streamReaders) load() (err error) {
	if r.traits.Assigns {
		return nil
	}
	r.marks, err = r.s.o.Checkpoints.Load(r.ctx, r.m.ID)
	if r.marks == nil {
		r.marks = map[string]eventsource.Checkpoint{}
	}
	r.known = len(r.marks) > 0
	return err
}

// follow starts what is to be read, again and again.
func (r *streamReaders) follow() {
	every := r.s.o.List
	tick := time.NewTicker(every)
	defer tick.Stop()
	scale := time.NewTicker(scaleEvery)
	defer scale.Stop()
	if r.lanes == nil {
		scale.Stop()
	}
	for failures := 0; ; {
		if err := r.look(); err != nil {
			failures++
			if !r.trouble(err, failures) {
				return
			}
			continue
		}
		if failures > 0 {
			failures = 0
			r.well()
		}
		var held <-chan time.Time
		if r.held {
			held = time.After(heldLook)
		}
		select {
		case <-r.ctx.Done():
			return
		case <-held:
		case <-r.src.Stream.Changed():
		case <-tick.C: // children come with the end of their parents: what has not changed for long is looked at less
			if r.src.Stream.Changed() == nil && every < seldom*r.s.o.List {
				every *= 2
				tick.Reset(every)
			}
			continue
		case <-scale.C:
			r.scale()
		case sh := <-r.ended:
			r.forget(sh)
			every = r.s.o.List
			tick.Reset(every)
		}
	}
}

// seldom is how many times longer than Options.List a source is not asked at most whose shards stay the same.
const seldom = 8

// scaleEvery is how often is looked whether a source that mixes shards needs more lanes. AWS looks once a minute.
const scaleEvery = 10 * time.Second

const mostPollers = 200 // in provisioned mode, where MaximumPollers is not given. Source: section 6.3

// leastLanes is how many lanes there are at first: one, and in provisioned mode MinimumPollers.
func (s *session) leastLanes() int {
	if p := s.m.Options.Pollers; p != nil {
		return max(p.Min, 1)
	}
	return 1
}

// scale makes twice as many lanes where more than a batch of records waits in the source, at most one for each shard.
func (r *streamReaders) scale() {
	most := len(r.shards)
	if p := r.m.Options.Pollers; p != nil {
		limit := p.Max
		if limit == 0 {
			limit = max(mostPollers, p.Min)
		}
		most = min(most, limit)
	}
	var behind int64
	for _, sh := range r.shards {
		lag, _ := sh.lag()
		behind += max(lag, 0)
	}
	if n := len(r.lanes.now()); n < most && behind > int64(r.limits().Count) {
		r.lanes.grow(min(2*n, most), nil)
	}
}

// heldLook is how often a server looks whether the shards of another one have become free.
const heldLook = 2 * time.Second

// look lists the shards, and starts those whose turn has come.
func (r *streamReaders) look() error {
	list, err := r.src.Stream.Shards(r.ctx)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, sh := range list {
		listed[sh.ID] = true
	}
	if err := r.settleFirst(list, listed); err != nil {
		return err
	}
	var turn []eventsource.Shard
	for _, sh := range list {
		if r.shards[sh.ID] == nil && !r.marks[sh.ID].Ended && r.parentsEnded(sh, listed) {
			turn = append(turn, sh)
		}
	}
	if err := r.startAll(turn); err != nil {
		return err
	}
	return r.tidy(listed)
}

// settleFirst stores where the shards begin that were there when the mapping was made. All others are born later, and
// begin with their oldest record.
func (r *streamReaders) settleFirst(list []eventsource.Shard, listed map[string]bool) error {
	if r.traits.Assigns || r.known || len(list) == 0 {
		return nil
	}
	start := eventsource.Start{At: r.m.Source.Start, Time: r.m.Source.StartTime}
	if start.At == eventsource.Latest {
		start.Time = time.Now()
	}
	r.marks = map[string]eventsource.Checkpoint{}
	for _, sh := range list {
		c := eventsource.Checkpoint{Start: start}
		revision, err := r.s.o.Checkpoints.Save(r.ctx, r.m.ID, sh.ID, c)
		if errors.Is(err, eventsource.ErrStale) { // another server was first
			return r.load()
		}
		if err != nil {
			return err
		}
		c.Revision = revision
		r.marks[sh.ID] = c
	}
	r.known = true
	return nil
}

// parentsEnded says whether everything is done with that has to be before a shard.
func (r *streamReaders) parentsEnded(sh eventsource.Shard, listed map[string]bool) bool {
	for _, p := range sh.Parents {
		if listed[p] && !r.marks[p].Ended {
			return false
		}
	}
	return true
}

// startAll reads shards, but for those that another server reads.
func (r *streamReaders) startAll(turn []eventsource.Shard) error {
	r.held = false
	if r.traits.Assigns {
		for _, of := range turn {
			r.start(of.ID, nil, eventsource.Checkpoint{Start: eventsource.Start{At: r.m.Source.Start, Time: r.m.Source.StartTime}})
		}
		return nil
	}
	leases := map[string]eventsource.Lease{}
	giveUp := func() {
		ctx, cancel := r.settling()
		defer cancel()
		for _, l := range leases {
			l.Release(ctx)
		}
	}
	for _, of := range turn {
		lease, err := r.s.o.Leases.Take(r.ctx, r.m.ID, of.ID)
		if errors.Is(err, eventsource.ErrHeld) {
			r.held = true
			continue
		}
		if err != nil {
			giveUp()
			return err
		}
		leases[of.ID] = lease
	}
	if len(leases) == 0 {
		return nil
	}
	marks, err := r.s.o.Checkpoints.Load(r.ctx, r.m.ID) // who had a lease before may have gone further
	if err != nil {
		giveUp()
		return err
	}
	maps.Copy(r.marks, marks)
	for _, of := range turn {
		lease, mark := leases[of.ID], r.marks[of.ID]
		switch {
		case lease == nil:
		case mark.Ended:
			ctx, cancel := r.settling()
			lease.Release(ctx)
			cancel()
		default:
			if mark.Start.At == "" {
				mark.Start.At = eventsource.TrimHorizon
			}
			r.start(of.ID, lease, mark)
		}
	}
	return nil
}

// start reads a shard.
func (r *streamReaders) start(id string, lease eventsource.Lease, mark eventsource.Checkpoint) {
	sh := &shard{session: r.session, id: id, lease: lease, mark: mark, stored: mark}
	r.started++
	sh.number = r.started
	sh.tracker.init()
	sh.ctx, sh.stop = context.WithCancelCause(r.ctx)
	sh.lanes = r.lanes
	if sh.lanes == nil {
		sh.windows = openWindows(mark)
		sh.lanes, sh.own = newLanes(r.session, max(r.m.Options.Parallel, 1), sh), true
	}
	r.shards[id] = sh
	r.pollers.Add(1)
	r.work.Add(1)
	go func() {
		defer r.work.Done()
		defer r.pollers.Add(-1)
		sh.read()
		select {
		case r.ended <- sh:
		case <-r.ctx.Done():
		}
	}()
}

// forget takes note of a shard that is not read any more.
func (r *streamReaders) forget(sh *shard) {
	delete(r.shards, sh.id)
	if r.marks != nil {
		r.marks[sh.id] = sh.mark
	}
}

// tidy removes the checkpoints of shards that are done with and that the source has forgotten.
func (r *streamReaders) tidy(listed map[string]bool) error {
	if r.traits.Assigns {
		return nil
	}
	var old []string
	for id := range maps.Clone(r.marks) {
		if r.marks[id].Ended && !listed[id] && len(listed) > 0 {
			old = append(old, id)
			delete(r.marks, id)
		}
	}
	if len(old) == 0 {
		return nil
	}
	return r.s.o.Checkpoints.Drop(r.ctx, r.m.ID, old...)
}

// stopAll waits for the shards of a session that ends.
func (r *streamReaders) stopAll() {
	r.stop(nil)
	r.work.Wait()
}

// laneOf says which of n lanes a record goes through: those of one key all go through the same.
func laneOf(r *eventsource.Record, n int) int {
	if n == 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(r.Key)) //nolint:errcheck // it never fails
	return int(h.Sum32() % uint32(n))
}
