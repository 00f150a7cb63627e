package main

import (
	"archive/zip"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const nodeEcho = `exports.handler = async (event) => event;`

//go:embed echo/main.go
var copySource []byte

// create makes a function of one file and waits until it is active.
func (s *server) create(ctx context.Context, name string, rt types.Runtime, handler, file string, content []byte) error {
	return s.createFrom(ctx, name, rt, handler, map[string][]byte{file: content}, nil)
}

// createFrom makes a function of files; more changes the request.
func (s *server) createFrom(ctx context.Context, name string, rt types.Runtime, handler string, files map[string][]byte, more func(*lambda.CreateFunctionInput)) error {
	pkg, err := packageOf(files)
	if err != nil {
		return fmt.Errorf("package of %s: %w", name, err)
	}
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: rt, Handler: &handler, Role: aws.String("arn:aws:iam::000000000000:role/bench"),
		Code: &types.FunctionCode{ZipFile: pkg}, Timeout: aws.Int32(int32(60 * patience)), MemorySize: aws.Int32(512),
	}
	if more != nil {
		more(in)
	}
	if _, err = s.client.CreateFunction(ctx, in); err != nil {
		return err
	}
	return lambda.NewFunctionActiveV2Waiter(s.client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, patience*time.Minute)
}

func packageOf(files map[string][]byte) ([]byte, error) {
	var pkg bytes.Buffer
	z := zip.NewWriter(&pkg)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return pkg.Bytes(), nil
}

// node makes the echo of the tables, on the Node.js that the host has.
func (s *server) node(ctx context.Context, name string) error {
	rt, err := hostNode(ctx)
	if err != nil {
		return err
	}
	return s.create(ctx, name, rt, "index.handler", "index.js", []byte(nodeEcho))
}

func hostNode(ctx context.Context) (types.Runtime, error) {
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".")
	return types.Runtime("nodejs" + major + ".x"), nil
}

// copier makes a function that copies its event without looking at it, so that the platform's own share shows.
func (s *server) copier(ctx context.Context, name string) error {
	program, err := copyProgram(ctx)
	if err != nil {
		return err
	}
	return s.create(ctx, name, types.RuntimeProvidedal2023, "bootstrap", "bootstrap", program)
}

// copyFile is the compiled program of copier, where there is no Go to make it; empty: it is compiled.
var copyFile string

func copyProgram(ctx context.Context) ([]byte, error) {
	if copyFile != "" {
		return os.ReadFile(copyFile)
	}
	program, err := compiled(ctx, copySource)
	if err != nil {
		return nil, fmt.Errorf("echo program: %w", err)
	}
	return program, nil
}

// compiled is the executable of a Go program of one file.
func compiled(ctx context.Context, source []byte) ([]byte, error) {
	dir, err := os.MkdirTemp("", "thaw-bench-program-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	src, bin := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(src, source, 0o644); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", bin, src)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(bin)
}
