package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"thaw/internal/faultfs"
)

// Folder is Blobs in a folder of one server: a file for each blob, written under another name, synced and renamed.
type Folder struct {
	fs   faultfs.FS
	dir  string
	temp atomic.Uint64

	mu   sync.Mutex
	made map[string]bool // folders that exist durably
}

const tempSuffix = ".tmp" // no key has a dot

// OpenFolder opens a folder, made if missing, and removes what writes left that were never finished. One server may have it open.
func OpenFolder(fsys faultfs.FS, dir string) (*Folder, error) {
	f := &Folder{fs: fsys, dir: dir, made: map[string]bool{}}
	if err := f.makeDir(""); err != nil {
		return nil, fmt.Errorf("snapshot folder: %w", err)
	}
	for _, sub := range []string{"", packDir, indexDir, manifestDir, tombDir} {
		if err := f.makeDir(sub); err != nil {
			return nil, fmt.Errorf("snapshot folder: %w", err)
		}
		files, err := fsys.ReadDir("blob.sweep", filepath.Join(dir, sub))
		if err != nil {
			return nil, fmt.Errorf("snapshot folder: %w", err)
		}
		for _, info := range files {
			if strings.HasSuffix(info.Name, tempSuffix) {
				if err := fsys.Remove("blob.sweep", filepath.Join(dir, sub, info.Name)); err != nil {
					return nil, fmt.Errorf("snapshot folder: %w", err)
				}
			}
		}
	}
	return f, nil
}

func (f *Folder) makeDir(sub string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made[sub] {
		return nil
	}
	dir := filepath.Join(f.dir, sub)
	if err := f.fs.MkdirAll("blob.mkdir", dir); err != nil {
		return err
	}
	if err := f.fs.SyncDir("blob.mkdir", filepath.Dir(dir)); err != nil && sub != "" {
		return err
	}
	f.made[sub] = true
	return nil
}

func (f *Folder) path(key string) (string, error) {
	if !ValidKey(key) {
		return "", fmt.Errorf("blob key %q is malformed", key)
	}
	return filepath.Join(f.dir, filepath.FromSlash(key)), nil
}

// Put implements Blobs.
func (f *Folder) Put(ctx context.Context, key string, b []byte) error {
	path, err := f.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("blob %s: %w", key, err)
	}
	sub, _, _ := strings.Cut(key, "/")
	if sub == key {
		sub = ""
	}
	if err := f.makeDir(sub); err != nil {
		return fmt.Errorf("blob %s: %w", key, err)
	}
	if err := f.write(path, b); err != nil {
		return fmt.Errorf("blob %s: %w", key, err)
	}
	return nil
}

func (f *Folder) write(path string, b []byte) (err error) {
	temp := path + "." + strconv.FormatUint(f.temp.Add(1), 10) + tempSuffix
	w, err := f.fs.Create("blob.create", temp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.fs.Remove("blob.undo", temp)
		}
	}()
	if _, err = w.Write(b); err == nil {
		err = w.Sync("blob.sync")
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = f.fs.Rename("blob.rename", temp, path); err != nil {
		return err
	}
	return f.fs.SyncDir("blob.syncdir", filepath.Dir(path))
}

// Get implements Blobs.
func (f *Folder) Get(ctx context.Context, key string) ([]byte, error) {
	path, err := f.path(key)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("blob %s: %w", key, err)
	}
	b, err := f.fs.ReadFile("blob.read", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", key, err)
	}
	return b, nil
}

// Delete implements Blobs.
func (f *Folder) Delete(_ context.Context, key string) error {
	path, err := f.path(key)
	if err != nil {
		return err
	}
	if err := f.fs.Remove("blob.remove", path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", key, err)
	}
	return nil
}

// List implements Blobs.
func (f *Folder) List(ctx context.Context, prefix string) ([]BlobInfo, error) {
	subs := []string{strings.TrimSuffix(prefix, "/")}
	if prefix == "" {
		subs = []string{""}
		f.mu.Lock()
		for sub := range f.made {
			if sub != "" {
				subs = append(subs, sub)
			}
		}
		f.mu.Unlock()
	} else if !strings.HasSuffix(prefix, "/") || !validPart(subs[0]) {
		return nil, fmt.Errorf("blob prefix %q is malformed", prefix)
	}
	var list []BlobInfo
	for _, sub := range subs {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list of blobs %s: %w", prefix, err)
		}
		files, err := f.fs.ReadDir("blob.list", filepath.Join(f.dir, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list of blobs %s: %w", prefix, err)
		}
		for _, info := range files {
			key := info.Name
			if sub != "" {
				key = sub + "/" + info.Name
			}
			if ValidKey(key) {
				list = append(list, BlobInfo{key, info.Size})
			}
		}
	}
	return list, nil
}
