package node

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	type want struct {
		origin Origin
		value  string
	}
	for _, tc := range []struct {
		name  string
		file  string
		env   map[string]string
		flags map[string]string
		knob  string
		want  want
		err   string // part of the error
	}{
		{name: "nothing said gives the default", knob: "listen", want: want{FromDefault, "127.0.0.1:9600"}},
		{name: "a file beats the default", file: "# comment\n\nlog-bound = 7\n", knob: "log-bound", want: want{FromFile, "7"}},
		{name: "a variable beats the file", file: "idle-expiry = 1m", env: map[string]string{"THAW_IDLE_EXPIRY": "2m"}, knob: "idle-expiry", want: want{FromEnvironment, "2m0s"}},
		{name: "a flag beats all", file: "strict = false", env: map[string]string{"THAW_STRICT": "false"}, flags: map[string]string{"strict": "true"}, knob: "strict", want: want{FromFlag, "true"}},
		{name: "a secret is masked", env: map[string]string{"THAW_ACCESS_KEY_ID": "AKIA", "THAW_SECRET_ACCESS_KEY": "hush"}, knob: "secret-access-key", want: want{FromEnvironment, "(set)"}},
		{name: "an unknown line is an error", file: "colour = red", err: `line 1: unknown setting "colour"`},
		{name: "a line twice is an error", file: "strict = true\nstrict = false", err: "line 2: strict is set twice"},
		{name: "a line without a value is an error", file: "\nstrict", err: "line 2: not of the form"},
		{name: "an unknown flag is an error", flags: map[string]string{"colour": "red"}, err: "colour"},
		{name: "a bad number names its variable", env: map[string]string{"THAW_CONCURRENCY": "many"}, err: `THAW_CONCURRENCY: "many" is no whole number`},
		{name: "a bad duration names its flag", flags: map[string]string{"idle-expiry": "10"}, err: `--idle-expiry: "10" is no duration`},
		{name: "too small a number", flags: map[string]string{"concurrency": "0"}, err: "concurrency: 0 is less than 1"},
		{name: "an unknown sandbox", flags: map[string]string{"sandbox": "docker"}, err: "none of auto, firecracker, gvisor, process, qemu"},
		{name: "an account that is none", flags: map[string]string{"account-id": "12345"}, err: "not 12 digits"},
		{name: "half a key", env: map[string]string{"THAW_ACCESS_KEY_ID": "AKIA"}, err: "go together"},
		{name: "every address without credentials", flags: map[string]string{"listen": ":9600"}, err: "--credentials FILE"},
		{name: "an outside address without credentials", flags: map[string]string{"listen": "192.0.2.1:9600"}, err: "--credentials FILE"},
		{name: "a host name is not taken for loopback", flags: map[string]string{"listen": "thaw.example:9600"}, err: "--credentials FILE"},
		{name: "an outside address with credentials", flags: map[string]string{"listen": ":9600", "credentials": "/etc/keys"}, knob: "listen", want: want{FromFlag, ":9600"}},
		{name: "IPv6 loopback", flags: map[string]string{"listen": "[::1]:0"}, knob: "listen", want: want{FromFlag, "[::1]:0"}},
		{name: "no port", flags: map[string]string{"listen": "127.0.0.1"}, err: "missing port"},
		{name: "a port out of range", flags: map[string]string{"listen": "127.0.0.1:70000"}, err: "no port"},
		{name: "a way to the host without a port", flags: map[string]string{"host-access": "localhost"}, err: "host-access: \"localhost\""},
		{name: "somebody whom unsigned does not know", flags: map[string]string{"unsigned": "nobody"}, err: "none of same-user, everyone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.file != "" {
				if err := os.WriteFile(filepath.Join(dir, "thaw.conf"), []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			flags := map[string]string{"data-dir": dir}
			maps.Copy(flags, tc.flags)
			c, err := Load(Sources{Flags: flags, Env: func(name string) (string, bool) { v, ok := tc.env[name]; return v, ok }})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range c.Values() {
				if v.Name == tc.knob && (want{v.Origin, v.Value}) != tc.want {
					t.Errorf("%s = %q from %s, want %+v", v.Name, v.Value, v.Origin, tc.want)
				}
			}
		})
	}
}

