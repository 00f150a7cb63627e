package mongodb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"thaw/eventsource"
)

// shard is the name of the one shard that a change stream is.
const shard = "change-stream"

// await is how long the cluster holds a question when there is nothing new.
const await = 30 * time.Second

type stream struct {
	client *mongo.Client
	m      *eventsource.Mapping
}

// Shards implements eventsource.Stream.
func (s *stream) Shards(context.Context) ([]eventsource.Shard, error) {
	return []eventsource.Shard{{ID: shard}}, nil
}

// Changed implements eventsource.Stream.
func (s *stream) Changed() <-chan struct{} { return nil }

// Read implements eventsource.Stream.
func (s *stream) Read(ctx context.Context, _ string, from eventsource.Start) (eventsource.Reader, error) {
	o := options.ChangeStream().SetMaxAwaitTime(await)
	if s.m.Source.UpdateLookup {
		o.SetFullDocument(options.UpdateLookup)
	}
	var cs *mongo.ChangeStream
	var err error
	switch from.At {
	case eventsource.TrimHorizon:
		cs, err = s.oldest(ctx, o)
	case eventsource.Latest, eventsource.AtTimestamp:
		// Cluster times count in seconds, so a stream that begins now may show what was changed in this second.
		cs, err = s.watch(ctx, o.SetStartAtOperationTime(at(from.Time)))
	default:
		var p position
		if p, err = parsePosition(from.Position); err != nil {
			return nil, err
		}
		if p.Invalidate {
			o.SetStartAfter(p.Token)
		} else {
			o.SetResumeAfter(p.Token) // which DocumentDB knows in all versions
		}
		cs, err = s.watch(ctx, o)
	}
	if err != nil {
		return nil, s.told(ctx, err)
	}
	return &reader{cs: cs}, nil
}

func (s *stream) watch(ctx context.Context, o *options.ChangeStreamOptionsBuilder) (*mongo.ChangeStream, error) {
	db := s.client.Database(s.m.Source.Database)
	if s.m.Source.Collection == "" {
		return db.Watch(ctx, mongo.Pipeline{}, o)
	}
	return db.Collection(s.m.Source.Collection).Watch(ctx, mongo.Pipeline{}, o)
}

// kept is longer than any log that DocumentDB keeps, which is 3 hours by default and 7 days at most.
const kept = 8 * 24 * time.Hour

// oldest begins with the first change that the log still has. The log tells it to users that may read it; for all others
// it is looked for.
func (s *stream) oldest(ctx context.Context, o *options.ChangeStreamOptionsBuilder) (*mongo.ChangeStream, error) {
	var first struct {
		TS bson.Timestamp `bson:"ts"`
	}
	err := s.client.Database("local").Collection("oplog.rs").
		FindOne(ctx, bson.D{}, options.FindOne().SetSort(bson.D{{Key: "$natural", Value: 1}}).SetProjection(bson.D{{Key: "ts", Value: 1}})).Decode(&first)
	if err == nil {
		cs, err := s.watch(ctx, o.SetStartAtOperationTime(&first.TS))
		if !isHistoryLost(err) { // the log may have lost its first change since
			return cs, err
		}
	}
	return s.search(ctx, o)
}

// search finds the oldest second with which a stream can begin: the cluster refuses all before it.
func (s *stream) search(ctx context.Context, o *options.ChangeStreamOptionsBuilder) (*mongo.ChangeStream, error) {
	now := time.Now()
	refused, begun := now.Add(-kept-time.Second), now.Add(time.Second)
	var found *mongo.ChangeStream
	for next := now.Add(-kept); begun.Sub(refused) > time.Second; next = refused.Add(begun.Sub(refused) / 2) {
		cs, err := s.watch(ctx, o.SetStartAtOperationTime(at(next)))
		if isHistoryLost(err) {
			refused = next
			continue
		}
		if found != nil {
			_ = found.Close(ctx)
		}
		if found, begun = cs, next; err != nil {
			return nil, err
		}
	}
	if found == nil {
		return s.watch(ctx, o.SetStartAtOperationTime(at(begun)))
	}
	return found, nil
}

