package fcapitest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
)

type (
	machineConfig struct {
		VCPUs      int  `json:"vcpu_count"`
		MemoryMiB  int  `json:"mem_size_mib"`
		TrackDirty bool `json:"track_dirty_pages"`
	}
	bootSource struct {
		Kernel    string `json:"kernel_image_path"`
		Initramfs string `json:"initrd_path"`
		Args      string `json:"boot_args"`
	}
	drive struct {
		ID       string `json:"drive_id"`
		Path     string `json:"path_on_host"`
		ReadOnly bool   `json:"is_read_only"`
	}
	networkInterface struct {
		ID  string `json:"iface_id"`
		Tap string `json:"host_dev_name"`
	}
	vsock struct {
		CID  uint32 `json:"guest_cid"`
		Path string `json:"uds_path"`
	}
)

// payloadLimit is how long a body may be, in bytes: Firecracker's --http-api-max-payload-size.
const payloadLimit = 51200

// ServeHTTP answers a call.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Server", "Firecracker API")
	w.Header().Set("Content-Type", "application/json")
	body, err := io.ReadAll(io.LimitReader(r.Body, payloadLimit+1))
	var out any
	if err == nil {
		out, err = f.answer(r.Method, strings.Trim(r.URL.Path, "/"), body)
	}
	var refused *fault
	switch {
	case errors.As(err, &refused):
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"fault_message": refused.message}) //nolint:errcheck
		if refused.fatal {
			go f.stop()
		}
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
		json.NewEncoder(w).Encode(map[string]string{"fault_message": err.Error()}) //nolint:errcheck
	case out != nil:
		json.NewEncoder(w).Encode(out) //nolint:errcheck
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// answer does what a call asks for. The caller holds the mutex.
func (f *Fake) answer(method, path string, body []byte) (any, error) {
	if len(body) > payloadLimit {
		return nil, refuse("Request payload with size %d is larger than the limit of %d allowed by server.", len(body), payloadLimit)
	}
	kind, id, _ := strings.Cut(path, "/")
	switch method + " " + kind {
	case "GET ":
		return map[string]any{"id": "fake", "state": f.state, "vmm_version": f.version.String(), "app_name": "Firecracker"}, nil
	case "GET version":
		return map[string]string{"firecracker_version": f.version.String()}, nil
	case "PUT actions":
		return nil, f.action(body)
	case "PATCH vm":
		return nil, f.vm(body)
	case "PUT snapshot":
		switch id {
		case "create":
			return nil, f.create(body)
		case "load":
			return nil, f.load(body)
		}
	case "PUT machine-config":
		return nil, f.machine(body)
	case "PUT boot-source":
		return nil, f.boot(body)
	case "PUT drives":
		return nil, f.drive(id, body)
	case "PUT network-interfaces":
		return nil, f.network(id, body)
	case "PUT vsock":
		return nil, f.vsock(body)
	case "PUT entropy":
		return nil, f.entropy(body)
	}
	return nil, refuse("Invalid request method and/or path: %s %s.", method, kind)
}

// before reads the body of a call that is allowed before the start alone.
func (f *Fake) before(body []byte, fields []field, in any) error {
	if err := decode(body, fields, f.version, in); err != nil {
		return err
	}
	if f.state != notStarted {
		return refuse("The requested operation is not supported after starting the microVM.")
	}
	return nil
}

// after reads the body of a call that is allowed after the start alone.
func (f *Fake) after(body []byte, fields []field, in any) error {
	if err := decode(body, fields, f.version, in); err != nil {
		return err
	}
	if f.state == notStarted {
		return refuse("The requested operation is not supported before starting the microVM.")
	}
	return nil
}

func (f *Fake) machine(body []byte) error {
	var in machineConfig
	if err := f.before(body, machineFields, &in); err != nil {
		return err
	}
	f.began = true
	if in.VCPUs < 1 || in.VCPUs > 32 {
		return refuse("Machine config error: The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even number if SMT is enabled.")
	}
	if in.MemoryMiB < 1 {
		return refuse("Machine config error: The memory size (MiB) is either 0, or not a multiple of the configured page size.")
	}
	f.config.Machine = in
	return nil
}