func TestLoadFileThatWasAskedForMustExist(t *testing.T) {
	if _, err := Load(Sources{File: filepath.Join(t.TempDir(), "none.conf")}); err == nil {
		t.Error("a missing config file was passed over")
	}
}

func TestDefaultIsValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.IdleExpiry != 10*time.Minute {
		t.Errorf("idle expiry %v", c.IdleExpiry)
	}
	for _, v := range c.Values() {
		if v.Help == "" {
			t.Errorf("%s has no help", v.Name)
		}
	}
}

func TestKeys(t *testing.T) {
	write := func(t *testing.T, mode os.FileMode, text string) Config {
		path := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		c := Default()
		c.Credentials, c.AccessKeyID, c.SecretAccessKey = path, "ENV", "es"
		return c
	}
	t.Run("sections of the file and the variables together", func(t *testing.T) {
		c := write(t, 0o600, "[default]\naws_access_key_id = A\naws_secret_access_key=as\nregion = x\n; note\n[other]\naws_secret_access_key = bs\naws_access_key_id = B\n")
		keys, err := c.Keys()
		if want := map[string]string{"ENV": "es", "A": "as", "B": "bs"}; err != nil || !maps.Equal(keys, want) {
			t.Errorf("keys %v, error %v", keys, err)
		}
	})
	for name, text := range map[string]string{
		"half a section":     "[default]\naws_access_key_id = A\n",
		"no key":             "# nothing\n",
		"two secrets":        "[a]\naws_access_key_id = A\naws_secret_access_key = hush\n[b]\naws_access_key_id = A\naws_secret_access_key = other\n",
		"a line without '='": "hush",
	} {
		t.Run(name, func(t *testing.T) {
			c := write(t, 0o600, text)
			if _, err := c.Keys(); err == nil {
				t.Error("accepted")
			} else if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
	t.Run("a file that others can read is refused", func(t *testing.T) {
		c := write(t, 0o644, "[default]\naws_access_key_id = A\naws_secret_access_key = s\n")
		if _, err := c.Keys(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("error %v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("listen = 127.0.0.1:1\n# c\n")
	f.Add("[a]\naws_access_key_id = A\naws_secret_access_key = s\n")
	f.Add("[")
	f.Fuzz(func(t *testing.T, text string) {
		if values, err := parseFile(text); err == nil {
			for name := range values {
				if !known(name) {
					t.Errorf("unknown %q passed", name)
				}
			}
		}
		if keys, err := parseCredentials(text); err == nil {
			if _, empty := keys[""]; empty || len(keys) == 0 {
				t.Errorf("an empty key in %v", keys)
			}
		}
	})
}

// A server with a data folder of its own for a while, as the demonstration's, uses the parts of microVMs of the one before.
func TestMoveData(t *testing.T) {
	for _, c := range []struct{ dir, hint string }{
		{DefaultDataDir(), "thaw sandbox install qemu"},
		{"/srv/thaw", "thaw sandbox install qemu --data-dir /srv/thaw"},
	} {
		config := Config{DataDir: c.dir}
		for range 2 {
			if got := config.MicroVMDir(); got != filepath.Join(c.dir, "microvm") {
				t.Errorf("parts of microVMs are looked for in %s", got)
			}
			if got := config.SandboxInstallCommand("qemu"); got != c.hint {
				t.Errorf("it says %q, want %q", got, c.hint)
			}
			config.MoveData("/tmp/thaw-demo")
			if config.DataDir != "/tmp/thaw-demo" {
				t.Errorf("the data folder is %s", config.DataDir)
			}
		}
	}
}