func isHistoryLost(err error) bool {
	var c mongo.CommandError
	return errors.As(err, &c) && c.Code == historyLost
}

func at(t time.Time) *bson.Timestamp { return &bson.Timestamp{T: uint32(t.Unix()), I: 1} }

// told gives an error that the contract knows.
func (s *stream) told(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return problem(err)
}

// position is where reading goes on. The token of an invalidate event is used in another way than all others.
type position struct {
	Token      bson.Raw `bson:"token"`
	Invalidate bool     `bson:"invalidate,omitempty"`
}

func (p position) String() string {
	b, err := bson.MarshalExtJSON(p, true, false)
	if err != nil {
		panic(err) // a document that came from BSON
	}
	return string(b)
}

func parsePosition(s string) (p position, err error) {
	if err := bson.UnmarshalExtJSON([]byte(s), true, &p); err != nil {
		return p, fmt.Errorf("the stored position %q: %w", s, err)
	}
	return p, nil
}

// reader reads the stream. Its cursor reconnects by itself; what it cannot mend needs the source opened anew.
type reader struct {
	asked atomic.Pointer[time.Time] // since when the cluster is asked for more; nil: it is not

	end  atomic.Bool               // the cluster had no more when it answered last
	last atomic.Pointer[time.Time] // when the last change that was returned was made; nil: none was

	mu sync.Mutex // held while the stream is used
	cs *mongo.ChangeStream
}

// Next implements eventsource.Reader.
func (r *reader) Next(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The driver gives its cursor up, without telling the cluster, when it is asked with a context that has ended.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	began := time.Now()
	r.asked.Store(&began)
	defer r.asked.Store(nil)
	if !r.cs.TryNext(ctx) { // which waits for await
		switch err := r.cs.Err(); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && r.cs.ID() != 0:
			r.end.Store(true)
			return nil, rest(ctx, tooSoon-time.Since(began))
		case isHistoryLost(err):
			return nil, problem(err)
		default:
			return nil, fmt.Errorf("%w: %w", eventsource.ErrBroken, problem(err))
		}
	}
	r.end.Store(false)
	all := []*eventsource.Record{}
	for {
		rec, err := record(r.cs.Current)
		if err != nil {
			return nil, err
		}
		all = append(all, rec)
		// Only what is already here: TryNext asks the cluster when nothing is.
		r.last.Store(&rec.Arrived)
		if len(all) == limit || r.cs.RemainingBatchLength() == 0 || !r.cs.TryNext(ctx) {
			return all, nil
		}
	}
}

// Commit implements eventsource.Reader: positions are the caller's.
func (r *reader) Commit(context.Context, string) error { return nil }

// Revoked implements eventsource.Reader.
func (r *reader) Revoked() <-chan struct{} { return nil }

// tooSoon is what an answer that brings nothing takes at least: there are servers that do not wait.
const tooSoon = 100 * time.Millisecond

func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// atOnce is longer than a cluster waits that has something.
const atOnce = time.Second

// Lag implements eventsource.Reader: nothing is left when the cluster has nothing to answer, and otherwise nobody knows.
func (r *reader) Lag() int64 {
	if r.atEnd() {
		return 0
	}
	return -1
}

func (r *reader) atEnd() bool {
	since := r.asked.Load()
	return r.end.Load() || since != nil && time.Since(*since) > atOnce
}

// Behind implements poller.Behind: how long ago the change was made that was read last, when there may be later ones.
func (r *reader) Behind() time.Duration {
	if r.atEnd() {
		return 0
	}
	if last := r.last.Load(); last != nil && !last.IsZero() {
		return max(0, time.Since(*last))
	}
	return -1
}

// Idle implements eventsource.Idler: the cluster says how far it has looked.
func (r *reader) Idle() (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	token := r.cs.ResumeToken()
	if !r.end.Load() || token == nil {
		return "", false
	}
	return position{Token: token}.String(), true
}

// Close implements eventsource.Reader. The context of a Next that waits has ended by now.
func (r *reader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.cs.Close(ctx)
}
