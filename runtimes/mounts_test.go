package runtimes_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/runtimes"
	"thaw/sandbox"
)

// rooted is a command for the re-executed test binary: make a root folder of these mounts and nothing else, and run argv in it as an
// ordinary user.
type rooted struct {
	Root   string
	Mounts []sandbox.Mount
	Argv   []string
	Vars   []string
}

const rootedVariable = "THAW_TEST_ROOTED"

func TestMain(m *testing.M) {
	if spec := os.Getenv(rootedVariable); spec != "" {
		var c rooted
		if err := json.Unmarshal([]byte(spec), &c); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, c.run())
		os.Exit(99)
	}
	os.Exit(m.Run())
}

// run returns only when it could not start the program. The mounts go with the mount namespace.
func (c rooted) run() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", c.Root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, dir := range []string{"tmp", "proc", "dev"} {
		if err := os.MkdirAll(filepath.Join(c.Root, dir), 0o755); err != nil {
			return err
		}
	}
	os.Chmod(filepath.Join(c.Root, "tmp"), 0o1777)
	mounts := append([]sandbox.Mount{{Source: "/dev", Target: "/dev"}, {Source: "/proc", Target: "/proc"}}, c.Mounts...)
	for _, m := range mounts {
		target := filepath.Join(c.Root, m.Target)
		info, err := os.Stat(m.Source)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if _, gone := os.Stat(target); gone == nil {
			err = nil // part of an outer mount
		} else if info.IsDir() {
			err = os.MkdirAll(target, 0o755)
		} else {
			err = os.WriteFile(target, nil, 0o644)
		}
		if err != nil {
			return err
		}
		if err := unix.Mount(m.Source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", m.Target, err)
		}
		if m.Target != "/dev" && m.Target != "/proc" {
			if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				return fmt.Errorf("%s: %w", m.Target, err)
			}
		}
	}
	if err := unix.Chroot(c.Root); err != nil {
		return err
	}
	if err := os.Chdir("/var/task"); err != nil {
		return err
	}
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(990); err != nil {
		return err
	}
	if err := syscall.Setuid(993); err != nil {
		return err
	}
	return syscall.Exec(c.Argv[0], c.Argv, c.Vars)
}

// inRoot runs a program with nothing but a plan's mounts and a function, and returns its output.
func inRoot(t *testing.T, plan runtimes.Plan, task string, argv []string, vars ...string) string {
	t.Helper()
	os.Chmod(task, 0o755)
	for k, v := range plan.Vars {
		vars = append(vars, k+"="+v)
	}
	spec, err := json.Marshal(rooted{Root: t.TempDir(), Mounts: append([]sandbox.Mount{{Source: task, Target: "/var/task"}}, plan.Mounts...), Argv: argv, Vars: vars})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), rootedVariable+"="+string(spec))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// What a plan mounts must be enough for the interpreter and for what functions expect around it, and must not be more than that.
