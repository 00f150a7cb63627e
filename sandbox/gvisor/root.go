package gvisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"thaw/sandbox"
	"thaw/sandbox/host/etc"
)

// guestPath is where the guest's program is inside. It is under none of sandbox.Roots: a folder that the sandbox has looked into
// before a mount covers it would go on showing its old self.
const guestPath = "/.thaw/guest"

// skeleton holds, once per backend, the files that every root has a hard link to.
type skeleton struct {
	dir   string
	links map[string]string // path inside -> file
}

// makeSkeleton writes the files into dir. guest is copied: the file that a running sandbox executes must not change under it.
func makeSkeleton(dir, guest string, dns []netip.Addr) (*skeleton, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("skeleton: %w", err)
	}
	s := &skeleton{dir: dir, links: make(map[string]string)}
	files, err := etc.Files(dns)
	if err != nil {
		return nil, err
	}
	for inside, text := range files {
		if err := s.add(inside, bytes.NewReader(text), 0o644); err != nil {
			return nil, err
		}
	}
	if file, ok := s.links[etc.Certificates]; ok {
		s.links[etc.CertificatesToo] = file
	}
	f, err := os.Open(guest)
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	defer f.Close()
	return s, s.add(guestPath, f, 0o755)
}

func (s *skeleton) add(inside string, r io.Reader, mode os.FileMode) error {
	path := filepath.Join(s.dir, fmt.Sprint(len(s.links)))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("skeleton: %w", err)
	}
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return fmt.Errorf("skeleton: %w", err)
	}
	s.links[inside] = path
	return nil
}

// makeRoot makes the root of one sandbox: folders to mount on, and the skeleton's files.
func (s *skeleton) makeRoot(root string) error {
	dirs := append([]string{"/proc", "/sys", "/dev", "/tmp", "/root", "/home/" + etc.UserName}, sandbox.Roots...)
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	for inside, file := range s.links {
		p := filepath.Join(root, inside)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return fmt.Errorf("root: %w", err)
		}
		if err := os.Link(file, p); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	return nil
}

// writeSpec writes the config.json of a sandbox: the same for every one but for the path of its root and of the folder that holds the file with /tmp.
func writeSpec(bundle, root, tmp string) error {
	b, err := json.Marshal(newSpec(root, tmp))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), b, 0o600); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	return nil
}

func newSpec(root, tmp string) specs.Spec {
	// What PID 1 may do, inside the sandbox's own kernel only: mount /tmp, become the function's user, end any process.
	caps := []string{"CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE",
		"CAP_SYS_RESOURCE", "CAP_SYS_PTRACE", "CAP_SYS_TIME", "CAP_NET_BIND_SERVICE"}
	return specs.Spec{
		Version:  "1.2.0",
		Hostname: etc.HostName,
		Root:     &specs.Root{Path: root, Readonly: true},
		Process: &specs.Process{
			Args:         []string{guestPath},
			Env:          []string{"PATH=/usr/local/bin:/usr/bin:/bin", "GODEBUG=asynctimerchan=0"},
			Cwd:          "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/tmp", Type: "bind", Source: tmp, Options: []string{"rw"}},
		},
		// The mount above is a tmpfs kept in a file in that folder, not the folder. Source: gVisor, runsc/boot/mount_hints.go.
		Annotations: map[string]string{
			"dev.gvisor.spec.mount.tmp.source": tmp,
			"dev.gvisor.spec.mount.tmp.type":   "tmpfs",
			"dev.gvisor.spec.mount.tmp.share":  "container",
		},
		Linux: &specs.Linux{
			// netstack reads it: no IPv6 inside.
			Sysctl: map[string]string{"net.ipv6.conf.all.disable_ipv6": "1"},
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
			},
		},
	}
}

// mountsImages says whether the host has what images are mounted with.
func mountsImages() bool {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil || !slices.Contains(strings.Fields(string(known)), "erofs") {
		return false
	}
	_, err = os.Stat("/dev/loop-control")
	return err == nil
}
