package kernel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"thaw/internal/cleanup"
	"thaw/internal/filelock"
	"thaw/sandbox/firecracker/vmm"
)

// Debian returns the kernel that the package meta (Cloud, Ordinary) stands for today. The first call for a version
// downloads some 27 MB with apt-get, which checks them, and needs no root; it is kept below the folder cache, which
// several processes may share. Without a network the newest that is kept serves. Its modules are those that a guest needs,
// and further ones by name.
func Debian(ctx context.Context, cache, meta string, further ...string) (Kernel, error) {
	modules := slices.Concat(wanted, further)
	name, version, err := current(ctx, meta)
	if err != nil {
		if k, ok := kept(cache, meta, modules); ok {
			return k, nil
		}
		return Kernel{}, err
	}
	dir := filepath.Join(cache, folder(meta, name, version, modules))
	if k, err := load(dir); err == nil {
		return k, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Kernel{}, fmt.Errorf("kernel: %w", err)
	}
	lock, err := filelock.Wait(ctx, filepath.Join(cache, "lock"), nil)
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel: %w", err)
	}
	defer lock.Close()
	if k, err := load(dir); err == nil { // another process has made it meanwhile
		return k, nil
	}
	if err := fetch(ctx, cache, dir, meta, name, version, modules); err != nil {
		if k, ok := kept(cache, meta, modules); ok {
			return k, nil
		}
		return Kernel{}, fmt.Errorf("kernel %s %s: %w", name, version, err)
	}
	return load(dir)
}

// current asks apt which package a meta package depends on.
func current(ctx context.Context, meta string) (name, version string, err error) {
	show := func(pkg string) (string, error) {
		out, err := exec.CommandContext(ctx, "apt-cache", "show", "--no-all-versions", pkg).Output()
		if errors.Is(err, exec.ErrNotFound) {
			return "", &vmm.MissingError{What: "this is no Debian: there is no apt-cache to find the kernel's package by"}
		}
		if err != nil || len(bytes.TrimSpace(out)) == 0 {
			return "", &vmm.MissingError{What: "Debian's package " + pkg + " is unknown here", Hint: "apt-get update"}
		}
		return string(out), nil
	}
	about, err := show(meta)
	if err != nil {
		return "", "", err
	}
	if name = dependency(about); name == "" {
		return "", "", &vmm.MissingError{What: "Debian's package " + meta + " names no kernel"}
	}
	if about, err = show(name); err != nil {
		return "", "", err
	}
	version = field(about, "Version")
	if !plain.MatchString(name) || !plain.MatchString(version) {
		return "", "", fmt.Errorf("kernel: package %q in version %q", name, version)
	}
	return name, version, nil
}

