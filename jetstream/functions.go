package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thaw/function"
	"thaw/jetstream/journal"
)

// functionsBucket holds everything about functions in one stream, so that one watch sees all changes in one order and a revision
// is comparable with every other:
//
//	fn.ACCOUNT.REGION.NAME                     function.Record
//	ver.ACCOUNT.REGION.NAME.INCARNATION.NUMBER function.VersionRecord
//	epoch                                      nothing; the revision of its last write is the epoch
var functionsBucket = jetstream.KeyValueConfig{
	Bucket:      "functions",
	Description: "functions, their published versions and the epoch",
	History:     1,
	Storage:     jetstream.FileStorage,
}

const epochKey = "epoch"

var _ function.Store = (*Store)(nil)

func functionKey(k function.Key) string { return "fn." + k.Account + "." + k.Region + "." + k.Name }

func versionKey(k function.Key, incarnation uint64, number int) string {
	return fmt.Sprintf("ver.%s.%s.%s.%d.%d", k.Account, k.Region, k.Name, incarnation, number)
}

// Create implements function.Store.
func (s *Store) Create(ctx context.Context, r *function.Record) error {
	return s.write(ctx, functionKey(r.Key), 0, r, &r.Revision, function.ErrExists)
}

// Update implements function.Store.
func (s *Store) Update(ctx context.Context, r *function.Record) error {
	return s.write(ctx, functionKey(r.Key), r.Revision, r, &r.Revision, function.ErrStale)
}

// PutVersion implements function.Store.
func (s *Store) PutVersion(ctx context.Context, k function.Key, incarnation uint64, v *function.VersionRecord) error {
	return s.write(ctx, versionKey(k, incarnation, v.Number.Int()), v.Revision, v, &v.Revision, function.ErrStale)
}

// write stores value under key if its revision is still the given one, 0 meaning that the key is not there.
func (s *Store) write(ctx context.Context, key string, was uint64, value any, revision *uint64, conflict error) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	now, err := s.put(ctx, s.kv, key, b, was)
	if isConflict(err) {
		return fmt.Errorf("record %s: %w", key, conflict)
	}
	if err != nil {
		return fmt.Errorf("write of record %s: %w", key, err)
	}
	*revision = now
	return nil
}

// put stores a value, durably in both copies, if the key's revision is still the given one, 0 meaning that the key is
// not there.
func (s *Store) put(ctx context.Context, kv jetstream.KeyValue, key string, value []byte, was uint64) (now uint64, err error) {
	if err := s.room(putReserve + 2*int64(len(value))); err != nil {
		return 0, err
	}
	if was == 0 {
		now, err = kv.Create(ctx, key, value)
	} else {
		now, err = kv.Update(ctx, key, value, was)
	}
	if err != nil {
		return 0, err
	}
	return now, s.journal.Append(journal.Write{Bucket: kv.Bucket(), Key: key, Revision: now, Value: value})
}

