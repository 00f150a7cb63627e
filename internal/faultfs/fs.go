// Package faultfs is the seam between code that must survive crashes and the file system. Every call carries a label, so that a
// test can fail exactly one of them or stop the world after it; Disk is the real thing, Mem a memory file system that forgets at a
// crash what was not synced.
package faultfs

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Label names what a call is for: "pack.sync", "key.rename".
type Label string

// FS is what a store of files needs. Paths are the operating system's.
type FS interface {
	// Create makes a new file for writing, mode 0600. It fails with fs.ErrExist when there is one.
	Create(label Label, path string) (File, error)
	// Rename puts a file in another's place at once; durable only after SyncDir.
	Rename(label Label, from, to string) error
	// Link gives a file a second name. It fails with fs.ErrExist when the name is taken.
	Link(label Label, from, to string) error
	Remove(label Label, path string) error
	// SyncDir makes the names in a folder durable.
	SyncDir(label Label, dir string) error
	MkdirAll(label Label, dir string) error
	ReadFile(label Label, path string) ([]byte, error)
	// ReadDir lists the regular files of a folder, in no order, without entering folders below it.
	ReadDir(label Label, dir string) ([]Info, error)
}

// File is a file being written.
type File interface {
	io.Writer
	Sync(label Label) error
	Close() error
}

// Info is one file of a folder.
type Info struct {
	Name string // without its folder
	Size int64
	Mode fs.FileMode
}

// Disk is the real file system.
type Disk struct{}

type diskFile struct{ *os.File }

func (f diskFile) Sync(Label) error { return f.File.Sync() }

// Create implements FS.
func (Disk) Create(_ Label, path string) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Rename implements FS.
func (Disk) Rename(_ Label, from, to string) error { return os.Rename(from, to) }

// Link implements FS.
func (Disk) Link(_ Label, from, to string) error { return os.Link(from, to) }

// Remove implements FS.
func (Disk) Remove(_ Label, path string) error { return os.Remove(path) }

// MkdirAll implements FS.
func (Disk) MkdirAll(_ Label, dir string) error { return os.MkdirAll(dir, 0o700) }

// ReadFile implements FS.
func (Disk) ReadFile(_ Label, path string) ([]byte, error) { return os.ReadFile(path) }

// SyncDir implements FS.
func (Disk) SyncDir(_ Label, dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// ReadDir implements FS. A file that goes while the folder is read is left out.
func (Disk) ReadDir(_ Label, dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(entries))
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if st, err := e.Info(); err == nil {
			infos = append(infos, Info{e.Name(), st.Size(), st.Mode()})
		}
	}
	return infos, nil
}

func clean(path string) string { return filepath.Clean(path) }

func inDir(dir, path string) (name string, ok bool) {
	name, ok = strings.CutPrefix(path, dir+string(filepath.Separator))
	return name, ok && !strings.ContainsRune(name, filepath.Separator)
}

func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}
