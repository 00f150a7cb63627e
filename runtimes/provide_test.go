package runtimes

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// nodeOfTest serves a Node 24 that is a shell script, and no SDK. No other Node 24 counts.
func nodeOfTest(t *testing.T) *packages {
	t.Helper()
	p := registryOfTest(t)
	p.npm = tarball(t, map[string]string{"package/bin/node": "#!/bin/sh\necho v24.99.0\n"})
	integrity := sha512.Sum512(p.npm)
	pins = []pin{{Registry: "npm", Component: "nodejs24", Machine: "any", Package: "tool", File: "1.2.3", Hash: "sha512-" + base64.StdEncoding.EncodeToString(integrity[:])}}
	t.Setenv("PATH", t.TempDir())
	return p
}

func (r *Registry) waiters(component string) int {
	r.fetchMu.Lock()
	defer r.fetchMu.Unlock()
	if f := r.fetches[component]; f != nil {
		return f.waiters
	}
	return 0
}

func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestFunctionsShareOneFetch(t *testing.T) {
	p := nodeOfTest(t)
	p.hang.Store(true) // until all of them wait
	var said bytes.Buffer
	r, err := Open(Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancelCause(t.Context())
	var early, late sync.WaitGroup
	leaving := errors.New("no longer wanted")
	for range 3 {
		early.Go(func() {
			if err := r.Provide(ctx, "nodejs24.x", ""); !errors.Is(err, leaving) {
				t.Errorf("one that gave up got %v", err)
			}
		})
	}
	until(t, "three wait", func() bool { return r.waiters("nodejs24") == 3 })
	until(t, "the fetch is told of", func() bool { return strings.HasPrefix(r.Fetching("nodejs24.x"), "Node.js 24 is being fetched: 0 of ") })
	if text := r.Fetching("nodejs22.x") + r.Fetching("python3.12"); text != "" {
		t.Errorf("others are told %q", text)
	}
	giveUp(leaving)
	early.Wait()
	if left := entries(t, r); len(left) != 0 || r.waiters("nodejs24") != 0 || r.Fetching("nodejs24.x") != "" {
		t.Errorf("the last who gave up left %v", left)
	}
	if !r.Recoverable("nodejs24.x", "") {
		t.Error("a fetch that was given up counts as failed")
	}

	p.hang.Store(false)
	before := p.requests.Load()
	for range 8 {
		late.Go(func() {
			if err := r.Provide(t.Context(), "nodejs24.x", ""); err != nil {
				t.Error(err)
			}
		})
	}
	late.Wait()
	if n := p.requests.Load() - before; n != 1 {
		t.Errorf("%d requests for eight functions, want 1", n)
	}
	if plan, err := r.Plan("nodejs24.x", ""); err != nil || plan.Identity == "" {
		t.Errorf("not ready after Provide: %v", err)
	}
	for _, want := range []string{`msg=fetching what="Node.js 24"`, `msg=fetched what="Node.js 24"`} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, said.String())
		}
	}
}

