// Package statefile is the form of a snapshot: what the header of a saved kernel says of all its parts, and the sums by
// which damage is told from data. The launcher completes one, a sandbox's agent reads it. What reads the kernel itself is
// package rewriter.
package statefile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"gvisor.dev/gvisor/runsc/version"
)

// Made is what a snapshot says about itself. It stands in the header of the state, under MadeKey, beside gVisor's own entries.
type Made struct {
	Key        string            `json:"key"`      // launch.Request.Key at the checkpoint
	GVisor     string            `json:"gvisor"`   // version of the library
	Generation uint32            `json:"gen"`      // how many restores lie behind it
	Network    bool              `json:"net"`      // had a network
	Baseline   int64             `json:"baseline"` // bytes that the sandbox held before it was anybody's
	Programs   map[string]Region `json:"programs,omitempty"`
	StateSum   uint32            `json:"state_sum"`
	MetaSum    uint32            `json:"meta_sum"`
	MetaSize   int64             `json:"meta_size"`
	PagesSize  int64             `json:"pages_size"`
	PagesSums  []uint32          `json:"pages_sums"` // of each SumBlock bytes
}

// MadeKey is the entry.
const MadeKey = "thaw"

// SumBlock is how many bytes of the pages share a checksum.
const SumBlock = 256 << 10

// MaxPart bounds state and pages_meta, which are read whole, in bytes. Seen: 0.4 MB.
const MaxPart = 256 << 20

// ErrDamaged is the reason of every refusal of bytes that are not what was saved.
var ErrDamaged = errors.New("snapshot is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is no protection from an enemy, who could write a snapshot of his own: that is the store's business. It tells
// damage from data, at memory speed.
func Sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// magic begins gVisor's state files. A length (8 bytes, big-endian), that much JSON and the kernel follow.
var magic = []byte("gVisorSF")

// AppendHeader appends a header that spaces pad to size bytes at least.
func AppendHeader(b, metadata []byte, size int) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(size-16, len(metadata))))
	b = append(b, metadata...)
	return append(b, bytes.Repeat([]byte{' '}, max(size-len(b), 0))...)
}

// SplitHeader parts a state file into its metadata and the kernel.
func SplitHeader(state []byte) (metadata map[string]string, body []byte, err error) {
	if len(state) < 16 || !bytes.HasPrefix(state, magic) {
		return nil, nil, fmt.Errorf("%w: no state file", ErrDamaged)
	}
	n := binary.BigEndian.Uint64(state[8:])
	if n > uint64(len(state)-16) {
		return nil, nil, fmt.Errorf("%w: header of %d bytes", ErrDamaged, n)
	}
	if err := json.Unmarshal(state[16:16+n], &metadata); err != nil {
		return nil, nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	return metadata, state[16+n:], nil
}

// Split parts a state file into what it says about itself and the kernel.
func Split(state []byte) (*Made, []byte, error) {
	metadata, body, err := SplitHeader(state)
	if err != nil {
		return nil, nil, err
	}
	m := new(Made)
	if err := json.Unmarshal([]byte(metadata[MadeKey]), m); err != nil {
		return nil, nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	if m.PagesSize < 0 || m.PagesSize%4096 != 0 || int64(len(m.PagesSums)) != (m.PagesSize+SumBlock-1)/SumBlock {
		return nil, nil, fmt.Errorf("%w: header: %d pages' sums", ErrDamaged, len(m.PagesSums))
	}
	return m, body, nil
}

// BlockEnd is where the block ends that an offset in the pages lies in, or ends at.
func (m *Made) BlockEnd(off int64) int64 { return (off + SumBlock - 1) / SumBlock * SumBlock }

// Fits refuses a snapshot that another program, guest or processor made: gVisor would load it as far as it gets.
func (m *Made) Fits(key string) error {
	if m.GVisor != version.Version() || m.Key != key {
		return fmt.Errorf("made by something else: key %s of gVisor %s, here %s of %s", m.Key, m.GVisor, key, version.Version())
	}
	return nil
}

// Check compares the two small parts with their sums.
func (m *Made) Check(body, meta []byte) error {
	if Sum(body) != m.StateSum {
		return fmt.Errorf("%w: state is not what was saved", ErrDamaged)
	}
	if int64(len(meta)) != m.MetaSize || Sum(meta) != m.MetaSum {
		return fmt.Errorf("%w: pages_meta is not what was saved", ErrDamaged)
	}
	return nil
}
