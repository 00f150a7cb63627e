package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestSandboxLs(t *testing.T) {
	t.Setenv("THAW_DATA_DIR", t.TempDir())
	r := thaw(t.Context(), "sandbox", "ls", "-o", "json")
	var list []sandboxState
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || r.code != exitOK {
		t.Fatalf("exit %d, %v in %q: %s", r.code, err, r.out, r.words)
	}
	var names, auto []string
	for _, s := range list {
		names = append(names, s.Name)
		if s.Auto {
			auto = append(auto, s.Name)
		}
		if s.Usable != (s.Repair == "") {
			t.Errorf("%+v", s)
		}
		if s.Name == "firecracker" && (s.Usable || !strings.Contains(s.Detail, "not installed")) {
			t.Errorf("in an empty data folder: %+v", s)
		}
	}
	want := "gvisor"
	if os.Geteuid() != 0 {
		want = "process"
	}
	if strings.Join(names, " ") != "firecracker gvisor process qemu" || strings.Join(auto, " ") != want {
		t.Errorf("sandboxes %v, auto takes %v", names, auto)
	}
}

func TestSandboxInstallRefuses(t *testing.T) {
	t.Setenv("THAW_DATA_DIR", t.TempDir())
	for args, want := range map[string]string{
		"gvisor":                             "nothing is to be installed",
		"firecracker --firecracker /bin/sh":  "go together",
		"firecracker --jailer /bin/sh":       "go together",
		"qemu --firecracker /a --jailer /b":  "not for qemu",
		"":                                   "arg",
		"firecracker --kernel /a --nonsense": "nonsense",
	} {
		if r := thaw(t.Context(), append([]string{"sandbox", "install"}, strings.Fields(args)...)...); r.code != exitMisuse || !strings.Contains(r.words, want) {
			t.Errorf("%q: exit %d, %q", args, r.code, r.words)
		}
	}
	r := thaw(t.Context(), "sandbox", "install", "firecracker", "--firecracker", "/bin/sh", "--jailer", "/bin/sh")
	if r.code != exitFailed || !strings.Contains(r.words, "linked dynamically") && !strings.Contains(r.words, "does not say") {
		t.Errorf("a shell is taken for Firecracker: exit %d, %q", r.code, r.words)
	}
}
