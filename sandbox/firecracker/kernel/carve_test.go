package kernel

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// smallELF is the least that looks like a kernel: one header, one segment to load, and some bytes.
func smallELF(fill int) []byte {
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	binary.Write(&b, binary.LittleEndian, h)
	binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_LOAD), Off: 120, Filesz: uint64(fill), Memsz: uint64(fill)})
	for i := range fill {
		b.WriteByte(byte(i * i >> 7))
	}
	return b.Bytes()
}

// bzImage wraps a payload as the kernel's build does.
func bzImage(payload []byte) []byte {
	b := make([]byte, 3*512, 3*512+100+len(payload))
	b[setupSects] = 2
	copy(b[setupMagic:], "HdrS")
	binary.LittleEndian.PutUint16(b[setupVersion:], 0x20f)
	binary.LittleEndian.PutUint32(b[payloadOffset:], 100)
	binary.LittleEndian.PutUint32(b[payloadLength:], uint32(len(payload)))
	return append(append(b, make([]byte, 100)...), payload...)
}

func sized(compressed, plain []byte) []byte {
	return binary.LittleEndian.AppendUint32(compressed, uint32(len(plain)))
}

func TestCarveUndoesEveryCompression(t *testing.T) {
	want := smallELF(9 << 20) // more than one block of lz4, which has 8 MiB
	images := map[string][]byte{}

	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	gz.Write(want)
	gz.Close()
	images["gzip"] = bytes.Clone(b.Bytes())

	b.Reset()
	lz := lz4.NewWriter(&b)
	if err := lz.Apply(lz4.LegacyOption(true)); err != nil {
		t.Fatal(err)
	}
	lz.Write(want)
	lz.Close()
	images["lz4"] = sized(bytes.Clone(b.Bytes()), want)

	zs, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	images["zstd"] = sized(zs.EncodeAll(want, nil), want)

	if _, err := exec.LookPath("xz"); err == nil {
		// As the kernel's build calls it. Source: Linux, scripts/xz_wrap.sh.
		cmd := exec.Command("xz", "--check=crc32", "--x86", "--lzma2=dict=32MiB")
		cmd.Stdin = bytes.NewReader(want)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		images["xz"] = sized(out, want)
	}
	for name, payload := range images {
		t.Run(name, func(t *testing.T) {
			got, err := Carve(bzImage(payload))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, %v; want %d", len(got), err, len(want))
			}
			if _, err := Carve(bzImage(payload[:len(payload)/2])); err == nil {
				t.Error("half a payload is a kernel")
			}
			wrong := bytes.Clone(payload)
			binary.LittleEndian.PutUint32(wrong[len(wrong)-4:], uint32(len(want)-1))
			if _, err := Carve(bzImage(wrong)); err == nil {
				t.Error("a payload that is larger than it says is a kernel")
			}
		})
	}
	if _, ok := images["xz"]; !ok {
		t.Log("no xz here: its compression was not tried")
	}
}

func TestCarveSaysWhatIsWrong(t *testing.T) {
	elfForAnother := smallELF(100)
	binary.LittleEndian.PutUint16(elfForAnother[18:], uint16(elf.EM_AARCH64))
	far := bzImage(make([]byte, 100))
	binary.LittleEndian.PutUint32(far[payloadOffset:], 0xffffffff)
	old := bzImage(make([]byte, 100))
	binary.LittleEndian.PutUint16(old[setupVersion:], 0x207)
	var plain bytes.Buffer
	gz := gzip.NewWriter(&plain)
	io.WriteString(gz, strings.Repeat("no ELF file ", 100))
	gz.Close()
	huge := append([]byte("\x28\xb5\x2f\xfd"), 0xff, 0xff, 0xff, 0xff)

	for _, c := range []struct {
		name, says string
		image      []byte
	}{
		{"nothing", "no setup header", nil},
		{"zeros", "no setup header", make([]byte, 4096)},
		{"an old protocol", "boot protocol", old},
		{"a payload outside", "payload at", far},
		{"another compression", "unknown compression", bzImage([]byte("BZh91AY&SY\x00\x00\x00\x00\x00\x00"))},
		{"a promise of four gigabytes", "more than a kernel has", bzImage(huge)},
		{"something else inside", "no ELF file", bzImage(plain.Bytes())},
		{"another processor", "not a kernel for x86-64", elfForAnother},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Carve(c.image); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one with %q", err, c.says)
			}
		})
	}
}

func TestCarveLeavesAnELFFileAlone(t *testing.T) {
	want := smallELF(1000)
	got, err := Carve(want)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatal(err)
	}
}

// FuzzCarve: whatever comes, it is a kernel or an error, and no memory is taken that the input does not fill.
func FuzzCarve(f *testing.F) {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	gz.Write(smallELF(3000))
	gz.Close()
	f.Add(bzImage(b.Bytes()))
	b.Reset()
	lz := lz4.NewWriter(&b)
	lz.Apply(lz4.LegacyOption(true))
	lz.Write(smallELF(3000))
	lz.Close()
	f.Add(bzImage(sized(b.Bytes(), smallELF(3000))))
	f.Add(smallELF(10))
	f.Fuzz(func(t *testing.T, image []byte) {
		out, err := Carve(image)
		if err == nil && checkELF(out) != nil {
			t.Error("what was carved is no kernel")
		}
	})
}

// FuzzExtract: a package is unpacked into its folder alone, or refused.
func FuzzExtract(f *testing.F) {
	f.Add(debOf(f, map[string]string{"./boot/vmlinuz-1": "x", "./lib/a.ko": "y"}))
	f.Add([]byte("!<arch>\n"))
	f.Fuzz(func(t *testing.T, deb []byte) {
		dir := t.TempDir() + "/a"
		os.Mkdir(dir, 0o755)
		extract(bytes.NewReader(deb), dir)
		if beside, err := os.ReadDir(dir + "/.."); err != nil || len(beside) != 1 {
			t.Errorf("beside the folder: %v %v", beside, err)
		}
	})
}
