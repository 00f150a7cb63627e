package fcapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/sandbox/firecracker/fcapi/fcapitest"
	"thaw/sandbox/firecracker/install/installtest"
)

// exchange is one request, and what the message of its refusal has in it; empty: it is no refusal.
type exchange struct{ call, body, refusal string }

// beforeTheBoot are requests that Firecracker answers without KVM. Each list is one process's life.
var beforeTheBoot = map[string][]exchange{
	"boot": {
		{"GET /version", "", ""},
		{"PUT /machine-config", `{"vcpu_count": 1, "mem_size_mib": 128, "bogus": 1}`, "unknown field `bogus`"},
		{"PUT /machine-config", `{"vcpu_count": 1}`, "missing field `mem_size_mib`"},
		{"PUT /machine-config", `{"vcpu_count":0,"mem_size_mib":128}`, "number of vCPUs"},
		{"PUT /machine-config", `{"vcpu_count":1,"mem_size_mib":0}`, "memory size"},
		{"PUT /machine-config", `{`, "EOF"},
		{"PUT /machine-config", ``, "Empty PUT request"},
		{"PUT /machine-config", `{"vcpu_count":1,"mem_size_mib":128,"track_dirty_pages":true}`, ""},
		{"PUT /boot-source", `{"kernel_image_path":"none"}`, "kernel file cannot be opened"},
		{"PUT /boot-source", `{"kernel_image_path":"vmlinux","initrd_path":"none"}`, "initrd file cannot be opened"},
		{"PUT /boot-source", `{"kernel_image_path":"vmlinux","bogus":"x"}`, "unknown field"},
		{"PUT /actions", `{"action_type":"InstanceStart"}`, "without kernel configuration"},
		{"PUT /actions", `{"action_type":"Bogus"}`, "unknown variant"},
		{"PUT /boot-source", `{"kernel_image_path":"vmlinux","initrd_path":"initramfs","boot_args":"quiet"}`, ""},
		{"PATCH /vm", `{"state":"Paused"}`, "before starting"},
		{"PATCH /vm", `{"state":"Bogus"}`, "unknown variant"},
		{"PUT /vm", `{"state":"Paused"}`, "Invalid request method"},
		{"PUT /snapshot/create", `{"snapshot_path":"s","mem_file_path":"m"}`, "before starting"},
		{"PUT /snapshot/create", `{"snapshot_path":"s"}`, "missing field `mem_file_path`"},
		{"PUT /snapshot/create", `{"snapshot_path":"s","mem_file_path":"m","version":"1"}`, "unknown field"},
		{"PUT /drives/a", `{"drive_id":"b","path_on_host":"code","is_root_device":false,"is_read_only":true}`, "does not match"},
		{"PUT /drives/a", `{"drive_id":"a","path_on_host":"none","is_root_device":false,"is_read_only":true}`, "backing file"},
		{"PUT /drives/a", `{"drive_id":"a","path_on_host":"code","is_root_device":false,"is_read_only":true,"bogus":1}`, "unknown field"},
		{"PUT /drives/a", `{"drive_id":"a","path_on_host":"code","is_read_only":true}`, "missing field `is_root_device`"},
		{"PUT /drives/a", `{"drive_id":"a","is_root_device":false,"is_read_only":true}`, "Invalid block config"},
		{"PUT /drives/a-b", `{"drive_id":"a-b","path_on_host":"code","is_root_device":false}`, "alphanumeric"},
		{"PUT /drives/a", `{"drive_id":"a","path_on_host":"code","is_root_device":false,"is_read_only":true}`, ""},
		{"PUT /network-interfaces/eth0", `{"iface_id":"eth1","host_dev_name":"nosuchtap"}`, "does not match"},
		{"PUT /network-interfaces/eth0", `{"iface_id":"eth0","host_dev_name":"nosuchtap","mtu":1}`, "unknown field"},
		{"PUT /vsock", `{"guest_cid":3}`, "missing field `uds_path`"},
		{"PUT /vsock", `{"guest_cid":3,"uds_path":"code"}`, "Address in use"},
		{"PUT /vsock", `{"guest_cid":3,"uds_path":"v.sock","bogus":1}`, "unknown field"},
		{"PUT /vsock", `{"guest_cid":3,"uds_path":"v.sock"}`, ""},
		{"PUT /entropy", `{"bogus":1}`, "unknown field"},
		{"PUT /entropy", `{}`, ""},
		{"GET /bogus", "", "Invalid request method"},
		{"PUT /snapshot/load", `{"snapshot_path":"s","mem_backend":{"backend_type":"File","backend_path":"m"}}`, "not allowed after configuring"},
	},
	"load, other words": {
		{"PUT /snapshot/load", `{"snapshot_path":"empty","mem_backend":{"backend_type":"Bogus","backend_path":"m"}}`, "unknown variant"},
		{"PUT /snapshot/load", `{"snapshot_path":"empty","mem_backend":{"backend_type":"File","backend_path":"m","x":1}}`, "unknown field `x`"},
		{"PUT /snapshot/load", `{"snapshot_path":"empty","mem_backend":{"backend_type":"File","backend_path":"m"},"vsock_override":{"uds_path":"x"}}`, "unknown field"},
		{"PUT /snapshot/load", `{"snapshot_path":"empty","mem_backend":{"backend_type":"File","backend_path":"m"},"clock_realtime":true}`, "unknown field"},
		{"PUT /snapshot/load", `{"snapshot_path":"empty","mem_backend":{"backend_type":"File","backend_path":"m"},"track_dirty_pages":true}`, "unknown field"},
		{"PUT /snapshot/load", `{"snapshot_path":"empty"}`, "is required"},
		{"GET /version", "", ""}, // it lives
	},
	"load of what is not there": {
		{"PUT /snapshot/load", `{"snapshot_path":"none","mem_backend":{"backend_type":"File","backend_path":"none"},"resume_vm":true,"enable_diff_snapshots":true}`, "No such file"},
		{"GET /version", "", "gone"},
	},
	"load of an empty state": {
		{"PUT /snapshot/load", `{"snapshot_path":"empty","mem_backend":{"backend_type":"File","backend_path":"none"}}`, "smaller than CRC"},
		{"GET /version", "", "gone"},
	},
}

