package snapstart

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"thaw/internal/faultfs"
	"thaw/snapshot"
)

// disk is where snapshots lie: the store with its key, and the plain files beside it.
type disk struct {
	dir    string
	plain  string        // where files lie that are not encrypted: dir, or memory
	memory *memoryFolder // nil: they are on the disk
	key    *snapshot.InstallationKey
	store  *snapshot.Store
	cache  *snapshot.Cache
}

func openDisk(ctx context.Context, o *Options) (_ *disk, err error) {
	d := &disk{dir: o.Dir, plain: o.Dir}
	if err := d.openPlain(o); err != nil {
		return nil, fmt.Errorf("snapshot folder: %w", err)
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.openStore(ctx, o); err != nil {
		return nil, err
	}
	d.cache, err = snapshot.OpenCache(d.cacheDir(), o.CacheBytes, d.store, o.Log)
	return d, err
}

// Close closes what is open.
func (d *disk) Close() (err error) {
	if d.cache != nil {
		err = d.cache.Close()
	}
	if d.store != nil {
		err = errors.Join(err, d.store.Close())
	}
	if d.memory != nil {
		err = errors.Join(err, d.memory.Close())
	}
	return err
}

func (d *disk) storeDir() string { return filepath.Join(d.dir, "store") }
func (d *disk) cacheDir() string { return filepath.Join(d.plain, "cache") }
func (d *disk) making() string   { return filepath.Join(d.plain, "making") }

// openStore opens the key and what is sealed with it. A key that is lost or damaged loses the snapshots, as
// snapstart.md says: what cannot be opened any more is dropped, versions run Init, and their snapshots are made again.
func (d *disk) openStore(ctx context.Context, o *Options) (err error) {
	if d.key, err = d.loadKey(o.Log); err != nil {
		return err
	}
	open := func() error {
		blobs, err := snapshot.OpenFolder(faultfs.Disk{}, d.storeDir())
		if err != nil {
			return err
		}
		d.store, err = snapshot.Open(ctx, snapshot.Options{Blobs: blobs, Key: d.key, Log: o.Log, Now: o.Now})
		return err
	}
	if err = open(); !errors.Is(err, snapshot.ErrWrongKey) {
		return err
	}
	o.Log.Error("the snapshots cannot be opened with this key: they are dropped and made again; versions run Init meanwhile", "store", d.storeDir())
	for _, dir := range []string{d.cacheDir(), d.storeDir()} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("snapshots that cannot be opened: %w", err)
		}
	}
	return open()
}

func (d *disk) loadKey(log *slog.Logger) (*snapshot.InstallationKey, error) {
	path := filepath.Join(d.dir, "key")
	key, err := snapshot.LoadKey(faultfs.Disk{}, path)
	if !errors.Is(err, snapshot.ErrBadKey) {
		return key, err
	}
	log.Error("the snapshot key is damaged: another is made, and all snapshots with it", "kept", path+".damaged", "error", err)
	if err := os.Rename(path, path+".damaged"); err != nil {
		return nil, fmt.Errorf("snapshot key: %w", err)
	}
	return snapshot.LoadKey(faultfs.Disk{}, path)
}

// openPlain makes the place for files that are not encrypted: the cache, and what is being made.
func (d *disk) openPlain(o *Options) (err error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	if o.InMemory {
		host, err := hostMemory()
		if err != nil {
			return err
		}
		o.CacheBytes = min(o.CacheBytes, host/memoryShare)
		for _, dir := range []string{d.cacheDir(), d.making()} { // of a server that had them on the disk
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
		if d.memory, err = openMemory(); err != nil {
			return err
		}
		d.plain = d.memory.Path()
	}
	if err = os.MkdirAll(d.making(), 0o700); err == nil {
		err = emptyFolder(d.making()) // what a killed server was making
	}
	if err != nil && d.memory != nil {
		err = errors.Join(err, d.memory.Close())
	}
	return err
}

func emptyFolder(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
