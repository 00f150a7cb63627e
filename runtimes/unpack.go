package runtimes

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// inside joins an archive's name to dir; a name that would leave dir is an error, though the archive has a pinned hash.
func inside(dir, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("archive entry %q leaves its folder", name)
	}
	return filepath.Join(dir, name), nil
}

// placed is where a layout puts a file below dir; empty when it is left out.
func placed(dir, name string, l layout) (string, error) {
	if _, err := inside(dir, name); err != nil {
		return "", err
	}
	if name = l.place(name); name == "" {
		return "", nil
	}
	return inside(dir, name)
}

// untar unpacks an npm package below dir, without the folder (package/) in which all of it stands. Of links it takes none: npm
// packages have none.
func untar(r io.Reader, dir string, l layout) error {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	for tr := tar.NewReader(gz); ; {
		head, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, ok := strings.Cut(strings.TrimPrefix(head.Name, "./"), "/")
		if !ok || name == "" || head.Typeflag != tar.TypeReg {
			continue
		}
		path, err := placed(dir, name, l)
		if err != nil {
			return err
		}
		if path == "" {
			continue
		}
		mode := os.FileMode(0o644)
		if head.Mode&0o111 != 0 || strings.HasPrefix(name, "bin/") {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := copyFile(tr, path, mode); err != nil {
			return err
		}
	}
}

// unzip unpacks a wheel or a jar below dir. A wheel's files need no further installation: those we pin have no data
// folder and no scripts. Source: Python Packaging User Guide, "Binary distribution format".
func unzip(f *os.File, dir string, l layout) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return err
	}
	for _, entry := range archive.File {
		if entry.FileInfo().IsDir() {
			continue
		}
		path, err := placed(dir, entry.Name, l)
		if err != nil {
			return err
		}
		if path == "" {
			continue
		}
		mode := os.FileMode(0o644) // jars keep no modes: finish sets those of programs
		if entry.Mode()&0o111 != 0 {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		body, err := entry.Open()
		if err != nil {
			return err
		}
		err = copyFile(body, path, mode)
		body.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", entry.Name, err)
		}
	}
	return nil
}

func copyFile(from io.Reader, path string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
