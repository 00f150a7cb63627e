package outer

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// Machine is a kind of outer machine, with its kernel.
type Machine struct {
	Kind      Kind
	MemoryMiB int
	Kernel    string   // the path of an ELF file
	Modules   []string // paths of its modules, each after those that it needs
}

// Kind says what is emulated.
type Kind string

const (
	// Nested has a processor of AMD with nested virtualisation, so that there is a /dev/kvm that works.
	Nested Kind = "nested"
	// CgroupV2 is an ordinary machine whose kernel has control groups of version 2 alone.
	CgroupV2 Kind = "cgroup-v2"
)

// Kinds are all there are.
var Kinds = []Kind{Nested, CgroupV2}

// arguments are the command line of QEMU, and of the kernel in it. One processor each: with two, QEMU 7.2 dies in every
// second run when virtualisation is nested.
func (m Machine) arguments(initrd, console string, portFD int) []string {
	words := "console=ttyS0 reboot=t panic=-1 quiet no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1 mitigations=off" + early(hostTSC())
	var args []string
	bus := "pci"
	switch m.Kind {
	case Nested:
		// The model EPYC has the leaves of CPUID that Firecracker reads on processors of AMD; without invtsc the kernel counts in
		// jiffies.
		bus = "device"
		args = []string{"-M", "microvm,acpi=on,rtc=on", "-cpu", "EPYC,+svm,+npt,+invtsc"}
		words += " tsc=reliable clocksource=tsc"
	case CgroupV2:
		args = []string{"-M", "q35", "-cpu", "max,-la57"}
		words += " cgroup_no_v1=all"
	}
	return append(args, "-accel", "tcg,thread=multi", "-smp", "1", "-m", strconv.Itoa(m.MemoryMiB), "-nodefaults", "-no-user-config",
		"-nographic", "-no-reboot", "-kernel", m.Kernel, "-initrd", initrd, "-append", words,
		"-chardev", "file,id=console,path="+console, "-serial", "chardev:console",
		"-device", "virtio-serial-"+bus, "-chardev", fmt.Sprintf("socket,id=port,fd=%d", portFD), "-device", "virtserialport,chardev=port,name="+portName,
		"-device", "virtio-rng-"+bus)
}

// portName is the virtio-serial port's, by which the init finds it.
const portName = "thaw.outer"

// early tells the kernel the frequency of the time-stamp counter, which emulation hands through. Where the kernel
// measures it itself, against a timer that is emulated, every third boot hangs.
func early(kHz int) string {
	if kHz == 0 {
		return ""
	}
	return fmt.Sprintf(" tsc_early_khz=%d", kHz)
}

var bogomips = regexp.MustCompile(`(?m)^bogomips\s*:\s*([0-9.]+)`)

// hostTSC is the frequency of this host's time-stamp counter in kHz; 0: unknown. The kernel's delay loop counts two for
// each tick where it uses that counter, so bogomips, in millions, are twice it.
func hostTSC() int {
	b, _ := os.ReadFile("/proc/cpuinfo")
	m := bogomips.FindSubmatch(b)
	if m == nil {
		return 0
	}
	f, _ := strconv.ParseFloat(string(m[1]), 64)
	return int(f * 500)
}
