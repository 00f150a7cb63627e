package outer

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// File is a file or folder of this host that is in the machine too.
type File struct{ Here, There string }

// Where things are in the machine.
const (
	programThere = "/test/program"
	workThere    = "/test/work" // the working folder, with testdata
	jobThere     = "/test/job"  // argsFile, varsFile and backFile: strings that end in NUL
	modulesThere = "/modules"   // in the order of loading

	argsFile = jobThere + "/args"
	varsFile = jobThere + "/vars"
	backFile = jobThere + "/back"
	kindFile = jobThere + "/kind"
)

// initramfs packs what the machine begins with.
func (m Machine) initramfs(j Job) (*os.File, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	busybox, err := staticBusybox()
	if err != nil {
		return nil, err
	}
	for _, p := range []string{self, j.Program} {
		if err := static(p); err != nil {
			return nil, err
		}
	}
	return memoryFile("initramfs", func(w io.Writer) error {
		a := newArchive(w)
		a.Device(a.inside("dev/console"), 0o600, 5, 1) // without it the init has no output
		a.file("init", self)
		a.file("bin/busybox", busybox)
		for i, module := range m.Modules {
			a.file(fmt.Sprintf("%s/%02d-%s", modulesThere, i, filepath.Base(module)), module)
		}
		a.file(programThere, j.Program)
		a.folder(workThere)
		a.strings(argsFile, j.Args)
		a.strings(varsFile, j.Vars)
		a.strings(kindFile, []string{string(m.Kind)})
		var back []string
		for _, b := range j.Back {
			back = append(back, b.There)
		}
		a.strings(backFile, back)
		if j.Dir != "" {
			a.tree(workThere+"/testdata", filepath.Join(j.Dir, "testdata"))
		}
		for _, f := range j.Files {
			if _, err := os.Lstat(f.Here); err != nil {
				return err
			}
			a.tree(f.There, f.Here)
		}
		return a.Close()
	})
}

// static says what is wrong with an executable that needs libraries of this host.
func static(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static: build it with CGO_ENABLED=0", program)
		}
	}
	return nil
}

// staticBusybox is the path of Debian's busybox that needs no library.
func staticBusybox() (string, error) {
	p, err := exec.LookPath("busybox")
	if err == nil {
		err = static(p)
	}
	if err != nil {
		return "", errors.New("no static busybox (Debian package busybox-static)")
	}
	return p, nil
}

var libraryPath = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x`)

// Program is a command of this host with the libraries that it is linked with.
func Program(command string) ([]File, error) {
	p, err := exec.LookPath(command)
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return nil, err
	}
	files := []File{{real, p}}
	if static(real) == nil {
		return files, nil
	}
	out, err := exec.Command("ldd", real).Output()
	if err != nil {
		return nil, fmt.Errorf("libraries of %s: %w", p, err)
	}
	for _, m := range libraryPath.FindAllSubmatch(out, -1) {
		lib, err := filepath.EvalSymlinks(string(m[1]))
		if err != nil {
			return nil, err
		}
		files = append(files, File{lib, string(m[1])})
	}
	return files, nil
}
