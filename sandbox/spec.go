package sandbox

import (
	"fmt"
	"path"
	"strings"
)

// Check refuses what no backend promises: other names than those of an ID, mounts out of Roots.
func (s Spec) Check() error {
	if !s.ID.valid() {
		return fmt.Errorf("sandbox name %q: only lower-case letters, digits and hyphens", s.ID)
	}
	for _, m := range s.Mounts {
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

func (id ID) valid() bool {
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return id != ""
}

func (m Mount) check() error {
	if !path.IsAbs(m.Source) || path.Clean(m.Target) != m.Target {
		return fmt.Errorf("mount %s at %s: paths must be absolute and clean", m.Source, m.Target)
	}
	for _, r := range Roots {
		if m.Target == r || strings.HasPrefix(m.Target, r+"/") {
			return nil
		}
	}
	return fmt.Errorf("mount %s at %s: no folder for it", m.Source, m.Target)
}
