package spec

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"thaw/internal/golden"
)

var documents = []struct{ file, title, letter string }{
	{"execution-environment.md", "Execution environment", "E"},
	{"control-plane.md", "Control plane", "C"},
	{"event-sources.md", "Event sources", "S"},
}

var (
	listed = regexp.MustCompile(`(?m)^- (?:\*\*)?([ECS])-(\d{3})(?:\*\*|:)\s*(.*)$`)
	cited  = regexp.MustCompile(`\b([ECS])-(\d{3})\b(?: (?:to|through) [ECS]-(\d{3})\b)?`)
)

// statement is one line of a checklist.
type statement struct{ id, text string }

func statements(t *testing.T, file string) []statement {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []statement
	for _, m := range listed.FindAllStringSubmatch(string(text), -1) {
		all = append(all, statement{m[1] + "-" + m[2], m[3]})
	}
	return all
}

// citations are the statements that a text names, with those in between of "E-136 to E-138".
func citations(text string) []string {
	var ids []string
	for _, m := range cited.FindAllStringSubmatch(text, -1) {
		first, _ := strconv.Atoi(m[2])
		last := first
		if m[3] != "" {
			last, _ = strconv.Atoi(m[3])
		}
		for n := first; n <= last; n++ {
			ids = append(ids, fmt.Sprintf("%s-%03d", m[1], n))
		}
	}
	return ids
}

// held are the tests that name a statement, by statement: in the comment above a function of a test file, or within it.
func held(t *testing.T, root string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "docs") {
			return fs.SkipDir
		}
		// The suites of the contracts are tests in ordinary files.
		suite := strings.HasSuffix(filepath.Base(filepath.Dir(path)), "test")
		if d.IsDir() || !strings.HasSuffix(name, "_test.go") && !(suite && strings.HasSuffix(name, ".go")) {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(files, path, source, parser.ParseComments)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			from := f.Pos()
			if f.Doc != nil {
				from = f.Doc.Pos()
			}
			text := source[files.Position(from).Offset:files.Position(f.End()).Offset]
			for _, id := range citations(string(text)) {
				if where := folder + " " + f.Name.Name; !slices.Contains(all[id], where) {
					all[id] = append(all[id], where)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestWhichTestHoldsWhichStatement keeps tests.md: run it with -update after a test was added, and read the difference.
func TestWhichTestHoldsWhichStatement(t *testing.T) {
	tests := held(t, "../..")
	known := map[string]bool{}
	var out bytes.Buffer
	fmt.Fprint(&out, "# Which test holds which statement\n\nMade by `go test ./docs/spec -update` from the tests that name a statement. Do not edit it.\n")
	for _, d := range documents {
		list := statements(t, d.file)
		if len(list) == 0 {
			t.Fatalf("%s has no checklist", d.file)
		}
		n := 0
		var rows bytes.Buffer
		for _, s := range list {
			if known[s.id] {
				t.Errorf("%s stands twice", s.id)
			}
			known[s.id] = true
			if where := tests[s.id]; len(where) > 0 {
				n++
				slices.Sort(where)
				fmt.Fprintf(&rows, "| %s | `%s` |\n", s.id, strings.Join(where, "`, `"))
			}
		}
		fmt.Fprintf(&out, "\n## %s\n\n%d of %d statements of [%s](%s) have a test.\n\n| Statement | Tests |\n| --- | --- |\n%s", d.title, n, len(list), d.file, d.file, rows.Bytes())
	}
	for id, where := range tests {
		if !known[id] {
			t.Errorf("%s names %s, which no checklist has", strings.Join(where, ", "), id)
		}
	}
	golden.Equal(t, "tests.md", out.String())
}
