package node

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// holders are the files below a folder that contain a text.
func holders(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(p)
		if os.IsNotExist(err) {
			return nil // it went meanwhile
		}
		if err == nil && bytes.Contains(b, []byte(text)) {
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

// What a function had in memory when its snapshot was made lies in no file of the data folder when the cache is in
// memory; with the cache on disk it lies there and nowhere else. Copies come from the snapshot in both, also after a
// restart.
func TestPlainMemoryOfSnapshots(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	for _, where := range []string{"memory", "disk"} {
		t.Run(where, func(t *testing.T) {
			dir := t.TempDir()
			open := func() *server {
				return openServerWith(t, "gvisor", dir, func(c *Config) { c.SnapshotCache = where })
			}
			s := open()
			if !s.node.backend.Capabilities().Snapshots {
				s.closeServer()
				t.Skip("no snapshots here")
			}
			f := s.deploy(nodeRuntime(t), map[string]string{"index.js": `const born = Math.random(), held = Buffer.from(['canary', 'of', 'this', 'test', '7c1f'].join('-').repeat(50))
				exports.handler = async () => ({ born, held: held.length })`}, snapStart)
			if c := f.publish(); c.State != types.StateActive {
				t.Fatalf("%s", *c.StateReason)
			}
			first := f.invokeVersion("1", `{}`).ok(t)
			check := func() {
				t.Helper()
				for _, file := range holders(t, dir, "canary-of-this-test-7c1f") {
					if where == "memory" || !strings.HasPrefix(file, "snapshots/cache/") {
						t.Errorf("the function's memory lies in %s", file)
					}
				}
			}
			check()
			if got := holders(t, dir, "canary-of-this-test-7c1f"); where == "disk" && len(got) == 0 {
				t.Error("the function's memory lies nowhere: this test finds nothing")
			}
			s.closeServer()
			check()
			s = open()
			f.server = s
			if again := f.invokeVersion("1", `{}`).ok(t); again != first {
				t.Errorf("after a restart: %s, before %s: not from the snapshot", again, first)
			}
			check()
			s.closeServer()
		})
	}
}

// Nobody but the server's user can look into a data folder, and functions run from it all the same.
func TestDataFolderIsPrivate(t *testing.T) {
	t.Parallel()
	for _, kind := range sandboxes {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			needRoot(t, kind)
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o755); err != nil { // as earlier releases made it
				t.Fatal(err)
			}
			s := openServer(t, kind, dir)
			defer s.closeServer()
			f := s.deploy(nodeRuntime(t), map[string]string{"index.js": `exports.handler = async () => [process.getuid()]`})
			answer := f.invoke(`{}`).ok(t)
			if kind == "gvisor" && strings.HasPrefix(answer, "[0") {
				t.Errorf("the function runs as root: %s", answer)
			}
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the data folder: %v, %v", info.Mode(), err)
			}
			// Below it, what has secrets is private by itself.
			for _, name := range []string{"records", "records/journal", "records/mark", "blobs", "backups", "logs"} {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil || info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s: %v, %v", name, info, err)
				}
			}
		})
	}
}