// gone is the answer of a process that has ended.
const gone = "gone"

// send makes one request, and says status and body.
func send(t *testing.T, socket string, x exchange) (answer string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", socket)
	}}, Timeout: time.Minute}
	method, path, _ := strings.Cut(x.call, " ")
	req, err := http.NewRequest(method, "http://x"+path, strings.NewReader(x.body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return gone
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, bytes.TrimSpace(b))
}

// life sends a list of requests and returns the answers. ended is closed when the process has.
func life(t *testing.T, socket string, list []exchange, ended <-chan struct{}) (answers []string) {
	t.Helper()
	for _, x := range list {
		if x.refusal == gone {
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Error("the process does not end after the failed load")
			}
		}
		answers = append(answers, send(t, socket, x))
	}
	return answers
}

// realDir has the files that the requests name.
func realDir(t *testing.T) string {
	dir := files(t)
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The fake answers as it should, and where the real release can be had that one says the very same.
func TestTheFakeAnswersAsTheRealOne(t *testing.T) {
	for name, list := range beforeTheBoot {
		t.Run(name, func(t *testing.T) {
			dir := realDir(t)
			f, err := fcapitest.Open(dir, "api.sock", version(t, fcapitest.DefaultVersion), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			fake := life(t, filepath.Join(dir, "api.sock"), list, f.Ended())
			for i, x := range list {
				if x.refusal == "" && strings.HasPrefix(fake[i], "4") || !strings.Contains(fake[i], x.refusal) {
					t.Errorf("%s %s: the fake says %s, want %q", x.call, x.body, fake[i], x.refusal)
				}
			}
			t.Run("real", func(t *testing.T) {
				for i, answer := range realLife(t, list) {
					if answer != fake[i] {
						t.Errorf("%s %s:\n real %s\n fake %s", list[i].call, list[i].body, answer, fake[i])
					}
				}
			})
		})
	}
}

// realLife starts the real program and sends it the requests.
func realLife(t *testing.T, list []exchange) []string {
	t.Helper()
	real := installtest.Programs(t)
	if real.Version.String() != fcapitest.DefaultVersion {
		t.Skipf("%s is %v: the fake's words are of %s", real.Firecracker, real.Version, fcapitest.DefaultVersion)
	}
	dir := realDir(t)
	var log bytes.Buffer
	cmd := exec.Command(real.Firecracker, "--api-sock", "api.sock", "--id", "fake")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() //nolint:errcheck // it is killed
		close(ended)
	}()
	defer func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	socket := filepath.Join(dir, "api.sock")
	for end := time.Now().Add(time.Minute); send(t, socket, exchange{call: "GET /version"}) == gone; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the API does not answer")
		}
	}
	return life(t, socket, list, ended)
}
