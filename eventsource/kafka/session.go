package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thaw/eventsource"
)

// session is what a member and a broker have with each other: which partitions, and what is locked for the member. It ends
// with the connection, and all locks with it. Requests of it have numbers, so one is made after the other.
type session struct {
	broker int32

	mu         sync.Mutex // held during a request
	epoch      int32      // of the next request; 0: it begins
	partitions []int32
	number     int // of sessions with that broker: locks of an earlier one are gone
}

// acquired is a record that is locked for a member.
type acquired struct {
	*kgo.Record
	member     *member
	session    *session
	number     int
	deliveries int16
}

// verdict is what becomes of a record, as the protocol has it. Source: KIP-932, KIP-1222.
type verdict = int8

const (
	gap        verdict = iota // there is no record at the offset
	accept                    // done with
	release                   // for somebody else
	reject                    // for nobody any more
	renew                     // for this member, for longer
	finalEpoch = -1
)

// recordLimit has the broker give as many records as were asked for, and no more. Source: KIP-1206.
const recordLimit = 1

func (m *member) sessionWith(broker int32) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[broker]
	if s == nil {
		s = &session{broker: broker}
		m.sessions[broker] = s
	}
	return s
}

// fetch asks a broker for records, and says whether some are in hand now. A request that was sent is waited for, whatever
// becomes of ctx: records of an answer that nobody reads would stay locked.
func (m *member) fetch(ctx context.Context, t turn, limit int, wait time.Duration) (got bool, err error) {
	s := m.sessionWith(t.broker)
	s.mu.Lock()
	defer s.mu.Unlock()
	request := kmsg.NewPtrShareFetchRequest()
	request.GroupID, request.MemberID = &m.q.group, &m.id
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes = int32(wait.Milliseconds()), 1, maxBuffered
	request.MaxRecords, request.BatchSize, request.ShareAcquireMode = int32(limit), int32(limit), recordLimit
	if s.epoch == 0 || !slices.Equal(s.partitions, t.partitions) {
		s.epoch, s.partitions = 0, t.partitions
		s.number++
		of := kmsg.NewShareFetchRequestTopic()
		m.mu.Lock()
		of.TopicID = m.topicID
		m.mu.Unlock()
		for _, p := range t.partitions {
			one := kmsg.NewShareFetchRequestTopicPartition()
			one.Partition = p
			of.Partitions = append(of.Partitions, one)
		}
		request.Topics = append(request.Topics, of)
	}
	request.ShareSessionEpoch = s.epoch
	sent, cancel := context.WithTimeout(m.ctx, wait+reach)
	defer cancel()
	response, err := request.RequestWith(sent, m.client.Broker(int(s.broker)))
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return false, m.lost(s, err)
	}
	s.next()
	return m.acquire(ctx, s, response)
}

// next counts a request that was answered.
func (s *session) next() {
	if s.epoch == math.MaxInt32 {
		s.epoch = 0
	}
	s.epoch++
}

// lost notes that a session has to begin anew. Nothing is said of one that the broker has only forgotten.
func (m *member) lost(s *session, err error) error {
	s.epoch = 0
	if errors.Is(err, kerr.ShareSessionNotFound) || errors.Is(err, kerr.InvalidShareSessionEpoch) {
		return nil
	}
	m.moved()
	return shareProblem(err)
}

// acquire takes into the hand what a broker has locked for the member. Offsets without a record are given up at once: they
// are of transactions, or of what was compacted away.
func (m *member) acquire(ctx context.Context, s *session, response *kmsg.ShareFetchResponse) (got bool, failed error) {
	var all []*acquired
	gaps := map[int32][]int64{}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			switch err := kerr.ErrorForCode(p.ErrorCode); {
			case err == nil:
			case kerr.IsRetriable(err), errors.Is(err, kerr.FencedLeaderEpoch), errors.Is(err, kerr.UnknownTopicID):
				// The partition is being begun, or has moved: who asks for its leader hears of what lasts. The next fetch
				// begins the session anew; until then it has the locks of what has come from other partitions.
				s.partitions = nil
				m.moved()
				failed = errors.Join(failed, pause(ctx, firstBeats))
			default:
				failed = shareProblem(err)
			}
			some, none := m.records(s, &p)
			if all = append(all, some...); len(none) > 0 {
				gaps[p.Partition] = none
			}
		}
	}
	m.mu.Lock()
	m.lock = time.Duration(response.AcquisitionLockTimeoutMillis) * time.Millisecond
	for _, a := range all {
		m.hand[a] = true
	}
	m.unread = append(m.unread, all...)
	m.mu.Unlock()
	if len(gaps) > 0 {
		if err := m.tellBroker(ctx, s, gaps, gap); err != nil && failed == nil {
			failed = m.lost(s, err)
		}
	}
	if len(all) > 0 {
		return true, nil
	}
	return false, failed
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// records are those of a partition that are locked for the member; none are the offsets without one.
func (m *member) records(s *session, p *kmsg.ShareFetchResponseTopicPartition) (all []*acquired, none []int64) {
	if len(p.AcquiredRecords) == 0 {
		return nil, nil
	}
	as := kmsg.NewFetchResponseTopicPartition()
	as.Partition, as.RecordBatches = p.Partition, p.Records
	read, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Topic: m.q.topic, Partition: p.Partition, Offset: p.AcquiredRecords[0].FirstOffset}, &as, kgo.DefaultDecompressor(), nil)
	at := make(map[int64]*kgo.Record, len(read.Records))
	for _, r := range read.Records {
		at[r.Offset] = r
	}
	for _, a := range p.AcquiredRecords {
		for offset := a.FirstOffset; offset <= a.LastOffset; offset++ {
			if r := at[offset]; r != nil {
				all = append(all, &acquired{Record: r, member: m, session: s, number: s.number, deliveries: a.DeliveryCount})
			} else {
				none = append(none, offset)
			}
		}
	}
	return all, none
}

