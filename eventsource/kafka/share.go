package kafka

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thaw/eventsource"
)

// shareQueue is the eventsource.Queue of a share group (KIP-932). Each batch is in the hands of one member of the group,
// which fetches no more before all of it is settled: nothing is fetched ahead, so no lock runs out while records wait for
// a function. The client library's own share consumer is not used: it accepts with each poll whatever is not settled yet,
// and fetches the next batch while one is in hand.
type shareQueue struct {
	client  *kgo.Client // of no member
	connect func() (*kgo.Client, error)
	reread  func(context.Context) (*shape, error) // with what the secrets say now
	shape   atomic.Pointer[shape]
	owner   string // of members: this host and mapping
	group   string
	topic   string
	least   int   // members that stay when nothing comes
	limit   int16 // deliveries of a record; the cluster gives it no more after the last one
	ctx     context.Context
	stop    context.CancelFunc

	mu      sync.Mutex
	free    []*member
	all     map[*member]bool
	leaving int // of them
	closed  bool
}

// longPoll is how long Receive waits for the first record.
const longPoll = 20 * time.Second

// idleConnections is how long a connection of a member may be silent. Records are locked by it, so it does not end while a
// function runs: locks are renewed meanwhile. It is the most that the client library allows.
const idleConnections = 15 * time.Minute

func (d *Driver) openShare(ctx context.Context, src *eventsource.Source, m *eventsource.Mapping, s *shape, options []kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	q := &shareQueue{
		connect: func() (*kgo.Client, error) {
			return kgo.NewClient(append(slices.Clone(options), kgo.ConnIdleTimeout(idleConnections))...)
		},
		reread: func(ctx context.Context) (*shape, error) {
			again := &shape{m: s.m, bootstrap: s.bootstrap}
			return again, d.schemas(ctx, m, again)
		},
		owner: hostname() + "/" + string(m.ID), group: groupOf(m), topic: m.Source.Topics[0], all: map[*member]bool{},
	}
	q.client = client
	q.shape.Store(s)
	scale := eventsource.NewScale(m, time.Now())
	q.least = scale.Least()
	if err := hasShares(ctx, client); err != nil {
		client.Close()
		return nil, err
	}
	q.limit = deliveryLimit(ctx, client, q.group)
	q.ctx, q.stop = context.WithCancel(context.Background())
	src.Queue = q
	src.Close = func(ctx context.Context) error {
		q.close(ctx)
		client.Close()
		return nil
	}
	// A group begins where its partitions are when somebody fetches them first: from now on nothing is missed.
	q.evict(ctx, client)
	first, err := q.join()
	if err == nil {
		err = first.begin(ctx)
	}
	if err != nil {
		_ = src.Close(ctx) // which tells nothing
		return nil, err
	}
	q.back(first)
	return client, nil
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// hasShares asks the cluster whether it speaks of share groups as it has to: with bounds for records, and locks that are
// renewed.
func hasShares(ctx context.Context, client *kgo.Client) error {
	const version = 2
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, client)
	if err != nil {
		return problem(err)
	}
	fetch := kmsg.NewPtrShareFetchRequest().Key()
	for _, k := range response.ApiKeys {
		if k.ApiKey == fetch && k.MaxVersion >= version {
			return nil
		}
	}
	return noShares(nil)
}

// defaultDeliveries is Kafka's own group.share.delivery.count.limit.
const defaultDeliveries = 5

// deliveryLimit asks the cluster how often it gives a record to somebody: as the group says, or else the brokers.
func deliveryLimit(ctx context.Context, client *kgo.Client, group string) int16 {
	n := int16(defaultDeliveries)
	request := kmsg.NewPtrDescribeConfigsRequest()
	one := kmsg.NewDescribeConfigsRequestResource()
	one.ResourceType, one.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	request.Resources = append(request.Resources, one)
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return n // who may not ask goes by the default
	}
	for _, r := range response.Resources {
		for _, c := range r.Configs {
			if c.Name != "share.delivery.count.limit" || c.Value == nil {
				continue
			}
			if told, err := strconv.ParseInt(*c.Value, 10, 16); err == nil {
				n = int16(told)
			}
		}
	}
	return n
}

// join makes a member.
func (q *shareQueue) join() (*member, error) {
	client, err := q.connect()
	if err != nil {
		return nil, problem(err)
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		client.Close()
		return nil, context.Canceled
	}
	index := 0
	for taken := true; taken; {
		if taken = slices.ContainsFunc(slices.Collect(maps.Keys(q.all)), func(m *member) bool { return m.index == index }); taken {
			index++
		}
	}
	m := newMember(q, client, index)
	q.all[m] = true
	q.mu.Unlock()
	m.work.Go(m.beat)
	m.work.Go(m.renew)
	return m, nil
}

