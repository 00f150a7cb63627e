// Package signing holds code signing configurations: who may sign the code of functions. They are kept for the customer's
// tools. Nothing is verified.
package signing

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a Store may answer besides its own failures.
var (
	ErrStale    = errors.New("code signing configuration changed meanwhile")
	ErrNotFound = errors.New("no such code signing configuration")
)

// Config is one configuration. It is stored: members may be added, never renamed. A value that was given out is never changed.
type Config struct {
	ARN         string // arn:aws:lambda:REGION:ACCOUNT:code-signing-config:csc-...
	Description string
	Publishers  []string          // ARNs of versions of signing profiles
	Policy      string            // Warn, Enforce
	Tags        map[string]string `json:",omitempty"`
	Modified    time.Time
	Revision    uint64 `json:"-"` // the store's, for its optimistic lock
}

// ID is the last part of the ARN.
func (c *Config) ID() string { return c.ARN[strings.LastIndexByte(c.ARN, ':')+1:] }

// NewID returns an ID that no configuration has: csc- and 17 of [a-z0-9].
func NewID() string { return "csc-" + strings.ToLower(rand.Text()[:17]) }

// Store keeps configurations. What a method has acknowledged survives the death of the process and of the machine.
type Store interface {
	// Put stores a configuration: a new one when its Revision is 0, else a change of exactly that revision. It sets the
	// new one. ErrStale.
	Put(ctx context.Context, c *Config) error
	// Delete removes a configuration of that revision. ErrStale.
	Delete(ctx context.Context, c *Config) error
	List(ctx context.Context) ([]*Config, error)
}

// Configs are all configurations, in memory and in their store.
type Configs struct {
	store Store
	mu    sync.Mutex // also while writing: writes are rare
	all   map[string]*Config
}

// Open reads what is stored.
func Open(ctx context.Context, store Store) (*Configs, error) {
	list, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	s := &Configs{store: store, all: map[string]*Config{}}
	for _, c := range list {
		s.all[c.ARN] = c
	}
	return s, nil
}

// Get returns a configuration; nil when there is none.
func (s *Configs) Get(arn string) *Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[arn]
}

// All returns the configurations whose ARN begins with a text, in the order of the ARNs.
func (s *Configs) All(prefix string) (list []*Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for arn, c := range s.all {
		if strings.HasPrefix(arn, prefix) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *Config) int { return strings.Compare(a.ARN, b.ARN) })
	return list
}

// Create stores a new configuration.
func (s *Configs) Create(ctx context.Context, c *Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(ctx, c)
}

// Update changes a configuration: f changes a copy of it, or refuses to. ErrNotFound.
func (s *Configs) Update(ctx context.Context, arn string, f func(*Config) error) (*Config, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.all[arn]
	if was == nil {
		return nil, ErrNotFound
	}
	c := *was
	c.Publishers, c.Tags = slices.Clone(was.Publishers), maps.Clone(was.Tags)
	if c.Tags == nil {
		c.Tags = map[string]string{}
	}
	if err := f(&c); err != nil {
		return nil, err
	}
	return &c, s.put(ctx, &c)
}

func (s *Configs) put(ctx context.Context, c *Config) error {
	if err := s.store.Put(ctx, c); err != nil {
		return err
	}
	s.all[c.ARN] = c
	return nil
}

// Delete removes a configuration. ErrNotFound.
func (s *Configs) Delete(ctx context.Context, arn string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.all[arn]
	if c == nil {
		return ErrNotFound
	}
	if err := s.store.Delete(ctx, c); err != nil {
		return err
	}
	delete(s.all, arn)
	return nil
}
