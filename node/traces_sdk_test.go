package node

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Versions of AWS's SDKs of X-Ray, and of what they need.
const (
	sdkForNode   = "aws-xray-sdk-core@3.12.0"
	sdkForPython = "aws-xray-sdk==2.15.0"
)

var botocore = []string{"botocore==1.40.0", "wrapt==1.17.2", "jmespath==1.0.1", "python-dateutil==2.9.0.post0", "six==1.17.0", "urllib3==2.5.0"}

// sdks are the SDKs' files, fetched once and kept in the folder of builds. err: they cannot be had here.
var sdks = struct {
	node, python func() (map[string]string, error)
}{
	sync.OnceValues(func() (map[string]string, error) {
		return fetchedSDK(sdkForNode, func(dir string) *exec.Cmd {
			return exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, sdkForNode)
		})
	}),
	sync.OnceValues(func() (map[string]string, error) {
		return fetchedSDK(sdkForPython, func(dir string) *exec.Cmd {
			return exec.Command("python3", append([]string{"-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--disable-pip-version-check", "--target", dir, sdkForPython}, botocore...)...)
		})
	}),
}

func fetchedSDK(name string, install func(dir string) *exec.Cmd) (map[string]string, error) {
	dir, err := filepath.Abs(filepath.Join("..", ".cache", "xray-sdk", strings.NewReplacer("@", "-", "=", "").Replace(name)))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return nil, err
		}
		half, err := os.MkdirTemp(filepath.Dir(dir), "half-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(half)
		if out, err := install(half).CombinedOutput(); err != nil {
			return nil, &fetchError{name, string(out)}
		}
		if err := os.Rename(half, dir); err != nil {
			return nil, err
		}
	}
	files := map[string]string{}
	return files, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(path, dir+"/")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (rel == "botocore/data" || d.Name() == "@types"): // models of services and types: nothing here reads them
			return fs.SkipDir
		case !d.Type().IsRegular() || strings.HasSuffix(rel, ".map") || strings.HasSuffix(rel, ".d.ts"):
			return nil
		}
		b, err := os.ReadFile(path)
		files[rel] = string(b)
		return err
	})
}

type fetchError struct{ what, said string }

func (e *fetchError) Error() string { return e.what + " cannot be fetched: " + e.said }

// sdkSends has a function with a real SDK of X-Ray make a subsegment, which arrives at the daemon below the Invocation
// that the platform records.
func sdkSends(t *testing.T, s *server, l *listener, runtime string, fetch func() (map[string]string, error), entry, code string) {
	files, err := fetch()
	if err != nil {
		t.Skip(err)
	}
	with := map[string]string{entry: code}
	for name, text := range files {
		with[name] = text
	}
	f := s.deploy(runtime, with, activeTracing)
	name, root := "by "+runtime+" in "+s.kind, newRoot()
	status, body := f.traced(f.invocations(), `{"name":"`+name+`"}`, "X-Amzn-Trace-Id", "Root="+root+";Sampled=1")
	if status != 200 || body != "1" {
		t.Fatalf("%d %s\n%s", status, body, strings.Join(f.logs(), ""))
	}
	function := l.doc(of("AWS::Lambda::Function", root))
	d := l.doc("the SDK's", func(s *segment) bool { return s.Name == name })
	if d.TraceID != root || d.ParentID != function.sub("Invocation").ID || d.Type != "subsegment" || d.Annotations["who"] != "me" {
		t.Errorf("the SDK's subsegment: %+v\nthe platform's: %+v", d, function)
	}
}

func sdksSend(t *testing.T, s *server, l *listener) {
	t.Run("sdk for Node", func(t *testing.T) {
		s := &server{t, s.node, s.client, s.kind}
		sdkSends(t, s, l, nodeRuntime(t), sdks.node, "index.js", `const xray = require('aws-xray-sdk-core');
exports.handler = async (e) => {
  const sub = xray.getSegment().addNewSubsegment(e.name);
  sub.addAnnotation('who', 'me');
  await new Promise((done) => setTimeout(done, 5));
  sub.close();
  return 1;
}`)
	})
	if s.kind != "gvisor" && os.Geteuid() == 0 {
		return // once will do: its import is slow
	}
	t.Run("sdk for Python", func(t *testing.T) {
		s := &server{t, s.node, s.client, s.kind}
		sdkSends(t, s, l, ready(t, s, "python3.11", "python3.12", "python3.13"), sdks.python, "index.py", `from aws_xray_sdk.core import xray_recorder
def handler(e, c):
    with xray_recorder.in_subsegment(e["name"]) as sub:
        sub.put_annotation("who", "me")
    return 1
`)
	})
}
