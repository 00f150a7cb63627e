package kvm

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Advice says what would make a host's KVM usable, in words and as a command; the command is empty where none would.
type Advice struct{ Words, Command string }

// Advise reads what this host is, for what Probe returned.
func Advise(err error) Advice { return advise(os.DirFS("/"), err) }

// clouds that have nested virtualisation, by what their machines say of their maker.
var clouds = []struct {
	vendor string
	Advice
}{
	// Source: Amazon EC2 API Reference, CpuOptions and ModifyInstanceCpuOptions.
	{"Amazon EC2", Advice{"on EC2 nested virtualisation is off unless asked for, and only C8i, M8i, R8i and their flex variants have it; .metal types need none",
		"aws ec2 modify-instance-cpu-options --instance-id ID --nested-virtualization enabled"}},
	// Source: Compute Engine documentation, "Enabling nested virtualization".
	{"Google", Advice{"on Compute Engine nested virtualisation is off unless asked for, and E2 and AMD's types have none",
		"gcloud compute instances create NAME --enable-nested-virtualization"}},
	// Source: Azure documentation, "Azure compute unit" (sizes with nested virtualisation).
	{"Microsoft Corporation", Advice{"on Azure sizes of the series Dv3, Ev3 and later have nested virtualisation, with the security type Standard",
		"az vm resize --resource-group GROUP --name NAME --size Standard_D4s_v5"}},
}

func advise(root fs.FS, err error) Advice {
	var no *UnusableError
	if !errors.As(err, &no) {
		return Advice{}
	}
	read := func(name string) string { b, _ := fs.ReadFile(root, name); return string(b) }
	flags := flagsOf(read("proc/cpuinfo"))
	vendor := strings.TrimSpace(read("sys/class/dmi/id/sys_vendor"))
	switch {
	case no.Denied:
		return Advice{"its group may use it", "sudo usermod -aG kvm $USER"}
	case no.Absent && slices.Contains(flags, "vmx"):
		return Advice{"the processor has VT-x", "modprobe kvm_intel"}
	case no.Absent && slices.Contains(flags, "svm"):
		return Advice{"the processor has AMD-V", "modprobe kvm_amd"}
	}
	for _, c := range clouds {
		if c.vendor == vendor {
			return c.Advice
		}
	}
	switch {
	case slices.Contains(flags, "hypervisor"):
		return Advice{Words: "this host is a virtual machine itself: whoever runs it has to give it nested virtualisation (libvirt: cpu mode host-passthrough)"}
	case len(flags) > 0 && !slices.Contains(flags, "vmx") && !slices.Contains(flags, "svm"):
		return Advice{Words: "the processor shows neither VT-x nor AMD-V: look into the firmware's settings"}
	}
	return Advice{}
}

// flagsOf are those of the first processor.
func flagsOf(cpuinfo string) []string {
	for line := range strings.Lines(cpuinfo) {
		if name, rest, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "flags" {
			return strings.Fields(rest)
		}
	}
	return nil
}
