package runtimes

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"thaw/sandbox"
)

// localeDir is where the C library looks for locales: the path is compiled into it, and is this one in all
// distributions we know.
const localeDir = "/usr/lib/locale"

// localeData holds C.utf8 and en_US.utf8 (which LANG names, as on the service), compiled. They are carried, and not
// made on the host or taken from it: a slim host has no localedef, no sources and often no locale at all, and a
// function must not sort and print otherwise on each host. The C library's format for compiled locales has been the
// same since 2.27; its releases 2.31, 2.36, 2.41 and 2.43 were seen to load these files. A later one that asks for more
// would refuse them, and then behaves as if there were none.
//
//go:embed locale/locale.tar.zst
var localeData []byte

// oldestLocaleFormat is the release (2.27) from which on the C library takes our files. An older one ends the process
// by an assertion when it finds entries that it does not know. Source: glibc, locale/loadlocale.c.
const oldestLocaleFormat = 27

// addLocales shows the sandbox our locales instead of the host's.
func (r *Registry) addLocales(mounts []sandbox.Mount) ([]sandbox.Mount, error) {
	for _, m := range mounts { // a folder of the host that is mounted whole must have the place for it
		if rest, ok := strings.CutPrefix(localeDir, m.Target+"/"); ok && !isFolder(filepath.Join(m.Source, rest)) {
			return mounts, nil
		}
	}
	set := mountSet{mounts: mounts}
	if v := hostGlibc(); v != 0 && v < oldestLocaleFormat {
		set.addSame(localeDir)
		return set.sorted(), nil
	}
	dir, err := r.localeFolder(nil)
	if err != nil {
		return nil, err
	}
	set.add(dir, localeDir)
	return set.sorted(), nil
}

// Mounts are the plan's mounts for a function with these variables: where they name a further locale with UTF-8, there
// is one of this name. Its rules are those of C.UTF-8.
func (r *Registry) Mounts(p Plan, vars map[string]string) ([]sandbox.Mount, error) {
	names := localeNames(vars)
	i := slices.IndexFunc(p.Mounts, func(m sandbox.Mount) bool { return m.Target == localeDir && m.Source != localeDir })
	if len(names) == 0 || i < 0 {
		return p.Mounts, nil
	}
	dir, err := r.localeFolder(names)
	if err != nil {
		return nil, err
	}
	mounts := slices.Clone(p.Mounts)
	mounts[i].Source = dir
	return mounts, nil
}

var localeHash = sync.OnceValue(func() string { return hashOf(map[string][]byte{"locale.tar.zst": localeData}) })

// localeFolder makes the folder that stands at localeDir, with these names beside ours.
func (r *Registry) localeFolder(names []string) (string, error) {
	dir := filepath.Join(r.dir, "locale-"+localeHash())
	if err := r.makeFolder(dir, func(tmp string) error { return unpackLocales(bytes.NewReader(localeData), tmp) }); err != nil {
		return "", fmt.Errorf("locales: %w", err)
	}
	if len(names) == 0 {
		return dir, nil
	}
	further := dir + "-" + hashOf(nil, names...)
	err := r.makeFolder(further, func(tmp string) error {
		if err := linkTree(dir, tmp); err != nil {
			return err
		}
		for _, name := range names {
			like := "C.utf8"
			if name == "en_US" {
				like = "en_US.utf8"
			}
			if err := os.Symlink(like, filepath.Join(tmp, name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("locales %v: %w", names, err)
	}
	return further, nil
}

// unpackLocales writes the archive's folders, files and hard links below dir.
func unpackLocales(r io.Reader, dir string) error {
	z, err := zstd.NewReader(r)
	if err != nil {
		return err
	}
	defer z.Close()
	for tr := tar.NewReader(z); ; {
		head, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		path, err := inside(dir, head.Name)
		if err != nil {
			return err
		}
		switch head.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeLink:
			var old string
			if old, err = inside(dir, head.Linkname); err == nil {
				err = os.Link(old, path)
			}
		default:
			err = copyFile(tr, path, 0o644)
		}
		if err != nil {
			return err
		}
	}
}

// localeName is LANGUAGE[_TERRITORY][.CODESET][@MODIFIER]. Source: setlocale(3).
var localeName = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_-]{0,40})(?:\.([A-Za-z0-9-]{1,20}))?(@[A-Za-z0-9]{1,20})?$`)

// localeNames are the locales that variables name, that are to have UTF-8 and that are not among ours, as the C library
// normalises their names. A name without a character set is one of them: which set it means is the locale's to say.
func localeNames(vars map[string]string) []string {
	names := map[string]bool{}
	for k, value := range vars {
		if k != "LANG" && !strings.HasPrefix(k, "LC_") {
			continue
		}
		m := localeName.FindStringSubmatch(value)
		if m == nil {
			continue
		}
		language, set, modifier := m[1], strings.ToLower(strings.ReplaceAll(m[2], "-", "")), m[3]
		switch {
		case set == "" && modifier == "" && (language == "C" || language == "POSIX"):
		case set == "utf8" && modifier == "" && (language == "C" || language == "en_US"):
		case set == "":
			names[language+modifier] = true
		case set == "utf8":
			names[language+".utf8"+modifier] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

var glibcRelease = regexp.MustCompile(`GNU C Library [^\n]{0,100}release version 2\.([0-9]+)`)

// hostGlibc is the minor release of the host's C library: 36 for 2.36, 0 when it is another one.
var hostGlibc = sync.OnceValue(func() int {
	for _, folder := range libraryFolders() {
		b, err := os.ReadFile(filepath.Join(folder, "libc.so.6"))
		if err != nil {
			continue
		}
		if m := glibcRelease.FindSubmatch(b); m != nil {
			minor, _ := strconv.Atoi(string(m[1])) // digits
			return minor
		}
	}
	return 0
})
