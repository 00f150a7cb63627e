package notify

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// stamp says which content a file had: what is written over it changes it.
type stamp struct {
	Size  int64  `json:"s"`
	MTime int64  `json:"m"` // ns
	Inode uint64 `json:"i"`
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{Size: info.Size(), MTime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode = st.Ino
	}
	return s
}

// told is which files a folder's function was told of, in memory and in a file of lines, so that what changed while the
// server was away is told when it is back. A line that a crash has cut off is told again.
type told struct {
	path  string
	files map[string]stamp
	out   *os.File
	lines int
}

type line struct {
	Name string `json:"k"`
	Is   *stamp `json:"f"` // null: it is gone
}

// openTold reads what was told before. fresh: nothing was ever.
func openTold(path string) (t *told, fresh bool, err error) {
	t = &told{path: path, files: map[string]stamp{}}
	in, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fresh = true
	case err != nil:
		return nil, false, err
	default:
		t.read(in)
		in.Close()
	}
	return t, fresh, t.rewrite()
}

func (t *told) read(in *os.File) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		if l.Is == nil {
			delete(t.files, l.Name)
		} else {
			t.files[l.Name] = *l.Is
		}
	}
}

// rewrite makes the file as short as it can be.
func (t *told) rewrite() error {
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return err
	}
	next, err := os.OpenFile(t.path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(next)
	for name, s := range t.files {
		if err := writeLine(w, line{name, &s}); err != nil {
			next.Close()
			return err
		}
	}
	if err := errors.Join(w.Flush(), next.Sync(), os.Rename(next.Name(), t.path)); err != nil {
		next.Close()
		return fmt.Errorf("list of files that were told: %w", err)
	}
	t.close()
	t.out, t.lines = next, len(t.files)
	return nil
}

func writeLine(w interface{ Write([]byte) (int, error) }, l line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// note writes down that a file was told; nil: that it is gone.
func (t *told) note(name string, s *stamp) error {
	if s == nil {
		delete(t.files, name)
	} else {
		t.files[name] = *s
	}
	if t.lines++; t.lines > 2*len(t.files)+1000 {
		return t.rewrite()
	}
	return writeLine(t.out, line{name, s})
}

func (t *told) close() {
	if t.out != nil {
		t.out.Close()
	}
}
