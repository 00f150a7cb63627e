package node

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
)

// layer publishes a layer of files and returns its version's ARN; it goes with the test.
func (s *server) layer(name string, files map[string]string) string {
	s.t.Helper()
	return s.layerOf(name, zipOf(s.t, files))
}

// layerOf does it with a package.
func (s *server) layerOf(name string, pkg []byte) string {
	s.t.Helper()
	ctx := context.Background()
	out, err := s.client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{LayerName: &name, Content: &types.LayerVersionContentInput{ZipFile: pkg}})
	if err != nil {
		s.t.Fatalf("publish layer %s: %v", name, err)
	}
	s.t.Cleanup(func() {
		s.client.DeleteLayerVersion(ctx, &lambda.DeleteLayerVersionInput{LayerName: &name, VersionNumber: aws.Int64(out.Version)})
	})
	return *out.LayerVersionArn
}

func withLayers(arns ...string) option {
	return func(in *lambda.CreateFunctionInput) { in.Layers = arns }
}

// E-141: every runtime finds what layers have where AWS's documents say, later layers over earlier ones, in both sandboxes.
func TestSearchPathsOfLayers(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		prefix := strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name()))
		t.Run("node", func(t *testing.T) {
			s := &server{t: t, node: s.node, client: s.client, kind: s.kind}
			r := nodeRuntime(t)
			major := strings.TrimSuffix(strings.TrimPrefix(r, "nodejs"), ".x")
			one := s.layer(prefix+"-one", map[string]string{"nodejs/node_modules/dep/index.js": "module.exports = 'first'", "nodejs/node_modules/only/index.js": "module.exports = 'only'",
				"bin/tool": "#!/bin/sh\necho tool", "lib/libx.so": "x"})
			two := s.layer(prefix+"-two", map[string]string{"nodejs/node_modules/dep/index.js": "module.exports = 'second'",
				"nodejs/node" + major + "/node_modules/versioned/index.js": "module.exports = 'versioned'"})
			f := s.js(`const { execFileSync } = require('child_process'); const fs = require('fs'); const path = require('path');
exports.handler = async () => [require('dep'), require('only'), require('versioned'), execFileSync('tool').toString().trim(),
  process.env.LD_LIBRARY_PATH.split(':').some((d) => fs.existsSync(path.join(d, 'libx.so')))];`, withLayers(one, two))
			if got := f.invoke(`{}`).ok(t); got != `["second","only","versioned","tool",true]` {
				t.Errorf("it finds %s", got)
			}
		})
		t.Run("python", func(t *testing.T) {
			s := &server{t: t, node: s.node, client: s.client, kind: s.kind}
			r := ready(t, s, "python3.12", "python3.11", "python3.13")
			l := s.layer(prefix+"-py", map[string]string{"python/plain.py": "x = 'plain'", "python/lib/" + r + "/site-packages/packaged.py": "x = 'packaged'", "python/index.py": "no"})
			f := s.deploy(r, map[string]string{"index.py": "import plain, packaged, os\ndef handler(e, c): return [plain.x, packaged.x, sorted(n for n in os.environ if n.startswith('_THAW_OPT'))]\n"}, withLayers(l))
			if got := strings.ReplaceAll(f.invoke(`{}`).ok(t), " ", ""); got != `["plain","packaged",[]]` {
				t.Errorf("it finds %s", got)
			}
		})
		t.Run("java", func(t *testing.T) {
			s := &server{t: t, node: s.node, client: s.client, kind: s.kind}
			r := ready(t, s, "java17", "java21", "java11")
			jar := javaZip(t, s, "Dep", `public class Dep { public String toString() { return "dep"; } }`)
			l := s.layer(prefix+"-java", map[string]string{"java/lib/dep.jar": string(jar)})
			code := javaZip(t, s, "UsesDep", `
import com.amazonaws.services.lambda.runtime.*;
import java.util.*;
public class UsesDep implements RequestHandler<Map<String, Object>, String> {
  public String handleRequest(Map<String, Object> e, Context c) {
    try { return Class.forName("Dep", true, UsesDep.class.getClassLoader()).getDeclaredConstructor().newInstance().toString(); }
    catch (ReflectiveOperationException x) { return x.toString(); }
  }
}`)
			f := s.deployZip(r, code, memory(512), withLayers(l), func(in *lambda.CreateFunctionInput) { in.Handler = aws.String("UsesDep") })
			if got := f.invoke(`{}`).ok(t); got != `"dep"` {
				t.Errorf("it finds %s", got)
			}
		})
		t.Run("provided", func(t *testing.T) {
			s := &server{t: t, node: s.node, client: s.client, kind: s.kind}
			l := s.layer(prefix+"-boot", map[string]string{"bootstrap": `#!/bin/sh
while true; do
  head=$(mktemp); curl -sS -o /dev/null -D "$head" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
  id=$(tr -d '\r' < "$head" | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
  curl -sS -X POST "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d '"from the layer"' > /dev/null
done
`})
			f := s.deploy("provided.al2023", map[string]string{"nothing": "x"}, withLayers(l))
			a := f.invoke(`{}`)
			if strings.Contains(a.body, "curl") {
				t.Skip("no curl: " + a.body)
			}
			if got := a.ok(t); got != `"from the layer"` {
				t.Errorf("it answers %s", got)
			}
		})
	})
}

