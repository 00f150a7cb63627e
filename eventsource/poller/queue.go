package poller

import (
	"context"
	"errors"
	"sync"
	"time"

	"thaw/eventsource"
)

// queuePollers are the goroutines that receive from a queue. Each of them receives, has its batch run, and acknowledges
// it, so there are never more batches in flight than pollers.
type queuePollers struct {
	*session
	mu    sync.Mutex
	scale eventsource.Scale
}

// pollQueue receives until the session ends, and until all batches are settled.
func (s *session) pollQueue() {
	q := &queuePollers{session: s, scale: eventsource.NewScale(s.m, time.Now())}
	q.mu.Lock()
	for range q.scale.Least() {
		q.addLocked()
	}
	q.mu.Unlock()
	<-s.ctx.Done()
	s.work.Wait()
}

func (q *queuePollers) addLocked() {
	q.scale.Add()
	q.pollers.Add(1)
	q.work.Add(1)
	go func() {
		defer q.work.Done()
		defer q.pollers.Add(-1)
		q.poll()
	}()
}

// found says that a poller has got messages: another one may look for more.
func (q *queuePollers) found() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx.Err() == nil && q.scale.Found(time.Now()) {
		q.addLocked()
	}
}

// idle says that a poller has found nothing, and whether it is one too many.
func (q *queuePollers) idle() (leave bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.scale.Idle(time.Now())
}

func (q *queuePollers) poll() {
	b := eventsource.NewBatcher(q.src.Envelope, q.limits())
	h, leave := q.watched.receives()
	defer leave()
	failures := 0
	for {
		n, err := q.receive(b)
		h.hold(b)
		switch {
		case err != nil && q.ctx.Err() == nil:
			failures++
			if !q.trouble(err, failures) {
				q.release(b.Take())
				return
			}
		case err == nil:
			failures = 0
			q.well()
			if n > 0 {
				q.found()
			} else if b.Len() == 0 && q.idle() {
				return
			}
		}
		if q.ctx.Err() != nil {
			q.release(b.Take())
			return
		}
		if b.Ready(time.Now()) {
			q.process(b.Take())
			h.hold(b)
		}
	}
}

// receive gets messages into the batch, and says how many there were. Those that do not fit any more go out first.
func (q *queuePollers) receive(b *eventsource.Batcher) (int, error) {
	ctx := q.ctx
	if due, open := b.Due(); open {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, due)
		defer cancel()
	}
	all, err := q.src.Queue.Receive(ctx, q.limits().Count-b.Len())
	if errors.Is(err, context.DeadlineExceeded) && q.ctx.Err() == nil {
		err = nil
	}
	if len(all) == 0 {
		return 0, err
	}
	q.s.o.Metrics.Polled(q.m, len(all))
	if q.ctx.Err() != nil {
		q.release(all)
		return 0, err
	}
	q.put(b, q.wanted(all))
	return len(all), err
}

// put adds messages to a batch. What goes out because they do not fit takes its time; when the session ends meanwhile,
// or a message of the same group has failed, those behind are given back.
func (q *queuePollers) put(b *eventsource.Batcher, all []*eventsource.Record) {
	failed := map[string]bool{}
	for i, r := range all {
		if r.Unreadable != "" || b.Oversized(r) {
			condition := r.Unreadable
			if condition == "" {
				condition = q.traits.Oversized
			}
			q.lose(eventsource.Loss{Records: []*eventsource.Record{r}, Condition: condition}, attempt{})
			continue
		}
		if failed[r.Key] {
			q.giveBack([]*eventsource.Record{r}, eventsource.Failed)
			continue
		}
		if b.Put(r, time.Now()) {
			continue
		}
		for _, bad := range q.process(b.Take()) {
			if bad.Key != "" {
				failed[bad.Key] = true
			}
		}
		if q.ctx.Err() != nil {
			q.release(all[i:])
			return
		}
		if failed[r.Key] {
			q.giveBack([]*eventsource.Record{r}, eventsource.Failed)
			continue
		}
		b.Put(r, time.Now())
	}
}

