package network

import (
	"errors"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// A listing that somebody disturbs is made again; any other error is told, and so is one that never ends.
func TestUndisturbed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fails int
		with  error
		calls int
	}{
		{"at once", 0, nil, 1},
		{"after others are done", 3, netlink.ErrDumpInterrupted, 4},
		{"not at all", 1000, netlink.ErrDumpInterrupted, 50},
		{"with another error", 1000, os.ErrPermission, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			calls := 0
			got, err := Undisturbed(func() ([]int, error) {
				if calls++; calls <= tc.fails {
					return nil, tc.with
				}
				return []int{7}, nil
			})
			if calls != tc.calls || calls > tc.fails && (err != nil || len(got) != 1) || calls <= tc.fails && !errors.Is(err, tc.with) {
				t.Errorf("%d calls, %v, %v", calls, got, err)
			}
		})
	}
}

// Two backends that open at once, before either has a sandbox, have different blocks; one that has gone gives its own back.
func TestBlocksAreClaimed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	open := func(hash string) *Networks {
		n, err := newNetworks(t.TempDir(), hash)
		if err != nil {
			t.Fatal(err)
		}
		if n.base, err = n.chooseBlock(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	one, two := open("0000000"), open("000001f") // which begin to look at the same block
	if one.base == two.base {
		t.Errorf("both have %v", toAddr(one.base))
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	three := open("0000000")
	if three.base != one.base {
		t.Logf("%v was taken meanwhile", toAddr(one.base)) // by another server of this host
	}
	if three.base == two.base {
		t.Errorf("both have %v", toAddr(two.base))
	}
	for _, n := range []*Networks{two, three} {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}
