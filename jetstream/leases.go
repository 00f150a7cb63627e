package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"thaw/eventsource"
)

// Leases are in memory, not in the journal: they mean something only while a broker runs. A server says every now and
// then that it is there, once for all its leases, so that they cost nothing; a claim counts as long as its server was
// heard of within leaseLife.
//
//	servers  SERVER        nothing; gone when leaseLife has passed since it was last written
//	leases   UUID.SHARD    the server that has it
const leaseLife = 8 * time.Second

// Leases implements eventsource.Leases for one server.
type Leases struct {
	servers, claims jetstream.KeyValue
	id              string
	life            time.Duration
	stop            context.CancelFunc
	done            chan struct{}

	mu    sync.Mutex
	heard time.Time // when the last word of this server that arrived was sent
	held  map[string]*lease
}

var _ eventsource.Leases = (*Leases)(nil)

type lease struct {
	l        *Leases
	key      string
	revision uint64
	lost     chan struct{}
	over     bool
}

// Leases makes this process a server that takes leases, until Close.
func (s *Store) Leases(ctx context.Context) (*Leases, error) { return s.leases(ctx, leaseLife) }

func (s *Store) leases(ctx context.Context, life time.Duration) (*Leases, error) {
	l := &Leases{id: uuid.NewString(), life: life, done: make(chan struct{}), held: map[string]*lease{}}
	var err error
	if l.servers, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "servers", Description: "servers that are there", Storage: jetstream.MemoryStorage, TTL: life}); err == nil {
		l.claims, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "leases", Description: "which server reads which shard", Storage: jetstream.MemoryStorage})
	}
	if err == nil {
		err = l.beat(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	ctx, l.stop = context.WithCancel(context.Background())
	go l.live(ctx)
	return l, nil
}

// Close ends the server's word: others may take its leases at once.
func (l *Leases) Close() {
	l.stop()
	<-l.done
	l.lose()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.servers.Delete(ctx, l.id) //nolint:errcheck // it goes by itself
}

func (l *Leases) beat(ctx context.Context) error {
	sent := time.Now()
	if _, err := l.servers.Put(ctx, l.id, nil); err != nil {
		return err
	}
	l.mu.Lock()
	l.heard = sent
	l.mu.Unlock()
	return nil
}

// live says that the server is there. Where it is not heard, its leases are lost before others may take them.
func (l *Leases) live(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(l.life / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		silent := time.Since(l.heard)
		l.mu.Unlock()
		if silent > l.life { // the host was suspended
			l.lose()
		}
		sending, cancel := context.WithTimeout(ctx, l.life/4)
		if err := l.beat(sending); err != nil && silent > l.life/2 {
			l.lose()
		}
		cancel()
	}
}

// lose ends all leases.
func (l *Leases) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.held {
		one.endLocked()
	}
}

func (one *lease) endLocked() {
	if !one.over {
		one.over = true
		close(one.lost)
		delete(one.l.held, one.key)
	}
}

// Take implements eventsource.Leases.
func (l *Leases) Take(ctx context.Context, id eventsource.ID, shard string) (eventsource.Lease, error) {
	key := checkpointKey(id, shard)
	l.mu.Lock()
	silent := time.Since(l.heard) > l.life/2
	l.mu.Unlock()
	if silent { // after a host's suspend, say: the next beat is due
		if err := l.beat(ctx); err != nil {
			return nil, fmt.Errorf("lease: %w", err)
		}
	}
	revision, err := l.claims.Create(ctx, key, []byte(l.id))
	if errors.Is(err, jetstream.ErrKeyExists) {
		revision, err = l.inherit(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	one := &lease{l: l, key: key, revision: revision, lost: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[key] = one
	return one, nil
}

// inherit takes the claim of a server that is not there any more.
func (l *Leases) inherit(ctx context.Context, key string) (uint64, error) {
	e, err := l.claims.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, eventsource.ErrHeld // given back this moment: the next look finds it free
	}
	if err != nil {
		return 0, fmt.Errorf("lease: %w", err)
	}
	if owner := string(e.Value()); owner != l.id {
		if _, err := l.servers.Get(ctx, owner); !errors.Is(err, jetstream.ErrKeyNotFound) {
			return 0, eventsource.ErrHeld
		}
	} else {
		l.mu.Lock()
		held := l.held[key] != nil
		l.mu.Unlock()
		if held {
			return 0, eventsource.ErrHeld
		}
	}
	revision, err := l.claims.Update(ctx, key, []byte(l.id), e.Revision())
	if isConflict(err) {
		return 0, eventsource.ErrHeld
	}
	return revision, err
}

// Lost implements eventsource.Lease.
func (one *lease) Lost() <-chan struct{} { return one.lost }

// Release implements eventsource.Lease.
func (one *lease) Release(ctx context.Context) {
	one.l.mu.Lock()
	over := one.over
	one.endLocked()
	one.l.mu.Unlock()
	if !over {
		one.l.claims.Delete(ctx, one.key, jetstream.LastRevision(one.revision)) //nolint:errcheck // the next one takes it from a server that does not hold it
	}
}
