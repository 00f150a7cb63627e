package vmmtest

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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
		if err := makeTap(s); err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// makeTap makes the slot's device. A tap belongs to the namespace of the thread that makes it.
func makeTap(s vmm.Slot) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		err := unix.Setns(int(s.Network.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: s.Tap}, Mode: netlink.TUNTAP_MODE_TAP,
				Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_TUN_EXCL, Owner: uint32(s.UID), Group: uint32(s.GID)})
		}
		done <- err
	}()
	return <-done
}
