package install

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is what is known of a release of Firecracker.
type Version struct {
	Name  string
	Tried bool   // thaw's suite ran with it
	Trap  string // what to know about it; empty: nothing
	old   bool
	alien bool
}

// Least and Most are the releases that are known, by their minor numbers.
const (
	least = 12
	most  = 17
)

// Known says what is known of a version.
func Known(name string) Version {
	v := Version{Name: name, Tried: name == "1.12.1"}
	part := strings.SplitN(name, ".", 3)
	if len(part) < 3 || part[0] != "1" {
		v.alien = true
		return v
	}
	minor, err := strconv.Atoi(part[1])
	switch {
	case err != nil:
		v.alien = true
	case minor < least:
		v.old = true
	case minor > most:
		v.Trap = fmt.Sprintf("newer than 1.%d, the last that is known", most)
	case name == "1.16.0" || name == "1.16.1":
		// Source: Firecracker's repository, issue 6100.
		v.Trap = "after a pause without a snapshot its host no longer reaches the guest; thaw pauses for snapshots only"
	case !v.Tried:
		v.Trap = "known, and not tried with thaw; 1.12.1 is"
	}
	return v
}

func (v Version) refused() error {
	switch {
	case v.alien:
		return fmt.Errorf("no version of Firecracker: %q", v.Name)
	case v.old:
		return fmt.Errorf("version %s is too old: restores need 1.%d or later", v.Name, least)
	}
	return nil
}
