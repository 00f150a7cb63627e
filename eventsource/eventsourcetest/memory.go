package eventsourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"thaw/eventsource"
)

// Memory is sources in memory: the smallest ones that keep the contract, of each shape that there is. What they hold is
// named by the ARN of a mapping. The kind of the mapping says the shape: SQS a queue, Kinesis a stream, SelfManagedKafka a
// stream whose shards are assigned.
type Memory struct {
	// Visibility is how long a message that was received is hidden.
	Visibility time.Duration
	// Deliveries is how often a message is given to somebody; 0: nobody counts.
	Deliveries int

	mu     sync.Mutex
	cond   *sync.Cond
	down   bool
	queues map[string]*memoryQueue
	logs   map[string]*memoryStream
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	m := &Memory{Visibility: 2 * time.Second, queues: map[string]*memoryQueue{}, logs: map[string]*memoryStream{}}
	m.cond = sync.NewCond(&m.mu)
	return m
}

// memoryTrace is what all that is put brings along.
const memoryTrace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"

type memoryMessage struct {
	id, body, key string
	hidden        time.Time
	receives      int
	sent          time.Time
}

type memoryQueue struct {
	m        *Memory
	messages []*memoryMessage
	n        int
}

type memoryShard struct {
	id      string
	parents []string
	records []memoryMessage
	closed  bool
	commit  int
}

type memoryStream struct {
	m      *Memory
	shards []*memoryShard
}

var errDown = &eventsource.ProblemError{Text: "Connection error. The memory is down."}

// SetDown stops or starts the server of all sources.
func (m *Memory) SetDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
	m.cond.Broadcast()
}

// MakeQueue makes a queue.
func (m *Memory) MakeQueue(arn string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queues[arn] = &memoryQueue{m: m}
}

// MakeStream makes a stream with n shards.
func (m *Memory) MakeStream(arn string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &memoryStream{m: m}
	for i := range n {
		s.shards = append(s.shards, &memoryShard{id: fmt.Sprintf("shard-%d", i)})
	}
	m.logs[arn] = s
}

// Split closes a shard and gives it two children.
func (m *Memory) Split(arn string, shard int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.logs[arn]
	s.shards[shard].closed = true
	for range 2 {
		s.shards = append(s.shards, &memoryShard{id: fmt.Sprintf("shard-%d", len(s.shards)), parents: []string{s.shards[shard].id}})
	}
	m.cond.Broadcast()
}

// Put adds records, in that order: to the queue, or to the open shard that the key chooses.
func (m *Memory) Put(arn, key string, bodies ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, body := range bodies {
		if q := m.queues[arn]; q != nil {
			q.n++
			q.messages = append(q.messages, &memoryMessage{id: "m" + strconv.Itoa(q.n), body: body, key: key, sent: time.Now()})
			continue
		}
		var open []*memoryShard
		for _, sh := range m.logs[arn].shards {
			if !sh.closed {
				open = append(open, sh)
			}
		}
		sum := 0
		for _, c := range key {
			sum += int(c)
		}
		sh := open[sum%len(open)]
		sh.records = append(sh.records, memoryMessage{id: sh.id + "@" + strconv.Itoa(len(sh.records)), body: body, key: key, sent: time.Now()})
	}
	m.cond.Broadcast()
}

// Left is how many messages a queue has, hidden ones too.
func (m *Memory) Left(arn string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queues[arn].messages)
}

// Check implements eventsource.Driver.
func (m *Memory) Check(_ context.Context, of *eventsource.Mapping, _ eventsource.Facts) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.queues[of.Source.ARN] == nil && m.logs[of.Source.ARN] == nil {
		return &eventsource.InvalidError{Message: "Stream not found: " + of.Source.ARN}
	}
	return nil
}

// Open implements eventsource.Driver.
func (m *Memory) Open(_ context.Context, of *eventsource.Mapping, _ eventsource.Facts) (*eventsource.Source, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	s := &eventsource.Source{Envelope: eventsource.Envelope{Head: `{"Records":`, Tail: `}`}, Close: func(context.Context) error { return nil }}
	if q := m.queues[of.Source.ARN]; q != nil {
		s.Queue = q
		return s, nil
	}
	if s.Stream = m.logs[of.Source.ARN]; m.logs[of.Source.ARN] == nil {
		return nil, &eventsource.ProblemError{Text: "The stream does not exist."}
	}
	s.Info = func(batch []*eventsource.Record) (string, json.RawMessage) {
		return "MemoryBatchInfo", json.RawMessage(fmt.Sprintf(`{"batchSize":%d}`, len(batch)))
	}
	return s, nil
}

func (x *memoryMessage) record(id string) *eventsource.Record {
	event, err := json.Marshal(map[string]string{"id": id, "body": x.body, "key": x.key})
	if err != nil {
		panic(err) // texts
	}
	return &eventsource.Record{ID: id, Event: event, Key: x.key, Arrived: x.sent, Trace: memoryTrace,
		Filtered: func() eventsource.Filtered {
			return eventsource.Filtered{Meta: []byte(`{}`), Data: []eventsource.Datum{{Name: "body", Bytes: []byte(x.body)}, {Name: "data", Bytes: []byte(x.body)}, {Name: "value", Bytes: []byte(x.body)}}}
		}}
}