// The same layers are one folder for all functions, made once, which goes when no function has them; a killed server's is
// found and kept or swept by the next. A deleted version goes on in the functions that have it, over a restart too.
func TestLayersAreShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	const answers = `exports.handler = async () => require('dep')`
	one, two := s.layer("one", map[string]string{"nodejs/node_modules/dep/index.js": "module.exports = 1"}), s.layer("two", map[string]string{"x": "y"})
	f, g := s.js(answers, withLayers(one, two)), s.js(answers, withLayers(one, two))
	opt := func(arns ...string) string {
		t.Helper()
		var p function.Package
		for _, e := range s.node.plane.View().All() {
			p = e.Record.Latest.Config.Package
		}
		if len(p.Layers) != len(arns) {
			t.Fatalf("a function has the layers %+v", p.Layers)
		}
		return filepath.Join(dir, "code", p.Opt())
	}
	folder := opt(one, two)
	before, err := os.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*deployed{f, g} {
		if got := f.invoke(`{}`).ok(t); got != "1" {
			t.Errorf("it answers %s", got)
		}
	}
	if _, err := s.client.DeleteLayerVersion(t.Context(), &lambda.DeleteLayerVersionInput{LayerName: aws.String("one"), VersionNumber: aws.Int64(1)}); err != nil {
		t.Fatal(err)
	}
	f.delete("")
	if err := s.node.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "code", ".unpacking-left", "x"), 0o755); err != nil { // what kill -9 in the middle leaves
		t.Fatal(err)
	}
	*s = *openServer(t, "process", dir)
	defer func() { s.node.Close(context.Background()) }()
	g.server = s
	if got := g.invoke(`{}`).ok(t); got != "1" {
		t.Errorf("after a restart it answers %s", got)
	}
	if after, err := os.Stat(folder); err != nil || !os.SameFile(before, after) {
		t.Errorf("the folder was made again: %v", err)
	}
	g.delete("")
	g.once("the folder stays", func() bool { _, err := os.Stat(folder); return os.IsNotExist(err) })
	s.client.DeleteLayerVersion(t.Context(), &lambda.DeleteLayerVersionInput{LayerName: aws.String("two"), VersionNumber: aws.Int64(1)})
	g.once("the folder of code is empty", func() bool { // what goes is renamed first
		list, err := os.ReadDir(filepath.Join(dir, "code"))
		return err == nil && !slices.ContainsFunc(list, fs.DirEntry.IsDir)
	})
}

// Layers are part of a snapshot: a restored copy reads them, a version with others has a snapshot of its own, and a
// deletion of the layer's version changes nothing.
func TestSnapStartWithLayers(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	one := s.layer("snap-one", map[string]string{"nodejs/node_modules/dep/index.js": "module.exports = 'one'", "late": "read later"})
	two := s.layer("snap-two", map[string]string{"nodejs/node_modules/dep/index.js": "module.exports = 'two'", "late": "read later too"})
	f := s.js(`const dep = require('dep'); exports.handler = async () => [dep, require('fs').readFileSync('/opt/late', 'utf8'), process.env.AWS_LAMBDA_INITIALIZATION_TYPE]`, snapStart, withLayers(one))
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	if _, err := f.client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, Layers: []string{one, two}}); err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionUpdatedV2Waiter(f.client).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	if _, err := s.client.DeleteLayerVersion(t.Context(), &lambda.DeleteLayerVersionInput{LayerName: aws.String("snap-one"), VersionNumber: aws.Int64(1)}); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string][]string{"1": {"one", "read later", "snap-start"}, "2": {"two", "read later too", "snap-start"}} {
		f.node.pool.Outdate(function.ARN(s.arn(f.name)), function.VersionNumber(version), "") // so that the copy is made now
		var got []string
		if err := json.Unmarshal([]byte(f.invokeVersion(version, `{}`).ok(t)), &got); err != nil || !slices.Equal(got, want) {
			t.Errorf("version %s answers %v, %v; want %v", version, got, err, want)
		}
	}
	if a, b := f.snap("1"), f.snap("2"); a.KeyHash == b.KeyHash || a.Key.Package == b.Key.Package {
		t.Error("the snapshots of other layers have the same key")
	}
}
