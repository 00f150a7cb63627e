// Command gen computes the seccomp filters that thaw-sandbox carries, for the architecture it runs on.
//
//	go generate ./cmd/thaw-sandbox/internal/agent
//
// It takes half a minute: gVisor offers only all variants at once.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/pkg/sentry/platform"
	fconfig "gvisor.dev/gvisor/runsc/boot/filter/config"

	"thaw/cmd/thaw-sandbox/internal/agent/seccompfile"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// wanted are the keys of our sandboxes' options: the systrap platform, gVisor's own network stack, files through the gofer only.
func wanted() (map[string]bool, error) {
	c, err := platform.Lookup("systrap")
	if err != nil {
		return nil, err
	}
	keys := make(map[string]bool)
	for _, info := range c.PrecompiledSeccompInfo() {
		keys[fconfig.Options{Platform: info}.ConfigKey()] = true
	}
	return keys, nil
}

func generate(path string) error {
	keys, err := wanted()
	if err != nil {
		return err
	}
	all, err := fconfig.PrecompiledPrograms()
	if err != nil {
		return err
	}
	var keep []precompiledseccomp.Program
	for _, p := range all {
		if keys[strings.TrimSpace(p.Name)] {
			keep = append(keep, p)
		}
	}
	if len(keep) != len(keys) {
		return fmt.Errorf("%d of %d filters found", len(keep), len(keys))
	}
	release := seccompfile.Gvisor()
	if release == "" {
		return errors.New("this program does not know its release of gVisor")
	}
	b, err := seccompfile.Encode(seccompfile.File{Gvisor: release, Programs: keep})
	if err != nil {
		return err
	}
	for _, p := range keep {
		fmt.Println(p.Name)
	}
	return os.WriteFile(path, b, 0o644)
}