// wanted acknowledges what no filter lets pass, and returns the rest.
func (q *queuePollers) wanted(all []*eventsource.Record) []*eventsource.Record {
	var pass, out []*eventsource.Record
	for _, r := range all {
		if q.run.wanted(r) {
			pass = append(pass, r)
		} else {
			out = append(out, r)
		}
	}
	if len(out) > 0 {
		q.s.o.Metrics.FilteredOut(q.m, len(out))
		q.acknowledge(out)
	}
	return pass
}

// process has the function run for a batch until that is settled, and returns what was given back because of a failure.
func (q *queuePollers) process(all []*eventsource.Record) (failed []*eventsource.Record) {
	last := attempt{}
	for batches := []eventsource.Batch{{Records: all}}; len(batches) > 0; {
		b, old := eventsource.Expire(batches[0], q.policy, time.Now())
		batches = batches[1:]
		for _, l := range old {
			q.lose(l, last)
		}
		if len(b.Records) == 0 {
			continue
		}
		a := q.invoke(q.src.Envelope.Event(b.Records), traceOf(b.Records))
		if a.gone {
			q.release(b.Records)
			q.releaseAll(batches)
			return failed
		}
		if a.outcome.Ending == eventsource.Refused {
			q.mu.Lock()
			q.scale.Refused(time.Now())
			q.mu.Unlock()
		}
		v := eventsource.Judge(b, a.outcome, q.policy, time.Now())
		q.tellResult(a, len(b.Records), &v)
		failed = append(failed, q.settle(v, a)...)
		last = a
		batches = append(v.Again, batches...)
		if len(v.Again) == 0 {
			continue
		}
		if next := batches[0]; !q.inTime(next) {
			q.giveBack(next.Records, eventsource.Late)
			failed, batches = append(failed, next.Records...), batches[1:]
		} else if !wait(q.ctx, time.Until(next.NotUntil)) {
			q.releaseAll(batches)
			return append(failed, next.Records...)
		}
	}
	return failed
}

// settle tells the queue, and the failure destination, what has become of a batch, and returns what was given back.
func (q *queuePollers) settle(v eventsource.Verdict, a attempt) (failed []*eventsource.Record) {
	if len(v.Done) > 0 {
		q.acknowledge(v.Done)
		q.s.o.Metrics.Deleted(q.m, len(v.Done))
	}
	for _, l := range v.Lost {
		q.lose(l, a)
	}
	if len(v.Back) > 0 {
		q.giveBack(v.Back, eventsource.Failed)
	}
	return v.Back
}

func (q *queuePollers) releaseAll(batches []eventsource.Batch) {
	for _, b := range batches {
		q.release(b.Records)
	}
}

// inTime says whether the function could end with a batch before the queue gives one of its messages to somebody else.
func (q *queuePollers) inTime(b eventsource.Batch) bool {
	end := b.NotUntil.Add(q.s.facts(q.m).Timeout)
	for _, r := range b.Records {
		if !r.Until.IsZero() && r.Until.Before(end) {
			return false
		}
	}
	return true
}

func (q *queuePollers) acknowledge(all []*eventsource.Record) {
	ctx, cancel := q.settling()
	defer cancel()
	if err := q.src.Queue.Acknowledge(ctx, all); err != nil {
		q.s.o.Log.Warn("event source mapping: messages were not acknowledged and will come again", "mapping", q.m.ID, "messages", len(all), "error", err)
	}
}

// release gives messages back that no function has seen.
func (q *queuePollers) release(all []*eventsource.Record) { q.giveBack(all, eventsource.Released) }

func (q *queuePollers) giveBack(all []*eventsource.Record, why eventsource.Why) {
	if len(all) == 0 {
		return
	}
	ctx, cancel := q.settling()
	defer cancel()
	if err := q.src.Queue.GiveBack(ctx, all, why); err != nil {
		q.s.o.Log.Warn("event source mapping: messages were not given back and come when the queue's time is over", "mapping", q.m.ID, "messages", len(all), "error", err)
	}
}
