package eventsourcetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Maven fetches an artifact and all that it needs, and returns the folder of the jars. Several artifacts share one folder:
// "org.elasticmq:elasticmq-server_2.13:1.6.14". The test is skipped where they cannot be had.
func Maven(t testing.TB, artifacts ...string) (dir string) {
	t.Helper()
	return fetched(t, "maven", artifacts, func(dir string) *exec.Cmd {
		var dependencies strings.Builder
		for _, a := range artifacts {
			p := strings.Split(a, ":")
			fmt.Fprintf(&dependencies, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>", p[0], p[1], p[2])
		}
		pom := filepath.Join(dir, "pom.xml")
		text := `<project><modelVersion>4.0.0</modelVersion><groupId>thaw</groupId><artifactId>servers</artifactId><version>1</version><dependencies>` +
			dependencies.String() + `</dependencies></project>`
		if err := os.WriteFile(pom, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return exec.Command("mvn", "-q", "-B", "-f", pom, "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies", "-DoutputDirectory="+dir,
			"-DincludeScope=runtime")
	})
}

// Python makes a virtual environment with packages and returns its folder: bin/moto_server is below it.
func Python(t testing.TB, packages ...string) (dir string) {
	t.Helper()
	return fetched(t, "python", packages, func(dir string) *exec.Cmd {
		// A virtual environment knows its folder, so it is made where it stays.
		return exec.Command("sh", append([]string{"-ec", `d=$1; shift; python3 -m venv "$d"; "$d/bin/pip" install -q "$@"`, "sh", dir}, packages...)...)
	})
}

// Node installs packages of npm and returns the folder above node_modules.
func Node(t testing.TB, packages ...string) (dir string) {
	t.Helper()
	return fetched(t, "node", packages, func(dir string) *exec.Cmd {
		return exec.Command("npm", append([]string{"install", "--silent", "--no-audit", "--no-fund", "--prefix", dir}, packages...)...)
	})
}

// fetched runs a command that fills a folder of the cache, unless one has done so before. Test programs that run at the
// same time wait for each other.
func fetched(t testing.TB, kind string, names []string, command func(dir string) *exec.Cmd) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no place for %v: %v", names, err)
	}
	joined := strings.Join(names, "+")
	if len(joined) > 100 { // a name of a folder may not be longer than 255
		joined = fmt.Sprintf("%s-and-%d-more-%x", names[0], len(names)-1, sha256.Sum256([]byte(joined)))
	}
	safe := strings.NewReplacer("/", "_", ":", "_", "[", "-", "]", "", "=", "").Replace(joined)
	dir := filepath.Join(cache, "thaw-tests", kind+"-"+safe)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for err = unix.EINTR; errors.Is(err, unix.EINTR); { // until nobody else fetches
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(dir, ".whole")
	if _, err := os.Stat(whole); err == nil {
		return dir
	}
	t.Logf("fetching %s, once, into %s", strings.Join(names, ", "), dir)
	if out, err := command(dir).CombinedOutput(); err != nil {
		t.Skipf("%v cannot be had: %v: %s", names, err, out)
	}
	if err := os.WriteFile(whole, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Debian unpacks packages of the distribution, without installing them or starting what they start, and returns the folder
// that stands for the root: usr/lib/erlang is below it. Dependencies have to be named.
func Debian(t testing.TB, packages ...string) (dir string) {
	t.Helper()
	return fetched(t, "debian", packages, func(dir string) *exec.Cmd {
		c := exec.Command("sh", append([]string{"-ec", `apt-get download -q "$@" || { apt-get update -q && apt-get download -q "$@"; }
			for p in *.deb; do dpkg -x "$p" .; done
			rm -f -- *.deb`, "sh"}, packages...)...)
		c.Dir = dir
		return c
	})
}
