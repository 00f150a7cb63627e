package initramfs

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// entry is one of an archive.
type entry struct {
	name               string
	mode, major, minor uint64
	data               []byte
}

// list reads an archive as the kernel does.
func list(t *testing.T, b []byte) []entry {
	t.Helper()
	var all []entry
	for at := 0; ; {
		if at%4 != 0 || len(b) < at+110 || string(b[at:at+6]) != "070701" {
			t.Fatalf("no entry at %d of %d", at, len(b))
		}
		var n [13]uint64
		for i := range n {
			var err error
			if n[i], err = strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32); err != nil {
				t.Fatal(err)
			}
		}
		if n[2]+n[3]+n[5]+n[12] != 0 {
			t.Errorf("entry at %d has an owner, a time or a sum", at)
		}
		size, nameSize := int(n[6]), int(n[11])
		at += 110
		e := entry{name: string(b[at : at+nameSize-1]), mode: n[1], major: n[9], minor: n[10]}
		at = (at + nameSize + 3) &^ 3
		e.data = b[at : at+size]
		at = (at + size + 3) &^ 3
		if e.name == "TRAILER!!!" {
			if at != len(b) {
				t.Errorf("%d bytes behind the trailer", len(b)-at)
			}
			return all
		}
		all = append(all, e)
	}
}

// module makes a file that says what a kernel's module says of itself: an ELF with a section .modinfo, and nothing more.
func module(t *testing.T, dir, file, depends string) {
	t.Helper()
	// A file may have any name, and hyphens where the module has none.
	name := strings.ReplaceAll(strings.TrimLeft(file, "0123456789-"), "-", "_")
	info := "license=GPL\x00depends=" + depends + "\x00name=" + name + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	const head, sectionHead = 64, 64
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: head, Shentsize: sectionHead, Shnum: 3, Shstrndx: 2,
		Shoff: uint64(head + len(info) + len(names))}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	binary.Write(&b, binary.LittleEndian, h)
	b.WriteString(info + names)
	binary.Write(&b, binary.LittleEndian, []elf.Section64{{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: head, Size: uint64(len(info))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(head + len(info)), Size: uint64(len(names))}})
	if err := os.WriteFile(filepath.Join(dir, file+".ko"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	guest := filepath.Join(t.TempDir(), "guest")
	if err := os.WriteFile(guest, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	module(t, dir, "virtio_mmio", "virtio,virtio_ring")
	module(t, dir, "virtio_ring", "")
	module(t, dir, "virtio", "virtio_ring")
	module(t, dir, "virtio-rng", "virtio")
	module(t, dir, "07-common", "virtio_rng,virtio")
	module(t, dir, "a_first", "common")
	write := func() []byte {
		var b bytes.Buffer
		if err := Write(&b, guest, dir); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	archive := write()
	var got []string
	for _, e := range list(t, archive) {
		line := fmt.Sprintf("%o %s", e.mode, e.name)
		if e.major != 0 {
			line += fmt.Sprintf(" %d:%d", e.major, e.minor)
		}
		got = append(got, line)
		switch e.name {
		case "init":
			if string(e.data) != "program" {
				t.Errorf("/init is %q", e.data)
			}
		case "modules/order":
			if want := "virtio_ring\nvirtio\nvirtio-rng\n07-common\na_first\nvirtio_mmio\n"; string(e.data) != want {
				t.Errorf("order is %q, want %q", e.data, want)
			}
		case "modules/virtio.ko":
			if file, _ := os.ReadFile(filepath.Join(dir, "virtio.ko")); !bytes.Equal(e.data, file) {
				t.Error("virtio.ko is another")
			}
		}
	}
	want := []string{"40755 dev", "20600 dev/console 5:1", "20666 dev/null 1:3", "100755 init", "40755 modules",
		"100644 modules/virtio_ring.ko", "100644 modules/virtio.ko", "100644 modules/virtio-rng.ko", "100644 modules/07-common.ko", "100644 modules/a_first.ko",
		"100644 modules/virtio_mmio.ko", "100644 modules/order"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the archive has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !bytes.Equal(archive, write()) {
		t.Error("the second archive differs from the first")
	}
}

// The form of the archive is part of what old snapshots depend on.
func TestSameFilesSameBytes(t *testing.T) {
	guest := filepath.Join(t.TempDir(), "guest")
	if err := os.WriteFile(guest, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(&b, guest, ""); err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(b.Bytes())); sum != "06d1e11cc6c8dbb231ebd570f69fe45bef723f30daffb15e47bb56c6bf33e872" {
		t.Errorf("the archive's hash is %s", sum)
	}
}

func TestModulesThatDoNotFit(t *testing.T) {
	guest := filepath.Join(t.TempDir(), "guest")
	os.WriteFile(guest, nil, 0o755)
	for want, prepare := range map[string]func(dir string){
		"virtio needs virtio_ring": func(dir string) { module(t, dir, "virtio", "virtio_ring") },
		"module text: ":            func(dir string) { os.WriteFile(filepath.Join(dir, "text.ko"), []byte("no module"), 0o600) },
	} {
		dir := t.TempDir()
		prepare(dir)
		if err := Write(&bytes.Buffer{}, guest, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
