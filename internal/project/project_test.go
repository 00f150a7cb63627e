package project

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func folder(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatAFolderHolds(t *testing.T) {
	for name, c := range map[string]struct {
		files                   map[string]string
		family, handler, source string
		refused                 string // in the error
	}{
		"CommonJS":                               {map[string]string{"index.js": "exports.handler = async () => 1"}, "nodejs", "index.handler", "index.js", ""},
		"an ES module":                           {map[string]string{"index.mjs": "export const handler = async () => 1"}, "nodejs", "index.handler", "index.mjs", ""},
		"an exported function":                   {map[string]string{"app.mjs": "export async function lambdaHandler() {}"}, "nodejs", "app.lambdaHandler", "app.mjs", ""},
		"what a bundler makes":                   {map[string]string{"index.js": "var x = 1;\nexport {\n  x,\n  handler\n};"}, "nodejs", "index.handler", "index.js", ""},
		"module.exports":                         {map[string]string{"index.js": "module.exports = { handler: () => 1 }"}, "nodejs", "index.handler", "index.js", ""},
		"the first that exports":                 {map[string]string{"index.js": "console.log(1)", "app.js": "exports.handler = 1"}, "nodejs", "app.handler", "app.js", ""},
		"Python as on the console":               {map[string]string{"lambda_function.py": "def lambda_handler(event, context):\n  return 1"}, "python", "lambda_function.lambda_handler", "lambda_function.py", ""},
		"Python as SAM begins it":                {map[string]string{"app.py": "import json\n\ndef lambda_handler(event, context): pass", "requirements.txt": ""}, "python", "app.lambda_handler", "app.py", ""},
		"a decorated handler":                    {map[string]string{"main.py": "@log\ndef handler(e, c): pass"}, "python", "main.handler", "main.py", ""},
		"an adapter":                             {map[string]string{"app.py": "from mangum import Mangum\nhandler = Mangum(app)"}, "python", "app.handler", "app.py", ""},
		"a program":                              {map[string]string{"bootstrap": "#!/bin/sh"}, "provided", "bootstrap", "bootstrap", ""},
		"a program with Node files":              {map[string]string{"bootstrap": "#!/bin/sh", "index.js": "exports.handler = 1"}, "provided", "bootstrap", "bootstrap", ""},
		"Go":                                     {map[string]string{"go.mod": "module x", "main.go": "package main"}, "provided", "bootstrap", "go.mod", ""},
		"a built jar":                            {map[string]string{"pom.xml": "", "target/f-1.jar": "", "target/original-f-1.jar": "", "target/f-1-sources.jar": ""}, "java", "", "target/f-1.jar", ""},
		"two languages":                          {map[string]string{"index.js": "exports.handler = 1", "app.py": "def handler(e, c): pass"}, "", "", "", "--runtime and --handler"},
		"TypeScript":                             {map[string]string{"index.ts": "export const handler = 1"}, "", "", "", "esbuild"},
		"an unbuilt jar":                         {map[string]string{"pom.xml": ""}, "", "", "", "build it first"},
		"two jars":                               {map[string]string{"a.jar": "", "b.jar": ""}, "", "", "", "2 jars"},
		"a handler in a comment of another file": {map[string]string{"util.js": "exports.handler = 1"}, "", "", "", "no function"},
		"nothing":                                {map[string]string{"README": "x"}, "", "", "", "no function"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Read(folder(t, "f", c.files))
			if c.refused != "" {
				if !errors.As(err, new(*UnknownError)) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %+v, %v; want an error with %q", f, err, c.refused)
				}
				return
			}
			if err != nil || f.Family != c.family || f.Handler != c.handler || f.Source != c.source {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
}

func TestHintsNameWhatIsMissing(t *testing.T) {
	f, err := Read(folder(t, "f", map[string]string{"index.js": "exports.handler = 1", "package.json": `{"dependencies": {"left-pad": "1"}}`}))
	if err != nil || len(f.Hints) != 1 || !strings.Contains(f.Hints[0], "npm install") {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestNamesOfFolders(t *testing.T) {
	for dir, want := range map[string]string{"/x/hello": "hello", "/x/my function!": "my-function", "/x/" + strings.Repeat("a", 80): strings.Repeat("a", 64)} {
		if got := Name(dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

func TestThePackageLeavesOutWhatIsNoPartOfIt(t *testing.T) {
	dir := folder(t, "f", map[string]string{"index.js": "exports.handler = 1", ".git/config": "x", ".env": "SECRET=1", "__pycache__/a.pyc": "x", "lib/a.txt": "a",
		"node_modules/.bin/tool": "x", "node_modules/a/.hidden.js": "x"})
	f, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.Package(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range r.File {
		names = append(names, e.Name)
	}
	want := []string{"index.js", "lib/a.txt", "node_modules/.bin/tool", "node_modules/a/.hidden.js"}
	if !slices.Equal(names, want) {
		t.Errorf("the package holds %q, want %q", names, want)
	}
	second, err := f.Package(t.Context(), dir)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same folder gives another package (%v)", err)
	}
}
