// Package project reads a developer's folder: which function it holds, in which runtime, and the package that is
// deployed of it.
//
// What a folder holds is told by its files alone, by the names and forms that AWS's own documents and templates use.
// Where that leaves two answers or none, the error says what to type.
package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"thaw/codepackage"
)

// Function is what a folder holds.
type Function struct {
	Name    string // from the folder's name
	Family  string // nodejs, python, java or provided: the runtime identifier is the caller's choice among these
	Handler string
	Source  string // the file that told so, within the folder
	Hints   []string
	build   bool   // a Go program, to be compiled
	jar     string // the package itself, within the folder
}

// UnknownError says why a folder's function could not be told.
type UnknownError struct {
	Dir    string
	Reason string
}

func (e *UnknownError) Error() string { return fmt.Sprintf("%s: %s", e.Dir, e.Reason) }

// Read looks at a folder. *UnknownError when it does not tell one function.
func Read(dir string) (*Function, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = !e.IsDir()
	}
	var found []*Function
	for _, look := range []func(string, map[string]bool) (*Function, error){bootstrap, golang, java, nodejs, python} {
		f, err := look(dir, names)
		if err != nil {
			return nil, err
		}
		if f != nil {
			found = append(found, f)
		}
	}
	if len(found) > 1 && found[0].Family == "provided" { // a program of its own; what else lies there serves it
		found = found[:1]
	}
	switch len(found) {
	case 1:
		found[0].Name = Name(dir)
		return found[0], nil
	case 0:
		return nil, &UnknownError{dir, nothing(names)}
	}
	return nil, &UnknownError{dir, fmt.Sprintf("it could be a %s function (%s) or a %s one (%s); say which by --runtime and --handler",
		found[0].Family, found[0].Source, found[1].Family, found[1].Source)}
}

// nothing says what a folder without a function lacks.
func nothing(names map[string]bool) string {
	for name := range names {
		if strings.HasSuffix(name, ".ts") || strings.HasSuffix(name, ".tsx") {
			return "it holds TypeScript, which has to be compiled first, for example by: npx esbuild " + name + " --bundle --platform=node --outfile=dist/index.js; then deploy dist"
		}
		if name == "pom.xml" || name == "build.gradle" || name == "build.gradle.kts" {
			return "it holds a Java project without a jar in target or build/libs; build it first"
		}
	}
	return "it holds no function that thaw knows: an index.js or .mjs that exports handler, a lambda_function.py or app.py with a handler, " +
		"a go.mod, a jar, or a bootstrap; or say which by --runtime and --handler"
}

var badInName = regexp.MustCompile(`[^a-zA-Z0-9-_]+`)

// Name makes a function's name of a folder's. Source of the form: control-plane spec, FunctionName.
func Name(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	name := strings.Trim(badInName.ReplaceAllString(filepath.Base(dir), "-"), "-")
	return name[:min(len(name), 64)]
}

func bootstrap(_ string, names map[string]bool) (*Function, error) {
	if !names["bootstrap"] {
		return nil, nil
	}
	return &Function{Family: "provided", Handler: "bootstrap", Source: "bootstrap"}, nil
}

func golang(_ string, names map[string]bool) (*Function, error) {
	if !names["go.mod"] {
		return nil, nil
	}
	return &Function{Family: "provided", Handler: "bootstrap", Source: "go.mod", build: true}, nil
}

// java finds the jar that a build left. Of several, those with sources, documents or without their dependencies are none.
func java(dir string, _ map[string]bool) (*Function, error) {
	for _, where := range []string{"", "target", filepath.Join("build", "libs")} {
		jars, err := filepath.Glob(filepath.Join(dir, where, "*.jar"))
		if err != nil {
			return nil, err
		}
		jars = slices.DeleteFunc(jars, func(j string) bool {
			base := filepath.Base(j)
			return strings.HasPrefix(base, "original-") || strings.Contains(base, "-sources") || strings.Contains(base, "-javadoc") || strings.HasSuffix(base, "-plain.jar")
		})
		switch {
		case len(jars) > 1:
			return nil, &UnknownError{dir, fmt.Sprintf("it holds %d jars, %s and %s among them; deploy a folder with one", len(jars), filepath.Base(jars[0]), filepath.Base(jars[1]))}
		case len(jars) == 1:
			jar, err := filepath.Rel(dir, jars[0])
			if err != nil {
				return nil, err
			}
			return &Function{Family: "java", Source: jar, jar: jar}, nil
		}
	}
	return nil, nil
}

