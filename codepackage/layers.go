package codepackage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thaw/function"
)

// merge lays layers over each other in dir, which exists and is empty. Each is unpacked beside it and moved in, so that
// no path of one layer is ever resolved through a link of another.
func (s *Store) merge(ctx context.Context, layers []function.Layer, dir string) error {
	for _, l := range layers {
		if err := s.mergeOne(ctx, l, dir); err != nil {
			return fmt.Errorf("layer %s: %w", l.ARN, err)
		}
	}
	return nil
}

func (s *Store) mergeOne(ctx context.Context, l function.Layer, dir string) error {
	if !validHash(l.SHA256) {
		return fmt.Errorf("%q is not a hash", l.SHA256)
	}
	tmp, err := os.MkdirTemp(s.dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := s.fetch(ctx, l.SHA256, tmp); err != nil {
		return err
	}
	return overlay(tmp, dir)
}

// overlay moves what is in from into to. Folders that both have are merged; of anything else the one in from stays.
func overlay(from, to string) error {
	list, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range list {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		there, err := os.Lstat(dst)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case there.IsDir() && e.IsDir():
			if err := overlay(src, dst); err != nil {
				return err
			}
			continue
		case there.IsDir() || e.IsDir(): // one is a folder and the other is not
			if err := os.RemoveAll(dst); err != nil {
				return err
			}
		}
		if err := os.Rename(src, dst); err != nil {
			return err
		}
	}
	return nil
}

// Unzipped is the bytes of the files of an unpacked package.
func (s *Store) Unzipped(ctx context.Context, hash string) (int64, error) {
	dir, release, err := s.use(ctx, hash, func(dir string) error { return s.fetch(ctx, hash, dir) })
	if err != nil {
		return 0, err
	}
	defer release()
	var n int64
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("size of a package: %w", err)
	}
	return n, nil
}
