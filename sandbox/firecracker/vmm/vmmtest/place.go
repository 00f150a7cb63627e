package vmmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/firecracker/vmm/vmmtest/ask"
)

// place: the processes are where the slot says, and nowhere else.
func place(t *testing.T, s *Suite) {
	g := s.boot(t, s.config())
	for _, pid := range g.PIDs() {
		g.isOf(pid)
		if g.slot.Group != nil && !slices.Contains(g.slot.Group.PIDs(), pid) {
			t.Errorf("process %d is not in the slot's group, which has %v", pid, g.slot.Group.PIDs())
		}
		if g.slot.Network != nil {
			want, err := g.slot.Network.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil || !os.SameFile(got, want) {
				t.Errorf("process %d is not in the slot's network namespace: %v", pid, err)
			}
		}
	}
	if g.slot.Tap != "" {
		if a, _ := g.ask(ask.Network, ask.Question{}, nil); a.Text != "02:74:68:61:77:02" {
			t.Errorf("the machine's network device has the address %s", a.Text)
		}
	}
	if g.slot.Group != nil {
		g.freezes()
	}
	g.end()
}

// isOf compares the user of a process with the slot's.
func (g *guest) isOf(pid int) {
	g.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		g.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if g.slot.UID != 0 {
		uid, gid = g.slot.UID, g.slot.GID
	}
	for _, want := range []string{
		fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid), fmt.Sprintf("Gid:\t%d\t%d\t%d\t%d\n", gid, gid, gid, gid),
	} {
		if !strings.Contains(string(b), want) {
			g.Errorf("process %d is not of %s", pid, strings.TrimSpace(want))
		}
	}
}

// freezes: the slot's freezer stops the machine, the thaw lets it go on, and a frozen machine can be closed.
func (g *guest) freezes() {
	g.Helper()
	for range 2 {
		if err := g.slot.Group.SetFrozen(true, nil); err != nil {
			g.Fatalf("freeze: %v", err)
		}
		if _, _, err := g.try(time.Now().Add(200*time.Millisecond), ask.Echo, ask.Question{}, []byte("frozen?")); err == nil {
			g.Error("a frozen machine answers")
		}
		if err := g.slot.Group.SetFrozen(false, nil); err != nil {
			g.Fatalf("thaw: %v", err)
		}
		g.conn.SetDeadline(time.Now().Add(answerLimit))
		if _, body, err := g.listen(ask.Echo); err != nil || string(body) != "frozen?" {
			g.Fatalf("after the thaw: %q, %v", body, err)
		}
	}
	if err := g.slot.Group.SetFrozen(true, nil); err != nil {
		g.Fatalf("freeze: %v", err)
	}
}

// drives: they come in their order, with their content and size, and are written only where they may be.
func drives(t *testing.T, s *Suite) {
	dir := s.folder(t)
	var list []vmm.Drive
	const size = 256 << 10
	for i := range 4 {
		path := filepath.Join(dir, fmt.Sprintf("drive%d", i))
		body := make([]byte, size+i*4096)
		copy(body, fmt.Sprintf("begin of %d", i))
		copy(body[len(body)-512:], fmt.Sprintf("end of %d", i))
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
		list = append(list, vmm.Drive{Path: path, Writable: i == 3})
	}
	if err := os.Chown(list[3].Path, s.slotUser(t), -1); err != nil {
		t.Fatal(err)
	}
	g := s.boot(t, s.config(list...))
	for i := range list {
		dev := fmt.Sprintf("/dev/vd%c", 'a'+i)
		begin, n := g.read(dev, 0, 10)
		end, _ := g.read(dev, n-512, 8)
		if begin != fmt.Sprintf("begin of %d", i) || end != fmt.Sprintf("end of %d", i) || n != int64(size+i*4096) {
			t.Errorf("%s: %q to %q, %d bytes", dev, begin, end, n)
		}
	}
	if err := g.write("/dev/vda", 0, "changed"); err == nil {
		t.Error("a read-only drive can be written")
	}
	if err := g.write("/dev/vdd", 8192, "changed"); err != nil {
		t.Errorf("a writable drive: %v", err)
	}
	if err := g.Pause(limited(t)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(list[3].Path)
	if err != nil || string(b[8192:8199]) != "changed" {
		t.Errorf("what a paused machine has written is not in its file: %v", err)
	}
	if b, err := os.ReadFile(list[0].Path); err != nil || string(b[:10]) != "begin of 0" {
		t.Errorf("a read-only drive's file has %q", b[:10])
	}
	g.end()
}

// slotUser is whom slots' processes run as.
func (s *Suite) slotUser(t testing.TB) int {
	if slot := s.Slot(t); slot.UID != 0 {
		return slot.UID
	}
	return os.Getuid()
}

// exits: the end of a machine is noticed, whoever ends it, and wakes everybody.
func exits(t *testing.T, s *Suite) {
	for _, how := range []struct {
		name   string
		end    func(g *guest)
		reason bool
	}{
		{"it ends itself", func(g *guest) { g.w.Send(ask.End, ask.Question{}, nil) }, false},
		{"its process is killed", func(g *guest) { syscall.Kill(g.PIDs()[0], syscall.SIGKILL) }, true},
	} {
		t.Run(how.name, func(t *testing.T) {
			g := s.boot(t, s.config())
			g.conn.SetDeadline(time.Now().Add(patience))
			pid := g.PIDs()[0]
			how.end(g)
			if _, err := g.r.Next(); err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("who reads is not woken: %v", err)
			}
			g.awaitExit()
			if err := g.Err(); (err != nil) != how.reason {
				t.Errorf("it ended, and the reason is %v", err)
			}
			g.hangUp()
			if c, err := g.Dial(limited(t), 1025); err == nil {
				c.Close()
				t.Error("a machine that has ended is dialled")
			}
			if err := g.Pause(limited(t)); err == nil {
				t.Error("a machine that has ended is paused")
			}
			if alive(pid) {
				t.Errorf("process %d runs", pid)
			}
			g.end()
		})
	}
}

func (g *guest) awaitExit() {
	g.Helper()
	select {
	case <-g.Exited():
	case <-limited(g).Done():
		g.Fatal("the end of a machine is not noticed")
	}
}
