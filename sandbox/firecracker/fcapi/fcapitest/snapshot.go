package fcapitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"thaw/sandbox/firecracker/pages/pagestest"
)

func (f *Fake) create(body []byte) error {
	var in struct {
		Type   string `json:"snapshot_type"`
		State  string `json:"snapshot_path"`
		Memory string `json:"mem_file_path"`
	}
	if err := f.after(body, createFields, &in); err != nil {
		return err
	}
	features := f.version.Features()
	switch {
	case f.state != paused:
		return refuse("Create snapshot error: Cannot save the microVM state: Operation not allowed: save/restore unavailable while running")
	case in.Type == "Diff" && !f.config.Machine.TrackDirty && !features.UntrackedDiff:
		return refuse("Create snapshot error: Diff snapshots are not allowed on uVMs with dirty page tracking disabled.")
	}
	f.config.Version = f.version.String()
	f.config.Memory = int64(f.config.Machine.MemoryMiB) << 20
	state, err := json.Marshal(f.config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.path(in.State), state, 0o644); err != nil {
		return refuse("Create snapshot error: Cannot perform operation on the snapshot backing file: %s", osError(err))
	}
	if err := f.writeMemory(f.path(in.Memory), in.Type == "Diff"); err != nil {
		return refuse("Create snapshot error: Cannot dump memory: %s", osError(err))
	}
	return nil
}

// writeMemory writes the memory file as Firecracker does: a full one has no holes.
func (f *Fake) writeMemory(path string, holes bool) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(f.config.Memory); err != nil {
		return err
	}
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	if _, err := file.WriteAt(f.memory.page, 0); err != nil {
		return err
	}
	zero := make([]byte, 1<<20)
	for at := int64(pageSize); at < f.config.Memory && !holes; at += int64(len(zero)) {
		if _, err := file.WriteAt(zero[:min(int64(len(zero)), f.config.Memory-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// loadParams is the body of /snapshot/load.
type loadParams struct {
	State   string `json:"snapshot_path"`
	Path    string `json:"mem_file_path"`
	Backend *struct {
		Type string `json:"backend_type"`
		Path string `json:"backend_path"`
	} `json:"mem_backend"`
	EnableDiff bool `json:"enable_diff_snapshots"`
	TrackDirty bool `json:"track_dirty_pages"`
	Resume     bool `json:"resume_vm"`
	Network    []struct {
		ID  string `json:"iface_id"`
		Tap string `json:"host_dev_name"`
	} `json:"network_overrides"`
	Vsock *struct {
		Path string `json:"uds_path"`
	} `json:"vsock_override"`
}

func (f *Fake) load(body []byte) error {
	var in loadParams
	if err := f.before(body, loadFields, &in); err != nil {
		return err
	}
	if (in.Backend == nil) == (in.Path == "") {
		return refuse("An error occurred when deserializing the json body of a request: missing field: either `mem_backend` or `mem_file_path` is required.")
	}
	if f.began {
		return refuse("Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific resources.")
	}
	if err := f.restore(in); err != nil {
		return &fault{message: "Load snapshot error: Failed to restore from snapshot: " + err.Error(), fatal: true}
	}
	f.LoadedBy = string(body)
	return nil
}

// restore brings back what was saved. Any error is the end of the process.
func (f *Fake) restore(in loadParams) error {
	b, err := os.ReadFile(f.path(in.State))
	if err != nil {
		return said("Failed to get snapshot state from file: Failed to open snapshot file: " + osError(err))
	}
	const checksum = 8 // bytes that end a snapshot's state
	if len(b) < checksum {
		return said("Failed to get snapshot state from file: Failed to load snapshot state from file: Snapshot file is smaller than CRC length.")
	}
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		return said("Failed to get snapshot state from file: Failed to load snapshot state from file: CRC64 validation failed")
	}
	path := in.Path
	if in.Backend != nil {
		path = in.Backend.Path
	}
	if in.Backend == nil || in.Backend.Type == "File" {
		err = f.readMemory(f.path(path), c.Memory)
	} else {
		err = f.handOverMemory(f.path(path), c.Memory)
	}
	if err != nil {
		return err
	}
	for _, d := range c.Drives {
		if err := f.openDrive(d); err != nil {
			return said(fmt.Sprintf("Failed to build microVM from snapshot: Failed to restore devices: Error manipulating the backing file: %s %s", osError(err), d.Path))
		}
	}
	f.override(in, &c)
	if c.Vsock != nil {
		if err := f.listen(c.Vsock.Path); err != nil {
			return said(fmt.Sprintf("Failed to build microVM from snapshot: Failed to restore devices: Error binding to the host-side Unix socket: %s", addressError(err)))
		}
		f.resets = 1
	}
	f.config, f.state = c, paused
	f.config.Machine.TrackDirty = in.TrackDirty || in.EnableDiff
	if in.Resume {
		f.state = running
	}
	return nil
}

// override puts what the call says in place of what was saved.
func (f *Fake) override(in loadParams, c *config) {
	for _, o := range in.Network {
		for i := range c.Network {
			if c.Network[i].ID == o.ID {
				c.Network[i].Tap = o.Tap
			}
		}
	}
	if in.Vsock != nil && c.Vsock != nil {
		c.Vsock.Path = in.Vsock.Path
	}
}

func (f *Fake) readMemory(path string, size int64) error {
	file, err := os.Open(path)
	if err != nil {
		return said("Failed to load guest memory: Error creating guest memory from file: Failed to open memory file: " + osError(err))
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return err
	}
	if fi.Size() < size {
		return said("Failed to load guest memory: Error creating guest memory from file: the file is too short")
	}
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	_, err = file.ReadAt(f.memory.page, 0)
	return err
}

// handOverMemory has the machine's memory served by whoever listens at a path.
func (f *Fake) handOverMemory(path string, size int64) error {
	m, err := pagestest.Open(size/2, size/2)
	if err != nil {
		return said("Failed to load guest memory: Error creating guest memory from uffd: Failed to create UffdBuilder: " + osError(err))
	}
	if err := m.HandOver(path); err != nil {
		return said("Failed to load guest memory: Error creating guest memory from uffd: Failed to UDS connect to uffd socket: " + osError(err))
	}
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	f.memory.served, f.memory.page = m, m.Page(0)
	return nil
}

func addressError(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return "Address in use (os error 98)"
	}
	return osError(err)
}

// said are the program's own words, which begin with capitals.
type said string

func (s said) Error() string { return string(s) }