func TestFailedFetchesAreTriedAgain(t *testing.T) {
	p := nodeOfTest(t)
	p.auth = "somebody else's" // every request is refused
	r := openTest(t)
	err := r.Provide(t.Context(), "nodejs24.x", "")
	var failed *FetchError
	if !errors.As(err, &failed) || failed.What != "Node.js 24" || !strings.Contains(err.Error(), "401") || !strings.HasSuffix(err.Error(), "it is tried again by itself, or at once by: thaw runtime install nodejs24.x") {
		t.Fatalf("got %v", err)
	}
	if r.Recoverable("nodejs24.x", "") {
		t.Error("it is tried again at once, by itself")
	}
	asked := p.requests.Load()
	if err := r.Provide(t.Context(), "nodejs24.x", ""); !errors.As(err, &failed) || p.requests.Load() == asked {
		t.Errorf("another function's own attempt was not made: %v", err)
	}
	if f := r.failures["nodejs24"]; f.attempts != 2 || time.Until(f.next) <= firstPause || time.Until(f.next) > 2*firstPause {
		t.Errorf("after two failures the next attempt is in %v", time.Until(f.next))
	}
	// Another process has more luck.
	p.auth = ""
	other, err := Open(Options{Dir: r.dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Install(t.Context(), "nodejs24.x", nil); err != nil {
		t.Fatal(err)
	}
	if !r.Recoverable("nodejs24.x", "") || r.Provide(t.Context(), "nodejs24.x", "") != nil {
		t.Error("what another process installed is not seen")
	}
}

func TestOfflineFetchesNothing(t *testing.T) {
	p := nodeOfTest(t)
	r, err := Open(Options{Dir: t.TempDir(), Offline: true, InstallCommand: "thaw runtime install --data-dir /data"})
	if err != nil {
		t.Fatal(err)
	}
	err = r.Provide(t.Context(), "nodejs24.x", "")
	if !errors.As(err, new(*NotInstalledError)) || err.Error() != "runtime nodejs24.x is not installed: Node.js 24 is missing; type: thaw runtime install --data-dir /data nodejs24.x" {
		t.Errorf("got %v", err)
	}
	if r.Recoverable("nodejs24.x", "") || p.requests.Load() != 0 {
		t.Errorf("%d requests", p.requests.Load())
	}
	// What somebody installs elsewhere and brings here as files serves.
	elsewhere := openTest(t)
	if err := elsewhere.Install(t.Context(), "nodejs24.x", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(r.dir), os.DirFS(elsewhere.dir)); err != nil {
		t.Fatal(err)
	}
	if !r.Recoverable("nodejs24.x", "") || r.Provide(t.Context(), "nodejs24.x", "") != nil {
		t.Error("a folder that was brought here does not serve")
	}
}

// Functions do not fail for want of an SDK that they may not use.
func TestARuntimeIsReadyWithoutItsSDK(t *testing.T) {
	p := nodeOfTest(t)
	sdk := pins[0]
	sdk.Component, sdk.File, sdk.Layout = nodeSDK, "2.0.0", layout{To: "node_modules/tool"}
	pins = append(pins, sdk)
	r := openTest(t)
	for _, row := range r.Ls() {
		if row.Identifier == "nodejs24.x" && (!row.Fetchable || strings.Join(row.Fetches, ", ") != "Node.js 24, AWS's SDK for JavaScript") {
			t.Errorf("before, told as %+v", row)
		}
	}
	for range 2 {
		if err := r.Provide(t.Context(), "nodejs24.x", ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.requests.Load(); n != 3 { // Node; the SDK where it usually is, and its list of versions
		t.Errorf("%d requests, want 3: a second function waits for an SDK that just could not be had", n)
	}
	for _, row := range r.Ls() {
		if row.Identifier == "nodejs24.x" && (!row.Ready || row.SDK != "") {
			t.Errorf("told as %+v", row)
		}
	}
	before, err := r.Plan("nodejs24.x", "")
	if err != nil {
		t.Fatal(err)
	}
	// It comes later: the plan follows, and so does the key of snapshots.
	p.second.Store(true)
	if _, err := r.installComponent(t.Context(), nodeSDK, func(string) {}, nil); err != nil {
		t.Fatal(err)
	}
	after, err := r.Plan("nodejs24.x", "")
	if err != nil || after.Identity == before.Identity {
		t.Errorf("the plan does not follow the SDK: %v", err)
	}
}

// A fetched interpreter needs libraries that a bare host may lack: the error names what to type, and the function
// recovers when they are there.
func TestALibraryThatTheHostLacks(t *testing.T) {
	sh, err := os.ReadFile("/bin/sh")
	if err != nil || !bytes.HasPrefix(sh, []byte("\x7fELF")) || !bytes.Contains(sh, []byte("libc.so.6")) {
		t.Skip("/bin/sh is no program that is linked with libc.so.6")
	}
	for name, want := range map[string]string{
		"libq.so.6": "runtime nodejs24.x cannot run here: libq.so.6, a library that Node.js 24 needs, is missing; the functions of it run when you install the package of your distribution that has it",
		"libt.so.1": "runtime nodejs24.x is not installed: libt.so.1, a library that Node.js 24 needs, is missing; type: apt-get update && apt-get install -y libt1",
	} {
		p := nodeOfTest(t)
		p.npm = tarball(t, map[string]string{"package/bin/node": string(bytes.ReplaceAll(sh, []byte("libc.so.6"), []byte(name)))})
		integrity := sha512.Sum512(p.npm)
		pins[0].Hash = "sha512-" + base64.StdEncoding.EncodeToString(integrity[:])
		debianPackages["libt.so.1"] = "libt1"
		r := openTest(t)
		if err := r.Provide(t.Context(), "nodejs24.x", ""); !errors.As(err, new(*NotInstalledError)) || err.Error() != want {
			t.Errorf("without %s: %v", name, err)
		}
		if r.Recoverable("nodejs24.x", "") {
			t.Error("worth another attempt without the library")
		}
		for _, row := range r.Ls() {
			if row.Identifier == "nodejs24.x" && (row.Ready || row.Fetchable) {
				t.Errorf("told as %+v", row)
			}
		}
		delete(debianPackages, "libt.so.1")
	}
}

func TestARegistryOfAnUnknownAuthority(t *testing.T) {
	p := nodeOfTest(t)
	secure := httptest.NewTLSServer(p)
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Setenv("npm_config_registry", secure.URL+"/npm")
	err := openTest(t).Provide(t.Context(), "nodejs24.x", "")
	want := "SSL_CERT_FILE names the file"
	if hostCertificates() == "" {
		want = "apt-get install -y ca-certificates"
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

func TestLayouts(t *testing.T) {
	l := layout{From: "a/b", To: "to", Skip: []string{"docs/", "*.md", "one"}}
	for name, want := range map[string]string{"a/b/x": "to/x", "a/b/docs/x": "", "a/b/x/docs/y": "to/x/docs/y", "a/b/x.md": "", "a/b/one": "", "a/b/one/x": "to/one/x", "a/c/x": "", "x": ""} {
		if got := l.place(name); got != want {
			t.Errorf("%s goes to %q, want %q", name, got, want)
		}
	}
	if got := (layout{}).place("x/y"); got != "x/y" {
		t.Errorf("without a layout x/y goes to %q", got)
	}
}

func TestErrorsSayWhatHelps(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("names packages of x86-64")
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	r := openTest(t)
	for identifier, want := range map[string]string{
		"ruby3.4":    "runtime ruby3.4 cannot run here: support for ruby is missing; it comes with container images, which this server does not have yet; until then such code runs under provided.al2023, with a bootstrap",
		"dotnet8":    "runtime dotnet8 cannot run here: support for dotnet is missing; it comes with container images, which this server does not have yet; until then such code runs under provided.al2023, with a bootstrap",
		"python3.14": "runtime python3.14 is not installed: Python 3.14 is missing; type: thaw runtime install python3.14",
		"python3.15": "runtime python3.15 cannot run here: Python 3.15 is missing; no package registry has it for this host; one that you install is found by itself: on PATH, or where pyenv, uv, nvm, fnm, SDKMAN and distributions put it",
	} {
		if err := r.Check(identifier, ""); err == nil || err.Error() != want {
			t.Errorf("%s: %v", identifier, err)
		}
	}
	was := hostGlibc
	defer func() { hostGlibc = was }()
	for glibc, want := range map[int]string{
		31: "runtime python3.14 cannot run here: glibc 2.35 or later, for Python 3.14 is missing; this host has 2.31",
		0:  "runtime python3.14 cannot run here: glibc 2.35 or later, for Python 3.14 is missing; this host has another C library",
		35: "runtime python3.14 is not installed: Python 3.14 is missing; type: thaw runtime install python3.14",
		9:  "runtime python3.14 cannot run here: glibc 2.35 or later, for Python 3.14 is missing; this host has 2.9",
	} {
		hostGlibc = func() int { return glibc }
		if err := r.Check("python3.14", ""); err == nil || err.Error() != want {
			t.Errorf("with glibc %d: %v", glibc, err)
		}
	}
}

// Behind a firewall that drops packets, what is there already must not wait long for an SDK that cannot come.
func TestNoConnectionIsWaitedForLong(t *testing.T) {
	nodeOfTest(t)
	t.Setenv("npm_config_registry", "http://192.0.2.1/npm") // an address that nobody has: RFC 5737
	ctx, cancel := context.WithTimeout(t.Context(), 3*dialLimit+30*time.Second)
	defer cancel()
	began := time.Now()
	if err := openTest(t).Provide(ctx, "nodejs24.x", ""); !errors.As(err, new(*FetchError)) {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
