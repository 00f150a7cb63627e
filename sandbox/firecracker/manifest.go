package firecracker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"thaw/sandbox"
)

// The parts of a snapshot.
const (
	partState    = "state"    // as the monitor wrote it: processors and devices, some 15 to 60 kB
	partMemory   = "memory"   // all of the machine's, with holes where nothing was touched
	partTmp      = "tmp"      // the disk of /tmp without its holes, whose places are in the manifest
	partManifest = "manifest" // a manifest
)

// manifest says what the other parts are, and what must be the same to restore them.
type manifest struct {
	Made       madeOf          `json:"made"`
	Processors int             `json:"processors"`
	MemoryMiB  int             `json:"memoryMiB"` // of the function
	TmpMiB     int             `json:"tmpMiB"`
	Targets    []target        `json:"targets"`
	Images     []string        `json:"images"` // digests, in the order of the drives
	Tmp        []extent        `json:"tmp"`    // where what partTmp holds lies on the disk
	TmpSize    int64           `json:"tmpSize"`
	Parts      map[string]sums `json:"parts"`

	sum string // hexadecimal; of the text that it was read from: no other snapshot has it
}

// target is where something is mounted: which drives a machine has depends on that.
type target struct {
	Path  string `json:"path"`
	Image bool   `json:"image,omitempty"` // it is one
}

// encode ends a manifest with a sum of itself.
func (m *manifest) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	h := sha256.Sum256(text)
	return fmt.Appendf(text, "\n%s\n", hex.EncodeToString(h[:])), nil
}

func decodeManifest(text []byte) (*manifest, error) {
	body, rest, _ := bytes.Cut(text, []byte("\n"))
	h := sha256.Sum256(body)
	if string(rest) != hex.EncodeToString(h[:])+"\n" {
		return nil, errDamaged
	}
	m := new(manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, err
	}
	m.sum = hex.EncodeToString(h[:])
	if n, ok := fits(m.Tmp, m.TmpSize); !ok || n != m.Parts[partTmp].Size {
		return nil, errors.New("the places of the disk's content overlap")
	}
	return m, nil
}

// stageError is an error of which it is known what a SnapshotError calls it.
type stageError struct {
	stage string
	err   error
}

func (e *stageError) Error() string { return e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// describe is the manifest of a spec's machines, but for the images and the parts.
func (b *Backend) describe(spec sandbox.Spec) *manifest {
	m := &manifest{
		Made: b.made, Processors: max(1, spec.Processors), MemoryMiB: spec.MemoryMiB, TmpMiB: spec.TmpMiB, Parts: make(map[string]sums),
	}
	for _, mount := range spec.Mounts {
		m.Targets = append(m.Targets, target{mount.Target, mount.Image})
	}
	return m
}

// fit says why what was saved cannot go on as the machine that is asked for; nil: it can.
func (m *manifest) fit(want *manifest) error {
	if m.Made != want.Made {
		return &stageError{sandbox.StageHeader, fmt.Errorf("it was made by %+v, here is %+v", m.Made, want.Made)}
	}
	if m.Processors != want.Processors || m.MemoryMiB != want.MemoryMiB || m.TmpMiB != want.TmpMiB {
		return &stageError{sandbox.StageBind, fmt.Errorf("it has %d processors, %d MB and a /tmp of %d MB, wanted are %d, %d and %d",
			m.Processors, m.MemoryMiB, m.TmpMiB, want.Processors, want.MemoryMiB, want.TmpMiB)}
	}
	if !slices.Equal(m.Targets, want.Targets) {
		return &stageError{sandbox.StageBind, fmt.Errorf("it has something at %v, wanted is %v", m.Targets, want.Targets)}
	}
	return nil
}
