package codepackage

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"thaw/blob"
	"thaw/internal/treesum"
)

// Whatever happened to unpacked code between two starts, nobody runs it: the first user gets it as it was uploaded.
// What is as it was is not unpacked again.
func TestChangedCodeIsUnpackedAgain(t *testing.T) {
	zip := archive(t, file("a", "content"), file("lib/b", strings.Repeat("x", 100_000)), file("lib/c", ""))
	in := func(name string) func(dir string) string {
		return func(dir string) string { return filepath.Join(dir, name) }
	}
	b, sum := in("lib/b"), func(dir string) string { return dir + treesum.Suffix }
	rewrite := func(path func(string) string, f func([]byte) []byte) func(string) error {
		return func(dir string) error {
			text, err := os.ReadFile(path(dir))
			if err != nil {
				return err
			}
			return os.WriteFile(path(dir), f(text), 0o644)
		}
	}
	flip := func(text []byte) []byte { text[len(text)/2] ^= 1; return text }
	for _, c := range []struct {
		name string
		do   func(dir string) error
		same bool // it need not be unpacked again
	}{
		{"nothing", func(string) error { return nil }, true},
		{"a bit flipped", rewrite(b, flip), false},
		{"a file cut", rewrite(b, func(text []byte) []byte { return text[:len(text)/2] }), false},
		{"a file emptied", rewrite(b, func([]byte) []byte { return nil }), false},
		{"a file deleted", func(dir string) error { return os.Remove(b(dir)) }, false},
		{"an empty file deleted", func(dir string) error { return os.Remove(filepath.Join(dir, "lib/c")) }, false},
		{"a file added", func(dir string) error { return os.WriteFile(filepath.Join(dir, "index.js"), []byte("evil"), 0o644) }, false},
		{"a file replaced by a link", func(dir string) error { return errors.Join(os.Remove(b(dir)), os.Symlink("/etc/passwd", b(dir))) }, false},
		{"a mode changed", func(dir string) error { return os.Chmod(b(dir), 0o600) }, false},
		{"a folder renamed", func(dir string) error { return os.Rename(filepath.Join(dir, "lib"), filepath.Join(dir, "bil")) }, false},
		{"the sum flipped", rewrite(sum, func(text []byte) []byte { text[0] ^= 1; return text }), false},
		{"the sum emptied", rewrite(sum, func([]byte) []byte { return nil }), false},
		{"the sum deleted", func(dir string) error { return os.Remove(sum(dir)) }, false},
		{"the folder emptied", func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, blobs, root := storage(t, 0)
			if _, _, err := blobs.Put(t.Context(), bytes.NewReader(zip)); err != nil {
				t.Fatal(err)
			}
			dir, release, err := s.Dir(t.Context(), version(zip))
			if err != nil {
				t.Fatal(err)
			}
			release()
			want := tree(t, dir)
			before := made(t, dir)
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(Options{Dir: root, Source: blobs, Log: slog.New(slog.DiscardHandler)}); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				again, release, err := s.Dir(t.Context(), version(zip))
				if err != nil {
					t.Fatal(err)
				}
				if got := tree(t, again); got != want {
					t.Errorf("it holds\n%s\nwant\n%s", got, want)
				}
				release()
			}
			if (made(t, dir) == before) != c.same {
				t.Errorf("unpacked again: %v", !c.same)
			}
			if got := names(t, root); len(got) != 1 {
				t.Errorf("left in the folder: %q", got)
			}
		})
	}
}

// Code that is changed, and whose package is lost, is not run.
func TestChangedCodeWithoutItsPackage(t *testing.T) {
	s, _, root := storage(t, 0)
	zip := archive(t, file("a", "x"))
	hash, release, err := s.Unpack(t.Context(), section(zip))
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := os.WriteFile(filepath.Join(root, hash, "a"), []byte("y"), 0o644); err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	if s, err = Open(Options{Dir: root, Source: blobs, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Dir(t.Context(), version(zip)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

func made(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(info.Sys().(*syscall.Stat_t).Ctim)
}

func BenchmarkSum(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 250_000), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(250_000_000)
	for b.Loop() {
		if _, err := treesum.Of(dir); err != nil {
			b.Fatal(err)
		}
	}
}
