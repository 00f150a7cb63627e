package kinesistest

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"
)

// Stream is one, with a consumer.
type Stream struct {
	ARN, ConsumerARN string

	s      *Server
	shards []*shard
	absent bool // the consumer
	late   bool // the list of shards: it has no children
}

type shard struct {
	id       string
	from, to int // of the hashes of keys that it gets
	parents  []string
	records  []record
	children []*shard // it is closed
	sent     int      // bytes that subscriptions were given
}

type record struct {
	SequenceNumber              string
	ApproximateArrivalTimestamp float64
	Data                        []byte
	PartitionKey                string
}

// hashes are how many there are.
const hashes = 1 << 16

// Stream makes a stream with n shards.
func (s *Server) Stream(n int) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &Stream{s: s, ARN: fmt.Sprintf("arn:aws:kinesis:eu-west-1:123456789012:stream/s%d", len(s.streams))}
	st.ConsumerARN = st.ARN + "/consumer/c:1763629000"
	for i := range n {
		st.shards = append(st.shards, &shard{id: shardID(i), from: i * hashes / n, to: (i + 1) * hashes / n})
	}
	s.streams = append(s.streams, st)
	return st
}

// Put adds a record.
func (st *Stream) Put(key string, data []byte) (shard, sequence string) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	h := fnv.New32a()
	h.Write([]byte(key)) //nolint:errcheck // it never fails
	n := int(h.Sum32() % hashes)
	st.s.sequence++
	r := record{fmt.Sprintf("%021d", st.s.sequence), float64(time.Now().UnixMilli()) / 1000, data, key}
	for _, sh := range st.shards {
		if sh.children == nil && n >= sh.from && n < sh.to {
			sh.records = append(sh.records, r)
			shard = sh.id
		}
	}
	st.s.tellLocked()
	return shard, r.SequenceNumber
}

// Split closes a shard and makes two of it.
func (st *Stream) Split(id string) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.splitLocked(st.findLocked(id))
}

// SplitAll splits all that are open.
func (st *Stream) SplitAll() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	for _, sh := range st.shards {
		if sh.children == nil {
			st.splitLocked(sh)
		}
	}
}

func (st *Stream) splitLocked(old *shard) {
	middle := (old.from + old.to) / 2
	for _, ends := range [][2]int{{old.from, middle}, {middle, old.to}} {
		child := &shard{id: shardID(len(st.shards)), from: ends[0], to: ends[1], parents: []string{old.id}}
		old.children = append(old.children, child)
		st.shards = append(st.shards, child)
	}
	st.s.tellLocked()
}

// Deregister takes the consumer away, and with that its subscriptions.
func (st *Stream) Deregister() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.absent = true
	st.s.tellLocked()
}

func (st *Stream) deregistered() bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.absent
}

// HideChildren has the list of shards be late.
func (st *Stream) HideChildren() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.late = true
}

// Sent is how many bytes of a shard's events the connections have taken.
func (st *Stream) Sent(id string) int {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.findLocked(id).sent
}

func (st *Stream) findLocked(id string) *shard {
	for _, sh := range st.shards {
		if sh.id == id {
			return sh
		}
	}
	return nil
}

func (st *Stream) list() (all []map[string]any) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	for _, sh := range st.shards {
		if st.late && sh.parents != nil {
			continue
		}
		one := map[string]any{"ShardId": sh.id, "HashKeyRange": sh.keys(), "SequenceNumberRange": map[string]string{"StartingSequenceNumber": "0"}}
		if sh.parents != nil {
			one["ParentShardId"] = sh.parents[0]
		}
		all = append(all, one)
	}
	return all
}

func (sh *shard) keys() map[string]string {
	return map[string]string{"StartingHashKey": strconv.Itoa(sh.from), "EndingHashKey": strconv.Itoa(sh.to - 1)}
}
