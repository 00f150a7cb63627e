// Package backup writes and reads a copy of what a server cannot make again: its records and, unless they are left out,
// its code packages. Snapshots, unpacked code and runtimes are made again; logs are not in it.
//
// A backup is a tar file:
//
//	thaw-backup.json   Head
//	thaw.conf          the data folder's, if it has one
//	code/SHA256        packages as they were uploaded
//	records.jsonl      journal.Write, one a line
//	end.json           how many packages and records there are, and the SHA-256 of records.jsonl: without it the file was cut
//
// Environment variables of functions are in it, so it is as secret as they are.
package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"thaw/jetstream/journal"
)

const (
	headName    = "thaw-backup.json"
	confName    = "thaw.conf"
	codePrefix  = "code/"
	recordsName = "records.jsonl"
	endName     = "end.json"
)

// Head begins a backup.
type Head struct {
	Format  int       `json:"format"`  // 1
	Version string    `json:"version"` // of the server
	Created time.Time `json:"created"`
	Code    bool      `json:"code"` // packages are in it
	// Incomplete says why records may have been missing when it was made; empty: they were all there.
	Incomplete string `json:"incomplete,omitempty"`
	// Last is the last revision of each bucket: the same in two backups of one server says that their records are the same.
	Last map[string]uint64 `json:"last"`
}

// end closes a backup.
type end struct {
	Records int    `json:"records"`
	SHA256  string `json:"sha256"` // of records.jsonl
	Code    int    `json:"code"`
}

// Packages are the code packages of a server; *blob.Store is one.
type Packages interface {
	Open(ctx context.Context, sha256 string) (io.ReadCloser, error)
	List(ctx context.Context, f func(sha256 string, size int64) bool) error
}

// Source is what a backup is made of. Records, Incomplete and Version are required.
type Source struct {
	Version    string
	Records    func() ([]journal.Write, map[string]uint64, error)
	Incomplete string
	Named      func([]journal.Write) []string // packages that records name
	Packages   Packages                       // nil: left out
	Conf       string                         // path; empty, or of a file that is not there: none
	Now        time.Time
}

// Write writes a backup. Packages come first and the records after them, so that whatever the records name is in it,
// though functions change meanwhile.
func Write(ctx context.Context, w io.Writer, s Source) (err error) {
	t := &writer{tar: tar.NewWriter(w), now: s.Now}
	_, last, err := s.Records()
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := t.json(headName, Head{1, s.Version, s.Now.UTC(), s.Packages != nil, s.Incomplete, last}); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if b, err := os.ReadFile(s.Conf); err == nil {
		if err := t.file(confName, b); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	written := map[string]bool{}
	if s.Packages != nil {
		var all []string
		if err := s.Packages.List(ctx, func(sha256 string, _ int64) bool { all = append(all, sha256); return true }); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		for _, sum := range all {
			if err := t.code(ctx, s.Packages, sum); err == nil {
				written[sum] = true
			} else if !errors.As(err, new(unreadable)) { // deleted meanwhile, or damaged: the records below decide whether it is wanted
				return fmt.Errorf("backup: %w", err)
			}
		}
	}
	records, err := t.wanted(ctx, s, written)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	sum := sha256.Sum256(text.Bytes())
	if err := errors.Join(t.file(recordsName, text.Bytes()), t.json(endName, end{len(records), hex.EncodeToString(sum[:]), len(written)}), t.tar.Close()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// wanted returns records all of whose packages are written.
func (t *writer) wanted(ctx context.Context, s Source, written map[string]bool) ([]journal.Write, error) {
	for try := 1; ; try++ {
		records, _, err := s.Records()
		if err != nil || s.Packages == nil {
			return records, err
		}
		var missing error
		for _, sum := range s.Named(records) {
			if written[sum] {
				continue
			}
			if err := t.code(ctx, s.Packages, sum); err == nil {
				written[sum] = true
			} else if errors.As(err, new(unreadable)) {
				missing = err
			} else {
				return nil, err
			}
		}
		if missing == nil || try == 3 { // a function whose package is lost keeps nobody from a backup of the others
			return records, nil
		}
	}
}

type writer struct {
	tar *tar.Writer
	now time.Time
}

func (t *writer) json(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return t.file(name, append(b, '\n'))
}

func (t *writer) file(name string, b []byte) error {
	if err := t.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b)), ModTime: t.now}); err != nil {
		return err
	}
	_, err := t.tar.Write(b)
	return err
}

