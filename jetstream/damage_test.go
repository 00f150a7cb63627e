package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/function"
	"thaw/function/functiontest"
	"thaw/internal/childtest"
	"thaw/snapshot"
)

// damages are what happens to a file.
var damages = []struct {
	name string
	do   func(path string) error
}{
	{"16 bytes flipped in the middle", rewritten(func(b []byte) []byte {
		for i := len(b) / 2; i < min(len(b), len(b)/2+16); i++ {
			b[i] ^= 0xff
		}
		return b
	})},
	{"16 bytes flipped at the end", rewritten(func(b []byte) []byte {
		for i := max(0, len(b)-16); i < len(b); i++ {
			b[i] ^= 0xff
		}
		return b
	})},
	{"16 bytes flipped at the begin", rewritten(func(b []byte) []byte {
		for i := range min(16, len(b)) {
			b[i] ^= 0xff
		}
		return b
	})},
	{"cut to half", rewritten(func(b []byte) []byte { return b[:len(b)/2] })},
	{"emptied", rewritten(func([]byte) []byte { return nil })},
	{"deleted", os.Remove},
}

func rewritten(f func([]byte) []byte) func(string) error {
	return func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, f(b), 0o600)
	}
}

// contents are all records as text, by name.
func contents(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	view := functiontest.Load(t, s)
	for _, e := range view.All() {
		r, err := json.Marshal(e.Record)
		if err != nil {
			t.Fatal(err)
		}
		all[e.Record.Name] = fmt.Sprintf("%x", sha256.Sum256(r))
		for _, v := range e.Versions() {
			all[e.Record.Name+":"+string(v.Number)] = v.RevisionID
		}
	}
	for _, c := range view.Unlisted() {
		all[fmt.Sprint("unlisted ", c.Key.Name, c.Number)] = c.Version.RevisionID
	}
	sr, err := s.SnapshotRecords(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := sr.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		all["snapshot "+r.Version.String()] = r.LastError
	}
	return all
}

// filled makes a folder with records of both kinds, some changed and some deleted, and returns what is in it.
func filled(t *testing.T, dir string) map[string]string {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	sr, err := s.SnapshotRecords(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		r := functiontest.Record(fmt.Sprint("f", i))
		if r.Epoch, err = s.Epoch(ctx); err != nil {
			t.Fatal(err)
		}
		r.Numbers, r.NextNumber = nil, 1
		if err := s.Create(ctx, r); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 3; n++ {
			v := &function.VersionRecord{Number: function.NumberOf(n), RevisionID: fmt.Sprint(i, n)}
			if err := s.PutVersion(ctx, r.Key, r.Incarnation, v); err != nil {
				t.Fatal(err)
			}
			r.Numbers, r.NextNumber = append(r.Numbers, n), n+1
			if err := s.Update(ctx, r); err != nil {
				t.Fatal(err)
			}
			v.RevisionID += " changed"
			if err := s.PutVersion(ctx, r.Key, r.Incarnation, v); err != nil {
				t.Fatal(err)
			}
			sv := snapshot.Version{Function: r.ARN(), Number: v.Number}
			if _, err := sr.Put(ctx, snapshot.Record{Version: sv, LastError: fmt.Sprint(i, n)}, 0); err != nil {
				t.Fatal(err)
			}
		}
		if i%2 == 1 {
			r.Numbers = r.Numbers[:2]
			if err := s.Update(ctx, r); err != nil {
				t.Fatal(err)
			}
			if err := s.DeleteVersion(ctx, r.Key, r.Incarnation, 3); err != nil {
				t.Fatal(err)
			}
		}
		if i == 5 {
			if err := s.Delete(ctx, r); err != nil {
				t.Fatal(err)
			}
			for n := 1; n <= 2; n++ {
				if err := s.DeleteVersion(ctx, r.Key, r.Incarnation, n); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return contents(t, s)
}

// difference is what got has not, or otherwise, than want.
func difference(got, want map[string]string) (d []string) {
	for name, text := range want {
		if is, ok := got[name]; !ok {
			d = append(d, name+" is missing")
		} else if is != text {
			d = append(d, name+" is another")
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			d = append(d, name+" is new")
		}
	}
	slices.Sort(d)
	return d
}

// said keeps what was logged.
type said struct{ strings.Builder }

func (s *said) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelError}))
}

// reopened opens a folder and returns what is there, and why records may be missing.
func reopened(t *testing.T, dir string, log *slog.Logger) (map[string]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it never hangs
	defer cancel()
	s, err := Open(ctx, Options{Dir: dir, Log: log, Used: true, Patience: 300 * time.Millisecond})
	if err != nil {
		t.Fatalf("does not open: %v", err)
	}
	defer s.Close()
	return contents(t, s), s.Complete()
}

