package gvisor

import (
	"testing"

	"thaw/sandbox"
)

func TestCreateEchoFreezeThawClose(t *testing.T) {
	b := open(t, nil)
	g := create(t, b, sandbox.Spec{})
	if got := g.must("echo hello"); got != "echo hello" {
		t.Errorf("echo answered %q", got)
	}
	t.Log(g.Stages())
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	if got := g.must("echo again"); got != "echo again" {
		t.Errorf("echo answered %q", got)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}
