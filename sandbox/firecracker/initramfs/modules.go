package initramfs

import (
	"debug/elf"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// order lists the modules of a folder so that each comes after those it needs, by the names of their files.
func order(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	files := map[string]string{} // by the kernel's name for the module
	needs := map[string][]string{}
	var all []string
	for _, p := range paths {
		file := strings.TrimSuffix(filepath.Base(p), ".ko")
		name, deps, err := describe(p)
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", file, err)
		}
		needs[name] = deps
		files[name] = file
		all = append(all, name)
	}
	var ordered []string
	begun := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		if begun[name] {
			return nil
		}
		begun[name] = true
		for _, n := range needs[name] {
			if files[n] == "" {
				return fmt.Errorf("module %s needs %s, which is not in %s", name, n, dir)
			}
			if err := add(n); err != nil {
				return err
			}
		}
		ordered = append(ordered, files[name])
		return nil
	}
	for _, name := range all {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// describe reads how the kernel calls a module, whatever its file is called, and which others it needs. What the kernel
// has built in is not among them.
func describe(path string) (name string, needs []string, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return "", nil, fmt.Errorf("%s is no module of a kernel", path)
	}
	info, err := section.Data()
	if err != nil {
		return "", nil, err
	}
	for _, line := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			needs = strings.Split(list, ",")
		}
		if n, ok := strings.CutPrefix(line, "name="); ok {
			name = n
		}
	}
	if name == "" {
		return "", nil, fmt.Errorf("%s does not say its name", path)
	}
	return name, needs, nil
}
