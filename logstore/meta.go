package logstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What callers branch on.
var (
	ErrGroupExists  = errors.New("the log group is there already")
	ErrStreamExists = errors.New("the log stream is there already")
	ErrNoStream     = errors.New("no such log stream")
)

// meta is what was set for a group, and the streams that were made in it. It is in the files "meta" and "streams".
type meta struct {
	Created   time.Time         `json:"created"`
	Retention int               `json:"retentionDays,omitempty"` // 0: for ever
	Tags      map[string]string `json:"tags,omitempty"`
	made      map[string]int64  // streams, and when, in Unix milliseconds
}

// madeStream is a line of the file "streams".
type madeStream struct {
	Name    string `json:"s"`
	Created int64  `json:"c"`
}

func (g *group) loadMeta() error {
	b, err := os.ReadFile(filepath.Join(g.dir, "meta"))
	if err == nil {
		err = json.Unmarshal(b, &g.meta)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("meta: %w", err)
	}
	g.made = map[string]int64{}
	f, err := os.Open(filepath.Join(g.dir, "streams"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m madeStream
		if json.Unmarshal(lines.Bytes(), &m) == nil { // not what a crash tore
			g.made[m.Name] = m.Created
		}
	}
	return nil
}

// save writes what was set, or leaves the file as it was.
func (g *group) save() error {
	b, err := json.Marshal(g.meta)
	if err != nil {
		return err
	}
	return replace(filepath.Join(g.dir, "meta"), b)
}

func (g *group) saveMade() error {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	for _, name := range slices.Sorted(maps.Keys(g.made)) {
		if err := out.Encode(madeStream{name, g.made[name]}); err != nil {
			return err
		}
	}
	return replace(filepath.Join(g.dir, "streams"), b.Bytes())
}

func replace(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// CreateGroup makes an empty group. ErrGroupExists when there is one.
func (s *Store) CreateGroup(ctx context.Context, name string, tags map[string]string) error {
	if err := s.sync(ctx); err != nil {
		return err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.groups[name] != nil {
		return fmt.Errorf("%s: %w", name, ErrGroupExists)
	}
	g, err := s.groupFor(name)
	if err != nil {
		return err
	}
	g.Tags = maps.Clone(tags)
	return g.save()
}

// Configure changes what is set for a group. ErrNoGroup when there is none.
func (s *Store) Configure(ctx context.Context, name string, change func(*Group)) error {
	if err := s.sync(ctx); err != nil {
		return err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	g := s.groups[name]
	if g == nil {
		return fmt.Errorf("%s: %w", name, ErrNoGroup)
	}
	info := g.info()
	change(&info)
	before := g.meta
	g.Retention, g.Tags = info.Retention, info.Tags
	if err := g.save(); err != nil {
		g.meta = before
		return fmt.Errorf("log group %s: %w", name, err)
	}
	return s.expire(g, time.Now())
}

// CreateStream makes a stream without events. ErrNoGroup, ErrStreamExists.
func (s *Store) CreateStream(ctx context.Context, group, stream string) error {
	if err := s.sync(ctx); err != nil {
		return err
	}
	g, err := s.index(group)
	if err != nil {
		return err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if g.hasStream(stream) {
		return fmt.Errorf("%s: %w", stream, ErrStreamExists)
	}
	m := madeStream{stream, time.Now().UnixMilli()}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(g.dir, "streams"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log stream: %w", err)
	}
	// The newline before it ends a line that a crash tore.
	_, err = f.Write(slices.Concat([]byte("\n"), b, []byte("\n")))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("log stream: %w", err)
	}
	g.made[stream] = m.Created
	return nil
}

func (g *group) hasStream(name string) bool {
	if _, ok := g.made[name]; ok {
		return true
	}
	return slices.ContainsFunc(g.segs, func(seg *segment) bool { return seg.streams[name] != nil })
}

// HasStream says whether a stream was made or has events. ErrNoGroup.
func (s *Store) HasStream(ctx context.Context, group, stream string) (bool, error) {
	if err := s.sync(ctx); err != nil {
		return false, err
	}
	g, err := s.index(group)
	if err != nil {
		return false, err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	return g.hasStream(stream), nil
}

// DeleteStream removes a stream and its events. ErrNoGroup, ErrNoStream.
func (s *Store) DeleteStream(ctx context.Context, group, stream string) error {
	if err := s.sync(ctx); err != nil {
		return err
	}
	g, err := s.index(group)
	if err != nil {
		return err
	}
	s.indexing.Lock()
	defer s.indexing.Unlock()
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.groups[group] != g {
		return fmt.Errorf("%s: %w", group, ErrNoGroup)
	}
	if !g.hasStream(stream) {
		return fmt.Errorf("%s: %w", stream, ErrNoStream)
	}
	if _, ok := g.made[stream]; ok {
		delete(g.made, stream)
		if err := g.saveMade(); err != nil {
			return fmt.Errorf("log stream: %w", err)
		}
	}
	for _, seg := range g.segs {
		if seg.streams[stream] == nil {
			continue
		}
		if err := g.without(seg, stream); err != nil {
			return fmt.Errorf("log group %s: %w", group, err)
		}
	}
	return nil
}

// without writes a segment anew, without the events of a stream.
func (g *group) without(seg *segment, stream string) error {
	path := g.path(seg.num)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	next := &segment{num: seg.num, began: seg.began, scanned: true, edition: seg.edition + 1}
	names, out := interned{}, bufio.NewWriter(f)
	err = scan(path, seg.size, func(l *line, _, n int64, raw []byte) error {
		if string(l.stream) == stream {
			return nil
		}
		next.see(l, names.of(l.stream), 1, int64(len(l.message)), next.size, n)
		next.size += n
		_, err := out.Write(raw)
		return err
	})
	err = errors.Join(err, out.Flush(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	*seg = *next
	return nil
}

// StreamInfo is what Streams says of one.
type StreamInfo struct {
	Name        string `json:"name"`
	Created     int64  `json:"created"` // Unix milliseconds, here and below
	First       int64  `json:"first"`   // Event.Time of its earliest and its latest event that is there; 0 without events
	Last        int64  `json:"last"`
	LastArrived int64  `json:"lastIngestionMs"`
	Events      int    `json:"events"`
	Bytes       int64  `json:"bytes"` // of its messages
}

func (i *StreamInfo) add(more StreamInfo) {
	if i.Events == 0 {
		i.First, i.Last = more.First, more.Last
	}
	if i.Created == 0 {
		i.Created = more.Created
	}
	i.Created = min(i.Created, more.Created)
	i.First, i.Last = min(i.First, more.First), max(i.Last, more.Last)
	i.LastArrived = max(i.LastArrived, more.LastArrived)
	i.Events += more.Events
	i.Bytes += more.Bytes
}

// Streams lists the streams of a group, by name. ErrNoGroup.
func (s *Store) Streams(ctx context.Context, group string) ([]StreamInfo, error) {
	if err := s.sync(ctx); err != nil {
		return nil, err
	}
	g, err := s.index(group)
	if err != nil {
		return nil, err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	found := map[string]*StreamInfo{}
	for name, created := range g.made {
		found[name] = &StreamInfo{Name: name, Created: created}
	}
	for _, seg := range g.segs {
		for name, part := range seg.streams {
			if found[name] == nil {
				found[name] = &StreamInfo{Name: name}
			}
			found[name].add(part.info)
		}
	}
	var out []StreamInfo
	for _, info := range found {
		out = append(out, *info)
	}
	slices.SortFunc(out, func(a, b StreamInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
