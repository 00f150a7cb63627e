package codepackage

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/function"
)

// maxEntries bounds the inodes that one package can cost. Ours: the service documents no number.
const maxEntries = 100_000

// maxLinkBytes is the kernel's limit for the target of a symbolic link.
const maxLinkBytes = unix.PathMax - 1

// maxFollowed is how many links the kernel follows for one path. Source: path_resolution(7); gVisor has the same.
const maxFollowed = 40

// ErrTooLarge is the fact that a package holds more than the unzipped limit.
var ErrTooLarge = errors.New("package is too large when unzipped")

// ErrEmpty is the fact that a package holds nothing.
var ErrEmpty = errors.New("package holds no files")

// InvalidError says why bytes are no acceptable package. Entry is empty when it is no zip at all.
type InvalidError struct {
	Entry  string
	Reason string
}

func (e *InvalidError) Error() string {
	if e.Entry == "" {
		return "package: " + e.Reason
	}
	return fmt.Sprintf("package entry %q: %s", e.Entry, e.Reason)
}

// item is what one path of the package becomes: the last entry of that path.
type item struct {
	path string // clean, relative, with slashes
	file *zip.File
	mode fs.FileMode
}

// plan reads the directory of a zip and decides what every path becomes, without touching a disk.
//
// Of entries with the same path the last wins, as with unzip -o: build tools make such archives and they work on the service. A path
// that is a file here and a folder there is refused. So are special files, encrypted entries, and names that leave the root. There is
// no limit of the compression ratio: the limits of bytes and of entries bound the work of any archive.
func plan(r *zip.Reader, maxBytes int64) ([]item, error) {
	if len(r.File) == 0 {
		return nil, ErrEmpty
	}
	if len(r.File) > maxEntries {
		return nil, &InvalidError{Reason: fmt.Sprintf("more than %d entries", maxEntries)}
	}
	at := make(map[string]int, len(r.File))
	items := make([]item, 0, len(r.File))
	var declared uint64
	for _, f := range r.File {
		it, err := planEntry(f)
		if err != nil {
			return nil, err
		}
		if it.path == "." {
			continue // the root itself
		}
		// Declared sizes can lie either way: this saves unpacking what says itself that it is too large, the rest is counted while it is read.
		if declared += f.UncompressedSize64; f.UncompressedSize64 > uint64(maxBytes) || declared > uint64(maxBytes) {
			return nil, ErrTooLarge
		}
		if i, ok := at[it.path]; ok {
			if items[i].mode.IsDir() != it.mode.IsDir() {
				return nil, &InvalidError{f.Name, "is both a file and a folder"}
			}
			items[i] = it
			continue
		}
		at[it.path] = len(items)
		items = append(items, it)
	}
	if len(items) == 0 {
		return nil, ErrEmpty
	}
	parents := 0
	seen := map[string]bool{}
	for _, it := range items {
		for dir := path.Dir(it.path); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			i, listed := at[dir]
			if listed && !items[i].mode.IsDir() {
				return nil, &InvalidError{it.file.Name, "lies below something that is no folder"}
			}
			if !listed {
				if parents++; len(items)+parents > maxEntries {
					return nil, &InvalidError{Reason: fmt.Sprintf("more than %d files and folders", maxEntries)}
				}
			}
		}
	}
	return items, nil
}

