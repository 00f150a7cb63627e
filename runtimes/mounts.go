package runtimes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thaw/sandbox"
)

// Paths inside the sandbox. Source: AWS Lambda Developer Guide, and recordings of the service's file system.
const (
	langDir    = "/var/lang"    // the interpreter
	runtimeDir = "/var/runtime" // the client
	taskDir    = "/var/task"    // the function
)

// sharedData are files and folders that interpreters and ordinary programs read, at the paths they have on the host:
// certificates, OpenSSL's configuration, time zones, and the links by which Debian chooses between programs (awk).
// /etc/ssl and /etc/pki are never mounted as a whole: they hold the host's private keys.
var sharedData = []string{
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/usr/lib/ssl", "/usr/share/ca-certificates",
	"/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/etc/crypto-policies",
	"/usr/share/zoneinfo", "/etc/alternatives",
}

// mountSet collects mounts, outer targets first, each target once.
type mountSet struct {
	mounts    []sandbox.Mount
	libraries []string
	missing   []string // libraries that a program needs and the host does not have where the loader usually looks
}

func (s *mountSet) add(source, target string) {
	for _, m := range s.mounts {
		if m.Target == target || m.Source == source && strings.HasPrefix(target, m.Target+"/") {
			return
		}
		// Already inside a folder that is mounted at its own path.
		if m.Source == m.Target && source == target && strings.HasPrefix(target, m.Target+"/") {
			return
		}
	}
	s.mounts = append(s.mounts, sandbox.Mount{Source: source, Target: target})
}

// addSame mounts what exists on the host at its own path.
func (s *mountSet) addSame(path string) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		s.add(real, path)
	}
}

// base adds what every runtime gets: the C library with its loader, a shell and the usual programs for those who start
// processes, and sharedData.
func (s *mountSet) base() error {
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		return err
	}
	for _, folder := range libraryFolders()[:4] {
		// The folders of the C library, whole: native modules and child processes want more of it than the interpreter. A folder that
		// is a link to another (merged /usr) is mounted once, under its real name, where the loader looks as well.
		if real, err := filepath.EvalSymlinks(folder); err == nil && isFolder(real) && (real != "/usr/lib64" || hasLibraries(real)) {
			s.add(real, real)
		}
	}
	if err := s.program(shell); err != nil {
		return err
	}
	s.addSame("/usr/bin")
	s.addSame("/bin")
	if err := s.shell(shell); err != nil {
		return err
	}
	for _, p := range sharedData {
		s.addSame(p)
	}
	return nil
}

// shell makes /bin/sh bash, which it is on the service: scripts that begin with #!/bin/sh use pipefail and source
// there, and the host's sh may be one that knows neither. bash called sh keeps to POSIX where the two differ. A host
// without bash goes on with what it has. Source: AWS Lambda Developer Guide, "Building a custom runtime": its bootstrap
// is #!/bin/sh and sets pipefail.
func (s *mountSet) shell(sh string) error {
	bash, err := filepath.EvalSymlinks("/bin/bash")
	if err != nil || bash == sh {
		return nil
	}
	if err := s.program(bash); err != nil {
		return err
	}
	for _, folder := range []string{"/usr/bin", "/bin"} {
		if _, err := os.Stat(folder + "/sh"); err == nil {
			s.add(bash, folder+"/sh")
		}
	}
	return nil
}

// hasLibraries tells a real library folder from Debian's /usr/lib64, which holds only a link to the loader.
func hasLibraries(folder string) bool {
	found, _ := filepath.Glob(filepath.Join(folder, "libc.so.*"))
	return len(found) > 0
}

// program adds what the ELF file at path (on the host) needs to start, without the file itself.
func (s *mountSet) program(path string) error {
	need, err := readLinked(path)
	if err != nil {
		return err
	}
	if need.Loader != "" {
		s.addSame(need.Loader)
	}
	s.missing = append(s.missing, need.Missing...)
	for _, lib := range need.Libraries {
		if !slices.Contains(s.libraries, lib) {
			s.libraries = append(s.libraries, lib)
		}
		folder := filepath.Dir(lib)
		if s.covers(folder) {
			continue
		}
		if underRoots(folder) {
			s.add(folder, folder)
		} else {
			s.add(lib, langDir+"/lib/"+filepath.Base(lib)) // LD_LIBRARY_PATH has that folder
		}
	}
	return nil
}

// covers says whether a host path is inside something that is mounted already.
func (s *mountSet) covers(path string) bool {
	return slices.ContainsFunc(s.mounts, func(m sandbox.Mount) bool {
		return path == m.Source || strings.HasPrefix(path, m.Source+"/")
	})
}

func underRoots(path string) bool {
	return slices.ContainsFunc(sandbox.Roots, func(root string) bool { return strings.HasPrefix(path, root+"/") })
}

// sorted returns the mounts with outer targets before inner ones.
func (s *mountSet) sorted() []sandbox.Mount {
	out := slices.Clone(s.mounts)
	slices.SortStableFunc(out, func(a, b sandbox.Mount) int { return strings.Compare(a.Target, b.Target) })
	return out
}
