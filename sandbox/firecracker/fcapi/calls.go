package fcapi

import (
	"context"
	"net/http"
)

// MachineConfig is the machine's size.
type MachineConfig struct {
	VCPUs           int  `json:"vcpu_count"`
	MemoryMiB       int  `json:"mem_size_mib"`
	TrackDirtyPages bool `json:"track_dirty_pages,omitempty"` // for snapshots of the type Diff
}

// SetMachine sets the machine's size.
func (c *Client) SetMachine(ctx context.Context, m MachineConfig) error {
	return c.call(ctx, http.MethodPut, "/machine-config", m, nil)
}

// BootSource is what the machine boots. Firecracker opens both files at this call.
type BootSource struct {
	Kernel    string `json:"kernel_image_path"` // an ELF vmlinux
	Initramfs string `json:"initrd_path,omitempty"`
	Args      string `json:"boot_args,omitempty"`
}

// SetBootSource sets kernel, initramfs and the kernel's command line.
func (c *Client) SetBootSource(ctx context.Context, b BootSource) error {
	return c.call(ctx, http.MethodPut, "/boot-source", b, nil)
}

// Drive is a block device of virtio. The machine has them in the order of the calls.
type Drive struct {
	ID       string `json:"drive_id"` // letters, digits and underscores
	Path     string `json:"path_on_host"`
	Root     bool   `json:"is_root_device"`
	ReadOnly bool   `json:"is_read_only"`
}

// AddDrive adds a drive, or changes one.
func (c *Client) AddDrive(ctx context.Context, d Drive) error {
	return c.call(ctx, http.MethodPut, "/drives/"+d.ID, d, nil)
}

// NetworkInterface is a network device. Firecracker attaches to the tap at this call when it is there; one that is
// missing or busy is refused at Start.
type NetworkInterface struct {
	ID  string `json:"iface_id"`
	Tap string `json:"host_dev_name"`
	MAC string `json:"guest_mac,omitempty"`
}

// AddNetworkInterface adds a network device.
func (c *Client) AddNetworkInterface(ctx context.Context, n NetworkInterface) error {
	return c.call(ctx, http.MethodPut, "/network-interfaces/"+n.ID, n, nil)
}

// Vsock is the device of the machine's ports. Firecracker listens at Path from this call on; nothing may be there yet.
type Vsock struct {
	CID  uint32 `json:"guest_cid"` // 3 or more
	Path string `json:"uds_path"`
}

// SetVsock adds the device.
func (c *Client) SetVsock(ctx context.Context, v Vsock) error {
	return c.call(ctx, http.MethodPut, "/vsock", v, nil)
}

// SetEntropy adds a random generator of virtio, fed by the host's.
func (c *Client) SetEntropy(ctx context.Context) error {
	return c.call(ctx, http.MethodPut, "/entropy", struct{}{}, nil)
}

// Start starts the machine.
func (c *Client) Start(ctx context.Context) error {
	return c.call(ctx, http.MethodPut, "/actions", struct {
		Type string `json:"action_type"`
	}{"InstanceStart"}, nil)
}

type vmState struct {
	State string `json:"state"`
}

// Pause stops the processors of a machine. A paused one may be paused again.
func (c *Client) Pause(ctx context.Context) error {
	return c.call(ctx, http.MethodPatch, "/vm", vmState{"Paused"}, nil)
}

// Resume lets a paused machine go on. See Features.ResumeLosesVsock.
func (c *Client) Resume(ctx context.Context) error {
	return c.call(ctx, http.MethodPatch, "/vm", vmState{"Resumed"}, nil)
}

// CreateSnapshot says where a paused machine is saved. Firecracker makes the files, or writes over what is there.
type CreateSnapshot struct {
	Diff   bool   // only what was written since the boot or the last snapshot; the rest of the file are holes
	State  string // path
	Memory string // path
}

// CreateSnapshot saves a paused machine.
func (c *Client) CreateSnapshot(ctx context.Context, s CreateSnapshot) error {
	in := struct {
		Type   string `json:"snapshot_type"`
		State  string `json:"snapshot_path"`
		Memory string `json:"mem_file_path"`
	}{"Full", s.State, s.Memory}
	if s.Diff {
		in.Type = "Diff"
	}
	return c.call(ctx, http.MethodPut, "/snapshot/create", in, nil)
}

// Kinds of a restored machine's memory.
const (
	MemoryFile = "File" // Path is a file that is mapped copy-on-write
	MemoryUffd = "Uffd" // Path is a unix socket, where somebody waits for a userfaultfd and serves it
)

// MemoryBackend is where a restored machine has its memory from.
type MemoryBackend struct {
	Type string `json:"backend_type"`
	Path string `json:"backend_path"`
}

// NetworkOverride gives a restored network device another tap.
type NetworkOverride struct {
	ID  string `json:"iface_id"`
	Tap string `json:"host_dev_name"`
}

// LoadSnapshot says what is restored.
type LoadSnapshot struct {
	State           string // path
	Memory          MemoryBackend
	Resume          bool              // it runs afterwards; else it is paused
	TrackDirtyPages bool              //
	Network         []NetworkOverride // Features.NetworkOverrides
	VsockPath       string            // empty: as saved; Features.VsockOverride
	ClockRealtime   bool              // the guest's clock goes on from now; Features.ClockRealtime
}

// loadBody is the call's body, in the fields that the release knows.
type loadBody struct {
	State         string            `json:"snapshot_path"`
	Memory        MemoryBackend     `json:"mem_backend"`
	Resume        bool              `json:"resume_vm,omitempty"`
	TrackDirty    bool              `json:"track_dirty_pages,omitempty"`
	EnableDiff    bool              `json:"enable_diff_snapshots,omitempty"`
	Network       []NetworkOverride `json:"network_overrides,omitempty"`
	Vsock         *vsockOverride    `json:"vsock_override,omitempty"`
	ClockRealtime bool              `json:"clock_realtime,omitempty"`
}

type vsockOverride struct {
	Path string `json:"uds_path"`
}

// LoadSnapshot restores a machine. When it fails, the process ends.
func (c *Client) LoadSnapshot(ctx context.Context, l LoadSnapshot) error {
	f := c.version.Features()
	in := loadBody{State: l.State, Memory: l.Memory, Resume: l.Resume, Network: l.Network, ClockRealtime: l.ClockRealtime}
	switch {
	case len(l.Network) > 0 && !f.NetworkOverrides:
		return &UnsupportedError{What: "network_overrides", Version: c.version}
	case l.VsockPath != "" && !f.VsockOverride:
		return &UnsupportedError{What: "vsock_override", Version: c.version}
	case l.ClockRealtime && !f.ClockRealtime:
		return &UnsupportedError{What: "clock_realtime", Version: c.version}
	}
	if l.VsockPath != "" {
		in.Vsock = &vsockOverride{l.VsockPath}
	}
	if f.TrackDirtyPages {
		in.TrackDirty = l.TrackDirtyPages
	} else {
		in.EnableDiff = l.TrackDirtyPages
	}
	return c.call(ctx, http.MethodPut, "/snapshot/load", in, nil)
}
