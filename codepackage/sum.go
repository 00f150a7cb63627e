package codepackage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thaw/internal/treesum"
)

// check says whether a folder is there and as it was filled. One that is not is removed.
func (s *Store) check(hash string) (whole bool, err error) {
	dir := s.path(hash)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	same, known := treesum.Check(dir)
	if same {
		return true, nil
	}
	if known { // without a sum it is of a release that wrote none
		s.log.Error("unpacked code was damaged or changed: it is unpacked again", "code", hash)
	}
	s.mu.Lock()
	s.gone++
	away := filepath.Join(s.dir, fmt.Sprintf("%sgone-%d", tempPrefix, s.gone))
	err = os.Rename(dir, away)
	s.mu.Unlock()
	if err != nil {
		return false, fmt.Errorf("damaged code folder: %w", err)
	}
	return false, os.RemoveAll(away)
}
