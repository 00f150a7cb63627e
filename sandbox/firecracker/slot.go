package firecracker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"thaw/sandbox"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/host/network"
)

// machineDir is the monitor's part of a slot's folder; the disk of /tmp lies beside it.
func (s *Sandbox) machineDir() string { return filepath.Join(s.dir, "machine") }

func (s *Sandbox) makeFolder(context.Context) error {
	if s.b.uids != nil {
		s.uid = s.b.uids.take()
	}
	if err := os.Mkdir(s.dir, 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(s.machineDir(), 0o700); err != nil {
		return err
	}
	return os.Chown(s.machineDir(), s.uid, s.uid)
}

func (s *Sandbox) removeFolder() error {
	if err := removeAll(s.dir); err != nil {
		return fmt.Errorf("folder: %w", err)
	}
	if s.uid != 0 {
		s.b.uids.giveBack(s.uid)
	}
	return nil
}

func (s *Sandbox) makeGroup(context.Context) (err error) {
	if s.group, err = s.b.groups.Make(s.name); err != nil {
		return err
	}
	s.freezer = s.group.SetFrozen
	return errors.Join(s.group.LimitProcesses(), s.group.Claim(s.patient))
}

func (s *Sandbox) removeGroup() error {
	if s.group == nil {
		return nil
	}
	return s.group.Remove()
}

func (s *Sandbox) makeNetwork(context.Context) (err error) {
	if s.b.nets != nil {
		s.net, err = s.b.nets.MakeTap(s.uid, s.uid)
	}
	return err
}

func (s *Sandbox) removeNetwork() error {
	if s.net == nil {
		return nil
	}
	return s.net.Close()
}

// openMonitor starts the monitor's process, and the goroutine that notices its end.
func (s *Sandbox) openMonitor(ctx context.Context) (err error) {
	slot := vmm.Slot{Name: s.name, Dir: s.machineDir(), UID: s.uid, GID: s.uid, Group: s.group, Console: s.console}
	if s.net != nil {
		slot.Network, slot.Tap = s.net.Namespace(), network.Tap
	}
	if s.machine, err = s.b.opt.Monitor.Open(ctx, slot); err != nil {
		return err
	}
	s.watching = true
	s.wg.Go(func() {
		<-s.machine.Exited()
		s.group.Kill() // without its first process a monitor is of no use
		s.noteExit()
	})
	return nil
}

// endMonitor ends the monitor's processes, frozen or not, and what speaks with the machine.
func (s *Sandbox) endMonitor() (err error) {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.group != nil {
		s.group.Kill()
	}
	s.keepWorkingSet()
	if s.machine != nil {
		err = s.machine.Close()
	}
	if s.late != nil {
		s.late.memory.close()
		s.b.wg.Go(s.late.memory.wait)
	}
	if s.control != nil {
		s.control.close()
	}
	s.wg.Wait()
	return err
}

// noteExit says why the machine has ended.
func (s *Sandbox) noteExit() {
	oom := s.group.OOMKilled()
	s.mu.Lock()
	asked := s.closed || s.saving
	s.exit = sandbox.Exit{Asked: asked && !oom, OutOfMemory: oom}
	if !asked {
		reason := s.reason
		if reason == nil {
			reason = s.machine.Err()
		}
		if reason == nil {
			reason = errors.New("its guest has ended")
		}
		s.exit.Err = fmt.Errorf("sandbox ended by itself: %w; its machine last said: %s", reason, s.console.tail())
	}
	s.mu.Unlock()
	close(s.exited)
}

// fail ends a machine that is of no use any more, and says why.
func (s *Sandbox) fail(reason error) {
	s.mu.Lock()
	if s.reason == nil {
		s.reason = reason
	}
	asked := s.closed || s.saving
	s.mu.Unlock()
	if !asked {
		s.group.Kill()
	}
}
