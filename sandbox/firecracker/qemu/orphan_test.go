package qemu_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"thaw/sandbox/firecracker/qemu"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/host/cgroup"
)

// parentVariable makes this program the parent of a machine: name of the group, kernel, initramfs.
const parentVariable = "THAW_TEST_QEMU_PARENT"

func TestMain(m *testing.M) {
	if how := os.Getenv(parentVariable); how != "" {
		if err := parent(strings.Fields(how)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// parent starts a machine, says its process, and waits to be killed.
func parent(how []string) error {
	groups, err := cgroup.Open(how[0], false)
	if err != nil {
		return err
	}
	group, err := groups.Make("orphan")
	if err != nil {
		return err
	}
	m, err := qemu.New(context.Background())
	if err != nil {
		return err
	}
	machine, err := m.Open(context.Background(), vmm.Slot{Name: "orphan", Dir: how[3], UID: testUID, GID: testUID, Group: group})
	if err != nil {
		return err
	}
	if err := machine.Boot(context.Background(), vmm.Config{MemoryMiB: 128, Kernel: how[1], Initramfs: how[2], Args: args}); err != nil {
		return err
	}
	fmt.Println(machine.PIDs()[0])
	select {}
}

// A machine ends with the process that has started it, however that ends, and leaves nothing in its slot.
func TestNoMachineOutlivesItsServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a machine with a user and a group of its own needs root")
	}
	monitor(t)
	k := debian(t)
	initramfs := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(initramfs, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	slot, groups := t.TempDir(), fmt.Sprintf("qemuorphan%d", os.Getpid())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s", parentVariable, groups, k.Vmlinux, initramfs, slot))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, _ := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	pid, err := strconv.Atoi(strings.TrimSpace(said))
	if err != nil {
		t.Fatalf("it starts no machine: %s", said)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") { // or only its new parent has not looked yet
			break
		}
		if time.Now().After(end) {
			t.Fatalf("process %d outlives its server", pid)
		}
	}
	if left, err := os.ReadDir(slot); err != nil || len(left) > 0 {
		t.Errorf("left in the slot's folder: %v, %v", left, err)
	}
	h, err := cgroup.Open(groups, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range h.Leftovers() {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
	h.RemoveParents()
}
