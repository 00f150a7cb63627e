package codepackage

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// Pack zips a folder into a deployment package. The same files give the same bytes: entries come in the order of their
// names, and their times are fixed. What is executable stays so, and a bootstrap always is; everybody may read the
// rest, because the runtime runs as a user of its own. Links stay links. leave, which may be nil, says of a path within
// the folder that it is left out, with all below it.
func Pack(from fs.FS, leave func(name string, d fs.DirEntry) bool) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && leave != nil && leave(name, d) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		return packFile(w, from, name, d)
	})
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func packFile(w *zip.Writer, from fs.FS, name string, d fs.DirEntry) error {
	head := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	info, err := d.Info()
	if err != nil {
		return err
	}
	var body []byte
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := fs.ReadLink(from, name)
		if err != nil {
			return err
		}
		head.SetMode(fs.ModeSymlink | 0o777)
		body = []byte(target)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file, a folder nor a link", name)
	default:
		head.SetMode(0o644)
		if info.Mode()&0o111 != 0 || path.Base(name) == "bootstrap" {
			head.SetMode(0o755)
		}
		if body, err = fs.ReadFile(from, name); err != nil {
			return err
		}
	}
	file, err := w.CreateHeader(head)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	return err
}
