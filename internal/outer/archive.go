package outer

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"thaw/internal/cpio"
)

// archive writes an initramfs, not compressed, since emulation unpacks slowly. Names may begin with a slash, and the folders
// above an entry are there by themselves. The first error is kept and ends it.
type archive struct {
	*cpio.Writer
	folders map[string]bool
}

func newArchive(w io.Writer) *archive {
	return &archive{cpio.NewWriter(w), map[string]bool{".": true, "/": true}}
}

// inside is an entry's name, once the folders above it are there.
func (a *archive) inside(name string) string {
	name = strings.TrimPrefix(path.Clean(name), "/")
	a.folder(path.Dir(name))
	return name
}

func (a *archive) folder(name string) {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if name == "" || a.folders[name] {
		return
	}
	a.folders[name] = true
	a.Folder(a.inside(name))
}

// file adds a file of this host, which has its permissions there too.
func (a *archive) file(name, here string) {
	f, err := os.Open(here)
	if err != nil {
		a.Fail(err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		a.Fail(err)
		return
	}
	a.File(a.inside(name), uint32(info.Mode().Perm()), info.Size(), f)
}

func (a *archive) link(name, here string) {
	to, err := os.Readlink(here)
	if err != nil {
		a.Fail(err)
		return
	}
	a.Link(a.inside(name), to)
}

// tree adds a file or folder with all that is in it, if it is there.
func (a *archive) tree(there, here string) {
	filepath.WalkDir(here, func(p string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(here, p)
		switch name := path.Join(there, filepath.ToSlash(rel)); {
		case err != nil && p == here && errors.Is(err, fs.ErrNotExist):
		case err != nil || rerr != nil:
			a.Fail(errors.Join(err, rerr))
		case d.IsDir():
			a.folder(name)
		case d.Type() == fs.ModeSymlink:
			a.link(name, p)
		case d.Type().IsRegular():
			a.file(name, p)
		}
		return a.Err()
	})
}

// strings adds a file of strings that end in NUL.
func (a *archive) strings(name string, all []string) {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(s + "\x00")
	}
	a.Bytes(a.inside(name), 0o644, []byte(b.String()))
}
