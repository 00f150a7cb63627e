package kernel

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"thaw/sandbox/firecracker/vmm"
)

// debOf makes a Debian package that is not compressed.
func debOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	for name, body := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(body))
	}
	w.Close()
	out := bytes.NewBufferString("!<arch>\n")
	for _, m := range []struct{ name, body string }{{"debian-binary", "2.0\n"}, {"control.tar", "odd"}, {"data.tar", data.String()}} {
		fmt.Fprintf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m.name, 0, 0, 0, "100644", len(m.body), m.body)
		if len(m.body)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

// moduleOf makes an ELF file that has nothing but a section .modinfo.
func moduleOf(depends string) string {
	names := "\x00.modinfo\x00.shstrtab\x00"
	info := "license=GPL\x00depends=" + depends + "\x00name=x\x00"
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2}
	h.Shoff = uint64(64 + len(info) + len(names))
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	binary.Write(&b, binary.LittleEndian, h)
	b.WriteString(info + names)
	binary.Write(&b, binary.LittleEndian, []elf.Section64{{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: uint64(len(info))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(64 + len(info)), Size: uint64(len(names))}})
	return b.String()
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	files := map[string]string{
		"./boot/vmlinuz-9":                "image",
		"./lib/modules/9/modules.builtin": "kernel/fs/ext4/ext4.ko\nkernel/lib/crc16.ko\n",
		"./lib/modules/9/a-b.ko":          moduleOf("base,c-d"),
		"./lib/modules/9/c_d.ko":          moduleOf("base,crc16"),
		"./lib/modules/9/base.ko":         moduleOf(""),
		"./lib/modules/9/unasked.ko":      moduleOf("nothing"),
		"./lib/modules/9/lost.ko":         moduleOf("a_b,nowhere"),
		"./lib/modules/9/round.ko":        moduleOf("about"),
		"./lib/modules/9/about.ko":        moduleOf("round"),
		"./lib/modules/9/broken.ko":       "no ELF file",
		"../../../escaped.ko":             moduleOf(""),
	}
	dir := t.TempDir()
	c, err := extract(bytes.NewReader(debOf(t, files)), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "escaped.ko")); err != nil {
		t.Errorf("a file whose name leads out of the package is not kept by its last name: %v", err)
	}
	got, err := order(c, []string{"a_b", "ext4", "c_d"})
	var names []string
	for _, m := range got {
		names = append(names, m.name)
	}
	if want := []string{"base", "c_d", "a_b"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("order %v, %v; want %v", names, err, want)
	}
	for name, says := range map[string]string{"lost": "nowhere, which lost needs", "round": "depend on each other", "broken": "broken", "none": "the guest needs"} {
		if _, err := order(c, []string{name}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
	}
}

func TestAPackageThatIsNoneIsRefused(t *testing.T) {
	whole := debOf(t, map[string]string{"./boot/vmlinuz-9": strings.Repeat("x", 4000)})
	for name, deb := range map[string][]byte{
		"nothing": nil, "another file": []byte("#!/bin/sh\necho\n"), "cut": whole[:len(whole)-3000],
		"no kernel": debOf(t, map[string]string{"./a.ko": ""}), "a negative size": bytes.Replace(whole, []byte("4         `"), []byte("-4        `"), 1),
	} {
		if _, err := extract(bytes.NewReader(deb), t.TempDir()); err == nil {
			t.Errorf("%s is a kernel's package", name)
		}
	}
}

