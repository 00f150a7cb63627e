package kvm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A processor that says it has virtualisation, of its own or nested, runs the probe; without one there is nothing that
// could, whatever /dev/kvm answers.
func TestProbe(t *testing.T) {
	err := Probe(context.Background())
	flags, _ := os.ReadFile("/proc/cpuinfo")
	has := strings.Contains(string(flags), " svm") || strings.Contains(string(flags), " vmx")
	_, missing := os.Stat(Device)
	t.Logf("%s there: %v; processor with virtualisation: %v; probe: %v", Device, missing == nil, has, err)
	var no *UnusableError
	switch {
	case has && missing == nil && err != nil:
		t.Errorf("a processor with virtualisation, and KVM is refused: %v", err)
	case !has && !errors.As(err, &no):
		t.Errorf("a processor without virtualisation, and the probe gave %v", err)
	case missing != nil && (no == nil || !no.Absent):
		t.Errorf("no %s, and the probe gave %v", Device, err)
	}
	left(t)
}

// left fails when something of KVM is still open.
func left(t *testing.T) {
	t.Helper()
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		if to, err := os.Readlink(path); err == nil && strings.Contains(to, "kvm") {
			t.Errorf("%s is still open", to)
		}
	}
}
