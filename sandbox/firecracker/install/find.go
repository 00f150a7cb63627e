package install

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"thaw/sandbox/firecracker/fcapi"
	"thaw/sandbox/firecracker/vmm"
)

// Choice is what somebody names instead of what is installed; empty: nothing. Firecracker and Jailer go together.
type Choice struct {
	Firecracker, Jailer, Kernel string
}

// Programs are firecracker and its jailer.
type Programs struct {
	Firecracker, Jailer string // absolute paths without links
	Version             fcapi.Version
	Warning             string // what to know about the version; empty: nothing
	Source              string
}

// Kernel is one for guests.
type Kernel struct {
	Path    string // absolute, without links: an ELF vmlinux
	Modules string // folder of what the guest loads, NAME.ko; empty: all is built in
	Version string
	Source  string
}

// Found is what microVMs here would be made of.
type Found struct {
	Programs Programs
	Kernel   Kernel
	// Why not: nil where it is there and may be used, else a *vmm.MissingError.
	NoPrograms, NoKernel error
}

// Err says what is missing of it.
func (f Found) Err() error { return errors.Join(f.NoPrograms, f.NoKernel) }

// Find looks for what was chosen, and else for what is installed in dir. hint is the command that installs.
func Find(ctx context.Context, dir string, c Choice, hint string) Found {
	var f Found
	f.Programs, f.NoPrograms = findPrograms(ctx, dir, c, hint)
	f.Kernel, f.NoKernel = FindKernel(dir, c.Kernel, hint)
	return f
}

func findPrograms(ctx context.Context, dir string, c Choice, hint string) (Programs, error) {
	p := Programs{Firecracker: c.Firecracker, Jailer: c.Jailer, Source: "chosen"}
	switch {
	case (c.Firecracker == "") != (c.Jailer == ""):
		return p, &vmm.MissingError{What: "firecracker and jailer are chosen together, and one is not", Hint: "thaw server --firecracker PATH --jailer PATH"}
	case c.Firecracker == "":
		s, err := openSet(dir, programs)
		if errors.Is(err, os.ErrNotExist) {
			return p, &vmm.MissingError{What: "firecracker and jailer are not installed", Hint: hint}
		}
		if err != nil {
			return p, &vmm.MissingError{What: err.Error(), Hint: hint}
		}
		p = Programs{Firecracker: filepath.Join(s.dir, "firecracker"), Jailer: filepath.Join(s.dir, "jailer"), Source: s.Source}
	}
	for _, path := range []*string{&p.Firecracker, &p.Jailer} {
		real, err := realPath(*path)
		if err != nil {
			return p, &vmm.MissingError{What: err.Error(), Hint: hint}
		}
		*path = real
	}
	var err error
	if p.Version, p.Warning, err = pairVersion(ctx, p.Firecracker, p.Jailer); err != nil {
		return p, &vmm.MissingError{What: err.Error(), Hint: hint}
	}
	return p, nil
}

func realPath(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// FindKernel looks for a chosen kernel, and else for the one that is installed in dir.
func FindKernel(dir, chosen, hint string) (Kernel, error) {
	if chosen != "" {
		path, err := realPath(chosen)
		if err == nil {
			err = bootable(path)
		}
		if err != nil {
			return Kernel{}, &vmm.MissingError{What: err.Error(), Hint: hint + " --kernel " + chosen}
		}
		return Kernel{Path: path, Version: filepath.Base(path), Source: "chosen; all that guests need must be built in"}, nil
	}
	s, err := openSet(dir, kernels)
	if errors.Is(err, os.ErrNotExist) {
		return Kernel{}, &vmm.MissingError{What: "no kernel for guests is installed", Hint: hint}
	}
	if err != nil {
		return Kernel{}, &vmm.MissingError{What: err.Error(), Hint: hint}
	}
	k := Kernel{Path: filepath.Join(s.dir, "vmlinux"), Version: s.Version, Source: s.Source}
	for name := range s.Files {
		if folder, _, below := strings.Cut(name, "/"); below {
			k.Modules = filepath.Join(s.dir, folder)
		}
	}
	return k, nil
}

// bootable says whether a file is a kernel as monitors take it.
func bootable(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is no uncompressed kernel (an ELF vmlinux): %w", path, err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("%s is no kernel for x86-64", path)
	}
	return nil
}
