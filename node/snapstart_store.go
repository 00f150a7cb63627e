package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"thaw/internal/faultfs"
	"thaw/snapshot"
)

// openStore opens the key and what is sealed with it. A key that is lost or damaged loses the snapshots, as
// snapstart.md says: what cannot be opened any more is dropped, versions run Init, and their snapshots are made again.
func (s *snapstart) openStore(ctx context.Context) (err error) {
	path := filepath.Join(s.dir, "key")
	s.key, err = snapshot.LoadKey(faultfs.Disk{}, path)
	if errors.Is(err, snapshot.ErrBadKey) {
		s.log.Error("the snapshot key is damaged: another is made, and all snapshots with it", "kept", path+".damaged", "error", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return fmt.Errorf("snapshot key: %w", err)
		}
		s.key, err = snapshot.LoadKey(faultfs.Disk{}, path)
	}
	if err != nil {
		return err
	}
	open := func() error {
		blobs, err := snapshot.OpenFolder(faultfs.Disk{}, s.storeDir())
		if err != nil {
			return err
		}
		s.store, err = snapshot.Open(ctx, snapshot.Options{Blobs: blobs, Key: s.key, Log: s.log})
		return err
	}
	if err = open(); !errors.Is(err, snapshot.ErrWrongKey) {
		return err
	}
	s.log.Error("the snapshots cannot be opened with this key: they are dropped and made again; versions run Init meanwhile", "store", s.storeDir())
	for _, dir := range []string{s.cacheDir(), s.storeDir()} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("snapshots that cannot be opened: %w", err)
		}
	}
	return open()
}

func (s *snapstart) storeDir() string { return filepath.Join(s.dir, "store") }
func (s *snapstart) cacheDir() string { return filepath.Join(s.plain, "cache") }
func (s *snapstart) making() string   { return filepath.Join(s.plain, "making") }

// openPlain makes the place for files that are not encrypted: the cache, and what is being made.
func (s *snapstart) openPlain(o *snapstartOptions) (err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	s.plain = s.dir
	if o.inMemory {
		host, err := hostMemory()
		if err != nil {
			return err
		}
		o.cacheBytes = min(o.cacheBytes, host/memoryShare)
		for _, dir := range []string{s.cacheDir(), s.making()} { // of a server that had them on the disk
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
		if s.memory, err = openMemory(); err != nil {
			return err
		}
		s.plain = s.memory.Path()
	}
	if err = os.MkdirAll(s.making(), 0o700); err == nil {
		err = emptyFolder(s.making()) // what a killed server was making
	}
	if err != nil && s.memory != nil {
		err = errors.Join(err, s.memory.Close())
	}
	return err
}
