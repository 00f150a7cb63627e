package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"thaw/node"
	"thaw/sandbox/firecracker/install"
	"thaw/sandbox/firecracker/kvm"
	"thaw/sandbox/firecracker/vmm"
)

// checkKVM runs instructions in a virtual machine: a device's existence says nothing.
func checkKVM(ctx context.Context, _ node.Config) []finding {
	err := kvm.Probe(ctx)
	if err == nil {
		return one("KVM", ok, "runs virtual machines", "")
	}
	detail := err.Error()
	var no *kvm.UnusableError
	if errors.As(err, &no) {
		detail = no.Reason
	}
	advice := kvm.Advise(err)
	if advice.Words != "" {
		detail += "; " + advice.Words
	}
	return one("KVM", warn, detail+"; without it there are no microVMs", cmp.Or(advice.Command, "thaw server --sandbox gvisor"))
}

// checkFirecracker says what microVMs would be made of, also where they cannot run yet.
func checkFirecracker(ctx context.Context, c node.Config) []finding {
	const name = "sandbox firecracker"
	if runtime.GOARCH != "amd64" {
		return one(name, warn, "microVMs run on x86-64 hosts only", "thaw server --sandbox gvisor")
	}
	found := c.MicroVMs(ctx)
	detail, repair := missing(found.Err())
	if detail == "" {
		p := found.Programs
		detail = fmt.Sprintf("firecracker and jailer %v (%s), %s, initramfs of this thaw", p.Version, p.Source, kernelDetail(found.Kernel))
		if p.Warning != "" {
			detail += "; " + p.Warning
		}
	}
	err := c.CanFirecracker(ctx)
	switch {
	case errors.As(err, new(*kvm.UnusableError)):
		return one(name, warn, "KVM is not usable here (thaw doctor says why); "+detail, "thaw server --sandbox gvisor")
	case err != nil && found.Err() == nil:
		what, hint := missing(err)
		return one(name, warn, what+"; "+detail, cmp.Or(hint, "thaw server --sandbox gvisor"))
	case err != nil:
		return one(name, warn, detail, cmp.Or(repair, "thaw doctor"))
	}
	return one(name, ok, detail, "")
}

func kernelDetail(k install.Kernel) string { return fmt.Sprintf("kernel %s (%s)", k.Version, k.Source) }

// checkQEMU is for the list of sandboxes: nobody is to repair the lack of what only developers of thaw use.
func checkQEMU(_ context.Context, c node.Config) []finding {
	const name = "sandbox qemu"
	if err := c.CanQEMU(); err != nil {
		what, repair := missing(err)
		return one(name, warn, what, cmp.Or(repair, "thaw doctor"))
	}
	k, err := install.FindKernel(c.MicroVMDir(), c.GuestKernel, "")
	if err != nil {
		return one(name, warn, err.Error(), c.SandboxInstallCommand("qemu"))
	}
	return one(name, ok, node.QEMU+", "+kernelDetail(k)+"; many times slower than a processor", "")
}

// checkTun looks for what gives machines a network. Firecracker has its own vhost and vsock: of those the host needs none.
func checkTun(context.Context, node.Config) []finding {
	if err := node.HasTun(); err != nil {
		what, repair := missing(err)
		return one("tun devices", warn, what+"; microVMs have no network", cmp.Or(repair, "modprobe tun"))
	}
	detail := "there; microVMs have their networks by them"
	if _, err := os.Stat("/dev/vhost-vsock"); err != nil {
		detail += " (vhost is not there, nor needed)"
	}
	return one("tun devices", ok, detail, "")
}

// missing joins what an error says is missing, and what to type, as often as it stands there.
func missing(err error) (what, repair string) {
	var whats, hints []string
	var walk func(error)
	walk = func(err error) {
		if many, is := err.(interface{ Unwrap() []error }); is {
			for _, e := range many.Unwrap() {
				walk(e)
			}
			return
		}
		var m *vmm.MissingError
		if !errors.As(err, &m) {
			whats = append(whats, err.Error())
			return
		}
		whats = append(whats, m.What)
		if m.Hint != "" && !strings.Contains(strings.Join(hints, "\n"), m.Hint) {
			hints = append(hints, m.Hint)
		}
	}
	if err != nil {
		walk(err)
	}
	return strings.Join(whats, "; "), strings.Join(hints, " && ")
}