// unreadable says that a package cannot be read.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// code adds a package. It is read whole before any of it is written, so that a damaged one is in no backup.
func (t *writer) code(ctx context.Context, p Packages, sum string) error {
	r, err := p.Open(ctx, sum)
	if err != nil {
		return unreadable{err}
	}
	defer r.Close()
	b, err := io.ReadAll(r) // a package has 50 MB at most
	if err != nil {
		return unreadable{err}
	}
	return t.file(codePrefix+sum, b)
}

// Content is what Read gives.
type Content struct {
	Head    Head
	Records []journal.Write
	Conf    []byte // nil: none
	Code    int    // packages
}

// Read reads a whole backup and checks it: nothing of it may be used unless the error is nil. code gets each package;
// nil: they are only checked.
func Read(r io.Reader, code func(sha256 string, b []byte) error) (*Content, error) {
	c := &Content{}
	var closed *end
	var text []byte
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("no whole backup: %w", err)
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("no whole backup: %w", err)
		}
		sum, isCode := strings.CutPrefix(h.Name, codePrefix)
		switch {
		case n == 0 && h.Name == headName:
			if err := json.Unmarshal(b, &c.Head); err != nil {
				return nil, fmt.Errorf("no whole backup: %s: %w", h.Name, err)
			}
			if c.Head.Format != 1 {
				return nil, fmt.Errorf("backup of format %d: a newer thaw can read it", c.Head.Format)
			}
		case n == 0:
			return nil, errors.New("not a backup of thaw")
		case isCode:
			if is := sha256.Sum256(b); hex.EncodeToString(is[:]) != sum {
				return nil, fmt.Errorf("the backup is damaged: package %s", sum)
			}
			c.Code++
			if code != nil {
				if err := code(sum, b); err != nil {
					return nil, err
				}
			}
		case h.Name == confName:
			c.Conf = b
		case h.Name == recordsName:
			text = b
		case h.Name == endName:
			closed = &end{}
			if err := json.Unmarshal(b, closed); err != nil {
				return nil, fmt.Errorf("no whole backup: %s: %w", h.Name, err)
			}
		}
	}
	if closed == nil {
		return nil, errors.New("no whole backup: its end is missing")
	}
	for line := range bytes.Lines(text) {
		var w journal.Write
		if err := json.Unmarshal(line, &w); err != nil {
			return nil, fmt.Errorf("the backup is damaged: records: %w", err)
		}
		c.Records = append(c.Records, w)
	}
	if is := sha256.Sum256(text); hex.EncodeToString(is[:]) != closed.SHA256 || len(c.Records) != closed.Records || c.Code != closed.Code {
		return nil, fmt.Errorf("the backup is damaged: it has %d records and %d packages, or others than the %d and %d that were written", len(c.Records), c.Code, closed.Records, closed.Code)
	}
	return c, nil
}

// ReadFile is Read of a file.
func ReadFile(path string, code func(sha256 string, b []byte) error) (*Content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	defer f.Close()
	c, err := Read(bufio.NewReaderSize(f, 1<<20), code)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ToFile makes path by write, whole or not at all, readable by its owner only. What write wrote is read back and
// checked before it counts.
func ToFile(path string, write func(io.Writer) error) (_ *Content, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-*")
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := write(buffered); err != nil {
		return nil, err
	}
	if err := errors.Join(buffered.Flush(), f.Chmod(0o600), f.Sync()); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	c, err := ReadFile(f.Name(), nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Close(), os.Rename(f.Name(), path)); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return c, nil
}
