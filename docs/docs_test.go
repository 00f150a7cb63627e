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
	for _, pattern := range []string{"../README.md", "../CONTRIBUTING.md", "ARCHITECTURE.md", "compat.md", "snapstart.md", "uniqueness.md", "microvms.md", "caching.md", "operations.md", "decisions/*.md"} {
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

var comment = regexp.MustCompile(`(?:^|\s)//(.*)`)

// cited is a file of the tree in a comment: sandbox/sandbox.go, operations.md, or state.go of the same or another folder.
var cited = regexp.MustCompile(`(?:^|[\s("])((?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+\.(?:go|md|golden))\b`)

// foreign are beginnings of paths in other projects' trees, and names of files that a test or a client makes.
var foreign = []string{"internal/lambda/", "a.go", "b.go",
	"docs/vsock.md", "docs/snapshotting/", "snapshot-support.md", "CHANGELOG.md", "docs/UIDS-GIDS.md"} // Firecracker's and systemd's

// TestCommentsNameWhatExists holds that the files of this tree that comments name exist. A path whose first folder this
// tree has not is one of another project.
func TestCommentsNameWhatExists(t *testing.T) {
	names, comments := map[string]bool{}, map[string]string{} // by file's name; by path
	err := filepath.WalkDir("..", func(at string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && at != ".." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		names[d.Name()] = true
		if !strings.HasSuffix(at, ".go") {
			return nil
		}
		text, err := os.ReadFile(at)
		for line := range strings.Lines(string(text)) {
			if m := comment.FindStringSubmatch(line); m != nil {
				comments[at] += m[1] + "\n"
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at, text := range comments {
		for _, m := range cited.FindAllStringSubmatch(text, -1) {
			name := m[1]
			if slices.ContainsFunc(foreign, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
				continue
			}
			first, _, folder := strings.Cut(name, "/")
			here := func(root string) bool {
				_, err := os.Stat(filepath.Join(root, name))
				return err == nil
			}
			switch _, err := os.Stat(filepath.Join("..", first)); {
			case !folder && names[name], here(".."), here(filepath.Dir(at)):
				found++
			case !folder, err == nil:
				t.Errorf("%s names %s, which is not there", strings.TrimPrefix(at, "../"), name)
			}
		}
	}
	if found < 30 {
		t.Errorf("comments name %d files: fewer than there must be", found)
	}
}