var (
	nodeNames   = []string{"index", "app", "main", "handler", "lambda", "lambda_function"}
	nodeExports = regexp.MustCompile(`(?m)(?:\bexports\.|\bexport\s+(?:async\s+)?(?:const|let|var|function)\s+|\bmodule\.exports\s*=\s*\{[^}]*\b)(handler|lambdaHandler|lambda_handler)\b|\bexport\s*\{[^}]*\b(handler|lambdaHandler)\b`)
)

func nodejs(dir string, names map[string]bool) (*Function, error) {
	for _, base := range nodeNames {
		for _, ext := range []string{".mjs", ".js", ".cjs"} {
			if !names[base+ext] {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, base+ext))
			if err != nil {
				return nil, err
			}
			m := nodeExports.FindSubmatch(text)
			if m == nil {
				continue
			}
			f := &Function{Family: "nodejs", Handler: base + "." + string(append(m[1], m[2]...)), Source: base + ext}
			if pkg, err := os.ReadFile(filepath.Join(dir, "package.json")); err == nil && !exists(dir, "node_modules") && nodeDepends.Match(pkg) {
				f.Hints = append(f.Hints, "package.json names dependencies and there is no node_modules; if the function needs them, type: npm install --omit=dev")
			}
			return f, nil
		}
	}
	return nil, nil
}

var nodeDepends = regexp.MustCompile(`"dependencies"\s*:\s*\{\s*"`)

var (
	pythonNames   = []string{"lambda_function", "app", "main", "handler", "index", "function"}
	pythonHandler = regexp.MustCompile(`(?m)^def\s+(lambda_handler|handler|handle|main)\s*\(|^(lambda_handler|handler)\s*=`)
)

func python(dir string, names map[string]bool) (*Function, error) {
	for _, base := range pythonNames {
		if !names[base+".py"] {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, base+".py"))
		if err != nil {
			return nil, err
		}
		m := pythonHandler.FindSubmatch(text)
		if m == nil {
			continue
		}
		f := &Function{Family: "python", Handler: base + "." + string(append(m[1], m[2]...)), Source: base + ".py"}
		if names["requirements.txt"] {
			f.Hints = append(f.Hints, "what requirements.txt names has to lie in the folder; if it does not, type: pip install -r requirements.txt -t .")
		}
		return f, nil
	}
	return nil, nil
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// left are files that no function needs, and folders that are no part of it. Every name that begins with a dot is, too.
var left = map[string]bool{"__pycache__": true, "thaw.yaml": true, "Thumbs.db": true}

// Package gives the function's package; a Go program is compiled for it, with the host's toolchain, for the processor
// thaw runs on.
func (f *Function) Package(ctx context.Context, dir string) ([]byte, error) {
	switch {
	case f.jar != "":
		return os.ReadFile(filepath.Join(dir, f.jar))
	case f.build:
		return compile(ctx, dir)
	}
	return codepackage.Pack(os.DirFS(dir), func(name string, d fs.DirEntry) bool {
		base := filepath.Base(name)
		return left[base] || strings.HasPrefix(base, ".") && !strings.Contains(name, "node_modules/") || strings.HasSuffix(base, ".pyc")
	})
}

func compile(ctx context.Context, dir string) ([]byte, error) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return nil, errors.New("the folder holds a Go program, and there is no go command to compile it; put its program into the folder as bootstrap")
	}
	out, err := os.MkdirTemp("", "thaw-deploy-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	cmd := exec.CommandContext(ctx, goCommand, "build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", filepath.Join(out, "bootstrap"), ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, text)
	}
	return codepackage.Pack(os.DirFS(out), nil)
}
