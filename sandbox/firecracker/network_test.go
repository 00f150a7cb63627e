package firecracker_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
	"thaw/sandbox/firecracker"
	"thaw/sandbox/firecracker/firecrackertest"
	"thaw/sandbox/host/network"
	"thaw/sandbox/host/network/networktest"
	"thaw/sandbox/sandboxtest"
)

// patience is for a machine that is emulated where others work.
const patience = 5 * time.Minute

// folder is a snapshot.
type folder string

func (d folder) Create(part string) (io.WriteCloser, error) {
	return os.Create(filepath.Join(string(d), part))
}

func (d folder) Note(string) {}

func (d folder) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := os.Open(filepath.Join(string(d), part))
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	fi, err := f.Stat()
	return sandbox.SnapshotPart{File: f, Size: fi.Size()}, err
}

// box is a sandbox with the suite's program.
type box struct {
	*sandboxtest.Host
	sandbox.Sandbox
	asked int
}

func newBox(t *testing.T, sb sandbox.Sandbox) *box {
	x := &box{Host: sandboxtest.NewHost(t, sb), Sandbox: sb}
	x.Patience = patience
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Error(err)
		}
		x.AwaitEnd()
	})
	return x
}

func (x *box) ask(format string, args ...any) string {
	x.asked++
	return string(x.Invoke(fmt.Sprint("request-", x.asked), fmt.Appendf(nil, format, args...)))
}

// A machine sees the network that gVisor's sandboxes see, and so do the copies of its snapshot, all with one address at once.
func TestMachinesHaveTheNetworkOfSandboxes(t *testing.T) {
	if !networktest.Alone(t, func() []string { return nil }) {
		return
	}
	networktest.Lab(t)
	networktest.ServeEach(t, "127.0.0.1:5432", func(peer string) string { return "from " + peer })
	networktest.ServeNames(t, "127.0.0.53:53", "192.0.2.10")
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.53\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	access, err := network.ParseHostAccess("5432")
	if err != nil {
		t.Fatal(err)
	}
	b := firecrackertest.Open(t, func(o *firecracker.Options) {
		o.Network = network.Options{Internet: true, Host: access, ResolvConf: []string{conf}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	spec := sandbox.Spec{ID: "original", MemoryMiB: 128, TmpMiB: 16, Mounts: []sandbox.Mount{{Source: filepath.Dir(sandboxtest.BootstrapExe(t)), Target: "/var/task"}}}
	sb, err := b.Create(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	original := newBox(t, sb)
	original.Hello()
	caps := b.Capabilities()
	original.Start(wire.Start{Generation: 1, Candidates: []string{"/var/task/bootstrap"}, Dir: "/var/task", UID: caps.UID, GID: caps.GID, SnapStart: true,
		NoFile: 1024, TmpBytes: 16 << 20, APIHost: "127.0.0.1:9001", Vars: []string{"PATH=/usr/bin:/bin"}})
	original.Ready()
	t.Run("a machine", func(t *testing.T) { reaches(t, original) })

	original.Send(wire.KindQuiesce, nil, nil)
	original.Take(wire.KindQuiesced, nil)
	snapshot := folder(t.TempDir())
	if err := original.Checkpoint(ctx, snapshot); err != nil {
		t.Fatal(err)
	}
	var copies []*box
	for i := range 2 {
		spec.ID = sandbox.ID(fmt.Sprint("copy-", i))
		sb, err := b.Restore(ctx, spec, snapshot)
		if err != nil {
			t.Fatal(err)
		}
		x := newBox(t, sb)
		x.Send(wire.KindRestored, wire.Restored{UnixNanos: time.Now().UnixNano(), Entropy: make([]byte, 64), EnvID: string(spec.ID)}, nil)
		x.Ready()
		copies = append(copies, x)
	}
	for i, x := range copies {
		t.Run(fmt.Sprint("copy ", i), func(t *testing.T) { reaches(t, x) })
	}
	t.Run("a copy where the host asks others for names", func(t *testing.T) {
		other := firecrackertest.Open(t, func(o *firecracker.Options) {
			o.Network = network.Options{Internet: true, DNS: []netip.Addr{netip.MustParseAddr("198.51.100.53")}}
		})
		spec.ID = "elsewhere"
		sb, err := other.Restore(ctx, spec, snapshot)
		if err != nil {
			t.Fatal(err)
		}
		x := newBox(t, sb)
		x.Send(wire.KindRestored, wire.Restored{UnixNanos: time.Now().UnixNano(), Entropy: make([]byte, 64), EnvID: string(spec.ID)}, nil)
		x.Ready()
		if got := x.ask("read /etc/resolv.conf"); got != "nameserver 198.51.100.53\n" {
			t.Errorf("it has %q", got)
		}
		if got := x.ask("write /etc/resolv.conf nothing"); !strings.HasPrefix(got, "error: ") {
			t.Errorf("a function writes to it: %s", got)
		}
	})
}

func reaches(t *testing.T, x *box) {
	if got := x.ask("addrs"); !strings.Contains(got, network.Inside.String()) || !strings.Contains(got, network.Platform.String()) || strings.Contains(got, "fe80") {
		t.Errorf("addresses inside: %s, want %v and %v, and no IPv6", got, network.Inside, network.Platform)
	}
	for _, c := range []struct{ ask, want string }{
		{"dial tcp 198.51.100.7:80", "internet"},
		{"dial udp 198.51.100.7:53", "from 203.0.113.2:"},
		{"dial tcp " + network.HostName + ":5432", "from 127.0.0.1"},
		{"lookup " + network.HostName, "[" + network.Gateway.String() + "]"},
		{"lookup some.test", "[192.0.2.10]"},
		{"dial tcp " + network.HostName + ":7001", "error: "},
		{"dial tcp 203.0.113.2:7001", "error: "},
		{"dial tcp 169.254.169.254:80", "error: "},
	} {
		if got := x.ask("%s", c.ask); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.ask, got, c.want)
		}
	}
}
