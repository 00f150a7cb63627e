package kafka

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thaw/eventsource"
)

// member is one of a share group. It has a client for itself, since its connections are what the cluster knows the locks
// of records by. One goroutine at a time calls receive, with nothing in hand; others settle what it has returned.
type member struct {
	q      *shareQueue
	client *kgo.Client
	index  int // among those of the queue
	id     string
	ctx    context.Context // ends when the member leaves
	stop   context.CancelFunc
	work   sync.WaitGroup
	news   chan struct{} // has a value when the assignment or err have changed
	ask    chan struct{} // has a value when the assignment may have changed, which the next heartbeat tells

	mu       sync.Mutex
	epoch    int32 // of the membership; 0: it is to join
	assigned []int32
	err      error           // why there is no assignment; nil: all is well
	away     time.Time       // since when no heartbeat was answered; zero: the last one was
	topicID  [16]byte        // as the cluster has it
	leaders  map[int32]int32 // of partitions: brokers
	sessions map[int32]*session
	turn     int
	lock     time.Duration // how long a record is this member's
	hand     map[*acquired]bool
	unread   []*acquired // in hand, and not returned yet
}

func newMember(q *shareQueue, client *kgo.Client, index int) *member {
	m := &member{q: q, client: client, index: index, id: q.idOf(index), news: make(chan struct{}, 1),
		ask: make(chan struct{}, 1), sessions: map[int32]*session{}, hand: map[*acquired]bool{}}
	m.ctx, m.stop = context.WithCancel(q.ctx)
	return m
}

// idOf is the id of a member: the same each time that this host reads the mapping. A member that has died keeps its
// partitions for three quarters of a minute; with its id they are the next one's at once.
func (q *shareQueue) idOf(index int) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(q.owner+"/"+strconv.Itoa(index))).String()
}

// evict has the members leave that an earlier server of this host has left behind.
func (q *shareQueue) evict(ctx context.Context, client *kgo.Client) {
	request := kmsg.NewPtrShareGroupDescribeRequest()
	request.GroupIDs = []string{q.group}
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return // they are missed by and by
	}
	ours := map[string]bool{}
	for i := range maxMembers {
		ours[q.idOf(i)] = true
	}
	for _, g := range response.Groups {
		for _, old := range g.Members {
			if ours[old.MemberID] {
				q.say(ctx, client, old.MemberID)
			}
		}
	}
}

// maxMembers is more than there ever are of a mapping.
const maxMembers = 128

// say tells the cluster that a member leaves. One who cannot be told misses it soon.
func (q *shareQueue) say(ctx context.Context, client *kgo.Client, id string) {
	request := kmsg.NewPtrShareGroupHeartbeatRequest()
	request.GroupID, request.MemberID, request.MemberEpoch = q.group, id, finalEpoch
	_, _ = request.RequestWith(ctx, client)
}

// holds says whether records are in hand.
func (m *member) holds() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hand) > 0
}

// Pauses between heartbeats: until there is an assignment, and when the coordinator is away.
const (
	firstBeats = 100 * time.Millisecond
	awayBeats  = time.Second
	patience   = 5 * time.Second // with a coordinator that is being found
)

// beat keeps the membership until the member leaves.
func (m *member) beat() {
	for {
		pause := m.heartbeat()
		select {
		case <-m.ctx.Done():
			return
		case <-m.ask:
		case <-time.After(pause):
		}
	}
}

func (m *member) heartbeat() (pause time.Duration) {
	request := kmsg.NewPtrShareGroupHeartbeatRequest()
	m.mu.Lock()
	request.GroupID, request.MemberID, request.MemberEpoch = m.q.group, m.id, m.epoch
	m.mu.Unlock()
	request.SubscribedTopicNames = []string{m.q.topic}
	ctx, cancel := context.WithTimeout(m.ctx, reach)
	defer cancel()
	response, err := request.RequestWith(ctx, m.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ctx.Err() != nil:
		return 0
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedMemberEpoch), errors.Is(err, kerr.GroupIDNotFound):
		if m.epoch == 0 {
			break // it has just joined, and is told that it has not
		}
		m.epoch, m.assigned = 0, nil
		return 0
	}
	if err != nil {
		return m.unwell(err)
	}
	m.err, m.away = nil, time.Time{}
	m.epoch = response.MemberEpoch
	if a := response.Assignment; a != nil {
		m.assigned = nil
		for _, t := range a.TopicPartitions { // of the one topic
			m.topicID, m.assigned = t.TopicID, append(m.assigned, t.Partitions...)
		}
		slices.Sort(m.assigned)
		m.tell()
	}
	if len(m.assigned) == 0 {
		return firstBeats
	}
	return time.Duration(response.HeartbeatIntervalMillis) * time.Millisecond
}

// unwell notes why there is no heartbeat. A coordinator that is about to be there is not worth a word.
func (m *member) unwell(err error) (pause time.Duration) {
	if m.away.IsZero() {
		m.away = time.Now()
	}
	if kerr.IsRetriable(err) && time.Since(m.away) < patience {
		return firstBeats
	}
	m.err = shareProblem(err)
	m.tell()
	return awayBeats
}

