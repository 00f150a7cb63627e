package codepackage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"bytes"

	"go.uber.org/goleak"

	"thaw/blob"
	"thaw/function"
	"thaw/internal/treesum"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func version(zip []byte) *function.Version {
	return &function.Version{Package: function.Package{CodeSHA256: hashOf(zip)}}
}

// storage is a store over a real blob store.
func storage(t testing.TB, keep int64) (*Store, *blob.Store, string) {
	t.Helper()
	dir := t.TempDir()
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	s, err := Open(Options{Dir: filepath.Join(dir, "code"), Source: blobs, Log: slog.New(slog.DiscardHandler), KeepBytes: keep})
	if err != nil {
		t.Fatal(err)
	}
	return s, blobs, filepath.Join(dir, "code")
}

// names lists a folder, without the sums of the folders in it.
func names(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, 0, len(list))
	for _, d := range list {
		if _, err := os.Stat(filepath.Join(dir, strings.TrimSuffix(d.Name(), treesum.Suffix))); err == nil && strings.HasSuffix(d.Name(), treesum.Suffix) {
			continue
		}
		out = append(out, d.Name())
	}
	return out
}

func TestDirUnpacksWhatIsMissing(t *testing.T) {
	s, blobs, root := storage(t, 0)
	zip := archive(t, file("a", "x"))
	if _, _, err := s.Dir(t.Context(), version(zip)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("no such blob: %v", err)
	}
	if _, _, err := blobs.Put(t.Context(), bytes.NewReader(zip)); err != nil {
		t.Fatal(err)
	}
	dir, release, err := s.Dir(t.Context(), version(zip))
	if err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); got != "a 644 \"x\"\n" || dir != filepath.Join(root, hashOf(zip)) {
		t.Errorf("%s holds %s", dir, got)
	}
	release()
	release() // twice does nothing
	if got := names(t, root); len(got) != 1 {
		t.Errorf("the folder holds %q", got)
	}
}

func TestNothingIsLeftOfARefusedPackage(t *testing.T) {
	s, _, root := storage(t, 0)
	for _, zip := range [][]byte{
		[]byte("garbage"), archive(t, file("ok", "x"), file("../x", "")), archive(t, file("ok", "x"), link("a", "/etc")), archive(t),
		patched(archive(t, file("a", "content")), func(c []byte) { c[16]++ }),
	} {
		if _, _, err := s.Unpack(t.Context(), section(zip)); err == nil {
			t.Error("a bad package was taken")
		}
		if got := names(t, root); len(got) != 0 {
			t.Errorf("the folder holds %q", got)
		}
	}
	if len(s.entries) != 0 {
		t.Errorf("%d entries are remembered", len(s.entries))
	}
}

// broken is a source whose reader fails in the middle.
type broken struct{ err error }

func (b broken) Open(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader("PK"), iotest.ErrReader(b.err))), nil
}

func TestABrokenSourceLeavesNothing(t *testing.T) {
	root := t.TempDir()
	s, err := Open(Options{Dir: root, Source: broken{blob.ErrDamaged}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Dir(t.Context(), version([]byte("x"))); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	if got := names(t, root); len(got) != 0 {
		t.Errorf("the folder holds %q", got)
	}
}

func TestManyUsersOfOnePackageUnpackItOnce(t *testing.T) {
	s, _, root := storage(t, 0)
	zip := archive(t, file("a", strings.Repeat("x", 1<<20)))
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, release, err := s.Unpack(t.Context(), section(zip))
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			if info, err := os.Stat(filepath.Join(root, hashOf(zip), "a")); err != nil || info.Size() != 1<<20 {
				t.Errorf("%v, %v", info, err)
			}
		}()
	}
	wg.Wait()
	if got := names(t, root); len(got) != 1 {
		t.Errorf("the folder holds %q", got)
	}
}

func TestDropWaitsForTheLastUser(t *testing.T) {
	s, blobs, root := storage(t, 0)
	zip := archive(t, file("a", "x"))
	if _, _, err := blobs.Put(t.Context(), bytes.NewReader(zip)); err != nil {
		t.Fatal(err)
	}
	dir, first, err := s.Dir(t.Context(), version(zip))
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := s.Dir(t.Context(), version(zip))
	if err != nil {
		t.Fatal(err)
	}
	s.Drop(hashOf(zip))
	first()
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("gone while it is used: %v", err)
	}
	second()
	if got := names(t, root); len(got) != 0 {
		t.Errorf("the folder holds %q", got)
	}
	if _, release, err := s.Dir(t.Context(), version(zip)); err != nil { // it can be made anew
		t.Error(err)
	} else {
		release()
	}
}

func TestUnusedCodeIsEvictedOldestFirst(t *testing.T) {
	s, _, root := storage(t, 3*(4096+4096+1<<16)) // three packages
	var hashes []string
	use := func(zip []byte) {
		t.Helper()
		hash, release, err := s.Unpack(t.Context(), section(zip))
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hash)
		release()
	}
	pkg := func(c string) []byte { return archive(t, file("a", strings.Repeat(c, 1<<16))) }
	for _, c := range []string{"1", "2", "3"} {
		use(pkg(c))
	}
	use(pkg("1")) // now 2 is the oldest
	use(pkg("4"))
	if _, err := os.Stat(filepath.Join(root, hashes[1])); err == nil {
		t.Error("the one not used for longest is still there")
	}
	if got := names(t, root); len(got) != 3 {
		t.Errorf("the folder holds %q", got)
	}
}

func TestOpenSweepsAndRemembers(t *testing.T) {
	s, blobs, root := storage(t, 0)
	zip, other := archive(t, file("a", "x")), archive(t, file("b", "x"))
	for _, z := range [][]byte{zip, other} {
		_, release, err := s.Unpack(t.Context(), section(z))
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	if err := os.MkdirAll(filepath.Join(root, tempPrefix+"123", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, tempPrefix+"9.zip"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: root, Source: blobs, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_, release, err := s.Dir(t.Context(), version(zip)) // there is no blob: only the folder can have it
	if err != nil {
		t.Fatal(err)
	}
	release()
	s.DropExcept(func(hash string) bool { return hash == hashOf(zip) })
	if got := names(t, root); len(got) != 1 || got[0] != hashOf(zip) {
		t.Errorf("the folder holds %q", got)
	}
}

func TestAUserWhoLeavesDoesNotStopTheOthers(t *testing.T) {
	s, _, _ := storage(t, 0)
	zip := archive(t, file("a", "x"))
	started, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, release, err := s.use(t.Context(), hashOf(zip), func(dir string) error {
			close(started)
			<-goOn
			return unpack(dir, bytes.NewReader(zip), int64(len(zip)), MaxBytes)
		})
		if err == nil {
			release()
		}
		done <- err
	}()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Dir(ctx, version(zip)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if e := s.entries[hashOf(zip)]; e == nil || e.users != 0 {
		t.Errorf("entry %+v", e)
	}
}

func TestManyFilesAreUnpackedAndSynced(t *testing.T) {
	s, _, root := storage(t, 0)
	var members []member
	for i := range 200 { // more than are synced one by one
		members = append(members, file(hex.EncodeToString([]byte{byte(i)})+"/x", "y"))
	}
	hash, release, err := s.Unpack(t.Context(), section(archive(t, members...)))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if got := len(names(t, filepath.Join(root, hash))); got != 200 {
		t.Errorf("%d folders", got)
	}
}

// section is a package as Unpack takes it.
func section(zip []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(zip), 0, int64(len(zip)))
}
