package logstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// group is one folder of segments. Store.disk guards it.
type group struct {
	name string
	dir  string
	segs []*segment // oldest first
	meta
}

func (g *group) path(num uint64) string { return filepath.Join(g.dir, fmt.Sprintf("%016d.log", num)) }

func (g *group) newest() *segment {
	if len(g.segs) == 0 {
		return nil
	}
	return g.segs[len(g.segs)-1]
}

// begin turns to a new segment; its file comes with the first write. Numbers are never used again.
func (g *group) begin() *segment {
	next := &segment{num: 1, scanned: true, began: time.Now()}
	if seg := g.newest(); seg != nil {
		next.num = seg.num + 1
	}
	g.segs = append(g.segs, next)
	return next
}

// folder is a group's name as one path element: readable, reversible by its file "name" only, never longer than a file name may be.
func folder(group string) string {
	esc := url.QueryEscape(group)
	if strings.HasPrefix(esc, ".") {
		esc = "%2E" + esc[1:]
	}
	if len(esc) > 200 {
		sum := sha256.Sum256([]byte(group))
		esc = esc[:160] + "~" + hex.EncodeToString(sum[:16]) // '~' is never the result of an escape
	}
	return esc
}

// openGroups finds what an earlier server left, and cuts torn last lines off.
func (s *Store) openGroups() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("log folder: %w", err)
	}
	for _, entry := range entries {
		dir := filepath.Join(s.dir, entry.Name())
		name, err := os.ReadFile(filepath.Join(dir, "name"))
		if err != nil || len(name) == 0 {
			// Died between making the folder and naming it, so there is no segment in it yet; or not ours.
			s.log.Debug("log folder without a name", "dir", entry.Name())
			continue
		}
		g := &group{name: string(name), dir: dir}
		if err := errors.Join(g.load(), g.loadMeta()); err != nil {
			return fmt.Errorf("log group %s: %w", g.name, err)
		}
		if seg := g.newest(); seg != nil {
			last, err := mend(g.path(seg.num))
			if err != nil {
				return fmt.Errorf("log group %s: %w", g.name, err)
			}
			seg.size = last.size
			s.lastID = max(s.lastID, last.id)
		}
		s.groups[g.name] = g
	}
	return nil
}

// load lists the segments of a folder.
func (g *group) load() error {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.Name() == "name" {
			g.Created = info.ModTime() // what the file "meta" says goes before it
			continue
		}
		if strings.HasSuffix(entry.Name(), ".new") { // died before it had its name
			if err := os.Remove(filepath.Join(g.dir, entry.Name())); err != nil {
				return err
			}
			continue
		}
		num, err := strconv.ParseUint(strings.TrimSuffix(entry.Name(), ".log"), 10, 64)
		if err != nil || !strings.HasSuffix(entry.Name(), ".log") {
			continue
		}
		g.segs = append(g.segs, &segment{num: num, size: info.Size(), began: info.ModTime()})
	}
	slices.SortFunc(g.segs, func(a, b *segment) int { return cmp.Compare(a.num, b.num) })
	return nil
}

// end is where a segment ends, and the ID of its last event.
type end struct {
	size int64
	id   uint64
}

// mend cuts what follows the last newline off the file, and says where it ends then.
func mend(path string) (end, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return end{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return end{}, err
	}
	// Two line ends are wanted, around the last whole line; one line may be some megabytes, few are more than a kilobyte.
	var tail []byte
	for window := int64(64 << 10); ; window *= 8 {
		window = min(window, info.Size())
		tail = make([]byte, window)
		if _, err := f.ReadAt(tail, info.Size()-window); err != nil && !errors.Is(err, io.EOF) {
			return end{}, err
		}
		if window == info.Size() || bytes.Count(tail, []byte("\n")) >= 2 {
			break
		}
	}
	whole := tail[:bytes.LastIndexByte(tail, '\n')+1]
	e := end{size: info.Size() - int64(len(tail)-len(whole))}
	if e.size < info.Size() {
		if err := f.Truncate(e.size); err != nil {
			return end{}, err
		}
	}
	var r record
	if line := whole[bytes.LastIndexByte(bytes.TrimSuffix(whole, []byte("\n")), '\n')+1:]; json.Unmarshal(line, &r) == nil {
		e.id = r.ID
	}
	return e, nil
}

// groupFor gives the group, made if it is new. s.disk is held.
func (s *Store) groupFor(name string) (*group, error) {
	if g := s.groups[name]; g != nil {
		return g, nil
	}
	dir := filepath.Join(s.dir, folder(name))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("log group %s: %w", name, err)
	}
	tmp := filepath.Join(dir, "name.new")
	err := os.WriteFile(tmp, []byte(name), 0o600)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, "name"))
	}
	if err != nil {
		return nil, fmt.Errorf("log group %s: %w", name, err)
	}
	g := &group{name: name, dir: dir, meta: meta{Created: time.Now(), made: map[string]int64{}}}
	s.groups[name] = g
	return g, nil
}

// Group is what Groups says of one.
type Group struct {
	Name      string            `json:"name"`
	Created   time.Time         `json:"created"`
	Bytes     int64             `json:"bytes"`                   // on disk
	Retention int               `json:"retentionDays,omitempty"` // 0: for ever
	Tags      map[string]string `json:"tags,omitempty"`
}

func (g *group) info() Group {
	info := Group{Name: g.name, Created: g.Created, Retention: g.Retention, Tags: maps.Clone(g.Tags)}
	for _, seg := range g.segs {
		info.Bytes += seg.size
	}
	return info
}

// Groups lists the groups by name.
func (s *Store) Groups() []Group {
	s.disk.Lock()
	defer s.disk.Unlock()
	var out []Group
	for _, g := range s.groups {
		out = append(out, g.info())
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Group gives one group. ErrNoGroup when there is none.
func (s *Store) Group(ctx context.Context, name string) (Group, error) {
	if err := s.sync(ctx); err != nil {
		return Group{}, err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	g := s.groups[name]
	if g == nil {
		return Group{}, fmt.Errorf("%s: %w", name, ErrNoGroup)
	}
	return g.info(), nil
}

// DeleteGroup removes a group and all its events; what is appended later begins it anew. ErrNoGroup when there is none.
func (s *Store) DeleteGroup(name string) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	g := s.groups[name]
	if g == nil {
		return fmt.Errorf("%s: %w", name, ErrNoGroup)
	}
	// The name goes last: a folder that lost only some of its segments is still a group after a crash.
	for _, seg := range g.segs {
		if err := os.Remove(g.path(seg.num)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("log group %s: %w", name, err)
		}
	}
	if err := os.RemoveAll(g.dir); err != nil {
		return fmt.Errorf("log group %s: %w", name, err)
	}
	delete(s.groups, name)
	return nil
}