func (m *member) tell() {
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// shareProblem says in words why a share group cannot be read.
func shareProblem(err error) error {
	if errors.Is(err, kerr.UnsupportedVersion) {
		return noShares(err)
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The consumer group is not a share group. Make the mapping with another ConsumerGroupId.", Err: err}
	}
	return problem(err)
}

func noShares(err error) error {
	return &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Err: err,
		Text: "The cluster has no share groups. ConsumptionMode Queue needs Kafka 4.2 or later, with the feature share.version."}
}

// begin fetches once from all partitions, so that the group has a position in each. What comes is for the first Receive.
func (m *member) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	for {
		turns, err := m.turns(ctx)
		if err != nil {
			return err
		}
		for _, t := range turns {
			if _, err := m.fetch(ctx, t, 1, fetchWait/time.Duration(len(turns))); err != nil {
				return err
			}
		}
		if len(turns) > 0 {
			return nil
		}
		select {
		case <-m.news:
		case <-ctx.Done():
			return &eventsource.ProblemError{Text: "The cluster has given this server no partition of the share group."}
		}
	}
}

// turn is a broker, and what is to be fetched from it.
type turn struct {
	broker     int32
	partitions []int32
}

// turns are the brokers that lead partitions that are assigned, in a fixed order.
func (m *member) turns(ctx context.Context) ([]turn, error) {
	m.mu.Lock()
	assigned, err, known := m.assigned, m.err, m.leaders
	m.mu.Unlock()
	if len(assigned) == 0 {
		return nil, err
	}
	if known == nil {
		var err error
		if known, err = m.lookUp(ctx); err != nil {
			return nil, err
		}
	}
	var all []turn
	for _, p := range assigned {
		b, ok := known[p]
		if !ok {
			m.moved() // a partition that is new, or has no leader now
			continue
		}
		i := slices.IndexFunc(all, func(t turn) bool { return t.broker == b })
		if i < 0 {
			all, i = append(all, turn{broker: b}), len(all)
		}
		all[i].partitions = append(all[i].partitions, p)
	}
	return all, nil
}

// lookUp asks who leads the partitions.
func (m *member) lookUp(ctx context.Context) (map[int32]int32, error) {
	leaders, err := leadersOf(ctx, m.client, m.q.topic)
	if err != nil {
		return nil, problem(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaders = leaders
	return leaders, nil
}

// leadersOf are the brokers that lead the partitions of a topic.
func leadersOf(ctx context.Context, client *kgo.Client, topic string) (map[int32]int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	request.Topics = append(request.Topics, one)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	leaders := map[int32]int32{}
	for _, t := range response.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, err
		}
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Leader >= 0 {
				leaders[p.Partition] = p.Leader
			}
		}
	}
	return leaders, nil
}

// moved says that the leaders are to be looked up again.
func (m *member) moved() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaders = nil
}

// receive waits for records. It asks one broker after the other, never two at a time: what a second one gave would wait.
func (m *member) receive(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	if m.holds() {
		return m.read(ctx, limit)
	}
	for end := time.Now().Add(longPoll); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if time.Now().After(end) {
			return nil, nil
		}
		turns, err := m.turns(ctx)
		if err != nil {
			return nil, err
		}
		if len(turns) == 0 {
			select {
			case <-m.news:
			case <-time.After(firstBeats):
			case <-ctx.Done():
			}
			continue
		}
		m.turn++
		got, err := m.fetch(ctx, turns[m.turn%len(turns)], limit, fetchWait/time.Duration(len(turns)))
		if err != nil {
			return nil, err
		}
		if got {
			return m.read(ctx, limit)
		}
	}
}

// read makes records of what is in hand. They stay there until they could be read: the registry of their schemas may be
// away, and a record that is released is nearer to its last delivery.
func (m *member) read(ctx context.Context, limit int) (all []*eventsource.Record, failed error) {
	m.mu.Lock()
	raw := m.unread[:min(limit, len(m.unread))]
	m.mu.Unlock()
	for _, a := range raw {
		r, err := m.q.shape.Load().record(ctx, a.Record)
		if err != nil {
			failed = m.q.unread(ctx, err)
			break
		}
		r.Handle, r.Position, r.Last, r.Deliveries = a, strconv.FormatInt(a.Offset, 10), a.deliveries >= m.q.limit, int(a.deliveries)
		all = append(all, r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unread = m.unread[len(all):]
	if len(all) > 0 {
		return all, nil
	}
	return nil, failed
}

// unread says why a record cannot be read. A registry that refuses the secrets is asked with new ones.
func (q *shareQueue) unread(ctx context.Context, err error) error {
	if !errors.Is(err, eventsource.ErrBroken) {
		return err
	}
	if again, failed := q.reread(ctx); failed == nil {
		q.shape.Store(again)
	}
	var p *eventsource.ProblemError
	if errors.As(err, &p) {
		return p
	}
	return err
}
