package statefile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"gvisor.dev/gvisor/runsc/boot"
)

// Saved is a state file as a sandbox has written it. Of the kernel in it nothing is looked at here.
type Saved struct {
	File     *os.File
	Metadata map[string]string
	Offset   int64 // where the kernel begins
	Size     int64 // of the kernel
}

// maxHeader bounds the header of a state file that a sandbox has written, in bytes. Seen: 3 KB.
const maxHeader = 1 << 20

// Open reads the header, and no more.
func Open(f *os.File) (*Saved, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > MaxPart {
		return nil, fmt.Errorf("%d bytes, of which %d can be restored", fi.Size(), MaxPart)
	}
	head := make([]byte, 16)
	if _, err := f.ReadAt(head, 0); err != nil || !bytes.HasPrefix(head, magic) {
		return nil, fmt.Errorf("%w: no state file", ErrDamaged)
	}
	n := binary.BigEndian.Uint64(head[len(magic):])
	if n > maxHeader || int64(n) > fi.Size()-16 {
		return nil, fmt.Errorf("%w: header of %d bytes", ErrDamaged, n)
	}
	k := &Saved{File: f, Offset: 16 + int64(n), Size: fi.Size() - 16 - int64(n)}
	head = make([]byte, n)
	if _, err := f.ReadAt(head, 16); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(head, &k.Metadata); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	if k.Metadata == nil {
		return nil, fmt.Errorf("%w: no header", ErrDamaged)
	}
	return k, nil
}

// SetAside copies the kernel, as it was saved, into the scratch file.
func (k *Saved) SetAside(scratch *os.File) error {
	if err := scratch.Truncate(0); err != nil {
		return err
	}
	_, err := io.Copy(io.NewOffsetWriter(scratch, 0), io.NewSectionReader(k.File, k.Offset, k.Size))
	return err
}

// Replace writes the state file anew: the header, and the kernel that is in the scratch file.
func (k *Saved) Replace(header []byte, scratch *os.File, size int64) error {
	if err := k.File.Truncate(0); err != nil {
		return err
	}
	if _, err := k.File.WriteAt(header, 0); err != nil {
		return err
	}
	_, err := io.Copy(io.NewOffsetWriter(k.File, int64(len(header))), io.NewSectionReader(scratch, 0, size))
	return err
}

// sumFile is the sum, and the size, of a file whose writer may not be trusted: it is read in steps, and not past max bytes.
func sumFile(f *os.File, max int64) (uint32, int64, error) {
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, io.NewSectionReader(f, 0, max+1))
	if err == nil && n > max {
		err = fmt.Errorf("more than %d bytes", max)
	}
	return h.Sum32(), n, err
}

// Complete sums up what was written, and gives the state a header that says so.
func (m *Made) Complete(k *Saved, parts []*os.File, scratch *os.File) error {
	var size int64
	var err error
	if m.StateSum, size, err = sumFile(scratch, MaxPart); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if m.MetaSum, m.MetaSize, err = sumFile(parts[1], MaxPart); err != nil {
		return fmt.Errorf("pages_meta: %w", err)
	}
	if err := m.sumPages(parts[2]); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	made, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// The specs hold paths of this host, and nothing that a restore asks for.
	k.Metadata[boot.ContainerSpecsKey] = "{}"
	k.Metadata[MadeKey] = string(made)
	head, err := json.Marshal(k.Metadata)
	if err != nil {
		return err
	}
	if err := k.Replace(AppendHeader(nil, head, 0), scratch, size); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

func (m *Made) sumPages(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	m.PagesSize = fi.Size()
	buf := make([]byte, SumBlock)
	for off := int64(0); off < m.PagesSize; off += SumBlock {
		n := min(SumBlock, m.PagesSize-off)
		if _, err := f.ReadAt(buf[:n], off); err != nil {
			return err
		}
		m.PagesSums = append(m.PagesSums, Sum(buf[:n]))
	}
	return nil
}
