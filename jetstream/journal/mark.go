package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// markSize is the size of the mark: one write of less than a page is never seen half.
const markSize = 2048

// mark is the text of the mark.
type mark struct {
	N          uint64             `json:"n"`
	Buckets    map[string]*Bucket `json:"buckets"`
	Incomplete string             `json:"incomplete,omitempty"`
}

// putMark rewrites the mark. Caller holds mu, or is alone.
func (j *Journal) putMark() error {
	b, err := seal(mark{j.n, j.buckets, j.incomplete})
	if err != nil {
		return err
	}
	if len(b) > markSize {
		return fmt.Errorf("mark of %d bytes", len(b))
	}
	padded := append(b, bytes.Repeat([]byte{'\n'}, markSize-len(b))...)
	_, err = j.mark.WriteAt(padded, 0)
	return err
}

func readMark(dir string) (m mark, damage string, err error) {
	f, err := os.Open(filepath.Join(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, "the mark is missing", nil
	}
	if err != nil {
		return m, "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, markSize+1))
	if err != nil {
		return m, "", err
	}
	text, ok := unseal(bytes.TrimRight(b, "\n"))
	if !ok || len(b) != markSize || json.Unmarshal(text, &m) != nil {
		return mark{}, "the mark is damaged", nil
	}
	return m, "", nil
}