// aptOf puts programs in front of PATH that answer as apt does.
func aptOf(t *testing.T, cache, get string) {
	dir := t.TempDir()
	for name, body := range map[string]string{"apt-cache": cache, "apt-get": get} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

const aptCache = `case $4$3 in
*linux-image-cloud-amd64) echo "Package: x"; echo "Depends: foo, linux-image-9-cloud-amd64 (= 9.1-2)";;
*linux-image-9-cloud-amd64) echo "Version: 9.1-2";;
*) exit 100;;
esac
`

// One download serves processes that ask at once and later ones, those that want further modules too, and goes on serving
// when the network has gone.
func TestOneDownloadServesAll(t *testing.T) {
	files := map[string]string{"./boot/vmlinuz-9": string(smallELF(100))}
	for _, w := range wanted {
		files["./lib/"+w+".ko"] = moduleOf("")
	}
	files["./lib/kvm-amd.ko"] = moduleOf("")
	deb := filepath.Join(t.TempDir(), "deb")
	if err := os.WriteFile(deb, debOf(t, files), 0o644); err != nil {
		t.Fatal(err)
	}
	count := filepath.Join(t.TempDir(), "count")
	aptOf(t, aptCache, fmt.Sprintf("echo once >>%s; cp %s linux.deb\n", count, deb))
	cache := filepath.Join(t.TempDir(), "new", "cache")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			k, err := Debian(context.Background(), cache, Cloud)
			if err != nil || k.Name != "linux-image-9-cloud-amd64" || k.Version != "9.1-2" || len(k.Modules) != len(wanted) {
				t.Errorf("%+v, %v", k, err)
			}
		})
	}
	wg.Wait()
	if k, err := Debian(context.Background(), cache, Cloud, "kvm_amd"); err != nil || len(k.Modules) != len(wanted)+1 {
		t.Errorf("with a module more: %+v, %v", k, err)
	}
	if b, _ := os.ReadFile(count); string(b) != "once\n" {
		t.Errorf("downloads: %q", b)
	}
	aptOf(t, "exit 100", "exit 100")
	if k, err := Debian(context.Background(), cache, Cloud); err != nil || k.Version != "9.1-2" {
		t.Errorf("without a network: %+v, %v", k, err)
	}
	left, _ := filepath.Glob(filepath.Join(cache, "part-*"))
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWhatIsMissingComesWithAHint(t *testing.T) {
	var missing *vmm.MissingError
	aptOf(t, "exit 100", "exit 100")
	if _, err := Debian(context.Background(), t.TempDir(), Cloud); !errors.As(err, &missing) || missing.Hint != "apt-get update" {
		t.Errorf("unknown package: %v", err)
	}
	aptOf(t, aptCache, "echo E: no network >&2; exit 100")
	if _, err := Debian(context.Background(), t.TempDir(), Cloud); err == nil || !strings.Contains(err.Error(), "E: no network") {
		t.Errorf("no network: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Debian(context.Background(), t.TempDir(), Cloud); !errors.As(err, &missing) {
		t.Errorf("no Debian: %v", err)
	}
}

// The real package, kept in the user's cache as other tests find it.
func TestDebiansCloudKernel(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get: ", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	k, err := Debian(t.Context(), filepath.Join(cache, "thaw", "kernel"), Cloud)
	if err != nil {
		t.Skip("the package cannot be had: ", err)
	}
	f, err := elf.Open(k.Vmlinux)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The note by which QEMU starts an ELF file. Source: Xen, public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY.
	if s := f.Section(".notes"); s == nil {
		t.Error("no notes, so no PVH entry")
	} else if b, _ := s.Data(); !bytes.Contains(b, []byte("\x12\x00\x00\x00Xen\x00")) {
		t.Error("no PVH entry")
	}
	place := make(map[string]int)
	for i, m := range k.Modules {
		name, _ := moduleName(filepath.Base(m))
		place[name] = i + 1
	}
	for _, pair := range [][2]string{{"virtio_ring", "virtio"}, {"virtio", "virtio_mmio"}, {"vsock", "vmw_vsock_virtio_transport"}, {"libcrc32c", "erofs"}} {
		if place[pair[0]] == 0 || place[pair[0]] > place[pair[1]] {
			t.Errorf("%s is not loaded before %s: %v", pair[0], pair[1], k.Modules)
		}
	}
	t.Logf("%s %s with %d modules", k.Name, k.Version, len(k.Modules))
}
