package notify

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"thaw/function"
	"thaw/push"
	"thaw/trigger"
)

// Functions is the way to functions; *push.Functions is.
type Functions interface {
	Accept(ctx context.Context, d *push.Delivery) (requestID string, err error)
	May(d *push.Delivery) error
}

// Options of a Service; all are required.
type Options struct {
	Records   push.Documents
	Functions Functions
	Dir       string // where it is written down which files of folders were told
	Log       *slog.Logger
}

// Service owns one goroutine for each folder.
type Service struct {
	o       Options
	records *push.Table[Trigger]
	seen    *seen
	flight  singleflight.Group // of notifications that come twice at once
	ctx     context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	traces  map[string]trace  // by BUCKET/KEY: of files that functions have written
	states  map[string]*state // by name
	folders map[string]*folder
}

// state is what is known of a trigger since the server began.
type state struct {
	Events   uint64
	Last     time.Time
	Trouble  string
	Troubled time.Time
}

// Open begins with the triggers of before.
func Open(ctx context.Context, o Options) (*Service, error) {
	records, err := push.OpenTable[Trigger](ctx, o.Records)
	if err != nil {
		return nil, err
	}
	s := &Service{o: o, records: records, seen: newSeen(), traces: map[string]trace{}, states: map[string]*state{}, folders: map[string]*folder{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	for _, t := range records.All() {
		if t.Kind == Folder {
			s.watch(t)
		}
	}
	return s, nil
}

// Close ends the watching of folders. What was not told yet is told after the next Open.
func (s *Service) Close() {
	s.stop()
	s.work.Wait()
}

// Add makes a trigger. token is what a webhook's sender has to show; it is kept nowhere.
func (s *Service) Add(ctx context.Context, kind Kind, name string, fn function.ARN, set Settings) (t *Trigger, token string, err error) {
	t = &Trigger{Name: name, Kind: kind, Function: fn, Created: time.Now().UTC(), Filter: set.Filter}
	switch kind {
	case Webhook:
		token = rand.Text()
		t.Token = hashed(token)
	case Folder:
		t.Dir, t.Bucket, t.Existing = filepath.Clean(set.Dir), cmp.Or(set.Bucket, bucketOf(set.Dir)), set.Existing
		if t.Name == "" {
			t.Name = t.Bucket
		}
	}
	if err := t.check(); err != nil {
		return nil, "", err
	}
	if dir, ok := s.Folder(t.Bucket); ok && t.Kind == Folder && dir != t.Dir {
		return nil, "", fmt.Errorf("the bucket %s is the folder %s already: --bucket gives this one another name", t.Bucket, dir)
	}
	if err := s.o.Functions.May(s.delivery(t, nil)); err != nil {
		return nil, "", err
	}
	err = s.records.Change(ctx, t.Name, func(old *Trigger) (*Trigger, error) {
		if old != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, ErrExists)
		}
		return t, nil
	})
	if err != nil {
		return nil, "", err
	}
	if t.Kind == Folder {
		s.watch(t)
	}
	return t, token, nil
}

// bucketOf is a folder's name as a bucket may be called.
func bucketOf(dir string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, filepath.Base(dir))
	if name = strings.Trim(name, ".-"); len(name) < 3 {
		name = "folder-" + name
	}
	return strings.TrimSuffix(name[:min(len(name), 63)], "-")
}

