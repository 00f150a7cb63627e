package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thaw/eventsource"
)

// Lags implements poller.Lags: how many records of each partition nobody has read yet. A partition of which nothing was
// read since it was assigned is as far as the group has committed.
func (s *stream) Lags(ctx context.Context) (map[string]int64, error) {
	s.mu.Lock()
	at := map[int32]int64{}
	for n, p := range s.partitions {
		at[n] = p.reached()
	}
	s.mu.Unlock()
	partitions := slices.Collect(maps.Keys(at))
	ends, err := s.offsets(ctx, partitions, newest)
	if err != nil {
		return nil, err
	}
	if slices.Contains(slices.Collect(maps.Values(at)), 0) {
		if err := s.committed(ctx, at); err != nil {
			return nil, err
		}
	}
	lags := map[string]int64{}
	for n, position := range at {
		if end, ok := ends[n]; ok && position >= 0 {
			lags[s.name(n)] = max(0, end-position)
		}
	}
	return lags, nil
}

// reached is behind what Next has returned, and behind the marks of transactions that follow; 0: nothing was read.
func (p *partition) reached() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.buffer) > 0 {
		return p.next
	}
	return max(p.next, p.marks)
}

// The places that a cluster is asked for. Source: Kafka's protocol, ListOffsets.
const (
	newest = -1
	oldest = -2
)

// committed fills in where nothing was read yet: what the group has committed; where it has not, the oldest record if that
// is where the mapping begins, and -1 otherwise.
func (s *stream) committed(ctx context.Context, at map[int32]int64) error {
	r := kmsg.NewPtrOffsetFetchRequest()
	one, of := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
	of.Topic, one.Group, r.Group = s.topic, s.group, s.group
	for n, position := range at {
		if position == 0 {
			of.Partitions = append(of.Partitions, n)
			at[n] = -1
		}
	}
	one.Topics, r.Groups = append(one.Topics, of), append(r.Groups, one)
	answer, err := r.RequestWith(ctx, s.client)
	if err != nil {
		return err
	}
	for _, g := range answer.Groups {
		for _, of := range g.Topics {
			for _, p := range of.Partitions {
				at[p.Partition] = p.Offset
			}
		}
	}
	begin := slices.DeleteFunc(of.Partitions, func(n int32) bool { return at[n] >= 0 })
	if len(begin) == 0 || s.shape.m.Source.Start != eventsource.TrimHorizon {
		return nil
	}
	first, err := s.offsets(ctx, begin, oldest)
	maps.Copy(at, first)
	return err
}

// offsets asks where partitions begin or end.
func (s *stream) offsets(ctx context.Context, partitions []int32, which int64) (map[int32]int64, error) {
	r := kmsg.NewPtrListOffsetsRequest()
	of := kmsg.NewListOffsetsRequestTopic()
	of.Topic = s.topic
	for _, n := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = n, which
		of.Partitions = append(of.Partitions, p)
	}
	r.ReplicaID, r.Topics = -1, append(r.Topics, of)
	answer, err := r.RequestWith(ctx, s.client)
	if err != nil {
		return nil, err
	}
	all := map[int32]int64{}
	for _, of := range answer.Topics {
		for _, p := range of.Partitions {
			if failed := kerr.ErrorForCode(p.ErrorCode); failed != nil {
				err = errors.Join(err, failed)
				continue
			}
			all[p.Partition] = p.Offset
		}
	}
	return all, err
}