// tellBroker says what becomes of offsets. The session is locked.
func (m *member) tellBroker(ctx context.Context, s *session, offsets map[int32][]int64, how verdict) error {
	request := kmsg.NewPtrShareAcknowledgeRequest()
	request.GroupID, request.MemberID, request.ShareSessionEpoch, request.IsRenewAck = &m.q.group, &m.id, s.epoch, how == renew
	of := kmsg.NewShareAcknowledgeRequestTopic()
	m.mu.Lock()
	of.TopicID = m.topicID
	m.mu.Unlock()
	for p, all := range offsets {
		one := kmsg.NewShareAcknowledgeRequestTopicPartition()
		one.Partition = p
		for _, r := range ranges(all) {
			b := kmsg.NewShareAcknowledgeRequestTopicPartitionAcknowledgementBatch()
			b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = r[0], r[1], []int8{how}
			one.AcknowledgementBatches = append(one.AcknowledgementBatches, b)
		}
		of.Partitions = append(of.Partitions, one)
	}
	request.Topics = append(request.Topics, of)
	response, err := request.RequestWith(ctx, m.client.Broker(int(s.broker)))
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		s.epoch = 0
		return err
	}
	s.next()
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	return err
}

// ranges are offsets that follow each other, first and last.
func ranges(offsets []int64) (all [][2]int64) {
	slices.Sort(offsets)
	for _, o := range offsets {
		if n := len(all); n > 0 && all[n-1][1]+1 == o {
			all[n-1][1] = o
		} else {
			all = append(all, [2]int64{o, o})
		}
	}
	return all
}

var errLockLost = errors.New("the broker has given the record to somebody else, or will: the session with it has ended")

// settle says what becomes of records in hand, and whether all that were returned are settled then. What the broker does not hear of comes
// again.
func (m *member) settle(ctx context.Context, all []*acquired, how verdict) (free bool, failed error) {
	failed = m.tellBrokers(ctx, all, how)
	m.mu.Lock()
	defer m.mu.Unlock()
	had := len(m.hand) > len(m.unread)
	for _, a := range all {
		delete(m.hand, a)
	}
	return had && len(m.hand) == len(m.unread), failed
}

func (m *member) tellBrokers(ctx context.Context, all []*acquired, how verdict) (failed error) {
	by := map[*session][]*acquired{}
	for _, a := range all {
		by[a.session] = append(by[a.session], a)
	}
	for s, some := range by {
		s.mu.Lock()
		offsets := map[int32][]int64{}
		for _, a := range some {
			if s.epoch == 0 || a.number != s.number {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", a.Topic+"-"+strconv.Itoa(int(a.Partition))+"@"+strconv.FormatInt(a.Offset, 10), errLockLost))
				continue
			}
			offsets[a.Partition] = append(offsets[a.Partition], a.Offset)
		}
		if len(offsets) > 0 {
			failed = errors.Join(failed, m.tellBroker(ctx, s, offsets, how))
		}
		s.mu.Unlock()
	}
	return failed
}

// renew keeps what is in hand locked, until the member leaves: a function may run for longer than a lock lasts.
func (m *member) renew() {
	for {
		m.mu.Lock()
		wait := m.lock / 3
		m.mu.Unlock()
		if wait == 0 {
			wait = firstBeats
		}
		if pause(m.ctx, wait) != nil {
			return
		}
		m.mu.Lock()
		all := make([]*acquired, 0, len(m.hand))
		for a := range m.hand {
			all = append(all, a)
		}
		m.mu.Unlock()
		if len(all) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(m.ctx, reach)
		_ = m.tellBrokers(ctx, all, renew) // who settles such a record is told that its lock is lost
		cancel()
	}
}

// close ends the sessions, which releases what is in hand, and leaves the group, so that others get the partitions at once.
func (m *member) close(ctx context.Context) {
	m.stop()
	m.work.Wait()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, s := range m.sessions {
		s.mu.Lock()
		if s.epoch != 0 {
			request := kmsg.NewPtrShareAcknowledgeRequest()
			request.GroupID, request.MemberID, request.ShareSessionEpoch = &m.q.group, &m.id, finalEpoch
			_, _ = request.RequestWith(ctx, m.client.Broker(int(s.broker))) // the connection's end ends it, too
		}
		s.mu.Unlock()
	}
	m.q.say(ctx, m.client, m.id)
	m.client.Close()
}

var _ eventsource.Queue = (*shareQueue)(nil)
