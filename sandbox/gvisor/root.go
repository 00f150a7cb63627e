package gvisor

import (
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
	"thaw/sandbox/host/network"
)

// Whom functions run as. Source: recordings of the real service.
const (
	userName = "sbx_user1051"
	userID   = 993
	groupID  = 990
)

// guestPath is where the guest's program is inside. It is under none of sandbox.Roots: a folder that the sandbox has looked into
// before a mount covers it would go on showing its old self.
const guestPath = "/.thaw/guest"

// bundles of certificate authorities, in the order in which Go's crypto/x509 looks for them.
var certBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

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
	var resolv strings.Builder
	for _, a := range dns {
		fmt.Fprintf(&resolv, "nameserver %s\n", a)
	}
	texts := map[string]string{
		"/etc/passwd":        fmt.Sprintf("root:x:0:0:root:/root:/sbin/nologin\n%s:x:%d:%d::/home/%s:/sbin/nologin\n", userName, userID, groupID, userName),
		"/etc/group":         fmt.Sprintf("root:x:0:\n%s:x:%d:\n", userName, groupID),
		"/etc/hosts":         fmt.Sprintf("127.0.0.1 localhost sandbox.localdomain sandbox\n%s %s\n", network.Gateway, network.HostName),
		"/etc/hostname":      "sandbox\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"/etc/resolv.conf":   resolv.String(),
	}
	for inside, text := range texts {
		if err := s.add(inside, strings.NewReader(text), 0o644); err != nil {
			return nil, err
		}
	}
	for _, p := range certBundles {
		f, err := os.Open(p)
		if err != nil {
			continue
		}
		// Where the tools and runtimes of Debian and of Amazon Linux look.
		err = s.add("/etc/ssl/certs/ca-certificates.crt", f, 0o644)
		f.Close()
		if err != nil {
			return nil, err
		}
		s.links["/etc/pki/tls/certs/ca-bundle.crt"] = s.links["/etc/ssl/certs/ca-certificates.crt"]
		break
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
	dirs := append([]string{"/proc", "/sys", "/dev", "/tmp", "/root", "/home/" + userName}, sandbox.Roots...)
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
		Hostname: "sandbox",
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
