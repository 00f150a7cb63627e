package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/sandbox/firecracker/kernel"
)

// Debian's kernel is downloaded once for all tests; a second installation is here already.
func TestDebianKernel(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get: ", err)
	}
	dir, said := t.TempDir(), ""
	for range 2 {
		err := DebianKernel(t.Context(), dir, func(s string) { said += s + "\n" })
		if err != nil && said == "looking for Debian's package "+kernel.Cloud+"\n" {
			t.Skip("the package cannot be had: ", err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(said, "here already") {
		t.Errorf("it was installed twice: %s", said)
	}
	k, err := FindKernel(dir, "", "")
	if err != nil || !strings.HasPrefix(k.Version, "6.") || !strings.Contains(k.Source, "linux-image") {
		t.Fatalf("found %+v, %v", k, err)
	}
	for _, name := range []string{"virtio.ko", "erofs.ko"} {
		if _, err := os.Stat(filepath.Join(k.Modules, name)); err != nil {
			t.Error(err)
		}
	}
	if err := bootable(k.Path); err != nil {
		t.Error(err)
	}
	// The modules' names are those that the archive orders them by. The same guest and kernel make the same archive, and
	// a sweep takes those of earlier servers.
	guest := filepath.Join(t.TempDir(), "thaw-guest")
	if err := os.WriteFile(guest, small, 0o755); err != nil {
		t.Fatal(err)
	}
	archive, err := Initramfs(dir, guest, k)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Initramfs(dir, guest, k); again != archive || err != nil {
		t.Errorf("again it is %s and not %s, %v", again, archive, err)
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, ".lock", "kernel", filepath.Base(filepath.Dir(k.Path)))
}

func TestOwnKernel(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(mine, small, 0o644); err != nil { // an ELF file for this machine
		t.Fatal(err)
	}
	if err := OwnKernel(t.Context(), dir, mine, quiet); err != nil {
		t.Fatal(err)
	}
	if k, err := FindKernel(dir, "", ""); err != nil || k.Modules != "" || !strings.Contains(k.Source, mine) {
		t.Errorf("installed: %+v, %v", k, err)
	}
	if k, err := FindKernel(t.TempDir(), mine, ""); err != nil || k.Path != mine {
		t.Errorf("chosen: %+v, %v", k, err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("not a kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := OwnKernel(t.Context(), dir, bad, quiet); err == nil {
		t.Error("a text is taken for a kernel")
	}
	if _, err := FindKernel(dir, bad, "thaw sandbox install firecracker"); err == nil || !strings.Contains(err.Error(), "--kernel "+bad) {
		t.Errorf("a chosen text: %v", err)
	}
	if k, err := FindKernel(dir, "", ""); err != nil || !strings.Contains(k.Source, mine) {
		t.Errorf("after refusals: %+v, %v", k, err)
	}
}