func (f *Fake) boot(body []byte) error {
	var in bootSource
	if err := f.before(body, bootFields, &in); err != nil {
		return err
	}
	f.began = true
	if err := f.readable(in.Kernel); err != nil {
		return refuse("Boot source error: The kernel file cannot be opened: %s", osError(err))
	}
	if in.Initramfs != "" {
		if err := f.readable(in.Initramfs); err != nil {
			return refuse("Boot source error: The initrd file cannot be opened due to invalid path or invalid permissions. %s", osError(err))
		}
	}
	f.config.Boot = &in
	return nil
}

func (f *Fake) readable(path string) error {
	file, err := os.Open(f.path(path))
	if err != nil {
		return err
	}
	return file.Close()
}

var resourceID = regexp.MustCompile(`^[0-9A-Za-z_]+$`)

func (f *Fake) drive(id string, body []byte) error {
	if !resourceID.MatchString(id) {
		return refuse("API Resource IDs can only contain alphanumeric characters and underscores.")
	}
	var in drive
	if err := f.before(body, driveFields, &in); err != nil {
		return err
	}
	if in.ID != id {
		return refuse("The id from the path does not match the id from the body!")
	}
	f.began = true
	if in.Path == "" {
		return refuse("Drive config error: Unable to create the virtio block device: Invalid block config.")
	}
	if err := f.openDrive(in); err != nil {
		return refuse("Drive config error: Unable to create the virtio block device: Virtio backend error: Error manipulating the backing file: %s %s", osError(err), in.Path)
	}
	f.config.Drives = append(slices.DeleteFunc(f.config.Drives, func(d drive) bool { return d.ID == id }), in)
	return nil
}

// openDrive looks whether the machine can have its drive.
func (f *Fake) openDrive(d drive) error {
	flag := os.O_RDWR
	if d.ReadOnly {
		flag = os.O_RDONLY
	}
	file, err := os.OpenFile(f.path(d.Path), flag, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

func (f *Fake) network(id string, body []byte) error {
	if !resourceID.MatchString(id) {
		return refuse("API Resource IDs can only contain alphanumeric characters and underscores.")
	}
	var in networkInterface
	if err := f.before(body, networkFields, &in); err != nil {
		return err
	}
	if in.ID != id {
		return refuse("The id from the path [%s] does not match the id from the body [%s]!", id, in.ID)
	}
	f.began = true
	f.config.Network = append(slices.DeleteFunc(f.config.Network, func(n networkInterface) bool { return n.ID == id }), in)
	return nil
}

func (f *Fake) entropy(body []byte) error {
	var in struct{}
	if err := f.before(body, entropyFields, &in); err != nil {
		return err
	}
	f.began, f.config.Entropy = true, true
	return nil
}

func (f *Fake) action(body []byte) error {
	var in struct {
		Type string `json:"action_type"`
	}
	if err := decode(body, actionFields, f.version, &in); err != nil {
		return err
	}
	switch {
	case in.Type != "InstanceStart" && f.state == notStarted:
		return refuse("The requested operation is not supported before starting the microVM.")
	case in.Type != "InstanceStart":
		return nil
	case f.state != notStarted:
		return refuse("The requested operation is not supported after starting the microVM.")
	case f.config.Boot == nil:
		return refuse("Start microvm error: Cannot start microvm without kernel configuration.")
	}
	f.state = running
	return nil
}

func (f *Fake) vm(body []byte) error {
	var in struct {
		State string `json:"state"`
	}
	if err := f.after(body, vmFields, &in); err != nil {
		return err
	}
	if in.State == "Paused" {
		f.state = paused
		return nil
	}
	f.deaf = f.deaf || f.state == paused && f.version.Features().ResumeLosesVsock
	f.state = running
	return nil
}
