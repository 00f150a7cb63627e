package runtimes

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	javaagent "thaw/runtimes/java"
)

//go:embed nodejs/*.cjs
var nodeFiles embed.FS

//go:embed python/*.py
var pythonFiles embed.FS

// nodeMemory bounds V8's heap, so that it collects before the sandbox's limit is reached.
// Source: the bootstrap in AWS's Node base images: 90% for the old generation, 5% for each half of the young one.
func nodeMemory(memoryMiB int) []string {
	return []string{"--expose-gc", "--max-semi-space-size=" + strconv.Itoa(max(memoryMiB*5/100, 1)), "--max-old-space-size=" + strconv.Itoa(memoryMiB*90/100)}
}

// nodeSeeds fix how V8's tables hash and at which addresses it asks for memory. The second it does from a generator of its own, of which Math.random is another
// face: unique.cjs sees to that.
func nodeSeeds(secret []byte) []string {
	seed := func(b []byte) string { return strconv.Itoa(1 + int(binary.BigEndian.Uint32(b)>>2)) } // positive, 32 bits with sign
	return []string{"--hash-seed=" + seed(secret), "--random-seed=" + seed(secret[4:])}
}

// nodeClient writes our Node client below the data folder, once for each content, together with the AWS SDK where there
// is one, and returns its folder. One folder is one mount, whatever is in it.
func (r *Registry) nodeClient(sdk string) (string, error) {
	files, err := filesOf(nodeFiles, "nodejs")
	if err != nil {
		return "", fmt.Errorf("client for Node: %w", err)
	}
	// The module by which functions reach the SnapStart hooks: require('thaw-snapstart'), found through NODE_PATH.
	files["node_modules/thaw-snapstart/index.js"] = []byte("'use strict';\nmodule.exports = globalThis.awslambda.snapStart;\n")
	dir := filepath.Join(r.dir, "nodejs-"+hashOf(files))
	if sdk != "" {
		dir = filepath.Join(r.dir, "client-"+filepath.Base(sdk)+"-"+hashOf(files))
	}
	return dir, r.makeFolder(dir, func(tmp string) error {
		if err := linkTrees(tmp, sdk); err != nil {
			return err
		}
		if err := writeAll(tmp, files); err != nil {
			return err
		}
		// Where the service's Node runtimes keep the certificates for NODE_EXTRA_CA_CERTS.
		return os.Symlink("/etc/ssl/certs/ca-certificates.crt", filepath.Join(tmp, "ca-cert.pem"))
	})
}

// pythonClient puts AWS's client, as it was installed in wheels, together with AWS's SDK, where there is one, and our
// bootstrap, and compiles it: the folder is read-only in a sandbox, so that Python could not keep what it compiles
// there.
func (r *Registry) pythonClient(facts pythonFacts, wheels, sdk string) (string, error) {
	files, err := filesOf(pythonFiles, "python")
	if err != nil {
		return "", fmt.Errorf("client for Python: %w", err)
	}
	further := []string{facts.Version}
	if sdk != "" {
		further = append(further, filepath.Base(sdk))
	}
	dir := filepath.Join(r.dir, "client-"+filepath.Base(wheels)+"-"+hashOf(files, further...))
	return dir, r.makeFolder(dir, func(tmp string) error {
		if err := linkTrees(tmp, wheels, sdk); err != nil {
			return err
		}
		if err := writeAll(tmp, files); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), compileLimit)
		defer cancel()
		// unchecked-hash: a snapshot's clock or a copied folder must not make Python compile again.
		out, err := exec.CommandContext(ctx, facts.Executable, "-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash",
			"-s", tmp, "-p", runtimeDir, tmp).CombinedOutput()
		if err != nil {
			r.log.Warn("client for Python not compiled; it starts slower", "version", facts.Version, "err", err, "output", string(out))
		}
		return nil
	})
}

// javaClient puts AWS's client, as it was installed in jars, together with our agent, which a JVM loads under SnapStart.
func (r *Registry) javaClient(jars string) (string, error) {
	agent, err := javaagent.Jar()
	if err != nil {
		return "", fmt.Errorf("agent for Java: %w", err)
	}
	files := map[string][]byte{javaAgent: agent}
	dir := filepath.Join(r.dir, "client-"+filepath.Base(jars)+"-"+hashOf(files))
	return dir, r.makeFolder(dir, func(tmp string) error {
		if err := linkTree(jars, tmp); err != nil {
			return err
		}
		return writeAll(tmp, files)
	})
}

// filesOf reads the files of an embedded folder, by name.
func filesOf(from embed.FS, folder string) (map[string][]byte, error) {
	entries, err := from.ReadDir(folder)
	files := make(map[string][]byte, len(entries))
	for _, e := range entries {
		b, err := from.ReadFile(folder + "/" + e.Name())
		if err != nil {
			return nil, err
		}
		files[e.Name()] = b
	}
	return files, err
}

// hashOf names a set of files, and what else decides about the folder that they go into.
func hashOf(files map[string][]byte, further ...string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s %d\n", name, len(files[name]))
		h.Write(files[name])
	}
	fmt.Fprintln(h, further)
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func writeAll(dir string, files map[string][]byte) error {
	for name, b := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readableByAll lets the sandbox's user read a folder, whatever umask it was made under.
func readableByAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if d.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		if mode == info.Mode().Perm() {
			return nil
		}
		return os.Chmod(path, mode)
	})
}

// compileLimit bounds the compilation of a client with its SDK: a few seconds are usual, but a busy machine may need many.
const compileLimit = 3 * time.Minute

// linkTrees makes to a copy of several folders in one, out of hard links; an empty name is no folder. The first that
// has a file is whose it is.
func linkTrees(to string, from ...string) error {
	for _, dir := range from {
		if dir == "" {
			continue
		}
		if err := linkTree(dir, to); err != nil {
			return err
		}
	}
	return nil
}

// linkTree makes to a copy of from, out of hard links.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if err := os.Link(path, filepath.Join(to, rel)); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}
