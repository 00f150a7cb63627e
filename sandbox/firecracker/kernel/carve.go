package kernel

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// Bounds of what is unpacked. Debian's ordinary kernel has 60 MB; xz -9 and zstd --ultra -22 look back 64 and 128 MiB.
const (
	maxVmlinux = 512 << 20
	maxWindow  = 128 << 20
)

// Offsets of the setup header. Source: Linux, Documentation/x86/boot.rst.
const (
	setupSects    = 0x1f1 // one byte: sectors of the real-mode code after the first; 0 means 4
	setupMagic    = 0x202 // HdrS
	setupVersion  = 0x206 // two bytes
	payloadOffset = 0x248 // four bytes, from the end of the real-mode code; since version 2.08
	payloadLength = 0x24c // four bytes
	setupEnd      = 0x250
)

// Carve returns the ELF file that a bzImage holds compressed. Bytes that are an ELF file already are returned as they are.
func Carve(image []byte) ([]byte, error) {
	if bytes.HasPrefix(image, []byte(elf.ELFMAG)) {
		return image, checkELF(image)
	}
	p, err := payload(image)
	if err != nil {
		return nil, fmt.Errorf("bzImage: %w", err)
	}
	out, err := unpack(p)
	if err != nil {
		return nil, fmt.Errorf("bzImage: payload: %w", err)
	}
	if err := checkELF(out); err != nil {
		return nil, fmt.Errorf("bzImage: payload: %w", err)
	}
	return out, nil
}

func payload(image []byte) ([]byte, error) {
	if len(image) < setupEnd || string(image[setupMagic:setupMagic+4]) != "HdrS" {
		return nil, errors.New("no setup header")
	}
	le := binary.LittleEndian
	if v := le.Uint16(image[setupVersion:]); v < 0x208 {
		return nil, fmt.Errorf("boot protocol %#x does not say where the kernel is", v)
	}
	sects := uint64(image[setupSects])
	if sects == 0 {
		sects = 4
	}
	from := (sects+1)*512 + uint64(le.Uint32(image[payloadOffset:]))
	to := from + uint64(le.Uint32(image[payloadLength:]))
	if to > uint64(len(image)) || to-from < 8 {
		return nil, fmt.Errorf("payload at %d to %d of %d bytes", from, to, len(image))
	}
	return image[from:to], nil
}

// unpack undoes what the kernel's build did. All compressions end in four bytes that say how large the result is: gzip's
// are its own, the others' are put behind by the build. Source: Linux, scripts/Makefile.lib, size_append.
func unpack(p []byte) ([]byte, error) {
	size := binary.LittleEndian.Uint32(p[len(p)-4:])
	if size > maxVmlinux {
		return nil, fmt.Errorf("%d bytes are more than a kernel has", size)
	}
	r, err := decompress(p)
	if err != nil {
		return nil, err
	}
	// Memory grows with what comes, not with what was promised.
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, int64(size)+1))
	if err == nil && n != int64(size) {
		err = fmt.Errorf("other than the %d bytes that it says", size)
	}
	return out.Bytes(), err
}

func decompress(p []byte) (io.Reader, error) {
	body := bytes.NewReader(p[:len(p)-4])
	for _, c := range []struct {
		magic string
		open  func() (io.Reader, error)
	}{
		{"\x1f\x8b", func() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(p)) }},
		{"\x02\x21\x4c\x18", func() (io.Reader, error) { return lz4.NewReader(body), nil }},
		{"\xfd7zXZ\x00", func() (io.Reader, error) { return openXZ(body) }},
		{"\x28\xb5\x2f\xfd", func() (io.Reader, error) { return openZstd(body) }},
	} {
		if bytes.HasPrefix(p, []byte(c.magic)) {
			return c.open()
		}
	}
	return nil, fmt.Errorf("unknown compression, magic % x (known: lz4, xz, gzip, zstd)", p[:4])
}

func openXZ(r io.Reader) (io.Reader, error) { return xz.NewReader(r, maxWindow) }

func openZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxVmlinux))
}

// checkELF refuses what no monitor could start.
func checkELF(b []byte) error {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("no ELF file: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("%v for %v, not a kernel for x86-64", f.Class, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Filesz > 0 {
			return nil
		}
	}
	return errors.New("an ELF file with nothing to load")
}
