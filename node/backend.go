package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"thaw/node/embedded"
	"thaw/sandbox"
	"thaw/sandbox/firecracker"
	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/install"
	"thaw/sandbox/firecracker/jail"
	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/firecracker/qemu"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/gvisor"
	"thaw/sandbox/host/network"
	"thaw/sandbox/process"
)

// opener makes the backend of a sandbox.
type opener struct {
	cfg Config
	dir func(string) string // of the data folder
	log *slog.Logger
}

// openBackend opens the sandboxes that the configuration asks for; auto takes the best that can run here.
func openBackend(ctx context.Context, cfg Config, dir func(string) string, log *slog.Logger) (sandbox.Backend, error) {
	o := &opener{cfg, dir, log}
	if cfg.Sandbox == "auto" {
		return o.best(ctx)
	}
	b, err := o.open(ctx, cfg.Sandbox)
	if err != nil {
		return nil, fmt.Errorf("%w; type: thaw doctor", err)
	}
	return b, nil
}

// best opens microVMs where all that they need is there, else gvisor, else process, and says why not the better one.
func (o *opener) best(ctx context.Context) (sandbox.Backend, error) {
	if why := o.cfg.CanFirecracker(ctx); why != nil { // as on most hosts: nothing is amiss there
		o.log.Info("no microVMs; type: thaw sandbox ls", "reason", why)
	} else if b, err := o.open(ctx, "firecracker"); err == nil {
		return b, nil
	} else {
		o.log.Warn("microVMs cannot run here, though all that they need is there; type: thaw sandbox ls", "error", err)
	}
	if os.Geteuid() == 0 {
		b, err := o.open(ctx, "gvisor")
		if err == nil {
			return b, nil
		}
		o.log.Warn("gvisor cannot run here; functions run as plain processes, isolated from nothing; type: thaw doctor", "error", err)
	}
	return o.open(ctx, "process")
}

func (o *opener) open(ctx context.Context, kind string) (sandbox.Backend, error) {
	guest, err := embedded.Guest(o.dir("bin"))
	if err != nil {
		return nil, err
	}
	switch kind {
	case "firecracker":
		return o.firecracker(ctx, guest)
	case "qemu":
		return o.qemu(ctx, guest)
	case "gvisor":
		return o.gvisor(ctx, guest)
	}
	return process.Open(process.Options{Dir: o.dir("sandboxes-process"), GuestExe: guest, Log: o.log})
}

func (o *opener) gvisor(ctx context.Context, guest string) (sandbox.Backend, error) {
	helper, err := embedded.Sandbox(o.dir("bin"))
	if err != nil {
		return nil, err
	}
	net, err := o.network()
	if err != nil {
		return nil, err
	}
	return gvisor.Open(ctx, gvisor.Options{
		Dir: o.dir("sandboxes-gvisor"), SandboxExe: helper, GuestExe: guest, Blank: o.blank(), Network: net, Log: o.log,
	})
}

func (o *opener) network() (network.Options, error) {
	access, err := network.ParseHostAccess(o.cfg.hostAccess())
	if err != nil {
		return network.Options{}, fmt.Errorf("host-access: %w", err)
	}
	return network.Options{Internet: true, Host: access}, nil
}

// blank is how many sandboxes are made ahead, as the backends are told: negative is none.
func (o *opener) blank() int {
	if o.cfg.BlankSandboxes == 0 {
		return -1
	}
	return o.cfg.BlankSandboxes
}

// firecracker opens microVMs on this host's KVM.
func (o *opener) firecracker(ctx context.Context, guest string) (sandbox.Backend, error) {
	if err := o.cfg.CanFirecracker(ctx); err != nil {
		return nil, err
	}
	found := o.cfg.MicroVMs(ctx)
	if err := found.Err(); err != nil {
		return nil, err
	}
	monitor, err := jail.New(ctx, jail.Options{Firecracker: found.Programs.Firecracker, Jailer: found.Programs.Jailer, Log: o.log})
	if err != nil {
		return nil, err
	}
	o.log.Info("microVMs", "firecracker", found.Programs.Version, "kernel", found.Kernel.Version)
	opt := firecracker.Options{WorkingSets: o.dir("working-sets")}
	if err := pages.Usable(); err != nil {
		o.log.Warn("restores of microVMs wait until the snapshot is a file", "reason", err)
		opt.WorkingSets = ""
	}
	return o.microVMs(ctx, guest, monitor, found.Kernel, opt)
}

// qemu opens microVMs that are emulated.
func (o *opener) qemu(ctx context.Context, guest string) (sandbox.Backend, error) {
	if err := o.cfg.CanQEMU(); err != nil {
		return nil, err
	}
	kernel, err := install.FindKernel(o.cfg.MicroVMDir(), o.cfg.GuestKernel, o.cfg.SandboxInstallCommand("qemu"))
	if err != nil {
		return nil, err
	}
	monitor, err := qemu.New(ctx)
	if err != nil {
		return nil, err
	}
	o.log.Warn("microVMs are emulated: many times slower than a processor, and no isolation that anybody vouches for; "+
		"for development of thaw", "kernel", kernel.Version)
	return o.microVMs(ctx, guest, monitor, kernel, firecracker.Options{FirstUID: -1, OverheadMiB: qemuMiB})
}

// qemuMiB is what QEMU needs beside its machine's memory: code that it has translated above all.
const qemuMiB = 256

func (o *opener) microVMs(
	ctx context.Context, guest string, monitor vmm.Monitor, kernel install.Kernel, opt firecracker.Options,
) (_ sandbox.Backend, err error) {
	if o.cfg.microVMs == "" {
		if err := install.Sweep(o.cfg.MicroVMDir()); err != nil {
			o.log.Warn("what was replaced of microVMs stays", "error", err)
		}
	}
	archive, err := install.Initramfs(o.cfg.MicroVMDir(), guest, kernel)
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	opt.Dir, opt.Monitor, opt.Kernel, opt.Initramfs = o.dir("sandboxes-"+monitor.Name()), monitor, kernel.Path, archive
	opt.Slots, opt.Log = o.blank(), o.log
	if opt.Network, err = o.network(); err != nil {
		return nil, err
	}
	store, err := images.Open(images.Options{Dir: cmp.Or(o.cfg.images, o.dir("images")), Log: o.log})
	if err != nil {
		return nil, err
	}
	opt.Images = store
	b, err := firecracker.Open(ctx, opt)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &withImages{b, store}, nil
}

// withImages is a backend that has its images to itself.
type withImages struct {
	*firecracker.Backend
	images *images.Store
}

func (b *withImages) Close() error { return errors.Join(b.Backend.Close(), b.images.Close()) }
