package firecracker

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// sums are the checksums of a part, one for each block of sumBlock bytes, the last of which may be shorter. They find
// what a disk or a copy has damaged; they are no proof against somebody who writes snapshots.
type sums struct {
	Size   int64    `json:"size"`
	Blocks []uint32 `json:"blocks"`
}

const sumBlock = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // processors have an instruction for it: more than 10 GB/s

// zeroSum is that of a block of zeros.
var zeroSum = sync.OnceValue(func() uint32 { return crc32.Checksum(make([]byte, sumBlock), castagnoli) })

// sumFile reads a file, but for its holes.
func sumFile(f *os.File) (s sums, err error) {
	fi, err := f.Stat()
	if err != nil {
		return s, err
	}
	holes, err := extents(f)
	if err != nil {
		return s, err
	}
	s.Size = fi.Size()
	buf := make([]byte, sumBlock)
	for off := int64(0); off < s.Size; off += sumBlock {
		for len(holes) > 0 && holes[0].Offset+holes[0].Length <= off {
			holes = holes[1:]
		}
		n := min(sumBlock, s.Size-off)
		if n == sumBlock && (len(holes) == 0 || holes[0].Offset >= off+n) {
			s.Blocks = append(s.Blocks, zeroSum())
			continue
		}
		if _, err := f.ReadAt(buf[:n], off); err != nil {
			return s, fmt.Errorf("%s: %w", f.Name(), err)
		}
		s.Blocks = append(s.Blocks, crc32.Checksum(buf[:n], castagnoli))
	}
	return s, nil
}

var errDamaged = errors.New("it is not what was saved")

// check compares a file with what was saved.
func (s sums) check(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if fi.Size() != s.Size {
		return fmt.Errorf("%w: it has %d bytes, %d were saved", errDamaged, fi.Size(), s.Size)
	}
	now, err := sumFile(f)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it became shorter", errDamaged)
	}
	if err != nil {
		return err
	}
	if i := differsAt(now.Blocks, s.Blocks); i >= 0 {
		return fmt.Errorf("%w: at %d MiB", errDamaged, i*sumBlock>>20)
	}
	return nil
}

// differsAt is the first index at which two lists differ; -1: nowhere.
func differsAt(a, b []uint32) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// verified remembers which files were found whole, so that a snapshot is read through once and not with each restore:
// what is mapped is read as it is touched. A file is known by what changes when its content does.
type verified struct {
	mu    sync.Mutex // guards files
	files map[fileID]bool
}

// fileID is a file with a certain content, as what was saved under a certain sum.
type fileID struct {
	dev, ino      uint64
	size          int64
	changed, born unix.StatxTimestamp
	sum           uint32 // of the blocks' sums
}

// maxVerified bounds what is remembered; past it everything is looked at again, once.
const maxVerified = 4096

func newVerified() *verified { return &verified{files: make(map[fileID]bool)} }

// check looks at a file that nobody writes any more.
func (v *verified) check(f *os.File, s sums) error {
	id, err := identify(f, s)
	if err != nil {
		return err
	}
	v.mu.Lock()
	known := v.files[id]
	v.mu.Unlock()
	if known {
		return nil
	}
	if err := s.check(f); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.files) >= maxVerified {
		clear(v.files)
	}
	v.files[id] = true
	return nil
}

func identify(f *os.File, s sums) (fileID, error) {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return fileID{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	all := crc32.New(castagnoli)
	for _, b := range s.Blocks {
		all.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)})
	}
	return fileID{
		dev: uint64(st.Dev_major)<<32 | uint64(st.Dev_minor), ino: st.Ino, size: int64(st.Size), changed: st.Mtime, born: st.Btime,
		sum: all.Sum32(),
	}, nil
}
