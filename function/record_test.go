package function_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"thaw/function"
	"thaw/function/functiontest"
)

// read reads a record that an earlier release wrote.
func read(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

// A data folder outlives releases: what the first one wrote is read, and means the same.
func TestRecordsOfTheFirstRelease(t *testing.T) {
	var got function.Record
	read(t, "record-1.json", &got)
	want := functiontest.Record("orders") // with all that came later taken out
	code := function.Package{CodeSHA256: "ab", CodeSize: 12}
	want.Latest.Config.Package, want.Before.Config.Package, want.Aliases, want.Policies = code, code, nil, nil
	want.Provisioned = map[function.Qualifier]function.Provision{
		"1": {Requested: 2, Modified: time.Date(2026, 11, 20, 9, 15, 3, 0, time.UTC)}, "3": {Requested: 1},
	}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("record\n got %+v\nwant %+v", &got, want)
	}
	var version function.VersionRecord
	read(t, "version-1.json", &version)
	if version.Number != "3" || version.Config.CodeSHA256 != "ab" || version.Life != function.Live || !version.Optimized {
		t.Errorf("version %+v", version)
	}
}

// Snapshots are told apart by the identity of the package: of code alone it is what the first release had.
func TestIdentityOfAPackage(t *testing.T) {
	base := function.Package{CodeSHA256: "ab", CodeSize: 12}
	if id := base.Identity(); id != "ab" {
		t.Errorf("identity of code alone is %q", id)
	}
	layers := func(sums ...string) function.Package {
		p := base
		for _, s := range sums {
			p.Layers = append(p.Layers, function.Layer{ARN: "arn:" + s, SHA256: s})
		}
		return p
	}
	image := func(digest, command string) function.Package {
		return function.Package{Image: &function.Image{URI: "u", Digest: digest, Command: []string{command}}}
	}
	seen := map[string]int{}
	for i, p := range []function.Package{base, layers("1"), layers("2"), layers("1", "2"), layers("2", "1"), image("d", "a"), image("d", "b"), image("e", "a")} {
		id := p.Identity()
		if other, ok := seen[id]; ok {
			t.Errorf("packages %d and %d have the identity %s", other, i, id)
		}
		seen[id] = i
	}
	renamed := layers("1")
	renamed.Layers[0].ARN = "arn:another:7"
	if was := layers("1"); renamed.Identity() != was.Identity() {
		t.Error("the same layer under another name is another package")
	}
	other := image("d", "a")
	other.Image.URI = "v"
	if was := image("d", "a"); other.Identity() != was.Identity() {
		t.Error("the same image under another name is another package")
	}
	blobs := 0
	p := layers("1", "2")
	p.Blobs(func(string) { blobs++ })
	if blobs != 3 {
		t.Errorf("%d blobs, want 3", blobs)
	}
	copied := p.Clone()
	copied.Layers[0].SHA256 = "x"
	if p.Layers[0].SHA256 == "x" {
		t.Error("a copy shares its layers")
	}
}
