package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
	"thaw/snapshot"
)

// ways a file is damaged.
var ways = []struct {
	name string
	do   func(b []byte) []byte // nil: deleted
}{
	{"16 bytes flipped", func(b []byte) []byte {
		for i := len(b) / 2; i < min(len(b), len(b)/2+16); i++ {
			b[i] ^= 0xff
		}
		return b
	}},
	{"cut to half", func(b []byte) []byte { return b[:len(b)/2] }},
	{"emptied", func([]byte) []byte { return nil }},
	{"deleted", nil},
}

func spoil(t *testing.T, path string, do func([]byte) []byte) {
	t.Helper()
	if do == nil {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, do(b), info.Mode().Perm())); err != nil { // a new file: the old one may be a link's
		t.Fatal(err)
	}
}

// named is what in a path names one thing of a kind: hashes, identifiers, times.
var named = regexp.MustCompile(`[0-9a-f]{16,64}|[0-9A-Za-z_-]{20,}|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{6,}`)

// oneOfEachKind are the files of a data folder, one of each kind.
func oneOfEachKind(t *testing.T, dir string, below ...string) (files []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, b := range below {
		err := filepath.WalkDir(filepath.Join(dir, b), func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			rel, err := filepath.Rel(dir, p)
			kind := named.ReplaceAllString(rel, "*")
			if b, rest, ok := strings.Cut(kind, "/"); ok && (b == "runtimes" || b == "code") { // any file of a folder is as good as another
				folder, _, _ := strings.Cut(rest, "/")
				kind = b + "/" + folder
			}
			if err == nil && !seen[kind] && !strings.Contains(rel, "set-aside") {
				seen[kind] = true
				files = append(files, rel)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return files
}

// start opens a server on a damaged folder: it must not hang. It returns what the server said as a warning or an error.
func startDamaged(t *testing.T, kind, dir string) (*server, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	type opened struct {
		n   *Node
		err error
	}
	done := make(chan opened, 1)
	go func() {
		n, err := Open(context.Background(), testConfig(kind, dir), slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn})))
		done <- opened{n, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			t.Fatalf("does not start: %v", o.err)
		}
		return &server{t: t, node: o.n, client: clientOf(o.n.Addr()), kind: kind}, &said
	case <-time.After(2 * time.Minute):
		t.Fatal("the start hangs")
		return nil, nil
	}
}

// Each kind of file in a data folder is damaged in each way, and the server started. It starts; functions, versions and
// configurations are there and answer; no package that a function needs is deleted.
func TestEveryFileOfADataFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	ctx := context.Background()
	f := s.deploy(nodeRuntime(t), map[string]string{"index.js": `exports.handler = async () => process.env.MODE`, "data.txt": strings.Repeat("data", 10_000)}, vars(map[string]string{"MODE": "one"}))
	if _, err := s.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &f.name}); err != nil {
		t.Fatal(err)
	}
	f.invokeVersion("1", `{}`).ok(t)
	s.closeServer()
	s = openServer(t, "process", dir) // with a backup
	s.closeServer()
	packages := packagesIn(filepath.Join(dir, "blobs"))
	files := oneOfEachKind(t, dir, "")
	if len(files) < 12 {
		t.Fatalf("only %q", files)
	}
	for n, file := range files {
		if strings.HasPrefix(file, "thaw.") {
			continue
		}
		for w, way := range ways {
			// Streams have the same files: those that the function is in are damaged in each way, those of the others in two, in turn.
			if strings.Contains(file, "/streams/") && !strings.Contains(file, "/KV_functions/") && w%2 != n/4%2 {
				continue
			}
			t.Run(file+" "+way.name, func(t *testing.T) {
				path := filepath.Join(dir, file)
				whole, err := os.ReadFile(path)
				if os.IsNotExist(err) {
					t.Skip("it went meanwhile, for another came")
				}
				if err != nil {
					t.Fatal(err)
				}
				spoil(t, path, way.do)
				s, said := startDamaged(t, "process", dir)
				defer s.closeServer()
				f := &deployed{s, f.name}
				for _, version := range []string{"$LATEST", "1"} {
					if got := f.invokeVersion(version, `{}`).ok(t); got != `"one"` {
						t.Errorf("%s answers %s", version, got)
					}
				}
				if err := s.node.complete(); err != nil {
					t.Errorf("of one damaged file: %v", err)
				}
				if got := packagesIn(filepath.Join(dir, "blobs")); strings.HasPrefix(file, "blobs/") {
					// What is lost of a package is told when it is needed; unpacked code serves on.
					if err := os.WriteFile(path, whole, 0o600); err != nil {
						t.Fatal(err)
					}
				} else if !slices.Equal(got, packages) {
					t.Errorf("packages: %q, were %q", got, packages)
				}
				if strings.HasPrefix(file, "code/") && !strings.HasSuffix(file, ".sum") && !strings.Contains(said.String(), "unpacked code was damaged") {
					t.Errorf("nothing was said:\n%s", said)
				}
			})
		}
	}
}

