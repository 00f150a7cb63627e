package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"gvisor.dev/gvisor/runsc/version"
)

// Made is what a snapshot says about itself. It stands in the header of the state, under madeKey, beside gVisor's own entries.
type Made struct {
	Key        string            `json:"key"`      // launch.Request.Key at the checkpoint
	GVisor     string            `json:"gvisor"`   // version of the library
	Generation uint32            `json:"gen"`      // how many restores lie behind it
	Network    bool              `json:"net"`      // had a network
	Baseline   int64             `json:"baseline"` // bytes that the sandbox held before it was anybody's
	Programs   map[string]region `json:"programs,omitempty"`
	StateSum   uint32            `json:"state_sum"`
	MetaSum    uint32            `json:"meta_sum"`
	MetaSize   int64             `json:"meta_size"`
	PagesSize  int64             `json:"pages_size"`
	PagesSums  []uint32          `json:"pages_sums"` // of each sumBlock bytes
}

const madeKey = "thaw"

// sumBlock is how many bytes of the pages share a checksum.
const sumBlock = 256 << 10

// maxPart bounds state and pages_meta, which are read whole, in bytes. Seen: 0.4 MB.
const maxPart = 256 << 20

var errDamaged = errors.New("snapshot is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is no protection from an enemy, who could write a snapshot of his own: that is the store's business. It tells damage from data, at memory speed.
func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// magic begins gVisor's state files. A length (8 bytes, big-endian), that much JSON and the kernel follow.
var magic = []byte("gVisorSF")

func appendHeader(b, metadata []byte, size int) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(size-16, len(metadata))))
	b = append(b, metadata...)
	return append(b, bytes.Repeat([]byte{' '}, max(size-len(b), 0))...)
}

// splitHeader parts a state file into its metadata and the kernel.
func splitHeader(state []byte) (metadata map[string]string, body []byte, err error) {
	if len(state) < 16 || !bytes.HasPrefix(state, magic) {
		return nil, nil, fmt.Errorf("%w: no state file", errDamaged)
	}
	n := binary.BigEndian.Uint64(state[8:])
	if n > uint64(len(state)-16) {
		return nil, nil, fmt.Errorf("%w: header of %d bytes", errDamaged, n)
	}
	if err := json.Unmarshal(state[16:16+n], &metadata); err != nil {
		return nil, nil, fmt.Errorf("%w: header: %w", errDamaged, err)
	}
	return metadata, state[16+n:], nil
}

func splitState(state []byte) (*Made, []byte, error) {
	metadata, body, err := splitHeader(state)
	if err != nil {
		return nil, nil, err
	}
	m := new(Made)
	if err := json.Unmarshal([]byte(metadata[madeKey]), m); err != nil {
		return nil, nil, fmt.Errorf("%w: header: %w", errDamaged, err)
	}
	if m.PagesSize < 0 || m.PagesSize%4096 != 0 || int64(len(m.PagesSums)) != (m.PagesSize+sumBlock-1)/sumBlock {
		return nil, nil, fmt.Errorf("%w: header: %d pages' sums", errDamaged, len(m.PagesSums))
	}
	return m, body, nil
}

func (m *Made) blockEnd(off int64) int64 { return (off + sumBlock - 1) / sumBlock * sumBlock }

// fits refuses a snapshot that another program, guest or processor made: gVisor would load it as far as it gets.
func (m *Made) fits(key string) error {
	if m.GVisor != version.Version() || m.Key != key {
		return fmt.Errorf("made by something else: key %s of gVisor %s, here %s of %s", m.Key, m.GVisor, key, version.Version())
	}
	return nil
}

func (m *Made) check(body, meta []byte) error {
	if sum(body) != m.StateSum {
		return fmt.Errorf("%w: state is not what was saved", errDamaged)
	}
	if int64(len(meta)) != m.MetaSize || sum(meta) != m.MetaSum {
		return fmt.Errorf("%w: pages_meta is not what was saved", errDamaged)
	}
	return nil
}
