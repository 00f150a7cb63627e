// Package forkid has OpenSSL's generators seed themselves anew in the copies of a machine.
//
// A generator of OpenSSL is part of a snapshot, and every copy would go on with the same bytes. At each draw it compares
// openssl_get_fork_id(), which is getpid(), with the value of its last seeding, because of fork, and seeds anew when it differs; for its
// parent generator the same holds. Source: OpenSSL 1.1.1 to 3.x, crypto/threads_pthread.c, and ossl_prov_drbg_generate. In gVisor
// the sandbox's kernel answers that call with a number that a restore changes. A kernel of Linux cannot be told to, so
// here the call itself is led elsewhere, in the memory of each process, while it stands still to be saved: to a few
// instructions that add to what getpid says. What is saved differs then from what was seeded, and no copy can draw
// before it has seeded, from the first instruction on.
//
// Only OpenSSL sees the number: the function's own getpid stays as it is. What is led elsewhere is
//
//	in a libcrypto.so     its entry for getpid in the table of functions of other libraries
//	in a program or       the call in openssl_get_fork_id, which its symbols name
//	another library
//
// Both are one store into an instruction's operand or a pointer, so it does not matter where a thread stands. The added
// instructions lie behind the last ones of a file's code, where its last page is empty.
//
// Who has no symbols is not found, as in gVisor. Who is found and is not as expected is an error: a copy that repeats
// another's keys is worse than none.
package forkid

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Renew prepares processes that stand still. proc is the folder of the kernel's process files; generation counts from 1,
// and differs from that of the time before.
func Renew(proc *os.File, pids []int, generation uint32) error {
	if machine == elf.EM_NONE {
		return fmt.Errorf("OpenSSL on this processor: %w", errors.ErrUnsupported)
	}
	names := files{known: make(map[fileID]uint64)}
	for _, pid := range pids {
		err := renew(proc, pid, generation, &names)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return fmt.Errorf("OpenSSL in process %d: %w", pid, err)
		}
	}
	return nil
}

// offset is what OpenSSL sees added to the pid: different from that of the generation before, so from what is in the
// snapshot. Pids of Linux have 22 bits at most; 9 remain of a positive pid_t. Source: PID_MAX_LIMIT, include/linux/threads.h.
func offset(generation uint32) uint32 { return (1 + (generation-1)%511) << 22 }

func renew(proc *os.File, pid int, generation uint32, names *files) error {
	dir := strconv.Itoa(pid)
	maps, err := mappings(proc, dir)
	if err != nil {
		return err
	}
	mem, err := open(proc, dir+"/mem", unix.O_RDWR)
	if err != nil {
		return err
	}
	defer mem.Close()
	p := process{mem: mem, images: images(maps)}
	for _, im := range p.images {
		point, err := p.find(proc, dir, im, names)
		if err != nil {
			return fmt.Errorf("%s: %w", im.path, err)
		}
		if point == nil {
			continue
		}
		if err := p.lead(im, point, offset(generation)); err != nil {
			return fmt.Errorf("%s: %w", im.path, err)
		}
	}
	return nil
}

// process is one whose memory is read and changed.
type process struct {
	mem    *os.File
	images []*image
}

func (p *process) read(b []byte, at uint64) error {
	_, err := p.mem.ReadAt(b, int64(at))
	return err
}

func (p *process) write(b []byte, at uint64) error {
	_, err := p.mem.WriteAt(b, int64(at))
	return err
}

// mapping is a line of maps. Source: proc_pid_maps(5).
type mapping struct {
	start, end, offset uint64
	perms              string
	file               fileID
	path               string
}

type fileID struct {
	device string
	inode  uint64
}

// image is a file as a process has mapped it to run code of it.
type image struct {
	path string
	file fileID
	maps []mapping // in the order of addresses
}

func (m mapping) executable() bool { return m.perms == "r-xp" }

// images puts the mappings of one file that lie one after the other together. A library that is loaded twice is two.
func images(maps []mapping) (list []*image) {
	var last *image
	for _, m := range maps {
		switch {
		case m.file.inode == 0:
			continue // memory without a file lies between a library's parts
		case last == nil || last.file != m.file || m.offset == 0 && last.maps[len(last.maps)-1].offset > 0:
			last = &image{path: m.path, file: m.file}
			list = append(list, last)
		}
		last.maps = append(last.maps, m)
	}
	runs := list[:0]
	for _, im := range list {
		for _, m := range im.maps {
			if m.executable() {
				runs = append(runs, im)
				break
			}
		}
	}
	return runs
}

// isLibcrypto knows OpenSSL's library by its name; packages that bundle it put a hash into that (libcrypto-1a2b3c4d.so.1.1).
func (im *image) isLibcrypto() bool {
	base := path.Base(im.path)
	return strings.HasPrefix(base, "libcrypto.so") || strings.HasPrefix(base, "libcrypto-") && strings.Contains(base, ".so")
}

func mappings(proc *os.File, dir string) (list []mapping, err error) {
	f, err := open(proc, dir+"/maps", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		var m mapping
		fields := strings.Fields(sc.Text())
		if len(fields) < 5 {
			return nil, fmt.Errorf("a mapping reads %q", sc.Text())
		}
		_, err1 := fmt.Sscanf(fields[0], "%x-%x", &m.start, &m.end)
		_, err2 := fmt.Sscanf(fields[2], "%x", &m.offset)
		m.perms, m.file.device = fields[1], fields[3]
		var err3 error
		m.file.inode, err3 = strconv.ParseUint(fields[4], 10, 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("a mapping reads %q: %w", sc.Text(), err)
		}
		if len(fields) > 5 {
			m.path = strings.Join(fields[5:], " ")
		}
		list = append(list, m)
	}
	return list, sc.Err()
}

func open(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
