package qemu

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"thaw/guest/control"
	"thaw/sandbox/firecracker/vmm"
)

// machineMAC is the address of every machine's eth0, and the same in all copies of a snapshot: each is in a network of
// its own.
const machineMAC = "02:74:68:61:77:02"

// translated bounds the memory that QEMU takes for translated code, in MiB; its own bound is 1 GiB.
const translated = 256

// command is QEMU's command line, and the files that it gets as descriptors 3, 4, ...
type command struct {
	args  []string
	files []*os.File
}

func (c *command) add(args ...string) { c.args = append(c.args, args...) }

// pass gives a file to the process, which knows it by the number.
func (c *command) pass(f *os.File) int {
	c.files = append(c.files, f)
	return 2 + len(c.files)
}

// open gives a file as a path: a descriptor needs no right to the folders above it.
func (c *command) open(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", c.pass(f)) }

// inputs are open files of a machine.
type inputs struct {
	kernel, initramfs *os.File
	drives            []*os.File
	tap               *os.File // nil: no network device
	qmp, console      *os.File // QEMU's ends of connections
	ports             map[uint32]*os.File
}

// machine says what the machine is made of. It depends on nothing that differs between a machine and one that is
// restored from it, but for the descriptors' numbers, which are the same, too.
func (c *command) machine(m *Monitor, name string, cfg vmm.Config, in inputs, mem *memory) {
	c.add("-name", name, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		// One thread for all processors, whatever the host has: with more, the emulation takes as many cores and gets stuck more often.
		"-accel", fmt.Sprintf("tcg,thread=single,tb-size=%d", translated), "-smp", strconv.Itoa(max(1, cfg.Processors)),
		"-cpu", "max,-la57",
		"-M", "microvm,acpi=on,rtc=on,memory-backend=mem", "-m", fmt.Sprintf("%dM", cfg.MemoryMiB),
		"-object", fmt.Sprintf("memory-backend-file,id=mem,size=%dM,share=%s,mem-path=%s", cfg.MemoryMiB, onOff(mem.shared), c.open(mem.file)),
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", c.pass(in.qmp)), "-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", c.pass(in.console)), "-serial", "chardev:console",
		"-kernel", c.open(in.kernel), "-initrd", c.open(in.initramfs), "-append", m.arguments(cfg.Args))
	// Devices take the places of the machine in their order here, from the last to the first, and the kernel finds them so.
	c.add("-device", "virtio-serial-device")
	for i, p := range ports {
		name := control.PortName(p)
		c.add("-chardev", fmt.Sprintf("socket,id=%s,fd=%d", name, c.pass(in.ports[p])),
			"-device", fmt.Sprintf("virtserialport,nr=%d,chardev=%s,name=%s", i+1, name, name))
	}
	c.add("-device", "virtio-rng-device")
	if in.tap != nil {
		c.add("-netdev", fmt.Sprintf("tap,id=net,fd=%d", c.pass(in.tap)), "-device", "virtio-net-device,netdev=net,mac="+machineMAC)
	}
	for i, d := range cfg.Drives {
		// A set has a descriptor for each way to open it. QEMU takes no locks: read-only images are shared, and a machine
		// that is restored has a disk of its own.
		c.add("-add-fd", fmt.Sprintf("fd=%d,set=%d", c.pass(in.drives[i]), i+1),
			"-blockdev", fmt.Sprintf("driver=raw,node-name=disk%d,read-only=%s,file.driver=file,file.locking=off,file.filename=/dev/fdset/%d",
				i, onOff(!d.Writable), i+1),
			"-device", fmt.Sprintf("virtio-blk-device,drive=disk%d", i))
	}
}

// ports of the guest that the host dials.
var ports = []uint32{control.StreamPort, control.Port}

// arguments are those of the kernel's command line; of what stands there twice, the last counts.
func (m *Monitor) arguments(given string) string {
	own := []string{"console=ttyS0", "8250.nr_uarts=1", "no_timer_check", fmt.Sprintf("tsc_early_khz=%d", m.tscKHz), "tsc=reliable"}
	return strings.Join(slices.Concat(strings.Fields(given), own), " ")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
