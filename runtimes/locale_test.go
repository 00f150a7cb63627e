package runtimes

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestLocaleNames(t *testing.T) {
	for _, test := range []struct {
		vars map[string]string
		want string
	}{
		{nil, ""},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C.UTF-8", "LC_TIME": "en_US.utf8", "LC_CTYPE": "C.utf-8"}, ""},
		{map[string]string{"LANG": "C", "LC_ALL": "POSIX", "LC_TIME": ""}, ""},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_TIME": "ja_JP.utf8", "LC_MONETARY": "de_DE.UTF-8@euro"}, "de_DE.utf8 de_DE.utf8@euro ja_JP.utf8"},
		{map[string]string{"LANG": "de_DE", "LC_ALL": "en_US", "LC_CTYPE": "UTF-8", "LC_TIME": "POSIX.UTF-8"}, "POSIX.utf8 UTF-8 de_DE en_US"},
		{map[string]string{"LANG": "de_DE.ISO-8859-1", "LC_ALL": "ja_JP.eucJP"}, ""},
		{map[string]string{"LANGUAGE": "de_DE.UTF-8", "PATH": "de_DE.UTF-8", "LANG": "../../x.UTF-8", "LC_ALL": "/tmp/x", "LC_TIME": "x\x00.UTF-8", "LC_NAME": "."}, ""},
		{map[string]string{"LANG": strings.Repeat("x", 100) + ".UTF-8"}, ""},
	} {
		if got := strings.Join(localeNames(test.vars), " "); got != test.want {
			t.Errorf("%v: %q, want %q", test.vars, got, test.want)
		}
	}
}

// What the archive holds is whole: both locales, all categories of each.
func TestLocalesAreWhole(t *testing.T) {
	r, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := r.localeFolder([]string{"de_DE.utf8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, locale := range []string{"C.utf8", "en_US.utf8", "de_DE.utf8"} {
		for _, category := range []string{"ADDRESS", "COLLATE", "CTYPE", "IDENTIFICATION", "MEASUREMENT", "MESSAGES/SYS_LC_MESSAGES", "MONETARY", "NAME", "NUMERIC", "PAPER", "TELEPHONE", "TIME"} {
			if !isFile(dir + "/" + locale + "/LC_" + category) {
				t.Errorf("%s has no LC_%s", locale, category)
			}
		}
	}
	again, err := r.localeFolder([]string{"de_DE.utf8"})
	if other, _ := r.localeFolder([]string{"fr_FR.utf8"}); err != nil || again != dir || other == dir {
		t.Errorf("folders %s, %s, %s: %v", dir, again, other, err)
	}
}

func TestHostGlibc(t *testing.T) {
	const text = "xx\x00GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright"
	if m := glibcRelease.FindSubmatch([]byte(text)); m == nil || string(m[1]) != "36" {
		t.Errorf("found %q", m)
	}
	if v := hostGlibc(); v != 0 && v < 17 {
		t.Errorf("this host has glibc 2.%d", v)
	}
}

// A function's mounts differ from the plan's in the locales alone, and the plan, which is shared, stays as it is.
func TestMountsOfAFunction(t *testing.T) {
	r, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan("provided.al2023", "")
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(p.Mounts)
	for _, vars := range []map[string]string{nil, {"LANG": "C.UTF-8"}, {"LANG": "de_DE.UTF-8"}} {
		mounts, err := r.Mounts(p, vars)
		if err != nil || len(mounts) != len(before) || !slices.Equal(p.Mounts, before) {
			t.Fatalf("%v: %d mounts of %d, %v", vars, len(mounts), len(before), err)
		}
		different := map[string]bool{}
		for i, m := range mounts {
			if m != before[i] {
				different[m.Target] = true
			}
		}
		want := map[string]bool{}
		if vars["LANG"] == "de_DE.UTF-8" {
			want[localeDir] = true
		}
		if !maps.Equal(different, want) {
			t.Errorf("%v: other mounts are %v, want %v", vars, different, want)
		}
	}
}
