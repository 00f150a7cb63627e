// Package imports holds the test that keeps imports running one way.
package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const table = "internal/imports/allowed_test.go"

// pkg is what the go command tells of a package.
type pkg struct {
	ImportPath string
	Imports    []string
}

func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, "thaw/") }

// ours are the packages of this tree that it imports.
func (p pkg) ours() (names []string) {
	for _, imp := range p.Imports {
		if name, ok := strings.CutPrefix(imp, "thaw/"); ok {
			names = append(names, name)
		}
	}
	return names
}

func packages(t *testing.T) (list []pkg) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "thaw/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// judge says what is wrong with a package's imports of this tree.
func judge(p pkg, rows map[string]row) (wrong []string) {
	name := p.name()
	r, ok := rows[name]
	if !ok {
		return []string{fmt.Sprintf("package %s has no row. Write into %s:\n\t%q: {%q, \"what it is, and so why it needs no other\"},",
			name, table, name, strings.Join(p.ours(), " "))}
	}
	may := strings.Fields(r.may)
	for _, imp := range p.ours() {
		if r.may != everything && !slices.Contains(may, imp) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s, and may import %q: %s. If it must, write %s into the row of %q in %s, and make the reason true again.",
				name, imp, r.may, r.what, imp, name, table))
		}
		if imp == "node" && !below(name, "cmd") && !below(name, "bench") {
			wrong = append(wrong, fmt.Sprintf("%s imports node: only programs know the composition root", name))
		}
	}
	for _, unused := range may {
		if r.may != everything && !slices.Contains(p.ours(), unused) {
			wrong = append(wrong, fmt.Sprintf("%s may import %s and does not: take it out of the row of %q in %s", name, unused, name, table))
		}
	}
	return wrong
}

func TestImportsRunOneWay(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		seen[p.name()] = true
		for _, wrong := range judge(p, allowed) {
			t.Error(wrong)
		}
		for _, imp := range p.Imports {
			for _, o := range outside {
				if (imp == o.path || strings.HasPrefix(imp, strings.TrimSuffix(o.path, "/")+"/")) && !slices.ContainsFunc(strings.Fields(o.may), func(dir string) bool { return below(p.name(), dir) }) {
					t.Errorf("%s imports %s: %s. If it must, write it into outside in %s.", p.name(), imp, o.why, table)
				}
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("%s has a row and is not there: take it out of %s", name, table)
		}
	}
}

// The table finds what it is for, and its failures say what to write.
func TestJudge(t *testing.T) {
	rows := map[string]row{"pool": {"execenv function", "without a broker"}, "node": {everything, "the root"}, "function": {"", "pure"}}
	for _, c := range []struct {
		name string
		p    pkg
		want []string // in order, in each a text
	}{
		{"what it may import", pkg{"thaw/pool", []string{"errors", "thaw/execenv", "thaw/function"}}, nil},
		{"the root may import all", pkg{"thaw/node", []string{"thaw/pool", "thaw/anything"}}, nil},
		{"one import more", pkg{"thaw/pool", []string{"thaw/execenv", "thaw/function", "thaw/jetstream"}},
			[]string{`pool imports jetstream, and may import "execenv function": without a broker. If it must, write jetstream into the row of "pool" in ` + table}},
		{"one import less", pkg{"thaw/pool", []string{"thaw/execenv"}}, []string{"pool may import function and does not"}},
		{"one that may import nothing", pkg{"thaw/function", []string{"thaw/pool"}}, []string{`function imports pool, and may import "": pure.`}},
		{"a new package", pkg{"thaw/control", []string{"context", "thaw/function", "thaw/pool"}}, []string{"\t\"control\": {\"function pool\", \""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := judge(c.p, rows)
			if len(got) != len(c.want) {
				t.Fatalf("%q", got)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("%q, want %q in it", got[i], want)
				}
			}
		})
	}
}

// below says whether a package is dir or lies in it.
func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
