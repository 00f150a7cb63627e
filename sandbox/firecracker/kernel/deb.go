package kernel

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Bounds of one package. Debian's ordinary kernel unpacks to 400 MB.
const (
	maxUnpacked = 2 << 30
	arHeader    = 60
)

// openData returns the files of a Debian package, an archive of ar in which they are a compressed tar. Source: deb(5).
func openData(deb io.Reader) (*tar.Reader, error) {
	r := bufio.NewReaderSize(deb, 1<<16)
	magic := make([]byte, 8)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "!<arch>\n" {
		return nil, errors.New("no Debian package")
	}
	for {
		h := make([]byte, arHeader)
		if _, err := io.ReadFull(r, h); err != nil {
			return nil, fmt.Errorf("package without files: %w", err)
		}
		name := strings.TrimRight(string(h[:16]), " /")
		size, err := strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
		if err != nil || size < 0 || string(h[58:]) != "`\n" {
			return nil, errors.New("package with a damaged header")
		}
		if ext, ok := strings.CutPrefix(name, "data.tar"); ok {
			data, err := open(io.LimitReader(r, size), ext)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			return tar.NewReader(io.LimitReader(data, maxUnpacked)), nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil { // padded to an even number of bytes
			return nil, fmt.Errorf("package: %s: %w", name, err)
		}
	}
}

// open undoes the compression that the ending of a file's name says.
func open(r io.Reader, ending string) (io.Reader, error) {
	switch ending {
	case "":
		return r, nil
	case ".xz":
		return openXZ(r)
	case ".zst":
		return openZstd(r)
	case ".gz":
		return gzip.NewReader(r)
	}
	return nil, fmt.Errorf("unknown compression %s", ending)
}

// contents is what was found in a kernel's package: files in a folder.
type contents struct {
	image   string            // the bzImage
	modules map[string]string // name, with underscores, to the file, which may be compressed
	builtin map[string]bool   // names
}

// extract writes the kernel and its modules into dir, each under its own name and none elsewhere.
func extract(deb io.Reader, dir string) (contents, error) {
	c := contents{modules: make(map[string]string), builtin: make(map[string]bool)}
	files, err := openData(deb)
	if err != nil {
		return c, err
	}
	for {
		h, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return c, fmt.Errorf("package: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		base := path.Base(h.Name)
		switch name, isModule := moduleName(base); {
		case strings.HasPrefix(base, "vmlinuz-"):
			c.image = filepath.Join(dir, "bzImage")
			err = write(c.image, files)
		case base == "modules.builtin":
			for s := bufio.NewScanner(files); s.Scan(); {
				if name, ok := moduleName(path.Base(s.Text())); ok {
					c.builtin[name] = true
				}
			}
		case isModule:
			c.modules[name] = filepath.Join(dir, base)
			err = write(c.modules[name], files)
		}
		if err != nil {
			return c, fmt.Errorf("package: %s: %w", h.Name, err)
		}
	}
	if c.image == "" {
		return c, errors.New("package without a kernel")
	}
	return c, nil
}

// moduleName is what a module is called by others: its file's name without endings, hyphens as underscores.
func moduleName(file string) (string, bool) {
	name, ending, ok := strings.Cut(file, ".ko")
	if !ok || ending != "" && ending[0] != '.' {
		return "", false
	}
	return strings.ReplaceAll(name, "-", "_"), true
}

func write(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
