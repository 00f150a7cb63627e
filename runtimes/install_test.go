package runtimes

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/internal/treesum"
)

// packages is a registry of npm, PyPI and Maven in one, with the files that the pins of a test name.
type packages struct {
	*httptest.Server
	npm, wheel, jar []byte
	requests        atomic.Int64
	hang            atomic.Bool // a file is sent by half, then nothing
	second          atomic.Bool // there is a second version of the npm package, of the same content
	html            bool        // the index speaks the old form
	auth            string      // wanted
}

func (p *packages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	if p.auth != "" && r.Header.Get("Authorization") != p.auth {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	file := func(b []byte) {
		if p.hang.Load() {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b[:len(b)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		w.Write(b)
	}
	switch r.URL.Path {
	case "/npm/tool":
		fmt.Fprintf(w, `{"versions":{"1.2.3":{"dist":{"tarball":"%s/npm/tool/-/tool-1.2.3.tgz"}}}}`, p.URL)
	case "/npm/tool/-/tool-1.2.3.tgz":
		file(p.npm)
	case "/npm/tool/-/tool-2.0.0.tgz":
		if !p.second.Load() {
			http.NotFound(w, r)
			return
		}
		file(p.npm)
	case "/simple/lib/":
		if p.html {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<html><a href="../../files/lib-1.0-py3-none-any.whl#sha256=0&amp;x">lib-1.0-py3-none-any.whl</a></html>`)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
		fmt.Fprint(w, `{"files":[{"filename":"lib-1.0-py3-none-any.whl","url":"../../files/lib-1.0-py3-none-any.whl"}]}`)
	case "/files/lib-1.0-py3-none-any.whl":
		file(p.wheel)
	case "/maven2/g/a/1/a-1.jar":
		file(p.jar)
	default:
		http.NotFound(w, r)
	}
}

// registryOfTest serves one package of each kind and points this process's configuration, in files, at it. The pins are the
// package's for the length of the test.
func registryOfTest(t *testing.T) *packages {
	t.Helper()
	p := &packages{npm: tarball(t, map[string]string{"package/bin/tool": "#!/bin/sh\n", "package/README": "x"}), wheel: wheel(t, "lib/__init__.py"), jar: []byte("jar")}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	home := t.TempDir()
	for name, body := range map[string]string{
		".npmrc":                "registry=" + p.URL + "/npm/\n",
		".config/pip/pip.conf":  "[global]\nindex-url = " + p.URL + "/simple/\n",
		".m2/settings.xml":      "<settings><mirrors><mirror><id>m</id><mirrorOf>central</mirrorOf><url>" + p.URL + "/maven2/</url></mirror></mirrors></settings>",
		".config/irrelevant.rc": "x",
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", home)
	for _, v := range []string{"npm_config_registry", "NPM_CONFIG_REGISTRY", "npm_config_userconfig", "NPM_CONFIG_USERCONFIG", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "XDG_CONFIG_HOME"} {
		t.Setenv(v, "")
	}
	was := pins
	t.Cleanup(func() { pins = was })
	integrity := sha512.Sum512(p.npm)
	pins = []pin{
		{Registry: "npm", Component: "mixed", Machine: "any", Package: "tool", File: "1.2.3", Hash: "sha512-" + base64.StdEncoding.EncodeToString(integrity[:])},
		{Registry: "pypi", Component: "mixed", Machine: "any", Package: "lib", File: "lib-1.0-py3-none-any.whl", Hash: sha256Pin(p.wheel)},
		{Registry: "maven", Component: "mixed", Machine: "any", Package: "a", File: "g/a/1/a-1.jar", Hash: sha256Pin(p.jar)},
	}
	return p
}

func sha256Pin(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for name, body := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func wheel(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openTest(t *testing.T) *Registry {
	t.Helper()
	r, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// entries are what a registry's folder holds, without locks.
func entries(t *testing.T, r *Registry) []string {
	t.Helper()
	list, err := os.ReadDir(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".lock-") {
			out = append(out, e.Name())
		}
	}
	return out
}

func TestInstallFromConfiguredRegistries(t *testing.T) {
	for _, html := range []bool{false, true} {
		t.Run(fmt.Sprintf("html index %v", html), func(t *testing.T) {
			p := registryOfTest(t)
			p.html = html
			r := openTest(t)
			dir, err := r.installComponent(t.Context(), "mixed", func(string) {}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"bin/tool", "README", "lib/__init__.py", "lib/a-1.jar"} {
				if !isFile(filepath.Join(dir, file)) {
					t.Errorf("%s is not installed", file)
				}
			}
			if info, err := os.Stat(filepath.Join(dir, "bin/tool")); err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("bin/tool is not executable: %v", err)
			}
			before := p.requests.Load()
			if _, err := r.installComponent(t.Context(), "mixed", func(string) {}, nil); err != nil || p.requests.Load() != before {
				t.Errorf("a second installation asks the registry again: %v", err)
			}
		})
	}
}

func TestInstallRefusesAnotherHash(t *testing.T) {
	p := registryOfTest(t)
	p.wheel = wheel(t, "lib/evil.py")
	r := openTest(t)
	_, err := r.installComponent(t.Context(), "mixed", func(string) {}, nil)
	if err == nil || !strings.Contains(err.Error(), "has another hash than the pinned sha256:") {
		t.Errorf("got %v", err)
	}
	if left := entries(t, r); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInterruptedInstallLeavesNothing(t *testing.T) {
	p := registryOfTest(t)
	p.hang.Store(true)
	r := openTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.installComponent(ctx, "mixed", func(string) {}, nil)
		done <- err
	}()
	for p.requests.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if left := entries(t, r); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	// A process that was killed in the middle cannot tidy up; the next installation does.
	c, _ := componentFor("mixed")
	if err := os.MkdirAll(filepath.Join(r.dir, ".tmp-"+c.folder()+"-1", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.hang.Store(false)
	if _, err := r.installComponent(t.Context(), "mixed", func(string) {}, nil); err != nil {
		t.Fatal(err)
	}
	if left := entries(t, r); len(left) != 2 || left[0] != c.folder() || left[1] != c.folder()+treesum.Suffix {
		t.Errorf("the folder holds %v, want only %s and its sum", left, c.folder())
	}
	// What was damaged since is not taken for installed, and installing makes it whole.
	again, err := Open(Options{Dir: r.dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := again.installed("mixed"); !ok {
		t.Error("a whole one is not taken for installed")
	}
	whole := map[string][]byte{}
	for _, f := range oneFile(t, filepath.Join(r.dir, c.folder())) {
		if whole[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(f, 0); err != nil {
			t.Fatal(err)
		}
	}
	if again, err = Open(Options{Dir: r.dir}); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := again.installed("mixed"); ok {
		t.Error("a damaged one is taken for installed")
	}
	// One that is copied here by hand is looked at before it is whole, too, and is taken when it is.
	for f, b := range whole {
		if err := os.WriteFile(f, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, ok := again.installed("mixed"); !ok {
		t.Error("one whose copy is complete now is not taken for installed")
	}
	for f := range whole {
		if err := os.Truncate(f, 0); err != nil {
			t.Fatal(err)
		}
	}
	if again, err = Open(Options{Dir: r.dir}); err != nil {
		t.Fatal(err)
	}
	again.restsFor = 0 // or the damage is taken for a copy under way
	if _, err := again.installComponent(t.Context(), "mixed", func(string) {}, func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := again.installed("mixed"); !ok {
		t.Error("installing did not make it whole")
	}
}

// A folder that is copied here beside a running server is not used before its sum has come, or it has been at rest for a
// while, which one of a release that wrote no sums has been. Nothing is fetched in its place meanwhile.
func TestAFolderWithoutItsSumIsNotTakenYet(t *testing.T) {
	p := registryOfTest(t)
	r := openTest(t)
	dir, err := r.installComponent(t.Context(), "mixed", func(string) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(dir + treesum.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir + treesum.Suffix); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Options{Dir: r.dir})
	if err != nil {
		t.Fatal(err)
	}
	again.restsFor = time.Hour
	if _, _, ok := again.installed("mixed"); ok {
		t.Error("one that was written a moment ago, without a sum, is taken for installed")
	}
	asked := p.requests.Load()
	waits := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		_, err := again.installComponent(t.Context(), "mixed", func(step string) {
			select {
			case waits <- step:
			default:
			}
		}, nil)
		done <- err
	}()
	if step := <-waits; !strings.Contains(step, "waiting for the end of a copy") {
		t.Errorf("installing says %q", step)
	}
	if err := os.WriteFile(dir+treesum.Suffix, nil, 0o644); err != nil { // the sum is half-written at first
		t.Fatal(err)
	}
	if _, _, ok := again.installed("mixed"); ok {
		t.Error("one with half a sum is taken for installed")
	}
	if err := os.WriteFile(dir+treesum.Suffix, sum, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, _, ok := again.installed("mixed"); !ok {
		t.Error("one whose sum has come is not taken for installed")
	}
	if n := p.requests.Load() - asked; n != 0 {
		t.Errorf("%d requests fetched what was being copied here", n)
	}
	if err := os.Remove(dir + treesum.Suffix); err != nil {
		t.Fatal(err)
	}
	if again, err = Open(Options{Dir: r.dir}); err != nil {
		t.Fatal(err)
	}
	again.restsFor = 0
	if _, _, ok := again.installed("mixed"); !ok {
		t.Error("one at rest, of a release that wrote no sums, is not taken for installed")
	}
}

// oneFile is a file with contents in a folder.
func oneFile(t *testing.T, dir string) (files []string) {
	t.Helper()
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if info, ierr := d.Info(); err == nil && ierr == nil && d.Type().IsRegular() && info.Size() > 0 && len(files) == 0 {
			files = append(files, p)
		}
		return err
	})
	if len(files) == 0 {
		t.Fatalf("no file in %s", dir)
	}
	return files
}

func TestOpenSweepsWhatKilledProcessesLeft(t *testing.T) {
	dir := t.TempDir()
	long, now := filepath.Join(dir, ".tmp-nodejs-1"), filepath.Join(dir, ".tmp-nodejs-2")
	for _, path := range []string{long, now} {
		if err := os.MkdirAll(filepath.Join(path, "half"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(long, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if isFolder(long) || !isFolder(now) {
		t.Errorf("day-old folder there: %v, new one there: %v", isFolder(long), isFolder(now))
	}
}

// The sandbox's user is not the one who installs.
func TestInstalledFilesAreReadableByAll(t *testing.T) {
	registryOfTest(t)
	r := openTest(t)
	was := unix.Umask(0o077) // no test of this package that runs in parallel makes files meanwhile
	dir, err := r.installComponent(t.Context(), "mixed", func(string) {}, nil)
	unix.Umask(was)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"": 0o755, "bin": 0o755, "bin/tool": 0o755, "README": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q has mode %v, want %v (%v)", name, info.Mode().Perm(), want, err)
		}
	}
}

func TestConcurrentInstallsFetchOnce(t *testing.T) {
	p := registryOfTest(t)
	r := openTest(t)
	other, err := Open(Options{Dir: r.dir}) // another process
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := []*Registry{r, other}[i%2].installComponent(t.Context(), "mixed", func(string) {}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := p.requests.Load(); n != 4 { // the file of npm and Maven, the list and the file of PyPI
		t.Errorf("%d requests for one installation, want 4", n)
	}
}

func TestArchivesStayInTheirFolder(t *testing.T) {
	for _, name := range []string{"package/../../evil", "package//etc/evil", "package/a/../../../evil"} {
		dir := t.TempDir()
		if err := untar(bytes.NewReader(tarball(t, map[string]string{name: "x"})), filepath.Join(dir, "in"), layout{}); err == nil {
			t.Errorf("tar entry %s was taken", name)
		}
		if list, _ := os.ReadDir(dir); len(list) > 0 {
			t.Errorf("%s left %v", name, list)
		}
	}
	for _, name := range []string{"../evil", "/etc/evil", "a/../../evil"} {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(wheel(t, name)); err != nil {
			t.Fatal(err)
		}
		if err := unzip(f, t.TempDir(), layout{}); err == nil {
			t.Errorf("zip entry %s was taken", name)
		}
	}
}

func TestRegistryConfiguration(t *testing.T) {
	home := t.TempDir()
	put := func(name, body string) {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	vars := map[string]string{"TOKEN": "secret"}
	getenv := func(k string) string { return vars[k] }
	if got := pypiIndexes(getenv, t.TempDir()); len(got) == 0 || got[0].url == "" {
		t.Errorf("no index by default: %v", got)
	}
	put(".npmrc", "; comment\nregistry = https://npm.example/path/\n//npm.example/path/:_authToken=${TOKEN}\n")
	if got := npmRegistry(getenv, home); got.url != "https://npm.example/path" || got.authorization != "Bearer secret" {
		t.Errorf("npm: %+v", got)
	}
	put(".config/pip/pip.conf", "[global]\nindex-url = https://user:pass@pypi.example/simple/\n[other]\nindex-url = https://wrong.example\n")
	if got := pypiIndexes(getenv, home); got[0].url != "https://pypi.example/simple" || got[0].authorization != "Basic "+base64.StdEncoding.EncodeToString([]byte("user:pass")) {
		t.Errorf("pip: %+v", got)
	}
	put(".m2/settings.xml", `<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><servers><server><id>m</id><username>u</username><password>${env.TOKEN}</password></server></servers>
		<mirrors><mirror><id>other</id><mirrorOf>*,!central</mirrorOf><url>https://wrong.example</url></mirror><mirror><id>m</id><mirrorOf>external:*</mirrorOf><url>https://maven.example/repo</url></mirror></mirrors></settings>`)
	if got := mavenRepository(getenv, home); got.url != "https://maven.example/repo" || got.authorization != "Basic "+base64.StdEncoding.EncodeToString([]byte("u:secret")) {
		t.Errorf("maven: %+v", got)
	}
	vars["npm_config_registry"] = "https://env.example/"
	vars["PIP_INDEX_URL"] = "https://env.example/simple"
	vars["PIP_EXTRA_INDEX_URL"] = "https://more.example/simple https://most.example/simple"
	if got := npmRegistry(getenv, home); got.url != "https://env.example" || got.authorization != "" {
		t.Errorf("npm's variable does not win, or took another registry's token: %+v", got)
	}
	if got := pypiIndexes(getenv, home); len(got) != 3 || got[0].url != "https://env.example/simple" || got[2].url != "https://most.example/simple" {
		t.Errorf("pip's variables do not win: %+v", got)
	}
}

// Credentials go to the registry's own host only.
func TestCredentialsStayWithTheRegistry(t *testing.T) {
	r := registry{url: "https://npm.example/path", authorization: "Bearer secret"}
	if r.authFor("https://npm.example/path/x.tgz") == "" || r.authFor("https://cdn.example/x.tgz") != "" || r.authFor("http://npm.example:81/x") != "" {
		t.Error("the authorization goes to another host, or not to the registry")
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("[global]\nindex-url = https://pypi.example/simple\n")
	f.Add("registry=https://npm.example/\n//npm.example/:_authToken=x")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "settings")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		readSettings(path, func(section, key, value string) {
			if strings.ContainsAny(section+key+value, "\n") || !strings.Contains(text, key) || !strings.Contains(text, value) {
				t.Errorf("%q gives [%q] %q = %q", text, section, key, value)
			}
		})
	})
}
