package launcher

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/boot/procfs"

	"thaw/cmd/thaw-sandbox/internal/statefile"
)

// generatorSymbols begin the names of the functions that OpenSSL's generators call getpid from: 3.x, and 1.1.1.
var generatorSymbols = [][]byte{[]byte("ossl_prov_drbg_"), []byte("ossl_rand_drbg_"), []byte("RAND_DRBG_"), []byte("rand_drbg_")}

// programCache remembers what a file holds, for as long as it is the same file.
type programCache struct {
	mu    sync.Mutex
	known map[fileID]*statefile.Region // nil: no generator
}

var programs = programCache{known: make(map[fileID]*statefile.Region)}

// find looks at every file that a sandbox's processes execute code from, on the host, below root.
func (c *programCache) find(conn *urpc.Client, root string) (map[string]statefile.Region, error) {
	var procs []procfs.ProcessProcfsDump
	if err := conn.Call(boot.ContMgrProcfsDump, nil, &procs); err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	rootFD, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("root %s: %w", root, err)
	}
	defer unix.Close(rootFD)
	out := make(map[string]statefile.Region)
	seen := make(map[string]bool)
	for _, p := range procs {
		for _, m := range p.Maps {
			if !m.Permissions.Execute || !filepath.IsAbs(m.Pathname) || seen[m.Pathname] || statefile.IsLibcrypto(m.Pathname) {
				continue
			}
			seen[m.Pathname] = true
			if r := c.region(rootFD, m.Pathname); r != nil {
				out[m.Pathname] = *r
			}
		}
	}
	return out, nil
}

// region is that of one file; nil where it has none, or cannot be read. The path is the sandbox's own word: it cannot lead out of root, nor to
// anything that blocks.
func (c *programCache) region(rootFD int, path string) *statefile.Region {
	fd, err := unix.Openat2(rootFD, path, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil
	}
	id, err := fileIDOf(f)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	r, ok := c.known[id]
	c.mu.Unlock()
	if ok {
		return r
	}
	if r, err = generatorOf(f); err != nil {
		r = nil // not ELF, or none that we can read
	}
	c.mu.Lock()
	c.known[id] = r
	c.mu.Unlock()
	return r
}

// maxSymbols bounds a symbol table that is read whole, in bytes. Node's has 10 MB, and as much of names.
const maxSymbols = 256 << 20

// generatorOf finds the generator's functions by their symbols, as offsets into the file: the linker puts a library's functions next to
// each other. nil: the file has none, or was stripped.
func generatorOf(f *os.File) (*statefile.Region, error) {
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	if e.Class != elf.ELFCLASS64 || e.ByteOrder != binary.LittleEndian {
		return nil, nil
	}
	lo, hi := ^uint64(0), uint64(0)
	for _, s := range e.Sections {
		if s.Type != elf.SHT_SYMTAB && s.Type != elf.SHT_DYNSYM {
			continue
		}
		if int(s.Link) >= len(e.Sections) || s.Size > maxSymbols || e.Sections[s.Link].Size > maxSymbols {
			continue
		}
		syms, err := s.Data()
		if err != nil {
			return nil, err
		}
		names, err := e.Sections[s.Link].Data()
		if err != nil {
			return nil, err
		}
		for ; len(syms) >= elf.Sym64Size; syms = syms[elf.Sym64Size:] {
			name, info := binary.LittleEndian.Uint32(syms), syms[4]
			value, size := binary.LittleEndian.Uint64(syms[8:]), binary.LittleEndian.Uint64(syms[16:])
			if elf.ST_TYPE(info) == elf.STT_FUNC && value != 0 && int(name) < len(names) && isGeneratorSymbol(names[name:]) {
				lo, hi = min(lo, value), max(hi, value+size)
			}
		}
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && lo >= p.Vaddr && hi <= p.Vaddr+p.Filesz && lo < hi {
			return &statefile.Region{Lo: lo - p.Vaddr + p.Off, Hi: hi - p.Vaddr + p.Off}, nil
		}
	}
	return nil, nil
}

func isGeneratorSymbol(name []byte) bool {
	for _, s := range generatorSymbols {
		if bytes.HasPrefix(name, s) {
			return true
		}
	}
	return false
}
