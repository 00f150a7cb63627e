// Package samples carries sample functions, for the demonstration and for tests.
//
// They are embedded as source. Node, Python and shell functions are zipped as they are; those in Go and Java are compiled first,
// with the host's toolchain.
package samples

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"thaw/codepackage"
)

// Sample is one function, as it may be created.
type Sample struct {
	Name        string
	Runtime     string // the identifier it was written for; NAME-hello of Node runs on every nodejs
	Handler     string
	Description string
	TimeoutSec  int
	MemoryMiB   int
	Builds      string // what Zip needs on the host: "", "go", "javac"
}

var samples = []Sample{
	{"nodejs-hello", "nodejs22.x", "index.handler", "greets, from Node", 3, 128, ""},
	{"nodejs-esm", "nodejs22.x", "index.handler", "an ES module with a top-level await", 3, 128, ""},
	{"nodejs-echo", "nodejs22.x", "index.handler", "gives back its event", 30, 256, ""},
	{"nodejs-stream", "nodejs22.x", "index.handler", "streams its response", 10, 128, ""},
	{"nodejs-error", "nodejs22.x", "index.handler", "fails in several ways", 3, 128, ""},
	{"nodejs-timeout", "nodejs22.x", "index.handler", "takes longer than its timeout", 1, 128, ""},
	{"nodejs-exit", "nodejs22.x", "index.handler", "ends its process", 3, 128, ""},
	{"nodejs-background", "nodejs22.x", "index.handler", "counts in the background", 3, 128, ""},
	{"nodejs-cached", "nodejs22.x", "index.handler", "keeps an HTTP answer in its snapshot until it is no longer good", 10, 256, ""},
	{"nodejs-extension", "nodejs22.x", "index.handler", "greets beside the extension of layer-telemetry", 3, 256, ""},
	{"nodejs-caching", "nodejs22.x", "index.handler", "answers from the caching extension beside it", 10, 256, ""},
	{"nodejs-source", "nodejs22.x", "index.handler", "prints the records of an event source mapping", 10, 128, ""},
	{"python-hello", "python3.12", "lambda_function.handler", "greets, from Python", 3, 128, ""},
	{"python-index", "python3.12", "lambda_function.handler", "builds an index in Init, for about a second", 10, 256, ""},
	{"java-hello", "java17", "example.Hello::handle", "greets, from Java", 10, 512, "javac"},
	{"go-hello", "provided.al2023", "bootstrap", "greets, from Go on aws-lambda-go", 3, 128, "go"},
	{"shell-hello", "provided.al2023", "hello.handler", "greets, from a runtime in bash", 3, 128, ""},
}

//go:embed layer-* nodejs-* python-* java-hello go-hello shell-hello
var sources embed.FS

// List returns every sample.
func List() []Sample { return slices.Clone(samples) }

// Get returns one sample.
func Get(name string) (Sample, bool) {
	i := slices.IndexFunc(samples, func(s Sample) bool { return s.Name == name })
	if i < 0 {
		return Sample{}, false
	}
	return samples[i], true
}

// Zip returns the deployment package of a sample, the same bytes at every call. Compiled ones take seconds and need what
// Sample.Builds names; the error says so when it is missing.
func Zip(name string) ([]byte, error) {
	s, ok := Get(name)
	if !ok {
		return nil, fmt.Errorf("no sample %q", name)
	}
	from, err := fs.Sub(sources, name)
	if err != nil {
		return nil, fmt.Errorf("sample %s: %w", name, err)
	}
	if s.Builds != "" {
		dir, err := os.MkdirTemp("", "thaw-sample-")
		if err != nil {
			return nil, fmt.Errorf("sample %s: %w", name, err)
		}
		defer os.RemoveAll(dir)
		source, out := filepath.Join(dir, "source"), filepath.Join(dir, "out")
		if err := os.CopyFS(source, from); err != nil {
			return nil, fmt.Errorf("sample %s: %w", name, err)
		}
		if err := os.Mkdir(out, 0o755); err != nil {
			return nil, fmt.Errorf("sample %s: %w", name, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if err := compile[s.Builds](ctx, source, out); err != nil {
			return nil, fmt.Errorf("sample %s: %w", name, err)
		}
		from = os.DirFS(out)
	}
	b, err := codepackage.Pack(from, nil)
	if err != nil {
		return nil, fmt.Errorf("sample %s: %w", name, err)
	}
	return b, nil
}

// Layer returns the package of a sample layer, the same bytes at every call.
func Layer(name string) ([]byte, error) {
	from, err := fs.Sub(sources, name)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", name, err)
	}
	b, err := codepackage.Pack(layerFS{from}, nil)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", name, err)
	}
	return b, nil
}
