// Package embedded carries the two programs that the server hands to its sandboxes, the guest (PID 1 inside) and the
// helper that is gVisor, and the caching extension, which the command line makes a layer of. All are static executables
// for the architecture of the server, compressed, put in by `make build`.
//
// A plain `go build`, `go test` or `go run` carries none. There, and in every test, they are built from the source tree instead, so that
// a test never runs last week's guest.
package embedded

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// ErrMissing says that this executable carries no such program, and that there is no source to build it from.
var ErrMissing = errors.New("this thaw was built without its guest programs: build it with `make build`")

// Guest writes the guest into dir, named by its content, unless it is there and whole, and returns its absolute path.
func Guest(dir string) (string, error) { return put("thaw-guest", dir) }

// Sandbox writes the gVisor helper into dir like Guest.
func Sandbox(dir string) (string, error) { return put("thaw-sandbox", dir) }

// Cache writes the caching extension into dir like Guest.
func Cache(dir string) (string, error) { return put("thaw-cache", dir) }

// Carried says whether the programs are inside this executable.
func Carried() bool {
	_, err := fs.Stat(files, packed("thaw-guest"))
	return err == nil
}

func packed(name string) string { return "files/" + arch + "/" + name + ".zst" }

func put(name, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("folder for %s: %w", name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("folder for %s: %w", name, err)
	}
	if testing.Testing() || !Carried() {
		return fromSource(name, dir)
	}
	small, err := files.ReadFile(packed(name))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	// The compressed bytes name the file: an installed one is found without unpacking.
	path := filepath.Join(dir, name+"-"+digest(small))
	sum, err := sumOf(small)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if whole(path, sum) {
		return path, nil
	}
	r, err := zstd.NewReader(bytes.NewReader(small))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	return path, install(r, path)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// sumOf is the SHA-256 of a program, as its packed form begins with it.
func sumOf(small []byte) ([]byte, error) {
	const magic = 0x184D2A50
	if len(small) < 8+sha256.Size || binary.LittleEndian.Uint32(small) != magic || binary.LittleEndian.Uint32(small[4:]) != sha256.Size {
		return nil, errors.New("packed by an older pack; type: make build")
	}
	return small[8 : 8+sha256.Size], nil
}

// whole says whether an installed program is what it was, and may be run: a disk or a hand may have changed it since.
func whole(path string, sum []byte) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != mode {
		return false
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && bytes.Equal(h.Sum(nil), sum)
}

// mode of an installed program: whoever a sandbox runs as may run it.
const mode = 0o755

// install makes path appear complete and executable, or not at all, also when several servers do it at once.
func install(r io.Reader, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = io.Copy(f, r)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if info, serr := os.Lstat(path); err == nil && serr == nil && info.IsDir() { // no rename goes over it
		err = os.RemoveAll(path)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// fresh are the paths of the programs that this process has built from the source tree, or found up to date.
var fresh sync.Map

// fromSource builds a program with the flags of `make build`, in a cache that all tests share, and copies it into dir.
func fromSource(name, dir string) (string, error) {
	root, ok := sourceTree()
	if !ok {
		return "", fmt.Errorf("%s: %w", name, ErrMissing)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "thaw", digest([]byte(root)))
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	// go build leaves an up-to-date output alone, but two at once would write into each other's.
	lock, err := os.OpenFile(filepath.Join(cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("%s: lock: %w", name, err)
	}
	built := filepath.Join(cache, name)
	// Once in the life of a process: even an output that is up to date takes the go command half a second of processor
	// time to find so, and a test process opens a hundred servers.
	if _, done := fresh.Load(built); !done {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, "./cmd/"+name)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s from source: %w\n%s", name, err, out)
		}
		fresh.Store(built, true)
	}
	f, err := os.Open(built)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	path := filepath.Join(dir, name+"-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if whole(path, sum.Sum(nil)) {
		return path, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return path, install(f, path)
}

// sourceTree is the module that this executable was compiled from, if it is still there. A -trimpath build knows none;
// its tests still run in the folder of their package.
func sourceTree() (string, bool) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", false
	}
	dir := filepath.Dir(file)
	if !filepath.IsAbs(file) {
		if !testing.Testing() {
			return "", false
		}
		var err error
		if dir, err = os.Getwd(); err != nil {
			return "", false
		}
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, true
		}
	}
	return "", false
}
