package forkid

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// errOdd is what a file has that is not as linkers make it. It is the function's own, and may be anything.
var errOdd = errors.New("its tables are not as linkers make them")

// symbol is the function whose call is led elsewhere, where symbols have names.
const symbol = "openssl_get_fork_id"

// header reads the beginning of a mapped file; false: it is none of this processor's.
func (p *process) header(im *image) (h elf.Header64, ok bool, err error) {
	if im.maps[0].offset != 0 {
		return h, false, nil
	}
	if err := p.decode(&h, im.maps[0].start); err != nil {
		return h, false, err
	}
	return h, known(&h), nil
}

func known(h *elf.Header64) bool {
	return string(h.Ident[:4]) == elf.ELFMAG && elf.Class(h.Ident[elf.EI_CLASS]) == elf.ELFCLASS64 && elf.Machine(h.Machine) == machine
}

func (p *process) decode(v any, at uint64) error {
	b := make([]byte, binary.Size(v))
	if err := p.read(b, at); err != nil {
		return err
	}
	_, err := binary.Decode(b, binary.LittleEndian, v)
	return err
}

// layout is where an image lies.
type layout struct {
	bias     uint64   // added to the file's addresses
	dynamic  uint64   // address in memory of the table of the dynamic linker; 0: none
	codeEnds []uint64 // addresses in memory where segments with code end
}

const maxSegments = 64

func (p *process) layout(im *image, h *elf.Header64) (l layout, err error) {
	if h.Phnum > maxSegments {
		return l, errOdd
	}
	progs := make([]elf.Prog64, h.Phnum)
	if err := p.decode(progs, im.maps[0].start+h.Phoff); err != nil {
		return l, err
	}
	first := true
	for _, g := range progs {
		switch elf.ProgType(g.Type) {
		case elf.PT_LOAD:
			if first {
				l.bias, first = im.maps[0].start-(g.Vaddr&^(g.Align-1)), false
			}
			if elf.ProgFlag(g.Flags)&elf.PF_X != 0 {
				l.codeEnds = append(l.codeEnds, l.bias+g.Vaddr+g.Filesz)
			}
		case elf.PT_DYNAMIC:
			l.dynamic = g.Vaddr
		}
	}
	if l.dynamic != 0 {
		l.dynamic += l.bias
	}
	return l, nil
}

// imported is where an image has the address of a function of another library; 0: it uses no such. It reads the tables
// of the dynamic linker, in memory.
func (p *process) imported(im *image, name string) (slot uint64, err error) {
	h, ok, err := p.header(im)
	if !ok || err != nil {
		return 0, err
	}
	l, err := p.layout(im, &h)
	if err != nil || l.dynamic == 0 {
		return 0, err
	}
	tags, err := p.dynamic(l)
	if err != nil {
		return 0, err
	}
	for _, table := range [][2]elf.DynTag{{elf.DT_JMPREL, elf.DT_PLTRELSZ}, {elf.DT_RELA, elf.DT_RELASZ}} {
		const entry, maxTable = 24, 64 << 20
		at, size := tags[table[0]], tags[table[1]]
		if at == 0 || size > maxTable {
			continue
		}
		b := make([]byte, size)
		if err := p.read(b, at); err != nil {
			return 0, errors.Join(errOdd, err)
		}
		for ; len(b) >= entry; b = b[entry:] {
			offset, info := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
			if typ := uint32(info); typ != jumpSlot && typ != globalData {
				continue
			}
			var sym elf.Sym64
			if err := p.decode(&sym, tags[elf.DT_SYMTAB]+info>>32*elf.Sym64Size); err != nil {
				return 0, errors.Join(errOdd, err)
			}
			text := make([]byte, len(name)+1)
			if err := p.read(text, tags[elf.DT_STRTAB]+uint64(sym.Name)); err == nil && string(text) == name+"\x00" {
				return l.bias + offset, nil
			}
		}
	}
	return 0, nil
}

// dynamic reads the table of the dynamic linker, with the addresses of this process: some linkers have written them
// there, others leave those of the file.
func (p *process) dynamic(l layout) (map[elf.DynTag]uint64, error) {
	const maxTags = 256
	tags := make(map[elf.DynTag]uint64)
	for i := range uint64(maxTags) {
		var d elf.Dyn64
		if err := p.decode(&d, l.dynamic+i*16); err != nil {
			return nil, errors.Join(errOdd, err)
		}
		switch tag := elf.DynTag(d.Tag); tag {
		case elf.DT_NULL:
			return tags, nil
		case elf.DT_JMPREL, elf.DT_RELA, elf.DT_SYMTAB, elf.DT_STRTAB:
			if d.Val < l.bias {
				d.Val += l.bias
			}
			tags[tag] = d.Val
		default:
			tags[tag] = d.Val
		}
	}
	return nil, errOdd
}

