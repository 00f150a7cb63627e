package runtimes_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/runtimes"
	"thaw/sandbox"
)

func open(t testing.TB) *runtimes.Registry {
	t.Helper()
	r, err := runtimes.Open(runtimes.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryIdentifierOfTheAPIIsKnown(t *testing.T) {
	r := open(t)
	rows := map[string]runtimes.Row{}
	for _, row := range r.Ls() {
		rows[row.Identifier] = row
		if row.Ready == (row.Missing != "") {
			t.Errorf("%s is neither ready nor missing anything, or both: %+v", row.Identifier, row)
		}
	}
	for _, id := range types.Runtime("").Values() {
		if _, ok := rows[string(id)]; !ok {
			t.Errorf("Ls does not know %s", id)
		}
		if err := r.Check(string(id), ""); errors.As(err, new(*runtimes.UnknownError)) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if len(rows) != len(types.Runtime("").Values()) {
		t.Errorf("Ls has %d rows for %d identifiers", len(rows), len(types.Runtime("").Values()))
	}
}

func TestPlanErrors(t *testing.T) {
	r := open(t)
	// Without the host's interpreters, only what is in the data folder counts.
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	for _, test := range []struct{ identifier, architecture, want string }{
		{"nodejs99.x", "", `unknown runtime "nodejs99.x"`},
		{"", "", `unknown runtime ""`},
		{"nodejs24.x", "", "runtime nodejs24.x is not installed: Node.js 24 is missing; type: thaw runtime install nodejs24.x"},
		{"nodejs12.x", "", "runtime nodejs12.x cannot run here: support for nodejs is missing"},
		{"ruby3.4", "", "runtime ruby3.4 cannot run here: support for ruby is missing; it comes with container images, which this server does not have yet; until then such code runs under provided.al2023, with a bootstrap"},
		{"provided.al2023", "riscv", "runtime provided.al2023 cannot run here: a machine of architecture riscv is missing"},
	} {
		_, err := r.Plan(test.identifier, test.architecture)
		if err == nil || err.Error() != test.want {
			t.Errorf("Plan(%q, %q): %v, want %s", test.identifier, test.architecture, err, test.want)
		}
	}
}

// A folder with a program named node that says it is of this version.
func fakeNode(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node"), []byte("#!/bin/sh\necho v"+version+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHostNodeServesItsOwnMajorOnly(t *testing.T) {
	r := open(t)
	dir := fakeNode(t, "26.1.2")
	t.Setenv("PATH", dir)
	t.Setenv("HOME", t.TempDir())
	if _, err := r.Plan("nodejs26.x", ""); err != nil {
		t.Error(err)
	}
	if _, err := r.Plan("nodejs24.x", ""); !errors.As(err, new(*runtimes.NotInstalledError)) {
		t.Errorf("Node 26 serves nodejs24.x: %v", err)
	}
	// Upgraded while the server runs.
	path := filepath.Join(dir, "node")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho v24.99.0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Plan("nodejs26.x", ""); !errors.As(err, new(*runtimes.NotInstalledError)) {
		t.Errorf("Node 24 serves nodejs26.x: %v", err)
	}
	if _, err := r.Plan("nodejs24.x", ""); err != nil {
		t.Error(err)
	}
}

func TestIdentityFollowsTheFiles(t *testing.T) {
	r := open(t)
	dir := fakeNode(t, "26.1.2")
	t.Setenv("PATH", dir)
	t.Setenv("HOME", t.TempDir())
	plan := func() runtimes.Plan {
		p, err := r.Plan("nodejs26.x", "")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := plan()
	if second := plan(); second.Identity != first.Identity || first.Identity == "" {
		t.Errorf("the identity changes from %q to %q by itself", first.Identity, second.Identity)
	}
	later := time.Now().Add(2 * time.Second)
	if err := os.Chtimes(filepath.Join(dir, "node"), later, later); err != nil {
		t.Fatal(err)
	}
	if second := plan(); second.Identity == first.Identity {
		t.Error("the identity is the same after the interpreter changed")
	}
}

func TestPlansAreWellFormed(t *testing.T) {
	r := open(t)
	for _, row := range r.Ls() {
		if !row.Ready {
			continue
		}
		p, err := r.Plan(row.Identifier, "")
		if err != nil {
			t.Errorf("%s: %v", row.Identifier, err)
			continue
		}
		if (len(p.Argv) == 0) == (len(p.Candidates) == 0) {
			t.Errorf("%s: argv %q and candidates %q", p.Identifier, p.Argv, p.Candidates)
		}
		for i, m := range p.Mounts {
			under := false
			for _, root := range sandbox.Roots {
				under = under || m.Target == root || strings.HasPrefix(m.Target, root+"/")
			}
			if !under || !filepath.IsAbs(m.Source) {
				t.Errorf("%s: mount %+v is outside of the roots", p.Identifier, m)
			}
			if real, err := filepath.EvalSymlinks(m.Source); err != nil || real != m.Source {
				t.Errorf("%s: source %s is a link or absent: %v", p.Identifier, m.Source, err)
			}
			for _, earlier := range p.Mounts[:i] {
				if earlier.Target == m.Target || strings.HasPrefix(earlier.Target, m.Target+"/") {
					t.Errorf("%s: %s comes after %s", p.Identifier, m.Target, earlier.Target)
				}
			}
			for _, private := range []string{"/etc/ssl", "/etc/ssl/private", "/etc/pki", "/etc", "/root", "/home"} {
				if m.Source == private {
					t.Errorf("%s: %s of the host is mounted", p.Identifier, private)
				}
			}
		}
		// E-139, E-140: the part of the recorded environment that a runtime decides.
		if env, has := p.Reserved["AWS_EXECUTION_ENV"]; has == strings.HasPrefix(p.Identifier, "provided") || has && env != "AWS_Lambda_"+p.Identifier {
			t.Errorf("%s: AWS_EXECUTION_ENV is %q", p.Identifier, env)
		}
		for k, want := range map[string]string{"LANG": "en_US.UTF-8", "TZ": ":UTC"} {
			if p.Vars[k] != want {
				t.Errorf("%s: %s is %q, want %q", p.Identifier, k, p.Vars[k], want)
			}
		}
		if path := p.Vars["PATH"]; !strings.HasSuffix(path, "/usr/local/bin:/usr/bin/:/bin:/opt/bin") {
			t.Errorf("%s: PATH is %q", p.Identifier, path)
		}
	}
}

func TestCommand(t *testing.T) {
	p := runtimes.Plan{Argv: []string{"/var/lang/bin/java", "-cp", "x", "Main"}, HandlerArgv: true, MemoryArgv: func(m int) []string { return []string{"-Xmx"} }}
	for _, test := range []struct {
		wrapper, want string
	}{
		{"", "/var/lang/bin/java -Xmx -cp x Main a.b"},
		{"/opt/wrap", `/bin/sh -c exec "$@" bootstrap /opt/wrap /var/lang/bin/java -Xmx -cp x Main a.b`},
	} {
		if got := strings.Join(p.Command(128, "a.b", test.wrapper), " "); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
	if got := (runtimes.Plan{Candidates: []string{"/var/task/bootstrap"}}).Command(128, "h", "/opt/wrap"); got != nil {
		t.Errorf("an OS-only runtime has the command %q", got)
	}
}