// remove deletes a key, durably in both copies, if its revision is still the given one; 0: whatever it is. The
// key-value client does not tell the revision of a deletion, so the marker is written by hand. Source: NATS ADR-8,
// "delete".
func (s *Store) remove(ctx context.Context, bucket, key string, was uint64) (now uint64, err error) {
	if err := s.room(removeReserve); err != nil {
		return 0, err
	}
	m := nats.NewMsg("$KV." + bucket + "." + key)
	m.Header.Set("KV-Operation", "DEL")
	var opts []jetstream.PublishOpt
	if was > 0 {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(was))
	}
	ack, err := s.js.PublishMsg(ctx, m, opts...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, s.journal.Append(journal.Write{Bucket: bucket, Key: key, Revision: ack.Sequence, Deleted: true})
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// Delete implements function.Store.
func (s *Store) Delete(ctx context.Context, r *function.Record) error {
	key := functionKey(r.Key)
	now, err := s.remove(ctx, functionsBucket.Bucket, key, r.Revision)
	if isConflict(err) {
		return fmt.Errorf("record %s: %w", key, function.ErrStale)
	}
	if err != nil {
		return fmt.Errorf("deletion of record %s: %w", key, err)
	}
	r.Revision = now
	return nil
}

// DeleteVersion implements function.Store. Incarnations and numbers never come back.
func (s *Store) DeleteVersion(ctx context.Context, k function.Key, incarnation uint64, number int) error {
	key := versionKey(k, incarnation, number)
	if _, err := s.remove(ctx, functionsBucket.Bucket, key, 0); err != nil {
		return fmt.Errorf("deletion of record %s: %w", key, err)
	}
	return nil
}

// Epoch implements function.Store: revisions of a stream are never given twice, not even after everything in it was deleted.
func (s *Store) Epoch(ctx context.Context) (uint64, error) {
	err := s.room(removeReserve)
	var n uint64
	if err == nil {
		n, err = s.kv.Put(ctx, epochKey, nil)
	}
	if err == nil {
		err = s.journal.Append(journal.Write{Bucket: functionsBucket.Bucket, Key: epochKey, Revision: n})
	}
	if err != nil {
		return 0, fmt.Errorf("epoch: %w", err)
	}
	return n, nil
}

// Watch implements function.Store.
func (s *Store) Watch(ctx context.Context, apply func(function.Change)) (func(), error) {
	wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w, err := s.kv.WatchAll(wctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch of functions: %w", err)
	}
	loaded, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-wctx.Done():
				return
			case e, open := <-w.Updates():
				switch {
				case !open:
					return
				case e == nil: // all that was stored has come
					close(loaded)
				default:
					s.tell(e, apply)
				}
			}
		}
	}()
	stop := func() {
		w.Stop() //nolint:errcheck // the connection may be gone already; then there is nothing to stop
		cancel()
		<-done
	}
	select {
	case <-loaded:
		return stop, nil
	case <-ctx.Done():
		stop()
		return nil, fmt.Errorf("first read of functions: %w", context.Cause(ctx))
	}
}

// tell makes a Change of an entry. A record that cannot be read is told as a use of its revision and logged: one bad record must not
// keep the others from being served.
func (s *Store) tell(e jetstream.KeyValueEntry, apply func(function.Change)) {
	c := function.Change{Revision: e.Revision()}
	defer func() { apply(c) }()
	if e.Key() == epochKey {
		return
	}
	k, incarnation, number, ok := parseKey(e.Key())
	if !ok {
		s.log.Error("record with an unknown key", "key", e.Key())
		return
	}
	gone := e.Operation() != jetstream.KeyValuePut
	switch {
	case gone:
	case number == 0:
		r := new(function.Record)
		if err := json.Unmarshal(e.Value(), r); err != nil {
			s.log.Error("unreadable record", "key", e.Key(), "error", err)
			return
		}
		r.Revision = e.Revision()
		c.Function = r
	default:
		v := new(function.VersionRecord)
		if err := json.Unmarshal(e.Value(), v); err != nil {
			s.log.Error("unreadable record", "key", e.Key(), "error", err)
			return
		}
		v.Revision = e.Revision()
		c.Version = v
	}
	c.Key, c.Incarnation, c.Number = k, incarnation, number
}

func parseKey(key string) (k function.Key, incarnation uint64, number int, ok bool) {
	p := strings.Split(key, ".")
	switch {
	case len(p) == 4 && p[0] == "fn":
		return function.Key{Account: p[1], Region: p[2], Name: p[3]}, 0, 0, true
	case len(p) == 6 && p[0] == "ver":
		incarnation, err := strconv.ParseUint(p[4], 10, 64)
		number := function.VersionNumber(p[5]).Int()
		return function.Key{Account: p[1], Region: p[2], Name: p[3]}, incarnation, number, err == nil && number > 0
	}
	return function.Key{}, 0, 0, false
}
