package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/admin"
	"thaw/backup"
	"thaw/jetstream"
)

var quiet = slog.New(slog.DiscardHandler)

// closeServer ends a server as a drain does.
func (s *server) closeServer() {
	s.t.Helper()
	if err := s.node.Close(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// A backup, of a running server and of a stopped one, is restored into an empty folder: what was published runs there.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	if err := os.WriteFile(filepath.Join(dir, "thaw.conf"), []byte("idle-expiry = 5m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := s.deploy(nodeRuntime(t), map[string]string{"index.js": `exports.handler = async () => process.env.MODE`}, vars(map[string]string{"MODE": "one"}))
	if _, err := s.client.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &f.name}); err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(t.TempDir(), "running.tar"), filepath.Join(t.TempDir(), "stopped.tar")}
	if _, err := backup.ToFile(files[0], func(w io.Writer) error { return admin.Dial(dir).Backup(t.Context(), w, false) }); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), files[0], dir); !errors.As(err, new(*admin.RunningError)) {
		t.Errorf("restore under a running server: %v", err)
	}
	s.closeServer()
	if _, err := backup.ToFile(files[1], func(w io.Writer) error { return Backup(t.Context(), dir, false, quiet, w) }); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, st.Mode(), err)
		}
		to := filepath.Join(t.TempDir(), "new")
		r, err := Restore(t.Context(), file, to)
		if err != nil || r.Functions != 1 || r.Packages != 1 || len(r.Missing) > 0 || r.Conf == "" {
			t.Fatalf("%+v, %v", r, err)
		}
		again := openServer(t, "process", to)
		for _, qualifier := range []string{"$LATEST", "1"} {
			out, err := again.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &f.name, Qualifier: &qualifier})
			if err != nil || string(out.Payload) != `"one"` {
				t.Errorf("%s %s: %v %v", filepath.Base(file), qualifier, out, err)
			}
		}
		again.closeServer()
	}
}

// The server's own backup brings back functions whose records are lost altogether, and their code was not swept
// meanwhile. A restore that was a mistake can be taken back.
func TestOwnBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	f := s.deploy(nodeRuntime(t), map[string]string{"index.js": `exports.handler = async () => 1`})
	s.closeServer()
	s = openServer(t, "process", dir) // makes it
	later := s.deploy(nodeRuntime(t), map[string]string{"index.js": `exports.handler = async () => 2`})
	s.closeServer()
	made, _ := filepath.Glob(filepath.Join(dir, "backups", "*"))
	if len(made) != 1 {
		t.Fatalf("backups: %q", made)
	}
	if st, err := os.Stat(made[0]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "records")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	n, err := Open(t.Context(), testConfig("process", dir), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), made[0]) || !strings.Contains(log.String(), "thaw restore") {
		t.Errorf("the start does not name the backup:\n%s", log.String())
	}
	if got := packagesIn(filepath.Join(dir, "blobs")); len(got) != 2 {
		t.Fatalf("packages after a start without records: %q", got)
	}
	r, err := Restore(t.Context(), made[0], dir)
	if err != nil || r.Functions != 1 || len(r.Missing) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	s = openServer(t, "process", dir) // the package of later is nobody's now
	f.server = s
	if got := f.invoke(`{}`).ok(t); got != "1" {
		t.Errorf("after the restore: %s", got)
	}
	if _, err := s.client.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &later.name}); err == nil {
		t.Error("a function that is not in the backup is there")
	}
	s.closeServer()
	if got := packagesIn(filepath.Join(dir, "blobs")); len(got) != 1 { // the records count as complete again
		t.Errorf("packages after the restore: %q", got)
	}
	if got := packagesIn(filepath.Join(r.Aside, "blobs")); len(got) != 2 {
		t.Errorf("packages set aside: %q", got)
	}
}

// A backup that is cut or changed anywhere is refused before anything is changed.
func TestDamagedBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	s.deploy(nodeRuntime(t), map[string]string{"index.js": `exports.handler = async () => 1`})
	file := filepath.Join(t.TempDir(), "b.tar")
	if _, err := backup.ToFile(file, func(w io.Writer) error { return admin.Dial(dir).Backup(t.Context(), w, false) }); err != nil {
		t.Fatal(err)
	}
	s.closeServer()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	contents := bytes.TrimRight(whole, "\x00") // zeros end a tar: it needs none of them
	for at := 0; at < len(contents); at += 97 {
		b := bytes.Clone(whole)
		b[at] ^= 1
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := backup.ReadFile(file, nil); err == nil {
			// Padding, and what a tar says of a file's owner and time, mean nothing here.
			was, _ := backup.Read(bytes.NewReader(whole), nil)
			if fmt.Sprint(c.Records) != fmt.Sprint(was.Records) || c.Code != was.Code {
				t.Errorf("with byte %d changed it is taken, and is another", at)
			}
		}
		if err := os.WriteFile(file, whole[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), file, filepath.Join(t.TempDir(), "x")); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a backup", at, len(whole))
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "records", "set-aside")); !os.IsNotExist(err) {
		t.Errorf("something was set aside: %v", err)
	}
}

// Few are kept, of this version and of others; nothing is written when nothing has changed, and nothing when records
// may be missing.
func TestOwnBackupsAreFew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	s.deploy(nodeRuntime(t), map[string]string{"index.js": `exports.handler = async () => 1`})
	s.closeServer()
	store, err := jetstream.Open(t.Context(), recordsOf(dir, quiet))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	b := &backups{dir: filepath.Join(dir, "backups"), store: store, log: quiet, now: func() time.Time { return now }}
	old := filepath.Join(b.dir, "auto-20250101T000000Z-0.0.9.tar")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	look := func() int { b.look(); return len(b.list(Version)) }
	if n := look(); n != 1 {
		t.Fatalf("%d at first, though there is one of another version", n)
	}
	now = now.Add(48 * time.Hour)
	if n := look(); n != 1 {
		t.Errorf("%d though nothing was written", n)
	}
	for day := range 12 {
		if _, err := store.Epoch(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(25 * time.Hour)
		if n := look(); n != min(day+2, backupsKept) {
			t.Errorf("%d after %d days", n, day+1)
		}
	}
	if !slices.Contains(b.list(""), old) {
		t.Error("the one of before the upgrade is gone")
	}
	if got := b.madeAt(b.newest(Version)); !got.Equal(now) {
		t.Errorf("the newest is of %v, want %v", got, now)
	}
}
