package fcapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"thaw/sandbox/firecracker/fcapi"
)

// field is one that a call's body may have.
type field struct {
	name     string
	required bool
	since    fcapi.Version // the zero version: always
	is       []string      // the words that it may be; empty: anything
	fields   []field       // of an object; empty: it is none, or is not looked into
}

var (
	v1_13 = fcapi.Version{Major: 1, Minor: 13}
	v1_16 = fcapi.Version{Major: 1, Minor: 16}
)

// The bodies, in the order in which Firecracker lists their fields.
var (
	machineFields = []field{{name: "vcpu_count", required: true}, {name: "mem_size_mib", required: true}, {name: "smt"}, {name: "cpu_template"},
		{name: "track_dirty_pages"}, {name: "huge_pages"}}
	bootFields  = []field{{name: "kernel_image_path", required: true}, {name: "initrd_path"}, {name: "boot_args"}}
	driveFields = []field{{name: "drive_id", required: true}, {name: "partuuid"}, {name: "is_root_device", required: true}, {name: "cache_type"},
		{name: "is_read_only"}, {name: "path_on_host"}, {name: "rate_limiter"}, {name: "io_engine"}, {name: "socket"}}
	networkFields = []field{{name: "iface_id", required: true}, {name: "host_dev_name", required: true}, {name: "guest_mac"}, {name: "rx_rate_limiter"},
		{name: "tx_rate_limiter"}}
	vsockFields   = []field{{name: "vsock_id"}, {name: "guest_cid", required: true}, {name: "uds_path", required: true}}
	entropyFields = []field{{name: "rate_limiter"}}
	actionFields  = []field{{name: "action_type", required: true, is: []string{"FlushMetrics", "InstanceStart", "SendCtrlAltDel"}}}
	vmFields      = []field{{name: "state", required: true, is: []string{"Paused", "Resumed"}}}
	createFields  = []field{{name: "snapshot_type", is: []string{"Diff", "Full"}}, {name: "snapshot_path", required: true}, {name: "mem_file_path", required: true}}
	backendFields = []field{{name: "backend_path", required: true}, {name: "backend_type", required: true, is: []string{"File", "Uffd"}}}
	loadFields    = []field{{name: "snapshot_path", required: true}, {name: "mem_file_path"}, {name: "mem_backend", fields: backendFields},
		{name: "enable_diff_snapshots"}, {name: "track_dirty_pages", since: v1_13}, {name: "resume_vm"}, {name: "network_overrides"},
		{name: "vsock_override", since: v1_16}, {name: "clock_realtime", since: v1_16}}
)

// decode reads a body as serde does: fields in the order of the text, the first error counts.
func decode(body []byte, fields []field, v fcapi.Version, out any) error {
	if len(body) == 0 {
		return refuse("Empty PUT request.")
	}
	known := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return v.Compare(f.since) < 0 })
	d := json.NewDecoder(bytes.NewReader(body))
	if err := object(d, body, known); err != nil {
		return refuse("An error occurred when deserializing the json body of a request: %v.", err)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return refuse("An error occurred when deserializing the json body of a request: %v.", err)
	}
	return nil
}

// object reads one object and looks at its fields.
func object(d *json.Decoder, body []byte, fields []field) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("expected value%s", position(d, body))
	}
	seen := make(map[string]bool)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return fmt.Errorf("key must be a string%s", position(d, body))
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			return fmt.Errorf("unknown field `%v`, expected %s%s", key, oneOf(names(fields)), position(d, body))
		}
		seen[fields[i].name] = true
		if err := value(d, body, fields[i]); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("EOF while parsing an object%s", position(d, body))
	}
	for _, f := range fields {
		if f.required && !seen[f.name] {
			return fmt.Errorf("missing field `%s`%s", f.name, position(d, body))
		}
	}
	return nil
}

// value reads the value of a field.
func value(d *json.Decoder, body []byte, f field) error {
	if len(f.fields) > 0 {
		return object(d, body, f.fields)
	}
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return fmt.Errorf("EOF while parsing a value%s", position(d, body))
	}
	var word string
	if len(f.is) > 0 && (json.Unmarshal(raw, &word) != nil || !slices.Contains(f.is, word)) {
		return fmt.Errorf("unknown variant `%s`, expected %s%s", word, oneOf(f.is), position(d, body))
	}
	return nil
}

// position is where the reader is, as serde says it.
func position(d *json.Decoder, body []byte) string {
	before := body[:min(int(d.InputOffset()), len(body))]
	return fmt.Sprintf(" at line %d column %d", 1+bytes.Count(before, []byte("\n")), len(before)-1-bytes.LastIndexByte(before, '\n'))
}

func names(fields []field) (list []string) {
	for _, f := range fields {
		list = append(list, f.name)
	}
	return list
}

func oneOf(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "`" + w + "`"
	}
	if len(words) <= 2 {
		return strings.Join(quoted, " or ")
	}
	return "one of " + strings.Join(quoted, ", ")
}
