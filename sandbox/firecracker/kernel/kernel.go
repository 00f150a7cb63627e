// Package kernel finds a kernel for machines: Debian's, by the name of its package, with the modules that a guest needs,
// as an ELF file, which is what monitors start. The one of our own configuration is built by scripts/guest-kernel, and
// needs no modules.
package kernel

// Kernel is one that monitors can start.
type Kernel struct {
	Name    string // of its package
	Version string
	Vmlinux string   // path of the ELF file
	Modules []string // paths of what the guest loads, in this order; not compressed, all in one folder
}

// Packages of Debian. The kernel for clouds is small and has all that a machine needs but one: a driver of VMGENID,
// which tells a machine that it is a copy. The ordinary one has that.
const (
	Cloud    = "linux-image-cloud-amd64"
	Ordinary = "linux-image-amd64"
)

// wanted are the modules that a guest asks for. What they depend on is read from them, and what is built into the
// kernel is left out.
var wanted = []string{
	"virtio_mmio", "virtio_console", "virtio_blk", "virtio_rng", "virtio_net",
	"vsock", "vmw_vsock_virtio_transport", "ext4", "erofs",
}
