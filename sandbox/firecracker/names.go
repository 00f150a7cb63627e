package firecracker

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"

	"thaw/sandbox"
)

// reserve checks a spec and takes its name. Close of the sandbox gives that back; unreserve does where none came to be.
func (b *Backend) reserve(spec sandbox.Spec) error {
	if err := spec.Check(); err != nil {
		return err
	}
	b.work.mu.Lock()
	defer b.work.mu.Unlock()
	if b.work.closed {
		return sandbox.ErrClosed
	}
	if b.work.ids[spec.ID] {
		return fmt.Errorf("sandbox %s is there already", spec.ID)
	}
	b.work.ids[spec.ID] = true
	return nil
}

func (b *Backend) unreserve(spec sandbox.Spec) {
	b.work.mu.Lock()
	defer b.work.mu.Unlock()
	delete(b.work.ids, spec.ID)
}

// newName returns a name for a slot that no other ever had: slots are made before they are anybody's.
func (b *Backend) newName() string {
	var r [4]byte
	rand.Read(r[:])
	b.work.mu.Lock()
	defer b.work.mu.Unlock()
	b.work.seq++
	return fmt.Sprintf("m%d-%s", b.work.seq, hex.EncodeToString(r[:]))
}

// uids hands out users, one to each slot, so that a monitor that was taken over can do nothing to another.
type uids struct {
	first int

	mu   sync.Mutex // guards used
	used map[int]bool
}

const (
	// freeUIDs begins a range that neither distributions nor systemd give to users or containers; it ends at 0x7fffffff.
	// Source: systemd, docs/UIDS-GIDS.md.
	freeUIDs = 0x70000000
	// uidBits are the bits that tell the slots of one backend apart; those above tell backends apart.
	uidBits = 12
)

func newUIDs(first int, hash string) *uids {
	if first == 0 {
		n, _ := strconv.ParseUint(hash, 16, 32) //nolint:errcheck // 0 is as good
		first = freeUIDs + int(n&0x7fff)<<uidBits
	}
	return &uids{first: first, used: make(map[int]bool)}
}

func (u *uids) take() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 1
	for u.used[n] {
		n++
	}
	u.used[n] = true
	return u.first + n
}

func (u *uids) giveBack(uid int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.used, uid-u.first)
}
