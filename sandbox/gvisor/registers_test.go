package gvisor

import (
	"fmt"
	"runtime"
	"testing"

	"thaw/sandbox"
)

// A thread's vector registers outlive every freeze, whatever it computes meanwhile, in a copy of a snapshot, too. What is
// done for that is in cmd/thaw-sandbox/internal/agent/whole.go; without it this test fails after some hundred to some
// thousand pauses.
func TestRegistersOutliveFreezes(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the guest looks at registers of amd64")
	}
	b := open(t, nil)
	g := create(t, b, sandbox.Spec{})
	g.must("registers 8")
	g.keepsRegisters(t)
	d := folder(t.TempDir())
	if err := g.Checkpoint(testContext(t), d); err != nil {
		t.Fatal(err)
	}
	restored(t, b, "copy", d).keepsRegisters(t)
}

// keepsRegisters pauses a sandbox again and again, without the freezer, which is the slower part of a freeze.
func (g *guestOf) keepsRegisters(t *testing.T) {
	t.Helper()
	for range 8 {
		g.pauses(t, 500)
		var lost, rounds int
		if _, err := fmt.Sscan(g.must("lost"), &lost, &rounds); err != nil || lost > 0 || rounds == 0 {
			t.Fatalf("%s: in %d of %d rounds the registers were not what they had been, %v", g.ID(), lost, rounds, err)
		}
	}
}

func (g *guestOf) pauses(t *testing.T, times int) {
	t.Helper()
	s := g.Sandbox.(*Sandbox)
	s.freezeMu.Lock()
	defer s.freezeMu.Unlock()
	for range times {
		if err := s.control.pause(); err != nil {
			t.Fatal(err)
		}
		if err := s.control.resume(); err != nil {
			t.Fatal(err)
		}
	}
}