func filesOf(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if d.IsDir() && d.Name() == asideFolder {
			return fs.SkipDir
		}
		if err == nil && d.Type().IsRegular() && d.Name() != "lock" {
			rel, _ := filepath.Rel(dir, p)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Whichever file of the records is damaged, and however: everything is there again, and known to be complete; and it stays so.
func TestEveryFileDamaged(t *testing.T) {
	whole := t.TempDir()
	want := filled(t, whole)
	for _, file := range filesOf(t, whole) {
		for _, d := range damages {
			t.Run(file+" "+d.name, func(t *testing.T) {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				if err := d.do(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
				for start := range 2 {
					got, why := reopened(t, dir, slog.New(slog.DiscardHandler))
					if d := difference(got, want); len(d) > 0 || why != nil {
						t.Errorf("start %d: complete: %v; %q", start, why, d)
					}
				}
			})
		}
	}
}

// Two files are damaged at once. Records may be lost, never in silence: either all are there, or they are not called
// complete, at this start and the next ones.
func TestTwoFilesDamaged(t *testing.T) {
	whole := t.TempDir()
	want := filled(t, whole)
	files := filesOf(t, whole)
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	incomplete := 0
	for round := range 60 {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		what := ""
		// One of the two is of the journal: without it each case is one of the test above.
		for _, file := range []string{[]string{"journal", "mark"}[round%2], files[rnd.IntN(len(files))]} {
			d := damages[rnd.IntN(len(damages))]
			if d.do(filepath.Join(dir, file)) == nil { // the same file may come twice and be gone
				what += file + " " + d.name + "; "
			}
		}
		for start := range 2 {
			got, why := reopened(t, dir, slog.New(slog.DiscardHandler))
			if d := difference(got, want); why == nil && len(d) > 0 {
				t.Errorf("seed %d, start %d: %s: called complete: %q", seed, start, what, d)
			}
			if why != nil && start == 0 {
				incomplete++
			}
		}
	}
	t.Logf("%d of 60 were told to be incomplete", incomplete)
}

// What was lost in both copies is told, everything is kept, and it stays told until somebody decides.
func TestLossIsTold(t *testing.T) {
	for _, c := range []struct {
		name string
		lose []string
		all  bool // all records are there
	}{
		{"journal and mark deleted", []string{"journal", "mark"}, true},
		{"journal and broker deleted", []string{"journal", "nats"}, false},
		{"everything deleted", []string{"journal", "mark", "nats"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			want := filled(t, dir)
			for _, name := range c.lose {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			for start := range 3 {
				var log said
				got, why := reopened(t, dir, log.log())
				if why == nil || !strings.Contains(log.String(), "thaw restore") {
					t.Errorf("start %d: %v; said\n%s", start, why, log.String())
				}
				if d := difference(got, want); (len(d) == 0) != c.all {
					t.Errorf("start %d: %q", start, d)
				}
			}
		})
	}
}

// The broker's file with the records' contents, cut anywhere: a start takes them from the journal.
func TestBlockCutAnywhere(t *testing.T) {
	whole := t.TempDir()
	want := filled(t, whole)
	var block string
	for _, f := range filesOf(t, whole) {
		if strings.Contains(f, "functions") && strings.HasSuffix(f, ".blk") {
			block = f
		}
	}
	b, err := os.ReadFile(filepath.Join(whole, block))
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 12 {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		at := rnd.IntN(len(b))
		if err := os.Truncate(filepath.Join(dir, block), int64(at)); err != nil {
			t.Fatal(err)
		}
		if got, why := reopened(t, dir, slog.New(slog.DiscardHandler)); why != nil || !maps.Equal(got, want) {
			t.Errorf("cut at %d of %d: %v; %q", at, len(b), why, difference(got, want))
		}
	}
}

// TestOpener is the child of TestKillWhileOpening: it opens a folder and closes it.
func TestOpener(t *testing.T) {
	s, err := Open(t.Context(), Options{Dir: childtest.Arg(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// A start is killed anywhere, also while it mends what was damaged: nothing is lost, and the next one goes on.
func TestKillWhileOpening(t *testing.T) {
	dir := t.TempDir()
	want := filled(t, dir)
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	for round := range 16 {
		if files := filesOf(t, dir); round%2 == 1 { // of one copy at a time: the other one has what this loses
			i := slices.IndexFunc(files, func(f string) bool { return strings.HasSuffix(f, ".blk") })
			if i >= 0 {
				if err := os.Truncate(filepath.Join(dir, files[i]), rnd.Int64N(2000)); err != nil {
					t.Fatal(err)
				}
			}
		}
		c := childtest.Start(t, "TestOpener", dir)
		time.Sleep(time.Duration(rnd.IntN(250)) * time.Millisecond) // anywhere in it, or after it
		c.Kill()
	}
	if got, why := reopened(t, dir, slog.New(slog.DiscardHandler)); why != nil || !maps.Equal(got, want) {
		t.Errorf("complete: %v; %q", why, difference(got, want))
	}
}

// A folder from before the journal is taken as it is.
func TestFolderOfBefore(t *testing.T) {
	dir := t.TempDir()
	old := &Store{dir: dir, log: slog.New(slog.DiscardHandler)}
	if err := old.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	kv, err := old.js.CreateOrUpdateKeyValue(t.Context(), functionsBucket)
	if err != nil {
		t.Fatal(err)
	}
	r := functiontest.Record("old")
	r.Numbers = nil
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), functionKey(r.Key), b); err != nil {
		t.Fatal(err)
	}
	old.stop()
	for start := range 2 {
		var log said
		if got, why := reopened(t, dir, log.log()); why != nil || got["old"] == "" || log.String() != "" {
			t.Errorf("start %d: %v, %v, said %s", start, got, why, log.String())
		}
	}
}

// A start that died while it opened the broker is followed by one that does without it.
func TestBrokerThatKills(t *testing.T) {
	dir := t.TempDir()
	want := filled(t, dir)
	if err := os.WriteFile(filepath.Join(dir, openingFile), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, why := reopened(t, dir, slog.New(slog.DiscardHandler)); why != nil || !maps.Equal(got, want) {
		t.Errorf("%v %q", why, difference(got, want))
	}
	if list, _ := os.ReadDir(filepath.Join(dir, asideFolder)); len(list) != 1 {
		t.Errorf("set aside: %v", list)
	}
	if _, err := os.Stat(filepath.Join(dir, openingFile)); !os.IsNotExist(err) {
		t.Errorf("the note of an opening stays: %v", err)
	}
}