func TestMountsSuffice(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for a mount namespace")
	}
	shell := func(t *testing.T, plan runtimes.Plan, script, want string) {
		t.Helper()
		if got := strings.TrimSpace(inRoot(t, plan, t.TempDir(), []string{"/bin/sh", "-c", script})); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	t.Run("shell, programs, certificates, and no host files", func(t *testing.T) {
		plan := ready(t, "provided.al2023")
		shell(t, plan, `echo a b | sed s/a/x/ | awk '{print $2}'; env bash -c 'date -d @0 +%Y'; head -c 10 /etc/ssl/certs/ca-certificates.crt`, "b\n1970\n-----BEGIN")
		shell(t, plan, `ls -d /root /home /etc/shadow /etc/ssl/private /var/lib 2>/dev/null; TZ=Europe/Berlin date -d @0 +%H`, "01")
		shell(t, plan, `touch /usr/bin/x /var/task/x 2>/dev/null; echo $?`, "1")
	})
	t.Run("locales, whatever the host has", func(t *testing.T) {
		plan := ready(t, "provided.al2023")
		shell(t, plan, "locale charmap; locale -a | sort | tr '\\n' ' '", "UTF-8\nC C.utf8 en_US.utf8 POSIX")
		// en_US sorts as people do and C as bytes do; both know what a letter is.
		shell(t, plan, `printf 'Z\nü\na\n' | sort | tr -d '\n'; printf 'Z\nü\na\n' | LC_ALL=C.UTF-8 sort | tr -d '\n'; printf 'ü!' | sed 's/[[:alpha:]]/x/'`, "aüZZaüx!")
		r, err := cache()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"de_DE.UTF-8", "de_DE.utf8", "de_DE.UTF-8@euro", "de_DE", "en_US", "UTF-8", "POSIX.UTF-8"} {
			mine := plan
			if mine.Mounts, err = r.Mounts(plan, map[string]string{"LC_ALL": name}); err != nil {
				t.Fatal(err)
			}
			script := "LC_ALL=" + name + " locale charmap; date -d @0 +%B; LC_ALL=fr_FR.UTF-8 locale charmap 2>/dev/null"
			shell(t, mine, script, "UTF-8\nJanuary\nANSI_X3.4-1968")
		}
	})
	t.Run("Node", func(t *testing.T) {
		for _, id := range []string{"nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs26.x"} {
			r, err := cache()
			if err != nil {
				t.Fatal(err)
			}
			plan, err := r.Plan(id, "")
			if err != nil {
				continue
			}
			script := `const cp = require('child_process'); require('crypto').randomBytes(8); require('zlib');
			console.log(process.execPath, cp.execSync('node -p 1+1').toString().trim(), Intl.DateTimeFormat('de').format(0), fs.existsSync('/var/runtime/index.cjs'), fs.readFileSync('/var/runtime/ca-cert.pem').length > 1000)`
			if got := inRoot(t, plan, t.TempDir(), []string{plan.Argv[0], "-e", script}); strings.TrimSpace(got) != "/var/lang/bin/node 2 1.1.1970 true true" {
				t.Errorf("%s: %q", id, got)
			}
		}
	})
	t.Run("Python", func(t *testing.T) {
		ran := 0
		for _, id := range []string{"python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"} {
			r, err := cache()
			if err != nil {
				t.Fatal(err)
			}
			plan, err := r.Plan(id, "")
			if err != nil {
				continue
			}
			ran++
			script := `import sys, ssl, json, ctypes, sqlite3, hashlib, subprocess, zoneinfo, awslambdaric, runtime_client, snapshot_restore_py
print(sys.prefix, awslambdaric.__file__, len(ssl.create_default_context().get_ca_certs()) > 0 or ssl.get_default_verify_paths().capath, subprocess.check_output(["echo", "x"]), zoneinfo.ZoneInfo("Europe/Berlin"))`
			got := strings.TrimSpace(inRoot(t, plan, t.TempDir(), []string{plan.Argv[0], "-c", script}))
			if !strings.HasPrefix(got, "/var/lang /var/runtime/awslambdaric/__init__.py ") || !strings.HasSuffix(got, `b'x\n' Europe/Berlin`) || strings.Contains(got, "False") {
				t.Errorf("%s: %s", id, got)
			}
		}
		if ran == 0 {
			t.Skip("no Python is ready here")
		}
	})
	t.Run("the system's own Python, without what else is in /usr", func(t *testing.T) {
		anyPython(t) // whose client may serve it too
		r, err := cache()
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", "/usr/bin:/bin")
		t.Setenv("HOME", t.TempDir())
		r, err = runtimes.Open(runtimes.Options{Dir: r.Dir()})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"} {
			plan, err := r.Plan(id, "")
			if err != nil || !fileExists("/usr/bin/python"+strings.TrimPrefix(id, "python")) {
				continue
			}
			script := `import sys, os, ssl, awslambdaric; print(sys.prefix, os.path.isdir("/usr/lib/python3"), len(os.listdir("/usr/lib")) < 5)`
			if got := strings.TrimSpace(inRoot(t, plan, t.TempDir(), []string{plan.Argv[0], "-c", script})); got != "/var/lang False True" {
				t.Errorf("%s: %s", id, got)
			}
			return
		}
		t.Skip("no /usr/bin/python3.X with a client here")
	})
	t.Run("Java", func(t *testing.T) {
		ran := 0
		for _, id := range []string{"java17", "java21", "java25"} {
			r, err := cache()
			if err != nil {
				t.Fatal(err)
			}
			plan, err := r.Plan(id, "")
			if err != nil {
				continue
			}
			ran++
			// A single-file program needs the compiler; the JRE alone can show its properties, its certificates and its time zones.
			got := inRoot(t, plan, t.TempDir(), []string{plan.Argv[0], "-Xmx64m", "-XshowSettings:properties", "-version"})
			if !strings.Contains(got, "java.home = /var/lang") {
				t.Errorf("%s: %s", id, got)
			}
		}
		if ran == 0 {
			t.Skip("no Java is ready here")
		}
	})
}
