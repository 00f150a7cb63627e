package fcapi

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
)

// Version is a release of Firecracker. Its jailer has the same.
type Version struct {
	Major, Minor, Patch int
	Pre                 string // "dev" of 1.17.0-dev; empty: a release
}

// Releases between Oldest and Newest are known: what they take and what is wrong with them.
var (
	Oldest = Version{Major: 1, Minor: 12}
	Newest = Version{Major: 1, Minor: 17}
)

var versionForm = regexp.MustCompile(`\bv?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?`)

// ParseVersion reads what the API says (1.12.1), or what firecracker and jailer print (Firecracker v1.12.1).
func ParseVersion(s string) (Version, error) {
	m := versionForm.FindStringSubmatch(s)
	if m == nil {
		return Version{}, fmt.Errorf("no version of Firecracker: %.100q", s)
	}
	v := Version{Pre: m[4]}
	for i, to := range []*int{&v.Major, &v.Minor, &v.Patch} {
		n, err := strconv.Atoi(m[1+i])
		if err != nil {
			return Version{}, fmt.Errorf("version of Firecracker: %w", err)
		}
		*to = n
	}
	return v, nil
}

func (v Version) String() string {
	s := fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	if v.Pre != "" {
		s += "-" + v.Pre
	}
	return s
}

// Compare orders versions. What comes before a release counts as the release: it has the same fields.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch))
}

func (v Version) atLeast(major, minor, patch int) bool {
	return v.Compare(Version{Major: major, Minor: minor, Patch: patch}) >= 0
}

// Check refuses what is too old. The warning is for the operator; it is empty where all is well.
func (v Version) Check() (warning string, err error) {
	switch newer := v.Major > Newest.Major || v.Major == Newest.Major && v.Minor > Newest.Minor; {
	case !v.atLeast(Oldest.Major, Oldest.Minor, 0):
		return "", fmt.Errorf("firecracker %v is too old: %d.%d or newer is needed", v, Oldest.Major, Oldest.Minor)
	case newer:
		return fmt.Sprintf("Firecracker %v is newer than %d.%d, the newest that is known here", v, Newest.Major, Newest.Minor), nil
	case v.Features().ResumeLosesVsock:
		return fmt.Sprintf("Firecracker %v loses the machine's ports when a paused machine goes on: use 1.15, or 1.17 and newer", v), nil
	}
	return "", nil
}

// Features are what releases differ in, as far as it matters here. Sources: Firecracker's CHANGELOG.md and
// src/vmm/src/vmm_config/snapshot.rs of each release; 1.12.1 was asked itself.
type Features struct {
	NetworkOverrides bool // of /snapshot/load, since 1.12
	TrackDirtyPages  bool // of /snapshot/load, since 1.13; before, the field is enable_diff_snapshots
	UntrackedDiff    bool // a snapshot of the type Diff without tracking of dirty pages, since 1.13
	Serial           bool // /serial, since 1.14
	VsockOverride    bool // of /snapshot/load, since 1.16
	ClockRealtime    bool // of /snapshot/load, since 1.16; before, KVM's clock always goes on by the age of a snapshot (#5809)

	// ResumeLosesVsock: after Paused and Resumed nobody gets through to the guest's ports. 1.16.0 and 1.16.1; #6100.
	ResumeLosesVsock bool
}

// Features of the version. A newer one than is known has what the newest known one has.
func (v Version) Features() Features {
	return Features{
		NetworkOverrides: v.atLeast(1, 12, 0),
		TrackDirtyPages:  v.atLeast(1, 13, 0),
		UntrackedDiff:    v.atLeast(1, 13, 0),
		Serial:           v.atLeast(1, 14, 0),
		VsockOverride:    v.atLeast(1, 16, 0),
		ClockRealtime:    v.atLeast(1, 16, 0),
		ResumeLosesVsock: v.Major == 1 && v.Minor == 16 && v.Patch <= 1,
	}
}