func planEntry(f *zip.File) (item, error) {
	name := f.Name
	const fat, ntfs, vfat = 0, 10, 14 // "version made by", upper byte. Source: PKWARE APPNOTE 4.4.2
	maker := f.CreatorVersion >> 8
	if maker == fat || maker == ntfs || maker == vfat {
		name = strings.ReplaceAll(name, `\`, "/")
	}
	switch {
	case name == "":
		return item{}, &InvalidError{f.Name, "has no name"}
	case strings.Contains(name, "\x00"):
		return item{}, &InvalidError{f.Name, "has a NUL in its name"}
	case strings.HasPrefix(name, "/"):
		return item{}, &InvalidError{f.Name, "has an absolute name"}
	case len(name) > 1 && name[1] == ':' && maker != 3 && (name[0]|0x20) >= 'a' && (name[0]|0x20) <= 'z':
		return item{}, &InvalidError{f.Name, "has an absolute name"}
	case slices.Contains(strings.Split(name, "/"), ".."):
		return item{}, &InvalidError{f.Name, "leaves the package"}
	case len(name) > unix.PathMax/2: // leaves room for the folder before it
		return item{}, &InvalidError{f.Name[:64] + "...", "has too long a name"}
	case f.Flags&1 != 0:
		return item{}, &InvalidError{f.Name, "is encrypted"}
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return item{}, &InvalidError{f.Name, "is compressed in a way other than deflate"}
	}
	it := item{path: path.Clean(name), file: f}
	for part := range strings.SplitSeq(it.path, "/") {
		if len(part) > unix.NAME_MAX {
			return item{}, &InvalidError{f.Name[:64] + "...", "has too long a name"}
		}
	}
	mode := f.Mode()
	switch {
	case strings.HasSuffix(name, "/") || mode.IsDir():
		it.mode = fs.ModeDir | 0o755
	case mode&fs.ModeSymlink != 0:
		it.mode = fs.ModeSymlink
	case mode.Type() != 0:
		return item{}, &InvalidError{f.Name, "is a special file"}
	case f.ExternalAttrs>>16 == 0 || mode&0o111 != 0: // no Unix mode at all, or executable for somebody
		it.mode = 0o755
	default:
		it.mode = 0o644
	}
	return it, nil
}

// unpack writes a package into the folder dir, which exists and is empty. What it leaves there on an error is the caller's to remove.
func unpack(dir string, src io.ReaderAt, size, maxBytes int64) error {
	zr, err := zip.NewReader(src, size)
	if err != nil {
		return &InvalidError{Reason: "not a zip archive: " + err.Error()}
	}
	items, err := plan(zr, maxBytes)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("package folder: %w", err)
	}
	defer root.Close()
	left := maxBytes
	made := map[string]bool{".": true}
	buf := make([]byte, 128<<10)
	for _, it := range items {
		if err := mkdirs(root, path.Dir(it.path), made); err != nil {
			return err
		}
		switch {
		case it.mode.IsDir():
			err = mkdirs(root, it.path, made)
		case it.mode.IsRegular():
			err = writeFile(root, it, buf, &left)
		}
		if err != nil {
			return err
		}
	}
	// Links come last, so that nothing is ever written through one.
	var links []item
	for _, it := range items {
		if it.mode&fs.ModeSymlink != 0 {
			if err := writeLink(root, it, &left); err != nil {
				return err
			}
			links = append(links, it)
		}
	}
	for _, it := range links {
		if err := checkLink(root, it); err != nil {
			return err
		}
	}
	// Folders get their times last and deepest first: writing into one changes it.
	for _, it := range slices.Backward(slices.SortedFunc(slices.Values(items), func(a, b item) int { return strings.Compare(a.path, b.path) })) {
		if it.mode.IsDir() && !it.file.Modified.IsZero() {
			if err := root.Chtimes(filepath.FromSlash(it.path), it.file.Modified, it.file.Modified); err != nil {
				return fmt.Errorf("package entry %q: %w", it.path, err)
			}
		}
	}
	return nil
}

func mkdirs(root *os.Root, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := mkdirs(root, path.Dir(dir), made); err != nil {
		return err
	}
	p := filepath.FromSlash(dir)
	if err := root.Mkdir(p, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("package folder %q: %w", dir, err)
	}
	if err := root.Chmod(p, 0o755); err != nil { // whatever the umask
		return fmt.Errorf("package folder %q: %w", dir, err)
	}
	made[dir] = true
	return nil
}

func writeFile(root *os.Root, it item, buf []byte, left *int64) error {
	in, err := it.file.Open()
	if err != nil {
		return &InvalidError{it.file.Name, err.Error()}
	}
	defer in.Close()
	p := filepath.FromSlash(it.path)
	out, err := root.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("package entry %q: %w", it.path, err)
	}
	defer out.Close() // again after Close: harmless
	for {
		n, rerr := in.Read(buf)
		if *left -= int64(n); *left < 0 {
			return ErrTooLarge
		}
		if _, err := out.Write(buf[:n]); err != nil {
			return fmt.Errorf("package entry %q: %w", it.path, err)
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil {
			return &InvalidError{it.file.Name, rerr.Error()}
		}
	}
	if err := out.Chmod(it.mode.Perm()); err != nil {
		return fmt.Errorf("package entry %q: %w", it.path, err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("package entry %q: %w", it.path, err)
	}
	if t := it.file.Modified; !t.IsZero() {
		if err := root.Chtimes(p, t, t); err != nil {
			return fmt.Errorf("package entry %q: %w", it.path, err)
		}
	}
	return nil
}

func writeLink(root *os.Root, it item, left *int64) error {
	in, err := it.file.Open()
	if err != nil {
		return &InvalidError{it.file.Name, err.Error()}
	}
	defer in.Close()
	target, err := io.ReadAll(io.LimitReader(in, maxLinkBytes+1))
	if err != nil {
		return &InvalidError{it.file.Name, err.Error()}
	}
	if *left -= int64(len(target)); *left < 0 {
		return ErrTooLarge
	}
	switch t := string(target); {
	case t == "" || len(t) > maxLinkBytes || strings.Contains(t, "\x00"):
		return &InvalidError{it.file.Name, "is a link without a usable target"}
	case strings.HasPrefix(t, "/"):
		return &InvalidError{it.file.Name, "is a link that leaves the package"}
	default:
		if err := root.Symlink(t, filepath.FromSlash(it.path)); err != nil {
			return fmt.Errorf("package entry %q: %w", it.path, err)
		}
	}
	return nil
}

// checkLink refuses a link that leads out of the package in any step, by way of other links too. A link to nothing inside is allowed.
func checkLink(root *os.Root, it item) error {
	at := path.Dir(it.path)
	todo := []string{path.Base(it.path)}
	followed := 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return &InvalidError{it.file.Name, "is a link that leaves the package"}
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		info, err := root.Lstat(filepath.FromSlash(next))
		if err != nil { // nothing there: the rest is judged by its words
			at = next
			continue
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if followed++; followed > maxFollowed {
			return nil // the kernel refuses to follow it (ELOOP), so it leads nowhere
		}
		target, err := root.Readlink(filepath.FromSlash(next))
		if err != nil {
			return fmt.Errorf("package entry %q: %w", it.path, err)
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return nil
}

// MaxBytes is the unzipped limit of the service.
const MaxBytes = function.MaxUnzippedBytes
