package faultfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"
)

// Both file systems answer alike, so that what passes on one means something on the other.
func TestDiskAndMemAgree(t *testing.T) {
	for name, open := range map[string]func() (FS, string){
		"disk": func() (FS, string) { return Disk{}, t.TempDir() },
		"mem":  func() (FS, string) { return NewMem(), "/root" },
	} {
		t.Run(name, func(t *testing.T) {
			fsys, root := open()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(fsys.MkdirAll("x", root+"/a/b"))
			write := func(path, text string) error {
				f, err := fsys.Create("x", path)
				if err != nil {
					return err
				}
				_, err = f.Write([]byte(text))
				return errors.Join(err, f.Sync("x"), f.Close())
			}
			must(write(root+"/a/one", "1"))
			must(write(root+"/a/b/deep", "22"))
			if err := write(root+"/a/one", "2"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("created twice: %v", err)
			}
			if err := write(root+"/nowhere/one", "2"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("created in no folder: %v", err)
			}
			must(fsys.Rename("x", root+"/a/b/deep", root+"/a/one"))
			must(fsys.Link("x", root+"/a/one", root+"/a/two"))
			if err := fsys.Link("x", root+"/a/one", root+"/a/two"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("linked twice: %v", err)
			}
			must(fsys.SyncDir("x", root+"/a"))
			infos, err := fsys.ReadDir("x", root+"/a")
			must(err)
			slices.SortFunc(infos, func(a, b Info) int { return int(a.Name[0]) - int(b.Name[0]) })
			if len(infos) != 2 || infos[0].Name != "one" || infos[1].Size != 2 || infos[0].Mode.Perm() != 0o600 {
				t.Errorf("%v", infos)
			}
			must(fsys.Remove("x", root+"/a/one"))
			if b, err := fsys.ReadFile("x", root+"/a/two"); err != nil || string(b) != "22" {
				t.Errorf("%q, %v", b, err)
			}
			for _, err := range []error{fsys.Remove("x", root+"/a/one"), fsys.Rename("x", root+"/a/one", root+"/a/x"), fsys.Link("x", root+"/a/one", root+"/a/x")} {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("on what is not there: %v", err)
				}
			}
			if _, err := fsys.ReadFile("x", root+"/a/one"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("read of what is not there: %v", err)
			}
		})
	}
}

func TestACrashForgetsWhatWasNotSynced(t *testing.T) {
	m := NewMem()
	m.MkdirAll("x", "/d")
	write := func(path, text string, sync bool) {
		f, err := m.Create("x", path)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(text))
		if sync {
			f.Sync("x")
		}
	}
	write("/d/safe", "safe", true)
	write("/d/torn", "torn", false)
	m.SyncDir("x", "/d")
	write("/d/unnamed", "unnamed", true)
	m.Rename("x", "/d/safe", "/d/moved")
	seen := map[string]bool{}
	for seed := range uint64(60) {
		after := m.Reboot(rand.New(rand.NewPCG(seed, 0)))
		read := func(p string) string {
			b, err := after.ReadFile("x", p)
			if err != nil {
				return "(none)"
			}
			return string(b)
		}
		seen["safe "+read("/d/safe")] = true
		seen["moved "+read("/d/moved")] = true
		seen["torn "+read("/d/torn")] = true
		seen["unnamed "+read("/d/unnamed")] = true
		if _, err := m.Create("x", "/d/late"); !errors.Is(err, ErrCrashed) {
			t.Fatalf("after the crash: %v", err)
		}
	}
	for _, want := range []string{"safe safe", "safe (none)", "moved safe", "moved (none)", "torn torn", "torn ", "torn \x00\x00\x00\x00", "unnamed unnamed", "unnamed (none)"} {
		if !seen[want] {
			t.Errorf("no crash leaves %q", want)
		}
	}
	for _, never := range []string{"torn (none)", "unnamed "} {
		if seen[never] {
			t.Errorf("a crash left %q", never)
		}
	}
}

func TestOneCallFails(t *testing.T) {
	m := NewMem()
	m.MkdirAll("x", "/d")
	broken := errors.New("broken")
	m.Fail("b", 2, broken)
	for i, want := range []error{nil, broken, nil} {
		_, err := m.Create("b", "/d/"+string(rune('a'+i)))
		if !errors.Is(err, want) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	m.CrashAt(2)
	if _, err := m.Create("b", "/d/x"); err != nil || m.Crashed() {
		t.Error(err)
	}
	if _, err := m.Create("b", "/d/y"); !errors.Is(err, ErrCrashed) || !m.Crashed() {
		t.Error(err)
	}
}
