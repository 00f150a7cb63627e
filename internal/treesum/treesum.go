// Package treesum tells whether a folder is as it was when it was filled: a sum lies beside the folder, and whoever
// first uses it compares.
package treesum

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Suffix of a folder's path makes that of its sum.
const Suffix = ".sum"

// Put writes, durably, the sum of what lies in filled as that of the folder at path, which filled is about to become.
// Half-written files have a name that begins with temp.
func Put(path, filled, temp string, skip ...string) error {
	sum, err := Of(filled, skip...)
	if err != nil {
		return err
	}
	look, _, err := Look(filled, skip...)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), temp+"*"+Suffix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // not there any more when all went well
	_, err = fmt.Fprintf(f, "%s\n%s\n", sum, look)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path+Suffix)
}

// Check says whether the folder at path is as its sum says; known is false when there is no sum.
func Check(path string, skip ...string) (same, known bool) {
	want, _, known := read(path)
	if !known {
		return false, false
	}
	is, err := Of(path, skip...)
	return err == nil && want == is, true
}

// CheckLook says whether the folder at path looks as it did when its sum was made. It reads no contents: a bit that a
// disk has turned shows in Check only.
func CheckLook(path string, skip ...string) (same bool, bytes int64) {
	_, want, known := read(path)
	is, bytes, err := Look(path, skip...)
	return err == nil && known && want == is, bytes
}

func read(path string) (sum, look string, known bool) {
	b, err := os.ReadFile(path + Suffix)
	if err != nil {
		return "", "", false
	}
	sum, look, _ = strings.Cut(string(b), "\n")
	return sum, strings.TrimSuffix(look, "\n"), len(sum) == hex.EncodedLen(sha256.Size) // or it is not written yet
}

// walk gives everything in a folder with its name in it, without folders of a name to skip.
func walk(dir string, skip []string, visit func(path, name string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(skip, d.Name()) {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		return visit(p, name, info)
	})
}

// Look is a sum of the names and modes of everything in a folder and of the sizes and times of its files, and how many
// bytes these have.
func Look(dir string, skip ...string) (sum string, bytes int64, err error) {
	h := sha256.New()
	err = walk(dir, skip, func(_, name string, info fs.FileInfo) error {
		fmt.Fprintf(h, "%q %v", name, info.Mode())
		if info.Mode().IsRegular() {
			bytes += info.Size()
			fmt.Fprintf(h, " %d %d", info.Size(), info.ModTime().UnixNano())
		}
		fmt.Fprintln(h)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), bytes, err
}

// Changed is when something in a folder was last written, made, removed or given another mode or time.
func Changed(dir string, skip ...string) (last time.Time, err error) {
	err = walk(dir, skip, func(_, _ string, info fs.FileInfo) error {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if at := time.Unix(st.Ctim.Unix()); at.After(last) {
				last = at
			}
		}
		return nil
	})
	return last, err
}

// Of is a sum of the names, modes and contents of everything in a folder, without folders of a name to skip. It reads
// every byte, several files at a time.
func Of(dir string, skip ...string) (string, error) {
	type item struct {
		path, name, what string
		sum              [sha256.Size]byte
	}
	var items []*item
	err := walk(dir, skip, func(p, name string, info fs.FileInfo) error {
		it := &item{path: p, name: name, what: info.Mode().String()}
		if info.Mode()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			it.what += " " + to
		}
		items = append(items, it)
		if info.Mode().IsRegular() {
			it.what += fmt.Sprint(" ", info.Size())
		} else {
			it.path = ""
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, it := range items {
		if it.path == "" {
			continue
		}
		g.Go(func() (err error) {
			it.sum, err = sumOf(it.path)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	h := sha256.New()
	for _, it := range items { // in the order of names
		fmt.Fprintf(h, "%q %s %x\n", it.name, it.what, it.sum)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// File is the SHA-256 of a file's content, in hexadecimal.
func File(path string) (string, error) {
	sum, err := sumOf(path)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum[:]), nil
}

func sumOf(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