// The same for what belongs to snapshots: the server starts, the version answers, and in the end it has a snapshot again.
func TestEveryFileOfSnapshots(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	dir := t.TempDir()
	s := openServer(t, "gvisor", dir)
	if !s.node.backend.Capabilities().Snapshots {
		t.Skip("no snapshots here")
	}
	f := s.deploy(nodeRuntime(t), map[string]string{"index.js": `exports.handler = async () => process.env.MODE`}, vars(map[string]string{"MODE": "one"}), snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("%s", *c.StateReason)
	}
	f.invokeVersion("1", `{}`).ok(t)
	s.closeServer()
	files := oneOfEachKind(t, dir, "snapshots/store", "bin", "snapshots")
	began := time.Now() // each case takes seconds, and on a busy machine many: two ways of the four, except for what opens everything
	for n, file := range files {
		for w, way := range ways {
			if file != "snapshots/key" && file != "snapshots/store/store" && w != n%4 && w != (n+3)%4 {
				continue
			}
			t.Run(file+" "+way.name, func(t *testing.T) {
				if time.Since(began) > 4*time.Minute {
					t.Skip("the machine is too busy for the rest")
				}
				path := filepath.Join(dir, file)
				if _, err := os.Stat(path); err != nil { // its like, of the snapshot that is there now
					found := oneOfEachKind(t, dir, filepath.Dir(filepath.Dir(file)))
					i := slices.IndexFunc(found, func(f string) bool { return named.ReplaceAllString(f, "*") == named.ReplaceAllString(file, "*") })
					if i < 0 {
						t.Skip("there is none now")
					}
					path = filepath.Join(dir, found[i])
				}
				spoil(t, path, way.do)
				s, said := startDamaged(t, "gvisor", dir)
				defer s.closeServer()
				f := &deployed{s, f.name}
				if got := f.invokeVersion("1", `{}`).ok(t); got != `"one"` {
					t.Errorf("it answers %s", got)
				}
				for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
					r, _, err := s.node.snapshots.Inside().Records.Get(t.Context(), snapshot.Version{Function: function.ARN(s.arn(f.name)), Number: "1"})
					if err == nil && r.State == snapshot.Current {
						if _, err = s.node.snapshots.Inside().Store.Manifest(t.Context(), r.Current.ID); err == nil {
							break
						}
					}
					if time.Now().After(end) {
						t.Fatalf("no snapshot again: %v, %v; said\n%s", r.State, err, said)
					}
				}
				if err := s.node.complete(); err != nil {
					t.Error(err)
				}
				if file == "snapshots/key" && !strings.Contains(said.String(), "cannot be opened with this key") {
					t.Errorf("said\n%s", said)
				}
			})
		}
	}
}

func (s *server) arn(name string) string {
	return fmt.Sprintf("arn:aws:lambda:eu-west-1:000000000000:function:%s", name)
}
