package images

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thaw/guest/control"
	"thaw/sandbox"
)

// group is the mounts that share one image.
type group struct {
	what    string   // for errors: system, runtime, task, opt
	sources []string // absolute paths without symbolic links, none inside another
	whole   bool     // the one source, a folder, is the root of the image itself
}

// place is where a mount's source is.
type place struct {
	group int    // index; -1: an image of its own
	image string // then
	path  string // in the image's file system
}

// Groups in the order of their drives. A machine's system and its runtime are apart because runtimes share the former:
// on a host with many libraries it has a gigabyte.
var groupNames = []string{"system", "runtime", "task", "opt"}

func groupOf(target string) int {
	for i, roots := range [][]string{{"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc"}, nil, {"/var/task"}, {"/opt"}} {
		for _, r := range roots {
			if target == r || strings.HasPrefix(target, r+"/") {
				return i
			}
		}
	}
	return 1 // runtime: /var/lang, /var/runtime, /run/thaw
}

// arrange sorts mounts into groups, by paths alone but for the symbolic links of the sources, which a mount follows, too.
// A source that is inside another of its group, or the same, is in the image once.
func arrange(mounts []sandbox.Mount) (groups []group, places []place, err error) {
	real := make([]string, len(mounts))
	members := make([][]string, len(groupNames))
	for i, m := range mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) {
			return nil, nil, fmt.Errorf("mount of %q at %q: both must be absolute", m.Source, m.Target)
		}
		if real[i], err = filepath.EvalSymlinks(m.Source); err != nil {
			return nil, nil, fmt.Errorf("mount at %s: %w", m.Target, err)
		}
		if g := groupOf(m.Target); !m.Image && !slices.Contains(members[g], real[i]) {
			members[g] = append(members[g], real[i])
		}
	}
	index := make([]int, len(groupNames))
	for g, sources := range members {
		sources = slices.DeleteFunc(slices.Clone(sources), func(s string) bool { return outer(sources, s) != s })
		if len(sources) == 0 {
			continue
		}
		index[g] = len(groups)
		info, err := os.Stat(sources[0])
		if err != nil {
			return nil, nil, err
		}
		groups = append(groups, group{what: groupNames[g], sources: sources, whole: len(sources) == 1 && info.IsDir()})
	}
	for i, m := range mounts {
		if m.Image {
			places = append(places, place{group: -1, image: real[i], path: "/"})
			continue
		}
		g := index[groupOf(m.Target)]
		places = append(places, place{group: g, path: groups[g].pathOf(real[i])})
	}
	return groups, places, nil
}

// outer is the shortest of the paths that a path is in; itself when it is in no other.
func outer(paths []string, p string) string {
	best := p
	for _, o := range paths {
		if strings.HasPrefix(p, strings.TrimSuffix(o, "/")+"/") && len(o) < len(best) {
			best = o
		}
	}
	return best
}

// pathOf is where a source of the group, or what is inside one, is in the image.
func (g group) pathOf(source string) string {
	in := outer(g.sources, source)
	inside := strings.TrimPrefix(strings.TrimPrefix(source, in), "/")
	if g.whole {
		return path.Join("/", inside)
	}
	return path.Join("/", entryName(slices.Index(g.sources, in)), inside)
}

func (g group) key() string { return g.what + "\x00" + strings.Join(g.sources, "\x00") }

// entryName names a source in the root of an image of several.
func entryName(i int) string { return strconv.Itoa(i) }

// controlMounts says what the guest mounts of the drives: outer targets first.
func controlMounts(mounts []sandbox.Mount, places []place, driveOf func(place) int) []control.Mount {
	out := make([]control.Mount, len(mounts))
	for i, m := range mounts {
		out[i] = control.Mount{Drive: driveOf(places[i]), Path: places[i].path, Target: path.Clean(m.Target)}
	}
	slices.SortStableFunc(out, func(a, b control.Mount) int {
		return cmp.Compare(strings.Count(a.Target, "/"), strings.Count(b.Target, "/"))
	})
	return out
}