// files remembers where a file has the function, as an offset; 0: nowhere.
type files struct{ known map[fileID]uint64 }

// function is the address in memory of the function that symbols name; 0: they name none.
func (n *files) function(proc *os.File, dir string, im *image) (uint64, error) {
	off, ok := n.known[im.file]
	if !ok {
		m := im.maps[0]
		f, err := open(proc, fmt.Sprintf("%s/map_files/%x-%x", dir, m.start, m.end), unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
			if off, err = functionIn(f); err != nil && !errors.Is(err, errOdd) {
				return 0, err
			}
		}
		n.known[im.file] = off
	}
	for _, m := range im.maps {
		if off != 0 && m.executable() && m.offset <= off && off < m.offset+m.end-m.start {
			return m.start + off - m.offset, nil
		}
	}
	return 0, nil
}

// functionIn finds the function in a file by its symbols. It reads them piece by piece: Node's have 20 MB.
func functionIn(f io.ReaderAt) (uint64, error) {
	var h elf.Header64
	if err := decodeAt(f, &h, 0); err != nil || !known(&h) {
		return 0, nil
	}
	sections := make([]elf.Section64, h.Shnum)
	if err := decodeAt(f, sections, h.Shoff); err != nil {
		return 0, errOdd
	}
	for _, s := range sections {
		if t := elf.SectionType(s.Type); t != elf.SHT_SYMTAB && t != elf.SHT_DYNSYM || int(s.Link) >= len(sections) {
			continue
		}
		names, err := occurrences(f, sections[s.Link], symbol+"\x00")
		if err != nil {
			return 0, errOdd
		}
		if len(names) == 0 {
			continue
		}
		value, err := symbolValue(f, s, names)
		if err != nil {
			return 0, errOdd
		}
		if value != 0 {
			return fileOffset(f, &h, value)
		}
	}
	return 0, nil
}

func decodeAt(f io.ReaderAt, v any, at uint64) error {
	return binary.Read(io.NewSectionReader(f, int64(at), int64(binary.Size(v))), binary.LittleEndian, v)
}

// occurrences are the offsets of a text in a section.
func occurrences(f io.ReaderAt, s elf.Section64, text string) (list []uint32, err error) {
	const piece = 64 << 10
	b := make([]byte, piece+len(text))
	for at := uint64(0); at < s.Size; at += piece {
		k := min(uint64(len(b)), s.Size-at) // pieces overlap
		if _, err := f.ReadAt(b[:k], int64(s.Off+at)); err != nil {
			return nil, err
		}
		for from := 0; ; {
			i := bytes.Index(b[from:k], []byte(text))
			if i < 0 || from+i >= piece {
				break
			}
			list = append(list, uint32(at)+uint32(from+i))
			from += i + 1
		}
	}
	return list, nil
}

// symbolValue is the value of the function with one of the names.
func symbolValue(f io.ReaderAt, s elf.Section64, names []uint32) (uint64, error) {
	const piece = 2048 * elf.Sym64Size
	b := make([]byte, piece)
	for at := uint64(0); at < s.Size; at += piece {
		k := min(piece, s.Size-at)
		if _, err := f.ReadAt(b[:k], int64(s.Off+at)); err != nil {
			return 0, err
		}
		for sym := b[:k]; len(sym) >= elf.Sym64Size; sym = sym[elf.Sym64Size:] {
			value := binary.LittleEndian.Uint64(sym[8:])
			if elf.ST_TYPE(sym[4]) != elf.STT_FUNC || value == 0 {
				continue
			}
			for _, n := range names {
				if binary.LittleEndian.Uint32(sym) == n {
					return value, nil
				}
			}
		}
	}
	return 0, nil
}

func fileOffset(f io.ReaderAt, h *elf.Header64, value uint64) (uint64, error) {
	if h.Phnum > maxSegments {
		return 0, errOdd
	}
	progs := make([]elf.Prog64, h.Phnum)
	if err := decodeAt(f, progs, h.Phoff); err != nil {
		return 0, errOdd
	}
	for _, g := range progs {
		if elf.ProgType(g.Type) == elf.PT_LOAD && g.Vaddr <= value && value < g.Vaddr+g.Filesz {
			return value - g.Vaddr + g.Off, nil
		}
	}
	return 0, errOdd
}
