package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thaw/eventsource"
)

// A partition is not fetched while its buffer holds more than this.
const (
	maxBuffered      = 8 << 20 // bytes
	maxBufferedCount = 20_000
)

// fetchWait is how long the cluster holds a fetch when there is nothing new. A partition that comes while one is held, by
// an assignment or because its buffer is no more full, is fetched after it.
const fetchWait = time.Second

// stream is a member of a consumer group.
type stream struct {
	client  *kgo.Client
	shape   *shape
	group   string
	topic   string
	changed chan struct{}
	stop    context.CancelFunc
	ended   chan struct{}

	mu         sync.Mutex
	partitions map[int32]*partition
	err        error // why nothing comes; nil: all is well
}

func openStream(src *eventsource.Source, m *eventsource.Mapping, shape *shape, options []kgo.Opt) (*kgo.Client, error) {
	s := &stream{shape: shape, group: groupOf(m), topic: m.Source.Topics[0], changed: make(chan struct{}, 1),
		ended: make(chan struct{}), partitions: map[int32]*partition{}}
	options = append(options,
		kgo.ConsumerGroup(s.group), kgo.ConsumeTopics(s.topic), kgo.ConsumeStartOffset(start(m)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.KeepControlRecords(), kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval),
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(2<<20), kgo.FetchMaxWait(fetchWait),
		kgo.OnPartitionsAssigned(s.assigned), kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.revoked))
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.client, s.stop = client, stop
	go s.poll(ctx)
	src.Stream = s
	src.Close = s.close
	return client, nil
}

func groupOf(m *eventsource.Mapping) string {
	if m.Source.GroupID != "" {
		return m.Source.GroupID
	}
	return string(m.ID)
}

// start is where a group without committed offsets begins. Of LATEST it is the time at which the mapping was made: a
// server that died before it had committed anything leaves out nothing of what came since.
func start(m *eventsource.Mapping) kgo.Offset {
	switch m.Source.Start {
	case eventsource.AtTimestamp:
		return kgo.NewOffset().AfterMilli(m.Source.StartTime.UnixMilli())
	case eventsource.Latest:
		if !m.Created.IsZero() {
			return kgo.NewOffset().AfterMilli(m.Created.UnixMilli())
		}
		return kgo.NewOffset().AtEnd()
	}
	return kgo.NewOffset().AtStart()
}

// close leaves the group, so that others get the partitions at once, and ends everything.
func (s *stream) close(ctx context.Context) error {
	s.stop()
	<-s.ended
	leave, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = s.client.LeaveGroupContext(leave) // who does not get to say so is missed soon
	s.client.CloseAllowingRebalance()
	return nil
}

// poll distributes what the client has fetched.
func (s *stream) poll(ctx context.Context) {
	defer close(s.ended)
	for {
		fetches := s.client.PollRecords(ctx, 10_000)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			s.client.AllowRebalance()
			return
		}
		s.distribute(fetches)
		s.client.AllowRebalance()
	}
}

func (s *stream) distribute(fetches kgo.Fetches) {
	s.mu.Lock()
	defer s.mu.Unlock()
	well := false
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		well = true
		if p := s.partitions[f.Partition]; p != nil {
			p.put(f.Records, f.HighWatermark)
		}
	})
	fetches.EachError(func(_ string, _ int32, err error) {
		// The client tries again by itself, whatever it was. Data that the cluster has lost are said, and gone. Who is not
		// let in any more begins anew: the secret may have been changed.
		var p *eventsource.ProblemError
		if err = problem(err); errors.As(err, &p) && p.Code == "EVENT_SOURCE_AUTHN_ERROR" {
			err = fmt.Errorf("%w: %w", eventsource.ErrBroken, err)
		}
		s.fail(err)
	})
	if well && len(fetches.Errors()) == 0 {
		s.err = nil
	}
}

// fail tells all readers, and those who wait for partitions, why nothing comes.
func (s *stream) fail(err error) {
	s.err = err
	for _, p := range s.partitions {
		select {
		case p.failed <- err:
		default:
		}
	}
	s.tell()
}

func (s *stream) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *stream) assigned(_ context.Context, _ *kgo.Client, all map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range all[s.topic] {
		s.partitions[n] = newPartition(s, n)
	}
	s.err = nil
	s.tell()
}

func (s *stream) revoked(_ context.Context, _ *kgo.Client, all map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range all[s.topic] {
		if p := s.partitions[n]; p != nil {
			close(p.revoked)
			delete(s.partitions, n)
		}
	}
	s.tell()
}

// Shards implements eventsource.Stream.
func (s *stream) Shards(context.Context) ([]eventsource.Shard, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []eventsource.Shard
	for n := range s.partitions {
		all = append(all, eventsource.Shard{ID: s.name(n)})
	}
	if len(all) == 0 && s.err != nil {
		return nil, s.err
	}
	return all, nil
}

func (s *stream) name(partition int32) string { return s.topic + "-" + strconv.Itoa(int(partition)) }

// Changed implements eventsource.Stream.
func (s *stream) Changed() <-chan struct{} { return s.changed }

// Read implements eventsource.Stream. The client reads already; the reader gets what it has fetched.
func (s *stream) Read(_ context.Context, shard string, from eventsource.Start) (eventsource.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, p := range s.partitions {
		if s.name(n) == shard {
			if from.At == eventsource.After {
				offset, err := strconv.ParseInt(from.Position, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("the position %q is no offset", from.Position)
				}
				p.behind(offset)
			}
			return p, nil
		}
	}
	return nil, eventsource.ErrRevoked
}

// commit tells the cluster that a partition is done with up to a record.
func (s *stream) commit(ctx context.Context, p *partition, done kgo.EpochOffset) error {
	done.Offset++
	var failed error
	s.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{s.topic: {p.number: done}},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if failed = err; err != nil {
				return
			}
			for _, t := range response.Topics {
				for _, q := range t.Partitions {
					if failed == nil {
						failed = kerr.ErrorForCode(q.ErrorCode)
					}
				}
			}
		})
	return failed
}
