package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"thaw/sandbox/firecracker/fcapi"
	"thaw/sandbox/firecracker/vmm"
)

// Arguments of every machine's kernel. It ends by a triple fault, which ends Firecracker; machines freeze for hours, and
// no watchdog may mind; the serial port is looked for by none; and the timer's interrupt is there, whatever an emulated
// host makes of it. Firecracker adds the devices itself.
const (
	kernelArgs = "reboot=t panic=-1 quiet nowatchdog rcupdate.rcu_cpu_stall_suppress=1 no_timer_check"
	noSerial   = " 8250.nr_uarts=0"
	serial     = " console=ttyS0"
)

// clockArgs keep a machine's monotonic clock from showing the age of its snapshot, with releases that let KVM's clock go on
// by it: the machine counts by the time stamp counter instead, which is restored as it was. That counter must be one to
// rely on, so it has to be the host's own clock as well.
func clockArgs(v fcapi.Version, hostClock string) string {
	if v.Features().ClockRealtime || strings.TrimSpace(hostClock) != "tsc" {
		return ""
	}
	return " clocksource=tsc tsc=reliable"
}

// device is the machine's name of its only network device.
const device = "eth0"

// Boot implements vmm.Machine.
func (x *Machine) Boot(ctx context.Context, c vmm.Config) error {
	if err := x.begin(); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	args := kernelArgs + noSerial
	if x.m.opt.Serial {
		args = kernelArgs + serial
	}
	args += x.m.clock
	if c.Args != "" {
		args += " " + c.Args
	}
	if err := errors.Join(x.give(c.Kernel, kernelName), x.give(c.Initramfs, initramfs), x.giveDrives(c.Drives)); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	calls := []func() error{
		func() error {
			return x.api.SetMachine(ctx, fcapi.MachineConfig{VCPUs: max(1, c.Processors), MemoryMiB: c.MemoryMiB})
		},
		func() error {
			return x.api.SetBootSource(ctx, fcapi.BootSource{Kernel: kernelName, Initramfs: initramfs, Args: args})
		},
	}
	for i, d := range c.Drives {
		calls = append(calls, func() error {
			return x.api.AddDrive(ctx, fcapi.Drive{ID: driveName(i), Path: driveName(i), ReadOnly: !d.Writable})
		})
	}
	if x.slot.Network != nil {
		calls = append(calls, func() error {
			return x.api.AddNetworkInterface(ctx, fcapi.NetworkInterface{ID: device, Tap: x.slot.Tap, MAC: machineMAC})
		})
	}
	calls = append(calls,
		func() error { return x.api.SetVsock(ctx, fcapi.Vsock{CID: machineCID, Path: vsockSocket}) },
		func() error { return x.api.SetEntropy(ctx) },
		func() error { return x.api.Start(ctx) },
	)
	if err := x.call(calls...); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	x.started()
	return nil
}

// driveName names a drive, and its file in the jail.
func driveName(i int) string { return fmt.Sprint("drive", i) }

func (x *Machine) giveDrives(drives []vmm.Drive) error {
	for i, d := range drives {
		give := x.give
		if d.Writable {
			give = x.giveWritable
		}
		if err := give(d.Path, driveName(i)); err != nil {
			return err
		}
	}
	return nil
}

// Restore implements vmm.Machine. The machine's clock goes on from where it was saved: its guest sets it.
func (x *Machine) Restore(ctx context.Context, c vmm.Config, s vmm.Saved) error {
	if err := x.begin(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := checkSize(c, s); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	err := errors.Join(x.giveFile(s.State, stateName), x.giveDrives(c.Drives))
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	memory, err := x.memoryBackend(s)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	load := fcapi.LoadSnapshot{State: stateName, Memory: memory, Resume: true}
	if x.slot.Network != nil { // the tap has another name, perhaps
		load.Network = []fcapi.NetworkOverride{{ID: device, Tap: x.slot.Tap}}
	}
	if err := x.call(func() error { return x.api.LoadSnapshot(ctx, load) }); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	x.started()
	return nil
}

// checkSize compares the saved memory with the machine that is wanted: Firecracker makes the one that was saved.
func checkSize(c vmm.Config, s vmm.Saved) error {
	var size int64
	switch {
	case s.Memory != nil:
		fi, err := s.Memory.Stat()
		if err != nil {
			return err
		}
		size = fi.Size()
	case s.Pages != nil:
		size = s.Pages.Size()
	}
	if want := int64(c.MemoryMiB) << 20; size != want {
		return fmt.Errorf("the saved memory has %d bytes, the machine %d", size, want)
	}
	return nil
}

// memoryBackend puts a saved machine's memory into the jail: machines that were restored from one file share its pages.
func (x *Machine) memoryBackend(s vmm.Saved) (fcapi.MemoryBackend, error) {
	if s.Memory == nil {
		return fcapi.MemoryBackend{Type: fcapi.MemoryUffd, Path: pagesSocket}, x.servePages(s)
	}
	if err := letRead(s.Memory, x.slot.UID, x.slot.GID); err != nil {
		return fcapi.MemoryBackend{}, err
	}
	return fcapi.MemoryBackend{Type: fcapi.MemoryFile, Path: memoryName}, x.giveFile(s.Memory, memoryName)
}

// Snapshot implements vmm.Machine. Firecracker writes straight into the files where they can have a name in the jail. It
// writes all of the memory, also what the guest never touched; that becomes holes.
func (x *Machine) Snapshot(ctx context.Context, state, memory *os.File) error {
	toState, err := x.lend(state, stateName)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	toMemory, err := x.lend(memory, memoryName)
	if err != nil {
		return fmt.Errorf("snapshot: %w", errors.Join(err, toState.back()))
	}
	err = x.call(func() error {
		return x.api.CreateSnapshot(ctx, fcapi.CreateSnapshot{State: stateName, Memory: memoryName})
	})
	if err = errors.Join(err, toState.back(), toMemory.back()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := digHoles(memory); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}
