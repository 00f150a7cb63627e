package runtimes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"thaw/internal/filelock"
)

// Install puts what a runtime needs and this host lacks into the data folder: the interpreter, AWS's client and AWS's
// SDK, from the package registries that the host is configured to use. name is a runtime identifier, or aws-lambda-ric,
// AWS's own client for Node, which is compiled. progress, when set, is told in words what happens. What is installed
// already is left alone.
//
// An interrupted Install leaves nothing that counts as installed; concurrent ones wait for each other. Every file must have the
// pinned hash, wherever it came from.
//
// Errors: *UnknownError; *NotInstalledError when something is missing that Install cannot fetch.
func (r *Registry) Install(ctx context.Context, name string, progress func(string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	if name == ricName {
		_, err := r.installRIC(ctx, progress)
		return err
	}
	lacking, err := r.lacks(name, "")
	if err != nil {
		return err
	}
	for _, n := range lacking {
		if _, err := r.installComponent(ctx, n.component, progress, nil); err != nil {
			return fmt.Errorf("%s: %w", n.what, err)
		}
	}
	if len(lacking) == 0 {
		progress(name + ": all that it needs is here already")
	}
	r.makeClient(name)
	return r.Check(name, "")
}

// fetchesAtOnce is how many files of a component are downloaded at one time: most of an SDK's are small.
const fetchesAtOnce = 8

// installComponent fetches a component's files into its folder and returns it. count, when set, is told of bytes that
// came and that are to come.
func (r *Registry) installComponent(ctx context.Context, name string, progress func(string), count func(got, total int64)) (string, error) {
	c, ok := componentFor(name)
	if !ok {
		return "", &NotInstalledError{Identifier: name, Missing: "a package of it for " + machine()}
	}
	dir := filepath.Join(r.dir, c.folder())
	return dir, r.locked(ctx, c.folder(), progress, func() error {
		if err := r.awaitCopy(ctx, dir, progress); err != nil {
			return err
		}
		if r.whole(dir) {
			progress(filepath.Base(dir) + ": here already")
			return nil
		}
		return r.makeFolder(dir, func(tmp string) error {
			fetch := newFetcher()
			fetch.count = count
			if len(c.Pins) > fetchesAtOnce {
				progress(fmt.Sprintf("fetching %s: %d packages", name, len(c.Pins)))
			}
			g, fetching := errgroup.WithContext(ctx)
			g.SetLimit(fetchesAtOnce)
			for _, p := range c.Pins {
				if len(c.Pins) <= fetchesAtOnce {
					progress(fmt.Sprintf("fetching %s %s", p.Package, strings.TrimPrefix(filepath.Base(p.File), p.Package+"-")))
				}
				g.Go(func() error {
					if err := fetch.into(fetching, p, tmp); err != nil {
						return fmt.Errorf("%s %s: %w", p.Package, p.File, err)
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				return err
			}
			if err := r.finish(ctx, name, tmp, progress); err != nil {
				return err
			}
			return syncTree(tmp)
		})
	})
}

// finish does for an interpreter what its package leaves to the host.
func (r *Registry) finish(ctx context.Context, name, dir string, progress func(string)) error {
	if version, ok := strings.CutPrefix(name, "cpython"); ok {
		if err := finishPython(ctx, version, dir, progress); err != nil {
			return err
		}
		r.tellOfSQLite(version, dir, progress)
	}
	if strings.HasPrefix(name, "jdk") {
		progress("sharing the classes of Java " + strings.TrimPrefix(name, "jdk"))
		// The package has no archive of its classes as the JVM keeps them in memory, with which it starts in half the time.
		if out, err := exec.CommandContext(ctx, filepath.Join(dir, "bin", "java"), "-Xshare:dump").CombinedOutput(); err != nil && ctx.Err() == nil {
			r.log.Warn("Java starts slower: its classes are not shared", "component", name, "error", err, "output", tail(out))
		}
	}
	return context.Cause(ctx)
}

// tellOfSQLite says so when import sqlite3 will fail: its library is the host's.
func (r *Registry) tellOfSQLite(version, dir string, progress func(string)) {
	modules, _ := filepath.Glob(filepath.Join(dir, "lib", "python"+version, "lib-dynload", "_sqlite3.*.so"))
	for _, path := range modules {
		if need, err := readLinked(path); err == nil && slices.Contains(need.Missing, "libsqlite3.so.0") {
			text := "Python " + version + " has no sqlite3 until this host has its library; type: apt-get update && apt-get install -y " + debianPackages["libsqlite3.so.0"]
			progress(text)
			r.log.Warn(text)
		}
	}
}

func finishPython(ctx context.Context, version, dir string, progress func(string)) error {
	programs, err := filepath.Glob(filepath.Join(dir, "bin", "*"))
	if err != nil {
		return err
	}
	for _, path := range programs { // a jar keeps no modes
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
	}
	// Its libraries lie beside lib; LD_LIBRARY_PATH has /var/lang/lib, and its programs look there as well.
	libraries, err := filepath.Glob(filepath.Join(dir, "lib*.so*"))
	if err != nil {
		return err
	}
	for _, path := range libraries {
		if err := os.Rename(path, filepath.Join(dir, "lib", filepath.Base(path))); err != nil {
			return err
		}
	}
	// The jar has sources alone, and what Python compiles it could not keep: the folder is read-only in a sandbox.
	progress("compiling the library of Python " + version)
	lib := filepath.Join(dir, "lib", "python"+version)
	compile := exec.CommandContext(ctx, filepath.Join(dir, "bin", "python"+version), "-I", "-m", "compileall", "-q", "-j", "0",
		"--invalidation-mode", "unchecked-hash", "-x", "lib2to3/tests|/bad_", "-s", dir, "-p", langDir, lib)
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the library of Python %s: %w\n%s", version, err, tail(out))
	}
	return nil
}

// locked runs do while it holds the lock of a folder's name, against other processes too.
func (r *Registry) locked(ctx context.Context, name string, progress func(string), do func() error) error {
	lock, err := filelock.Wait(ctx, filepath.Join(r.dir, ".lock-"+name), func() { progress(name + ": waiting for another installation") })
	if err != nil {
		return err
	}
	defer lock.Close()
	// Whoever left these held the lock and is gone.
	left, _ := filepath.Glob(filepath.Join(r.dir, ".tmp-"+name+"-*"))
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return do()
}

// syncTree makes the files of a folder durable before the folder gets the name that says it is complete. They are
// thousands: one call for the whole file system takes a tenth of the time.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