// waitLocked waits for a change, at most until a time or the end of ctx.
func (m *Memory) waitLocked(ctx context.Context, until time.Time) {
	stop := context.AfterFunc(ctx, func() { m.mu.Lock(); m.cond.Broadcast(); m.mu.Unlock() })
	defer stop()
	if !until.IsZero() {
		t := time.AfterFunc(time.Until(until), func() { m.mu.Lock(); m.cond.Broadcast(); m.mu.Unlock() })
		defer t.Stop()
	}
	m.cond.Wait()
}

// Receive implements eventsource.Queue: a message of a key is given only when all before it are settled or hidden no more.
func (q *memoryQueue) Receive(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	m := q.m
	m.mu.Lock()
	defer m.mu.Unlock()
	end := time.Now().Add(20 * time.Second)
	for {
		if m.down {
			return nil, errDown
		}
		now := time.Now()
		var all []*eventsource.Record
		busy := map[string]bool{}
		next := end
		for _, x := range q.messages {
			if x.hidden.After(now) {
				busy[x.key] = true
				if x.hidden.Before(next) {
					next = x.hidden
				}
				continue
			}
			if x.key != "" && busy[x.key] || len(all) == limit {
				continue
			}
			x.hidden = now.Add(m.Visibility)
			x.receives++
			r := x.record(x.id)
			if r.Until, r.Handle = x.hidden, x.receives; m.Deliveries > 0 {
				r.Deliveries, r.Last = x.receives, x.receives >= m.Deliveries
			}
			all = append(all, r)
		}
		if len(all) > 0 || !now.Before(end) {
			return all, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m.waitLocked(ctx, next)
	}
}

// settle calls f with the messages that a receive has given and nobody else has got since.
func (q *memoryQueue) settle(all []*eventsource.Record, f func(i int)) error {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	if q.m.down {
		return errDown
	}
	for _, r := range all {
		if i := slices.IndexFunc(q.messages, func(x *memoryMessage) bool { return x.id == r.ID && x.receives == r.Handle }); i >= 0 {
			f(i)
		}
	}
	q.m.cond.Broadcast()
	return nil
}

// Acknowledge implements eventsource.Queue.
func (q *memoryQueue) Acknowledge(_ context.Context, all []*eventsource.Record) error {
	return q.settle(all, func(i int) { q.messages = slices.Delete(q.messages, i, i+1) })
}

// GiveBack implements eventsource.Queue: only what nobody has seen comes again at once.
func (q *memoryQueue) GiveBack(_ context.Context, all []*eventsource.Record, why eventsource.Why) error {
	return q.settle(all, func(i int) {
		switch why {
		case eventsource.Released:
			q.messages[i].hidden = time.Time{}
		case eventsource.Lost:
			q.messages = slices.Delete(q.messages, i, i+1)
		}
	})
}

// Shards implements eventsource.Stream.
func (s *memoryStream) Shards(context.Context) ([]eventsource.Shard, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.m.down {
		return nil, errDown
	}
	var all []eventsource.Shard
	for _, sh := range s.shards {
		all = append(all, eventsource.Shard{ID: sh.id, Parents: sh.parents})
	}
	return all, nil
}

// Changed implements eventsource.Stream.
func (s *memoryStream) Changed() <-chan struct{} { return nil }

// Read implements eventsource.Stream.
func (s *memoryStream) Read(_ context.Context, shard string, from eventsource.Start) (eventsource.Reader, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.m.down {
		return nil, errDown
	}
	for _, sh := range s.shards {
		if sh.id != shard {
			continue
		}
		r := &memoryReader{s: s, sh: sh}
		switch {
		case from.At == eventsource.After:
			n, err := strconv.Atoi(from.Position)
			if err != nil {
				return nil, eventsource.ErrPositionLost
			}
			r.next = n + 1
		case sh.commit > 0:
			r.next = sh.commit
		case from.At == eventsource.Latest:
			for r.next < len(sh.records) && sh.records[r.next].sent.Before(from.Time) {
				r.next++
			}
		}
		return r, nil
	}
	return nil, errors.New("no such shard")
}

type memoryReader struct {
	s    *memoryStream
	sh   *memoryShard
	next int
}

// Next implements eventsource.Reader, and so do the others.
func (r *memoryReader) Next(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	m := r.s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		if m.down {
			return nil, errDown
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var all []*eventsource.Record
		for ; r.next < len(r.sh.records) && len(all) < limit; r.next++ {
			x := r.sh.records[r.next]
			rec := x.record(x.id)
			rec.Shard, rec.Position = r.sh.id, strconv.Itoa(r.next)
			all = append(all, rec)
		}
		if len(all) > 0 {
			return all, nil
		}
		if r.sh.closed {
			return nil, io.EOF
		}
		m.waitLocked(ctx, time.Time{})
	}
}

// Commit is for mappings whose kind assigns.
func (r *memoryReader) Commit(_ context.Context, position string) error {
	r.s.m.mu.Lock()
	defer r.s.m.mu.Unlock()
	n, err := strconv.Atoi(position)
	if err == nil {
		r.sh.commit = max(r.sh.commit, n+1)
	}
	return err
}

// Revoked is never.
func (r *memoryReader) Revoked() <-chan struct{} { return nil }

// Lag is what is behind.
func (r *memoryReader) Lag() int64 {
	r.s.m.mu.Lock()
	defer r.s.m.mu.Unlock()
	return int64(len(r.sh.records) - r.next)
}

// Close has nothing to end.
func (r *memoryReader) Close() {}
