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
			got, err := undisturbed(func() ([]int, error) {
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
