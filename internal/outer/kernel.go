package outer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"thaw/sandbox/firecracker/kernel"
)

// modules are those that a machine of either kind needs. They come with what they depend on, and those for buses and
// devices that a kind lacks find nothing to do.
var modules = []string{
	"virtio_pci", "virtio_mmio", "virtio_console", "virtio_rng", // the machine's own devices
	"irqbypass", "kvm", "kvm_amd", "tun", // machines inside
	"loop", "erofs", "overlay", // images
	"veth", "nf_tables", "nft_chain_nat", "nft_masq", "nft_nat", "nft_ct", "nft_reject_ipv4", "nft_reject_inet", "nft_compat", // sandboxes' networks
}

// Find finds the kernel of a machine and its modules: Debian's, in the user's cache, or downloaded into it.
func Find(ctx context.Context, k Kind, memoryMiB int) (Machine, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Machine{}, fmt.Errorf("kernel of the outer machine: %w", err)
	}
	found, err := kernel.Debian(ctx, filepath.Join(cache, "thaw", "kernel"), kernel.Cloud, modules...)
	if err != nil {
		return Machine{}, fmt.Errorf("kernel of the outer machine: %w", err)
	}
	return Machine{Kind: k, MemoryMiB: memoryMiB, Kernel: found.Vmlinux, Modules: found.Modules}, nil
}