// take gives a member that has nothing in hand; rather one that has fetched what could not be read yet.
func (q *shareQueue) take() (*member, error) {
	q.mu.Lock()
	if n := len(q.free); n > 0 {
		i := max(0, slices.IndexFunc(q.free, func(m *member) bool { return m.holds() }))
		m := q.free[i]
		q.free = slices.Delete(q.free, i, i+1)
		q.mu.Unlock()
		return m, nil
	}
	q.mu.Unlock()
	return q.join()
}

// back takes a member that has nothing in hand any more.
func (q *shareQueue) back(m *member) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free = append(q.free, m)
}

// Receive implements eventsource.Queue.
func (q *shareQueue) Receive(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	m, err := q.take()
	if err != nil {
		return nil, err
	}
	all, err := m.receive(ctx, limit)
	switch {
	case len(all) > 0:
		return all, nil
	case err == nil && q.leave(m): // with the poller that finds nothing
	default:
		q.back(m)
	}
	return nil, err
}

// leave ends a member that finds nothing, if there are enough others: the partitions that it has are theirs then.
func (q *shareQueue) leave(m *member) bool {
	q.mu.Lock()
	if len(q.all)-q.leaving <= q.least || m.holds() {
		q.mu.Unlock()
		return false
	}
	q.leaving++
	q.mu.Unlock()
	m.close(context.Background())
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaving--
	delete(q.all, m) // its id is free only now
	for other := range q.all {
		select {
		case other.ask <- struct{}{}:
		default:
		}
	}
	return true
}

// Acknowledge implements eventsource.Queue.
func (q *shareQueue) Acknowledge(ctx context.Context, messages []*eventsource.Record) error {
	return q.settle(ctx, messages, accept)
}

// GiveBack implements eventsource.Queue. The cluster would give a record that was released to somebody at once, and gives it
// only so many times: it is released after a while. The poller whose batch has failed waits for that.
func (q *shareQueue) GiveBack(ctx context.Context, messages []*eventsource.Record, why eventsource.Why) error {
	switch why {
	case eventsource.Lost:
		return q.settle(ctx, messages, reject)
	case eventsource.Failed:
		most := 1
		for _, r := range messages {
			most = max(most, int(r.Handle.(*acquired).deliveries))
		}
		select {
		case <-time.After(delays.After(most)):
		case <-ctx.Done():
		case <-q.ctx.Done():
		}
	}
	return q.settle(ctx, messages, release)
}

// delays are how long a record is kept that a function has failed for, by how often it was delivered.
var delays = eventsource.Delays{First: 100 * time.Millisecond, Limit: 5 * time.Second}

// settle tells the cluster what becomes of records. Members that have nothing in hand then are free.
func (q *shareQueue) settle(ctx context.Context, messages []*eventsource.Record, how verdict) error {
	of := map[*member][]*acquired{}
	for _, r := range messages {
		a := r.Handle.(*acquired)
		of[a.member] = append(of[a.member], a)
	}
	var failed error
	for m, all := range of {
		free, err := m.settle(ctx, all, how)
		failed = errors.Join(failed, err)
		if free {
			q.back(m)
		}
	}
	return failed
}

// Depth implements poller.Depth: how many records the group is not done with, as far as the cluster can say.
func (q *shareQueue) Depth(ctx context.Context) (int64, error) {
	request := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	one, of := kmsg.NewDescribeShareGroupOffsetsRequestGroup(), kmsg.NewDescribeShareGroupOffsetsRequestGroupTopic()
	topic, err := q.partitions(ctx)
	if err != nil {
		return 0, err
	}
	of.Topic, of.Partitions, one.GroupID = q.topic, topic, q.group
	one.Topics, request.Groups = append(one.Topics, of), append(request.Groups, one)
	response, err := request.RequestWith(ctx, q.client)
	if err != nil {
		return 0, err
	}
	var lag int64
	for _, g := range response.Groups {
		err = errors.Join(err, kerr.ErrorForCode(g.ErrorCode))
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode)); p.Lag < 0 {
					return 0, errNoLag
				}
				lag += p.Lag
			}
		}
	}
	return lag, err
}

var errNoLag = errors.New("the cluster does not tell how far the group is")

// partitions are those of the topic.
func (q *shareQueue) partitions(ctx context.Context) (all []int32, err error) {
	leaders, err := leadersOf(ctx, q.client, q.topic)
	return slices.Collect(maps.Keys(leaders)), err
}

// close leaves the group. What is in hand is released with it.
func (q *shareQueue) close(ctx context.Context) {
	q.mu.Lock()
	q.closed = true
	all := q.all
	q.all, q.free = map[*member]bool{}, nil
	q.mu.Unlock()
	q.stop()
	var closing sync.WaitGroup
	for m := range all {
		closing.Go(func() { m.close(ctx) })
	}
	closing.Wait()
}
