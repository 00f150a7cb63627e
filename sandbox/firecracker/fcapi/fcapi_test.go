package fcapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/sandbox/firecracker/fcapi"
	"thaw/sandbox/firecracker/fcapi/fcapitest"
)

// versions are the releases that are known, with the ones that have a fault.
var versions = []string{"1.12.1", "1.13.1", "1.14.4", "1.15.1", "1.16.0", "1.16.1", "1.17.0"}

func version(t testing.TB, s string) fcapi.Version {
	t.Helper()
	v, err := fcapi.ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// start starts a fake in a folder, and a client of it.
func start(t testing.TB, dir, socket string, v fcapi.Version) (*fcapitest.Fake, *fcapi.Client) {
	t.Helper()
	f, err := fcapitest.Open(dir, socket, v, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := fcapi.New(filepath.Join(dir, socket), v)
	t.Cleanup(func() {
		c.Close()
		f.Close()
	})
	return f, c
}

// files makes what a machine needs.
func files(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"vmlinux", "initramfs", "code"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// boot makes a machine and starts it.
func boot(ctx context.Context, c *fcapi.Client) error {
	return errors.Join(
		c.SetMachine(ctx, fcapi.MachineConfig{VCPUs: 1, MemoryMiB: 2}),
		c.SetBootSource(ctx, fcapi.BootSource{Kernel: "vmlinux", Initramfs: "initramfs", Args: "quiet"}),
		c.AddDrive(ctx, fcapi.Drive{ID: "code", Path: "code", ReadOnly: true}),
		c.AddNetworkInterface(ctx, fcapi.NetworkInterface{ID: "eth0", Tap: "tap0", MAC: "06:00:AC:10:00:02"}),
		c.SetVsock(ctx, fcapi.Vsock{CID: 3, Path: "v.sock"}),
		c.SetEntropy(ctx),
		c.Start(ctx))
}

// ask connects to a port and asks once.
func ask(dir string, line string) (string, error) { return askWithin(dir, line, 10*time.Second) }

func askWithin(dir string, line string, limit time.Duration) (string, error) {
	c, err := net.Dial("unix", filepath.Join(dir, "v.sock"))
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	r := bufio.NewReader(c)
	fmt.Fprint(c, "CONNECT 1024\n")
	if ok, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(ok, "OK ") {
		return "", fmt.Errorf("CONNECT is answered with %q, %v", ok, err)
	}
	fmt.Fprintln(c, line)
	answer, err := r.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// One life on every release: boot, words to a port, snapshot, and a restore that goes on there.
func TestALifeOnEveryRelease(t *testing.T) {
	for _, s := range versions {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			ctx, v, dir := t.Context(), version(t, s), files(t)
			f, c := start(t, dir, "api.sock", v)
			if got, err := c.Version(ctx); err != nil || got != v {
				t.Fatalf("it says that it is %v, %v", got, err)
			}
			if err := boot(ctx, c); err != nil {
				t.Fatal(err)
			}
			if got, err := ask(dir, "set kept"); got != "1024: set kept" {
				t.Fatalf("the guest answers %q, %v", got, err)
			}
			save := fcapi.CreateSnapshot{State: "state", Memory: "memory"}
			if err := c.CreateSnapshot(ctx, save); !isFault(err) {
				t.Errorf("a running machine is saved: %v", err)
			}
			if err := errors.Join(c.Pause(ctx), c.Pause(ctx), c.CreateSnapshot(ctx, save)); err != nil {
				t.Fatal(err)
			}
			if state, err := c.State(ctx); err != nil || state != fcapi.Paused {
				t.Errorf("after the snapshot it is %q, %v", state, err)
			}
			f.Close()
			restored(t, dir, v)
		})
	}
}

// restored loads the snapshot with all that the release knows.
func restored(t *testing.T, dir string, v fcapi.Version) {
	t.Helper()
	ctx, features := t.Context(), v.Features()
	os.Remove(filepath.Join(dir, "v.sock"))
	f, c := start(t, dir, "api2.sock", v)
	load := fcapi.LoadSnapshot{State: "state", Memory: fcapi.MemoryBackend{Type: fcapi.MemoryFile, Path: "memory"}, Resume: true,
		TrackDirtyPages: true, ClockRealtime: features.ClockRealtime, Network: []fcapi.NetworkOverride{{ID: "eth0", Tap: "tap1"}}}
	if features.VsockOverride {
		load.VsockPath = "v.sock"
	}
	if err := c.LoadSnapshot(ctx, load); err != nil {
		t.Fatal(err)
	}
	if want := map[bool]string{true: "track_dirty_pages", false: "enable_diff_snapshots"}[features.TrackDirtyPages]; !strings.Contains(f.LoadedBy, want) {
		t.Errorf("it was asked with %s, want %s in it", f.LoadedBy, want)
	}
	if _, err := ask(dir, "get"); err == nil {
		t.Error("the first connection after a restore lives")
	}
	if got, err := ask(dir, "get"); got != "kept" {
		t.Errorf("the memory holds %q, %v", got, err)
	}
	if err := errors.Join(c.Pause(ctx), c.CreateSnapshot(ctx, fcapi.CreateSnapshot{Diff: true, State: "s2", Memory: "m2"}), c.Resume(ctx)); err != nil {
		t.Fatal(err)
	}
}

func isFault(err error) bool { return errors.As(err, new(*fcapi.FaultError)) }

// What a release does not know is refused before it is sent.
func TestFieldsOfLaterReleases(t *testing.T) {
	dir := files(t)
	_, c := start(t, dir, "api.sock", version(t, "1.15.1"))
	for _, l := range []fcapi.LoadSnapshot{{VsockPath: "v2.sock"}, {ClockRealtime: true}} {
		var unsupported *fcapi.UnsupportedError
		if err := c.LoadSnapshot(t.Context(), l); !errors.As(err, &unsupported) {
			t.Errorf("%+v is answered with %v", l, err)
		}
	}
	// A client that takes the process for a newer one hears it from the process.
	late := fcapi.New(filepath.Join(dir, "api.sock"), version(t, "1.16.0"))
	defer late.Close()
	err := late.LoadSnapshot(t.Context(), fcapi.LoadSnapshot{VsockPath: "v2.sock", Memory: fcapi.MemoryBackend{Type: fcapi.MemoryFile}})
	if !isFault(err) || !strings.Contains(err.Error(), "PUT /snapshot/load") || !strings.Contains(err.Error(), "unknown field `vsock_override`") {
		t.Errorf("the process says %v", err)
	}
}

// 1.16.0 and 1.16.1 do not hear a dialler any more once a paused machine went on.
func TestResumeLosesVsock(t *testing.T) {
	for _, s := range versions {
		dir := files(t)
		v := version(t, s)
		_, c := start(t, dir, "api.sock", v)
		if err := errors.Join(boot(t.Context(), c), c.Resume(t.Context())); err != nil { // nothing to resume: harmless
			t.Fatal(err)
		}
		if _, err := ask(dir, "hello"); err != nil {
			t.Errorf("%v: %v", v, err)
		}
		if err := errors.Join(c.Pause(t.Context()), c.Resume(t.Context())); err != nil {
			t.Fatal(err)
		}
		lost, limit := strings.HasPrefix(s, "1.16."), 10*time.Second
		if lost {
			limit = 50 * time.Millisecond // in which nothing may happen
		}
		if _, err := askWithin(dir, "hello", limit); lost != (err != nil) {
			t.Errorf("%v, paused and resumed: %v", v, err)
		}
		warning, err := v.Check()
		if lost != (warning != "") || lost != v.Features().ResumeLosesVsock || err != nil {
			t.Errorf("%v: warning %q, %v", v, warning, err)
		}
	}
}

func TestVersions(t *testing.T) {
	for said, want := range map[string]string{
		"Firecracker v1.12.1\n\n": "1.12.1", "1.17.0-dev": "1.17.0-dev", "Jailer v1.14.4\n": "1.14.4", "v1.15.0-rc1": "1.15.0-rc1",
	} {
		if v, err := fcapi.ParseVersion(said); err != nil || v.String() != want {
			t.Errorf("%q is %v, %v", said, v, err)
		}
	}
	for _, nonsense := range []string{"", "Firecracker", "v1.2", "99999999999999999999.1.1"} {
		if v, err := fcapi.ParseVersion(nonsense); err == nil {
			t.Errorf("%q is %v", nonsense, v)
		}
	}
	for s, want := range map[string]string{
		"1.11.9": "error", "0.25.2": "error", "1.12.0": "", "1.17.3": "", "1.18.0": "warning", "2.0.0": "warning", "1.16.1": "warning", "1.16.2": "",
	} {
		warning, err := version(t, s).Check()
		if got := map[bool]string{true: "error", false: map[bool]string{true: "warning", false: ""}[warning != ""]}[err != nil]; got != want {
			t.Errorf("%s: %q, %v", s, warning, err)
		}
	}
}

// A call to nobody says so, and which call it was.
func TestNobodyAnswers(t *testing.T) {
	c := fcapi.New(filepath.Join(t.TempDir(), "none"), version(t, "1.12.1"))
	if err := c.Start(t.Context()); err == nil || isFault(err) || !strings.Contains(err.Error(), "PUT /actions") || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
