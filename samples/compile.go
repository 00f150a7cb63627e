package samples

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// compile turns a folder of sources into a folder to be zipped, by what a sample needs.
var compile = map[string]func(ctx context.Context, source, out string) error{"go": compileGo, "javac": compileJava}

// awsLambdaGo is the version that go-hello is built with outside of our own checkout; inside, go.mod decides.
const awsLambdaGo = "v1.55.1"

// compileGo builds the bootstrap of a Go function: static, because a sandbox may have another C library.
func compileGo(ctx context.Context, source, out string) error {
	dir, target := source, "."
	if list, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "thaw/samples/go-hello").Output(); err == nil {
		dir = strings.TrimSpace(string(list)) // in a checkout: with the module's own pinned dependencies
	} else {
		mod := "module go-hello\n\ngo 1.24\n\nrequire github.com/aws/aws-lambda-go " + awsLambdaGo + "\n"
		if err := os.WriteFile(filepath.Join(source, "go.mod"), []byte(mod), 0o644); err != nil {
			return err
		}
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", filepath.Join(out, "bootstrap"), target}
	if dir == source {
		args = append([]string{"build", "-mod=mod"}, args[1:]...)
	}
	return run(ctx, dir, append(os.Environ(), "CGO_ENABLED=0"), "go", args...)
}

// compileJava compiles for Java 17, which later ones run too. No build tool: the class files are the package.
func compileJava(ctx context.Context, source, out string) error {
	var files []string
	err := filepath.WalkDir(source, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".java") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	javac := "javac"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		javac = filepath.Join(home, "bin", "javac")
	} else if _, err := exec.LookPath(javac); err != nil {
		if found, _ := filepath.Glob("/usr/lib/jvm/*/bin/javac"); len(found) > 0 {
			javac = found[0]
		}
	}
	return run(ctx, source, os.Environ(), javac, append([]string{"--release", "17", "-d", out}, files...)...)
}

func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s is needed to compile it: %w", filepath.Base(name), err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, out)
	}
	return nil
}
