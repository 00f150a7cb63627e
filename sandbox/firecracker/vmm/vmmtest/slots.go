package vmmtest

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/host/cgroup"
	"thaw/sandbox/host/network"
)

// Slots makes slots with all that a slot may have, for Suite.Slot: a user, a group, and a network with a tap. Who is
// not root gets bare ones. prefix begins their names.
func Slots(t testing.TB, prefix string, uid int) func(testing.TB) vmm.Slot {
	t.Helper()
	var made atomic.Int32
	name := func() string { return fmt.Sprintf("%s-%d-%d", prefix, os.Getpid(), made.Add(1)) }
	if os.Geteuid() != 0 {
		t.Log("not root: machines have no user, group and network of their own")
		return func(t testing.TB) vmm.Slot { return vmm.Slot{Name: name(), Dir: t.TempDir()} }
	}
	groups, err := cgroup.Open(fmt.Sprintf("%stest%d", prefix, os.Getpid()), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(groups.RemoveParents)
	return func(t testing.TB) vmm.Slot {
		t.Helper()
		s := vmm.Slot{Name: name(), Dir: t.TempDir(), UID: uid, GID: uid, Tap: "tap0"}
		if err := os.Chown(s.Dir, uid, uid); err != nil {
			t.Fatal(err)
		}
		if s.Group, err = groups.Make(s.Name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Group.Remove(); err != nil {
				t.Errorf("group: %v", err)
			}
		})
		if s.Network, err = network.NewNamespace(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Network.Close() })
		in, err := netlink.NewHandleAt(netns.NsHandle(s.Network.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: s.Tap}, Mode: netlink.TUNTAP_MODE_TAP,
			Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR, Owner: uint32(uid), Group: uint32(uid)}
		if err := in.LinkAdd(tap); err != nil {
			t.Fatal(err)
		}
		return s
	}
}
