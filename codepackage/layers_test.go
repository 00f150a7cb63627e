package codepackage

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"thaw/function"
)

// layers stores packages and returns them as layers.
func layers(t *testing.T, put func(zip []byte) string, zips ...[]byte) (out []function.Layer) {
	t.Helper()
	for _, z := range zips {
		out = append(out, function.Layer{ARN: "layer", SHA256: put(z), Size: int64(len(z))})
	}
	return out
}

// Layers lie over each other in their order, whatever a path is in each: the later one's file, folder or link stays, and no
// file of one is written through a link of another. Same layers in the same order are one folder; it goes when nobody needs
// it.
func TestLayersAreLaidOverEachOther(t *testing.T) {
	t.Parallel()
	s, blobs, dir := storage(t, 0)
	put := func(z []byte) string {
		t.Helper()
		hash, _, err := blobs.Put(t.Context(), bytes.NewReader(z))
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	v := &function.Version{Package: function.Package{CodeSHA256: hashOf(nil), Layers: layers(t, put,
		archive(t, file("python/a.py", "first"), file("only/first", "1"), file("was-file", "f"), file("was-folder/x", "x"), link("lib", "only")),
		archive(t, file("python/a.py", "second"), file("python/b.py", "b"), file("was-file/y", "y"), file("was-folder", "f"), file("lib/so", "s")),
		archive(t, file("python/a.py", "third"), link("link", "python/a.py")),
	)}}
	opt, release, err := s.Opt(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"python/a.py": "third", "python/b.py": "b", "only/first": "1", "was-file/y": "y", "was-folder": "f",
		"lib/so": "s", "link": "third"} {
		if b, err := os.ReadFile(filepath.Join(opt, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", name, b, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(opt, "only", "so")); err == nil {
		t.Error("a file of the second layer was written through a link of the first")
	}
	again, release2, err := s.Opt(t.Context(), v)
	if err != nil || again != opt {
		t.Errorf("the same layers are in %s, then in %s, %v", opt, again, err)
	}
	turned := *v
	turned.Layers = []function.Layer{v.Layers[1], v.Layers[0]}
	other, release3, err := s.Opt(t.Context(), &turned)
	if err != nil || other == opt {
		t.Errorf("other layers are in the same folder, %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(other, "python/a.py")); err != nil || string(b) != "first" {
		t.Errorf("turned around: %q, %v", b, err)
	}
	if list := names(t, dir); len(list) != 2 {
		t.Errorf("the folder holds %v", list)
	}
	s.Drop(v.Package.Opt())
	release()
	if _, err := os.Stat(opt); err != nil {
		t.Errorf("it went while it is used: %v", err)
	}
	release2()
	release3()
	s.DropExcept(func(string) bool { return false })
	if list := names(t, dir); len(list) != 0 {
		t.Errorf("the folder holds %v", list)
	}
	if none, release, err := s.Opt(t.Context(), &function.Version{}); none != "" || err != nil {
		t.Errorf("no layers: %q, %v", none, err)
	} else {
		release()
	}
}

// A layer whose package is not there leaves nothing behind.
func TestALayerThatIsNotThere(t *testing.T) {
	t.Parallel()
	s, _, dir := storage(t, 0)
	v := &function.Version{Package: function.Package{Layers: []function.Layer{{ARN: "layer:1", SHA256: hashOf([]byte("no"))}}}}
	if _, _, err := s.Opt(t.Context(), v); err == nil {
		t.Error("it is there")
	}
	if list := names(t, dir); len(list) != 0 {
		t.Errorf("the folder holds %v", list)
	}
}
