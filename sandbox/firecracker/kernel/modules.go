package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxModule bounds a module that is unpacked: the largest has 10 MB.
const maxModule = 64 << 20

// module is one that is to be loaded.
type module struct {
	name  string
	bytes []byte
}

// order returns the modules with those they depend on before them. Dependencies are those that the modules name
// themselves: a package has no modules.dep, which depmod makes when it is installed.
func order(c contents, names []string) ([]module, error) {
	var out []module
	state := make(map[string]int) // 1: its dependencies are being looked up, 2: done
	var add func(name, by string) error
	add = func(name, by string) error {
		file, ok := c.modules[name]
		switch {
		case state[name] == 2 || !ok && c.builtin[name]:
			return nil
		case state[name] == 1:
			return fmt.Errorf("modules %s and %s depend on each other", name, by)
		case !ok:
			return fmt.Errorf("module %s, which %s needs, is neither in the package nor in the kernel", name, by)
		}
		state[name] = 1
		b, err := readModule(file)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		deps, err := depends(b)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, d := range deps {
			if err := add(d, name); err != nil {
				return err
			}
		}
		state[name] = 2
		out = append(out, module{name, b})
		return nil
	}
	for _, n := range names {
		if err := add(n, "the guest"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readModule(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, ending, _ := strings.Cut(filepath.Base(file), ".ko")
	r, err := open(f, ending)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(b) > maxModule {
		err = fmt.Errorf("more than %d bytes", maxModule)
	}
	return b, err
}

// depends reads a module's own list of the modules it needs. Its section .modinfo holds words KEY=VALUE that end in zero.
func depends(b []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("no section .modinfo")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	for word := range bytes.SplitSeq(info, []byte{0}) {
		list, ok := strings.CutPrefix(string(word), "depends=")
		if !ok || list == "" {
			continue
		}
		names := strings.Split(list, ",")
		for i, n := range names {
			names[i] = strings.ReplaceAll(n, "-", "_")
		}
		return names, nil
	}
	return nil, nil
}