// Remove takes a trigger away. push.ErrNone.
func (s *Service) Remove(ctx context.Context, kind Kind, name string) error {
	err := s.records.Change(ctx, name, func(old *Trigger) (*Trigger, error) {
		if old == nil || old.Kind != kind {
			return nil, fmt.Errorf("trigger %s: %w: thaw trigger ls", name, push.ErrNone)
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	f := s.folders[name]
	delete(s.folders, name)
	delete(s.states, name)
	s.mu.Unlock()
	if f != nil {
		f.end()
	}
	return nil
}

// Folder implements objects.Buckets.
func (s *Service) Folder(bucket string) (dir string, ok bool) {
	for _, t := range s.records.All() {
		if t.Kind == Folder && t.Bucket == bucket {
			return t.Dir, true
		}
	}
	return "", false
}

// Folders implements objects.Buckets.
func (s *Service) Folders() (names []string) {
	for _, t := range s.records.All() {
		if t.Kind == Folder {
			names = append(names, t.Bucket)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// trace is the trace header of a function that has written a file.
type trace struct {
	header string
	at     time.Time
}

// traceLife is how long a file is told later than it was written, at most; tracesMost how many are known at a time.
const (
	traceLife  = time.Minute
	tracesMost = 10_000
)

// Wrote implements objects.Buckets: a function that writes into the folder which it is told of is stopped by the guard
// against loops, as one that writes to its own bucket is.
func (s *Service) Wrote(bucket, key, header string) {
	if header == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.traces) >= tracesMost {
		maps.DeleteFunc(s.traces, func(_ string, t trace) bool { return now.Sub(t.at) > traceLife })
	}
	if len(s.traces) < tracesMost {
		s.traces[bucket+"/"+key] = trace{header, now}
	}
}

// traceOf is the trace of whoever wrote a file. Several triggers may be told of it.
func (s *Service) traceOf(bucket, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.traces[bucket+"/"+key]
	if time.Since(t.at) > traceLife {
		return ""
	}
	return t.header
}

// Info is a trigger as it is shown.
type Info struct {
	*Trigger
	state
}

// List are the triggers, by name.
func (s *Service) List() (list []Info) {
	all := s.records.All()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range all {
		i := Info{Trigger: t}
		if st := s.states[t.Name]; st != nil {
			i.state = *st
		}
		list = append(list, i)
	}
	return list
}

func (s *Service) note(name string, change func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.states[name]
	if st == nil {
		st = &state{}
		s.states[name] = st
	}
	change(st)
}

// told notes how an attempt to tell a function ended.
func (s *Service) told(t *Trigger, err error) {
	s.note(t.Name, func(st *state) {
		if err == nil {
			st.Events++
			st.Last = time.Now()
			return
		}
		st.Trouble, st.Troubled = err.Error(), time.Now()
	})
}

func (s *Service) delivery(t *Trigger, event []byte) *push.Delivery {
	d := &push.Delivery{Function: t.Function, Service: "s3.amazonaws.com", Payload: event}
	if bucket := cmp.Or(t.Filter.Bucket, t.Bucket); bucket != "" {
		d.Source = "arn:aws:s3:::" + bucket
	}
	return d
}

// tell has a record accepted for the trigger's function, once.
func (s *Service) tell(ctx context.Context, t *Trigger, r trigger.S3Record, traced string) error {
	if r.Region == "" { // MinIO need not have one
		r.Region = strings.Split(string(t.Function), ":")[3]
	}
	r.Configuration = cmp.Or(r.Configuration, t.Name)
	if r.Sequencer == "" { // nobody can tell whether it came before
		return s.accept(ctx, t, &r, traced)
	}
	id := mark(t.Name, &r)
	_, err, _ := s.flight.Do(string(id[:]), func() (any, error) {
		if s.seen.has(id) {
			return nil, nil
		}
		err := s.accept(ctx, t, &r, traced)
		if err == nil {
			s.seen.add(id)
		}
		return nil, err
	})
	return err
}

func (s *Service) accept(ctx context.Context, t *Trigger, r *trigger.S3Record, traced string) error {
	event, err := trigger.S3Event(*r)
	if err != nil {
		return err
	}
	d := s.delivery(t, event)
	d.Source, d.TraceID = "arn:aws:s3:::"+r.Bucket, traced
	_, err = s.o.Functions.Accept(ctx, d)
	s.told(t, err)
	return err
}