// plain are names and versions of packages, which become names of folders. Source: Debian Policy, 5.6.7 and 5.6.12.
var plain = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9.+~:-]*$`)

// dependency is the kernel's package among those that a meta package depends on.
func dependency(about string) string {
	for d := range strings.SplitSeq(field(about, "Depends"), ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(d), " "); strings.HasPrefix(name, "linux-image-") {
			return name
		}
	}
	return ""
}

func field(about, name string) string {
	for s := bufio.NewScanner(strings.NewReader(about)); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// folder is where a kernel is kept. The modules are part of the name: a later thaw may want others.
func folder(meta, name, version string, modules []string) string {
	sum := sha256.Sum256([]byte(strings.Join(modules, " ")))
	return fmt.Sprintf("%s_%s_%s_%s", meta, name, version, hex.EncodeToString(sum[:4]))
}

// fetch unpacks a package to dir, whole or not at all.
func fetch(ctx context.Context, cache, dir, meta, name, version string, modules []string) error {
	left, _ := filepath.Glob(filepath.Join(cache, "part-*")) // of a process that was killed: the lock is ours
	for _, d := range left {
		os.RemoveAll(d)
	}
	work, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	deb := filepath.Join(cache, fmt.Sprintf("%s_%s_%s.deb", meta, name, version))
	if _, err := os.Stat(deb); err != nil {
		if err := download(ctx, work, name+"="+version, deb); err != nil {
			return err
		}
	}
	others, _ := filepath.Glob(filepath.Join(cache, meta+"_*.deb"))
	for _, o := range others { // versions that apt no longer offers
		if o != deb {
			os.Remove(o)
		}
	}
	made := filepath.Join(work, "kernel")
	if err := Unpack(deb, made, modules...); err != nil {
		os.Remove(deb) // whatever is wrong with it
		return err
	}
	os.RemoveAll(dir) // of another form: it was not loaded
	return os.Rename(made, dir)
}

// download brings a package to a path, whole. It is kept for whoever wants other modules of it.
func download(ctx context.Context, work, pkg, to string) error {
	cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", pkg)
	cmd.Dir = work
	cmd.WaitDelay = time.Second // what apt-get has started keeps its output open
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get download: %w: %s", err, lastLine(out))
	}
	debs, _ := filepath.Glob(filepath.Join(work, "*.deb"))
	if len(debs) != 1 {
		return fmt.Errorf("apt-get download left %d packages", len(debs))
	}
	return os.Rename(debs[0], to)
}

// Unpack makes a folder of a kernel's package: the ELF file, and the modules in the order in which they are loaded;
// without names, those that a guest needs.
func Unpack(deb, dir string, which ...string) error {
	if len(which) == 0 {
		which = wanted
	}
	f, err := os.Open(deb)
	if err != nil {
		return err
	}
	defer f.Close()
	var undo cleanup.Stack
	defer undo.Run()
	raw := dir + ".raw"
	if err := os.Mkdir(raw, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(raw)
	c, err := extract(f, raw)
	if err != nil {
		return err
	}
	modules, err := order(c, which)
	if err != nil {
		return err
	}
	image, err := os.ReadFile(c.image)
	if err != nil {
		return err
	}
	vmlinux, err := Carve(image)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "modules"), 0o755); err != nil {
		return err
	}
	undo.Add(func() error { return os.RemoveAll(dir) })
	var names []string
	for _, m := range modules {
		names = append(names, m.name+".ko")
		if err := write(filepath.Join(dir, "modules", m.name+".ko"), bytes.NewReader(m.bytes)); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(dir, orderFile), strings.NewReader(strings.Join(names, "\n"))); err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "vmlinux"), bytes.NewReader(vmlinux)); err != nil {
		return err
	}
	undo.Keep()
	return nil
}

// orderFile is the file of a folder that lists its modules.
const orderFile = "modules.order"

// load reads a folder that Unpack has made.
func load(dir string) (Kernel, error) {
	k := Kernel{Vmlinux: filepath.Join(dir, "vmlinux")}
	if p := strings.Split(filepath.Base(dir), "_"); len(p) == 4 {
		k.Name, k.Version = p[1], p[2]
	}
	if _, err := os.Stat(k.Vmlinux); err != nil {
		return Kernel{}, err
	}
	names, err := os.ReadFile(filepath.Join(dir, orderFile))
	for _, name := range strings.Fields(string(names)) {
		k.Modules = append(k.Modules, filepath.Join(dir, "modules", name))
	}
	return k, err
}

// kept is the newest kernel of a meta package that an earlier call has left.
func kept(cache, meta string, modules []string) (Kernel, bool) {
	dirs, _ := filepath.Glob(filepath.Join(cache, folder(meta, "*", "*", modules)))
	slices.SortFunc(dirs, func(a, b string) int { return modified(b).Compare(modified(a)) })
	for _, d := range dirs {
		if k, err := load(d); err == nil {
			return k, true
		}
	}
	return Kernel{}, false
}

func modified(path string) time.Time {
	if fi, err := os.Stat(path); err == nil {
		return fi.ModTime()
	}
	return time.Time{}
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
