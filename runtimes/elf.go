package runtimes

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// linked is what a program needs to start: the loader that the kernel runs first, and the shared libraries that the loader finds.
type linked struct {
	Loader    string   // as the program names it: /lib64/ld-linux-x86-64.so.2; empty for static programs
	Libraries []string // real host paths
	Missing   []string // names of libraries that were not found
}

// libraryFolders are where the loader looks on the distributions we know, in its order.
// Source: ld.so(8); Debian's multiarch folders; Fedora's and SUSE's lib64.
func libraryFolders() []string {
	triplet := machine() + "-linux-gnu"
	return []string{"/lib/" + triplet, "/usr/lib/" + triplet, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}
}

// readLinked resolves the libraries of the ELF file at path, and theirs, as the loader would. A file that is no ELF file has none.
func readLinked(path string) (linked, error) {
	var out linked
	seen := map[string]bool{}
	queue := []string{path}
	for len(queue) > 0 {
		file := queue[0]
		queue = queue[1:]
		interp, needed, folders, err := readDynamic(file)
		if err != nil {
			if file == path && strings.Contains(err.Error(), "bad magic number") {
				return out, nil
			}
			return out, fmt.Errorf("shared libraries of %s: %w", file, err)
		}
		if file == path {
			out.Loader = interp
		}
		for _, name := range needed {
			if seen[name] {
				continue
			}
			seen[name] = true
			found := false
			for _, folder := range slices.Concat(folders, libraryFolders()) {
				real, err := filepath.EvalSymlinks(filepath.Join(folder, name))
				if err != nil {
					continue
				}
				out.Libraries = append(out.Libraries, real)
				queue = append(queue, real)
				found = true
				break
			}
			if !found {
				out.Missing = append(out.Missing, name)
			}
		}
	}
	return out, nil
}

// readDynamic reads the loader, the needed names and the file's own search path.
func readDynamic(path string) (interp string, needed, folders []string, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", nil, nil, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err != nil {
				return "", nil, nil, err
			}
			interp = strings.TrimRight(string(b), "\x00")
		}
	}
	needed, err = f.ImportedLibraries()
	if err != nil {
		needed, err = nil, nil // static
	}
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		values, _ := f.DynString(tag)
		for _, v := range values {
			for _, folder := range strings.Split(v, ":") {
				folder = strings.NewReplacer("$ORIGIN", filepath.Dir(path), "${ORIGIN}", filepath.Dir(path)).Replace(folder)
				folders = append(folders, filepath.Clean(folder))
			}
		}
	}
	return interp, needed, folders, err
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
