// Package docs holds no code: its test keeps what the documents say of the tree true.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	quoted = regexp.MustCompile("`([^`\n]+)`")
	linked = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	// path is what a name of a file or folder of the tree looks like: a/b, or b.go.
	path = regexp.MustCompile(`^[a-z0-9_-]+(/[A-Za-z0-9_.-]+)+/?$|^[a-z0-9_-]+\.(go|md|golden)$`)
)

// made are names that look like paths of the tree, and are not: files that a build or a server makes, modules, and the like.
var made = []string{"bin/thaw", "invocation/next", "restore/next", "init/error", "restore/error", "github.com/", "DATA", "thaw/", "api/2015"}

// TestDocumentsNameWhatExists holds that files, folders and links in the documents exist. Names of files without their
// folder count as found when any folder has such a file.
func TestDocumentsNameWhatExists(t *testing.T) {
	var documents []string
	for _, pattern := range []string{"../README.md", "../CONTRIBUTING.md", "ARCHITECTURE.md", "compat.md", "snapstart.md", "uniqueness.md", "operations.md", "decisions/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Errorf("%s: no such document (%v)", pattern, err)
		}
		documents = append(documents, found...)
	}
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linked.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), m[1])); err != nil && !strings.Contains(m[1], " ") {
				t.Errorf("%s links to %s, which is not there", document, m[1])
			}
		}
		if filepath.Base(document) != "ARCHITECTURE.md" {
			continue // others quote paths inside a sandbox, routes and what a server makes
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			name := strings.TrimSuffix(m[1], "/")
			if !path.MatchString(name) || slices.ContainsFunc(made, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
				continue
			}
			if !inTree(name) {
				t.Errorf("%s names %s, which is not there", document, name)
			}
		}
	}
}

// inTree says whether a path exists from the root, from docs, or, when it is a file's name alone, anywhere. A path may
// end in an identifier of the package: pool/pool.Invoke.
func inTree(name string) bool {
	for _, root := range []string{"..", "."} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return true
		}
		if base, _, dotted := strings.Cut(filepath.Base(name), "."); dotted && !strings.HasSuffix(name, ".go") {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), base)); err == nil {
				return true
			}
		}
	}
	if found, _ := filepath.Glob(filepath.Join(".", name) + "*.md"); len(found) > 0 { // decisions/0004
		return true
	}
	if strings.Contains(name, "/") {
		return false
	}
	found := false
	filepath.WalkDir("..", func(at string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == name {
			found = true
			return filepath.SkipAll
		}
		return nil
	})
	return found
}
