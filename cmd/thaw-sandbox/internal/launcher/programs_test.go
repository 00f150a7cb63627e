package launcher

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestGeneratorOfPrograms(t *testing.T) {
	open := func(path string) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	t.Run("a program without OpenSSL has none", func(t *testing.T) {
		if r, err := generatorOf(open("/proc/self/exe")); err != nil || r != nil {
			t.Errorf("%v, %v", r, err)
		}
	})
	t.Run("a text has none", func(t *testing.T) {
		if r, err := generatorOf(open("programs_test.go")); err == nil || r != nil {
			t.Errorf("%v, %v", r, err)
		}
	})
	t.Run("Node's is a small part of it", func(t *testing.T) {
		out, err := exec.Command("node", "-p", "process.config.variables.node_shared_openssl + ' ' + process.execPath").Output()
		path, static := strings.CutPrefix(strings.TrimSpace(string(out)), "false ")
		if err != nil || !static {
			t.Skip("no Node with OpenSSL inside")
		}
		f := open(path)
		fi, _ := f.Stat()
		r, err := generatorOf(f)
		if err != nil || r == nil {
			t.Fatalf("%v, %v", r, err)
		}
		if size := int64(r.Hi - r.Lo); size < 1<<10 || size > 64<<10 || int64(r.Hi) > fi.Size() {
			t.Errorf("region %+v", *r)
		}
	})
}
