// Package javaagent holds the agent that a JVM loads under SnapStart: src is its source, classes what `go generate` compiles of it (a test
// compares), stubs the signatures of AWS's client that it is compiled against.
package javaagent

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:generate sh generate.sh

//go:embed classes
var classes embed.FS

// manifest: redefining modules needs no capability. Source: java.lang.instrument, package documentation.
const manifest = "Manifest-Version: 1.0\r\nPremain-Class: thaw.snapstart.Agent\r\n\r\n"

// Jar is the agent, for -javaagent: the same bytes each time. It needs Java 11.
func Jar() ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	add := func(name string, b []byte) error {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		return err
	}
	if err := add("META-INF/MANIFEST.MF", []byte(manifest)); err != nil {
		return nil, err
	}
	sub, err := fs.Sub(classes, "classes")
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(sub, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isClass(path) {
			return err
		}
		b, err := fs.ReadFile(sub, path)
		if err != nil {
			return err
		}
		return add(path, b)
	})
	if err != nil {
		return nil, fmt.Errorf("classes: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func isClass(path string) bool { return strings.HasSuffix(path, ".class") }
