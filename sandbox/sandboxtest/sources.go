package sandboxtest

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"thaw/sandbox"
)

// folder is a snapshot in a folder: sink and source.
type folder string

// Create implements sandbox.SnapshotSink.
func (d folder) Create(part string) (io.WriteCloser, error) { return os.Create(d.path(part)) }

const noteFile = "note.of.the.backend"

// Note implements sandbox.SnapshotSink.
func (d folder) Note(text string) { os.WriteFile(d.path(noteFile), []byte(text), 0o600) }

func (d folder) path(part string) string { return filepath.Join(string(d), part) }

// Open implements sandbox.SnapshotSource.
func (d folder) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := os.Open(d.path(part))
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	fi, err := f.Stat()
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	return sandbox.SnapshotPart{File: f, Size: fi.Size()}, nil
}

// parts are the names of what a checkpoint wrote, in the order of their sizes.
func (d folder) parts(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(string(d))
	if err != nil {
		t.Fatal(err)
	}
	size := map[string]int64{}
	var names []string
	for _, e := range entries {
		if e.Name() == noteFile {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name())
		size[e.Name()] = fi.Size()
	}
	if len(names) == 0 {
		t.Fatal("a snapshot without parts")
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(size[a], size[b]) })
	return names
}

// readerSource serves a folder's parts through readers.
type readerSource struct {
	folder
	wrap func(part string, r io.ReaderAt) io.ReaderAt
}

// Open implements sandbox.SnapshotSource.
func (r readerSource) Open(part string) (sandbox.SnapshotPart, error) {
	b, err := os.ReadFile(r.path(part))
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	p := sandbox.SnapshotPart{Size: int64(len(b)), Reader: bytes.NewReader(b)}
	if r.wrap != nil {
		p.Reader = r.wrap(part, p.Reader)
	}
	return p, nil
}

type readerFunc func([]byte, int64) (int, error)

// ReadAt implements io.ReaderAt.
func (f readerFunc) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }

// memorySink keeps a snapshot in memory, so that nothing is a file.
type memorySink map[string]*bytes.Buffer

// Create implements sandbox.SnapshotSink.
func (m memorySink) Create(part string) (io.WriteCloser, error) {
	m[part] = new(bytes.Buffer)
	return struct {
		io.Writer
		io.Closer
	}{m[part], io.NopCloser(nil)}, nil
}

// Note implements sandbox.SnapshotSink.
func (m memorySink) Note(string) {}

// Open implements sandbox.SnapshotSource.
func (m memorySink) Open(part string) (sandbox.SnapshotPart, error) {
	return sandbox.SnapshotPart{Size: int64(m[part].Len()), Reader: bytes.NewReader(m[part].Bytes())}, nil
}

// removing removes each part once it is open.
type removing struct{ folder }

// Open implements sandbox.SnapshotSource.
func (r removing) Open(part string) (sandbox.SnapshotPart, error) {
	p, err := r.folder.Open(part)
	os.Remove(r.path(part))
	return p, err
}

// brokenSink fails at one part.
type brokenSink struct {
	folder
	part  string
	where string // create, write, close
}

var errBroken = errors.New("the disk is full")

// Create implements sandbox.SnapshotSink.
func (s brokenSink) Create(part string) (io.WriteCloser, error) {
	if part != s.part {
		return s.folder.Create(part)
	}
	if s.where == "create" {
		return nil, errBroken
	}
	return s, nil
}

// Write implements io.Writer.
func (s brokenSink) Write(b []byte) (int, error) {
	if s.where == "write" {
		return 0, errBroken
	}
	return len(b), nil
}

// Close implements io.Closer.
func (s brokenSink) Close() error {
	if s.where == "close" {
		return errBroken
	}
	return nil
}

// lateSource opens its files when everybody has given up, all but the last.
type lateSource struct {
	folder
	release chan struct{}
	parts   int // that there are

	mu     sync.Mutex // guards what follows
	asked  int
	opened []*os.File
	failed bool
}

// Open implements sandbox.SnapshotSource.
func (l *lateSource) Open(part string) (sandbox.SnapshotPart, error) {
	<-l.release
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked++; l.asked == l.parts {
		l.failed = true
		return sandbox.SnapshotPart{}, os.ErrClosed
	}
	p, err := l.folder.Open(part)
	l.opened = append(l.opened, p.File)
	return p, err
}

func (l *lateSource) files(t *testing.T) (opened []*os.File) {
	await(t, "the source is asked", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		opened = l.opened
		return l.failed
	})
	return opened
}
