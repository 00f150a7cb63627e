package node

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// terraformIn is terraform in a folder with AWS's provider.
func terraformIn(t *testing.T, dir string, env []string) tool {
	t.Helper()
	path, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not here: ", err)
	}
	// A provider makes much garbage in its first second, and ends soon after.
	p := tool{t: t, dir: dir, path: path, env: append(env, "GOGC=1000", "TF_IN_AUTOMATION=1")}
	folders := pluginFolders()
	if len(folders) == 0 {
		t.Skipf("version %s of AWS's provider is in none of the usual folders; THAW_TEST_TF_PLUGINS names another", providerVersion)
	}
	if _, words, err := p.try("init", "-no-color", "-input=false", "-plugin-dir="+folders[0]); err != nil {
		t.Fatalf("init with the plugins of %s: %v\n%s", folders[0], err, words)
	}
	return p
}

const providerVersion = "5.100.0"

// pluginFolders are those that have the provider: where terraform looks by itself, or mirrors are put.
func pluginFolders() (have []string) {
	var folders []string
	if own := os.Getenv("THAW_TEST_TF_PLUGINS"); own != "" {
		folders = append(folders, own)
	}
	if home, err := os.UserHomeDir(); err == nil {
		folders = append(folders, filepath.Join(home, ".terraform.d", "plugins"), filepath.Join(home, ".local", "share", "terraform", "plugins"))
	}
	folders = append(folders, "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins")
	mirrors, _ := filepath.Glob("/opt/*/registry.terraform.io")
	for _, m := range mirrors {
		folders = append(folders, filepath.Dir(m))
	}
	for _, f := range folders {
		if found, _ := filepath.Glob(filepath.Join(f, "registry.terraform.io", "hashicorp", "aws", "*"+providerVersion+"*")); len(found) > 0 {
			have = append(have, f)
		}
	}
	return have
}

// C-139: everything that AWS's provider makes of Lambda and this server has, an update, a plan that has nothing to do, and
// the end.
func TestClientTerraform(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", "clients", "terraform", "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	layer := filepath.Join(dir, "layer.zip")
	for name, content := range map[string][]byte{filepath.Join(dir, "main.tf"): text, layer: zipOf(t, map[string]string{"nodejs/node_modules/libs/index.js": "module.exports = 1"})} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tf := terraformIn(t, dir, append(env, "TF_VAR_endpoint="+s.node.Endpoint(), "TF_VAR_zip="+shopFile(t), "TF_VAR_runtime="+nodejs(t, s), "TF_VAR_layer="+layer))
	apply := []string{"apply", "-auto-approve", "-no-color", "-input=false"}
	tf.do(apply...)
	var out struct {
		Answer              struct{ Value map[string]string }
		Version, Alias, URL struct{ Value string }
		Listed              struct{ Value bool }
		Libs                struct{ Value int }
	}
	outputs := func() {
		t.Helper()
		if err := json.Unmarshal([]byte(tf.do("output", "-json")), &out); err != nil {
			t.Fatal(err)
		}
	}
	outputs()
	if fmt.Sprint(out.Answer.Value) != "map[greeting:hello hello:terraform version:1]" || out.Version.Value != "1" || out.Alias.Value != "1" || out.Libs.Value != 1 ||
		!out.Listed.Value || !strings.Contains(out.URL.Value, "://") {
		t.Errorf("after the first apply: %+v", out)
	}
	changed := []string{"-var", "memory=192", "-var", "greeting=good day"}
	tf.do(append(apply, changed...)...)
	if outputs(); out.Version.Value != "2" || out.Alias.Value != "2" {
		t.Errorf("after an update: %+v", out)
	}
	if said, words, err := tf.try(append([]string{"plan", "-detailed-exitcode", "-no-color", "-input=false"}, changed...)...); err != nil { // 2: there are changes
		t.Errorf("a plan behind it: %v\n%s\n%s", err, said, words)
	}
	tf.do("destroy", "-auto-approve", "-no-color", "-input=false", "-refresh=false")
	functions, err := s.client.ListFunctions(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions.Functions {
		if *f.FunctionName == "tf-shop" {
			t.Error("the function is still there")
		}
	}
}
