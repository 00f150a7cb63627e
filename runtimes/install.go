package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Install puts what a runtime needs and this host lacks into the data folder: Node itself, or AWS's client for Python or Java, from
// the package registries that the host is configured to use. name is a runtime identifier, or aws-lambda-ric, AWS's own client for
// Node, which is compiled. progress, when set, is told in words what happens. What is installed already is left alone.
//
// An interrupted Install leaves nothing that counts as installed; concurrent ones wait for each other. Every file must have the
// pinned hash, wherever it came from.
//
// Errors: *UnknownError; *NotInstalledError when something is missing that Install cannot fetch (a Python or Java interpreter).
func (r *Registry) Install(ctx context.Context, name string, progress func(string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	if name == ricName {
		_, err := r.installRIC(ctx, progress)
		return err
	}
	f, version, known := lookup(name)
	if !known {
		return &UnknownError{Identifier: name}
	}
	component := ""
	switch f {
	case nodejs:
		if err := r.Check(name, ""); err == nil {
			progress(name + ": a Node.js of this version is here already")
			return nil
		}
		component = "nodejs" + version
	case python:
		component = "python" + version
	case java:
		component = "java"
	case provided:
		progress(name + ": nothing to install, functions bring their own bootstrap")
		return nil
	default:
		return r.Check(name, "")
	}
	if _, err := r.installComponent(ctx, component, progress); err != nil {
		return fmt.Errorf("install %s: %w", name, err)
	}
	return r.Check(name, "") // the interpreter may still be missing
}

// installComponent fetches a component's files into its folder and returns it.
func (r *Registry) installComponent(ctx context.Context, name string, progress func(string)) (string, error) {
	c, ok := componentFor(name)
	if !ok {
		return "", &NotInstalledError{Identifier: name, Missing: "a package of it for " + machine()}
	}
	dir := filepath.Join(r.dir, c.folder())
	return dir, r.locked(ctx, c.folder(), progress, func() error {
		if isFolder(dir) {
			progress(filepath.Base(dir) + ": here already")
			return nil
		}
		return r.makeFolder(dir, func(tmp string) error {
			fetch := newFetcher()
			for _, p := range c.Pins {
				progress(fmt.Sprintf("fetching %s %s", p.Package, strings.TrimPrefix(filepath.Base(p.File), p.Package+"-")))
				if err := fetch.into(ctx, p, tmp); err != nil {
					return fmt.Errorf("%s %s: %w", p.Package, p.File, err)
				}
			}
			return syncTree(tmp)
		})
	})
}

// locked runs do while it holds the lock of a folder's name, against other processes too.
func (r *Registry) locked(ctx context.Context, name string, progress func(string), do func() error) error {
	f, err := os.OpenFile(filepath.Join(r.dir, ".lock-"+name), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() // which lets go of the lock
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock of %s: %w", name, err)
		}
		if !told {
			progress(name + ": waiting for another installation")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	// Whoever left these held the lock and is gone.
	left, _ := filepath.Glob(filepath.Join(r.dir, ".tmp-"+name+"-*"))
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return do()
}

// syncTree makes the files of a folder durable before the folder gets the name that says it is complete.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}
