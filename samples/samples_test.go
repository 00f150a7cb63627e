package samples_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"os/exec"
	"testing"

	"thaw/samples"
)

func TestEverySampleMakesTheSamePackageTwice(t *testing.T) {
	for _, s := range samples.List() {
		t.Run(s.Name, func(t *testing.T) {
			if s.Builds != "" {
				if _, err := exec.LookPath(s.Builds); err != nil {
					t.Skipf("%s is not here: %v", s.Builds, err)
				}
			}
			first, err := samples.Zip(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			second, err := samples.Zip(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			if sha256.Sum256(first) != sha256.Sum256(second) {
				t.Error("two packages of the same source differ")
			}
			archive, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range archive.File {
				want := "-rw-r--r--"
				if f.Name == "bootstrap" {
					want = "-rwxr-xr-x"
				}
				if f.Mode().String() != want {
					t.Errorf("%s has mode %v, want %s", f.Name, f.Mode(), want)
				}
			}
			if len(archive.File) == 0 {
				t.Error("the package is empty")
			}
		})
	}
}

// A layer's extensions can be executed, as a layer that is zipped by hand has them.
func TestLayer(t *testing.T) {
	pkg, err := samples.Layer("layer-telemetry")
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.NewReader(bytes.NewReader(pkg), int64(len(pkg)))
	if err != nil || len(archive.File) != 1 {
		t.Fatalf("%v, %v", archive, err)
	}
	if f := archive.File[0]; f.Name != "extensions/telemetry" || f.Mode() != 0o755 {
		t.Errorf("%s has mode %v", f.Name, f.Mode())
	}
	if _, err := samples.Layer("nothing"); err == nil {
		t.Error("a layer that does not exist was packed")
	}
}

func TestUnknownSample(t *testing.T) {
	if _, err := samples.Zip("nothing"); err == nil {
		t.Error("a sample that does not exist was packed")
	}
}
