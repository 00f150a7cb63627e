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

func TestUnknownSample(t *testing.T) {
	if _, err := samples.Zip("nothing"); err == nil {
		t.Error("a sample that does not exist was packed")
	}
}
