package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEditSection(t *testing.T) {
	set := []setting{{"region", "eu-west-1"}, {"endpoint_url", "http://h"}}
	const want = "[profile thaw]\nregion = eu-west-1\nendpoint_url = http://h\n"
	for _, c := range []struct{ name, text, want string }{
		{"no file", "", want},
		{"another profile", "[default]\nregion = x\n", "[default]\nregion = x\n\n" + want},
		{"another profile without an end of its line", "[default]\nregion = x", "[default]\nregion = x\n\n" + want},
		{"the same again", want, want},
		{"another value", "[profile thaw]\nregion=old\nendpoint_url=old\n", want},
		{"what else stands there", "# mine\n[profile thaw]\noutput = json\nregion = old\n\n[other]\nregion = theirs\n",
			"# mine\n[profile thaw]\noutput = json\nregion = eu-west-1\nendpoint_url = http://h\n\n[other]\nregion = theirs\n"},
		{"a nested setting of the same name", "[profile thaw]\ns3 =\n  region = theirs\nregion = old\n", "[profile thaw]\ns3 =\n  region = theirs\nregion = eu-west-1\nendpoint_url = http://h\n"},
		{"a name that begins alike", "[profile thaw2]\nregion = theirs\n", "[profile thaw2]\nregion = theirs\n\n" + want},
		{"an odd way to write it", "[ profile   thaw ] # mine\nregion = old", "[ profile   thaw ] # mine\nregion = eu-west-1\nendpoint_url = http://h\n"},
	} {
		got := editSection(c.text, "profile thaw", set)
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
		if again := editSection(got, "profile thaw", set); again != got {
			t.Errorf("%s, twice:\n%s", c.name, again)
		}
	}
}

// A profile leads AWS's own client to the server, where one is installed, and no key of the user's goes there.
func TestConfigure(t *testing.T) {
	serving(t)
	dir := filepath.Join(t.TempDir(), "aws")
	config, credentials := filepath.Join(dir, "config"), filepath.Join(dir, "credentials")
	t.Setenv("AWS_CONFIG_FILE", config)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", credentials)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "real")
	r := thaw(t.Context(), "configure", "--region", "eu-central-1")
	if r.code != exitOK || !strings.Contains(r.words, "aws --profile thaw") {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.words)
	}
	for path, want := range map[string]string{config: "[profile thaw]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:", credentials: "[thaw]\naws_access_key_id = thaw\naws_secret_access_key = thaw\n"} {
		text, err := os.ReadFile(path)
		info, err2 := os.Stat(path)
		if err != nil || err2 != nil || !strings.HasPrefix(string(text), want) || strings.Contains(string(text), "real") || info.Mode().Perm() != 0o600 {
			t.Errorf("%s, %v: %s", path, err, text)
		}
	}
	t.Setenv("THAW_ACCESS_KEY_ID", "AKIATHAW")
	t.Setenv("THAW_SECRET_ACCESS_KEY", "hush")
	r = thaw(t.Context(), "configure", "--profile", "default")
	text, err := os.ReadFile(credentials)
	if r.code != exitOK || err != nil || !strings.Contains(string(text), "[default]\naws_access_key_id = AKIATHAW\naws_secret_access_key = hush\n") || strings.Contains(r.out+r.words, "hush") {
		t.Errorf("exit %d %s\n%s %v", r.code, r.words, text, err)
	}
	t.Run("read by boto3", func(t *testing.T) {
		python := os.Getenv("THAW_TEST_PYTHON") // one with boto3
		if python == "" {
			python = "python3"
		}
		if exec.Command(python, "-c", "import boto3").Run() != nil {
			t.Skip("no boto3 for " + python)
		}
		cmd := exec.Command(python, "-c", "import boto3; c = boto3.Session(profile_name='thaw').client('lambda'); print(c.meta.region_name, c.list_functions()['Functions'])")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "AWS_CONFIG_FILE=" + config, "AWS_SHARED_CREDENTIALS_FILE=" + credentials}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "eu-central-1 []\n" {
			t.Errorf("%v: %s", err, out)
		}
	})
}
