package runtimes_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/runtimes"
)

// answers starts a function in the ways that this machine allows, without a sandbox and in a root of the plan's mounts
// alone, and gives what it answers.
func answers(t *testing.T, plan runtimes.Plan, task, handler string, vars map[string]string) string {
	t.Helper()
	a := newAPI(t)
	start(t, a, launch{plan: plan, task: task, handler: handler, frames: true, vars: vars})
	a.waitParked("invocation/next")
	got := a.invoke(event{Body: `{}`})
	if !strings.HasSuffix(got.Path, "/response") {
		t.Errorf("got %s %s", got.Path, got.Body)
	}
	return got.Body
}

// fetched is a registry on the cache's folder that does not see what the host's users have installed: its interpreters
// are those of the package registries, and /usr's.
func fetched(t *testing.T) *runtimes.Registry {
	t.Helper()
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "/usr/bin:/bin")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("JAVA_HOME", "")
	if r, err = runtimes.Open(runtimes.Options{Dir: r.Dir()}); err != nil {
		t.Fatal(err)
	}
	return r
}

const importsBoto3 = `import boto3, botocore, sys, ssl, ctypes, hashlib, urllib3, dateutil
client = boto3.client("s3", aws_access_key_id="a", aws_secret_access_key="b")
def handler(event, context):
    url = client.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
    return [boto3.__file__.split("/runtimes/")[-1].split("/", 1)[-1].removeprefix("var/runtime/"), len(url) > 100, len(ssl.create_default_context().get_ca_certs()) > 10]
`

// The interpreters that come from a registry have what functions expect, AWS's SDK among it.
func TestFetchedPython(t *testing.T) {
	r := fetched(t)
	for _, id := range []string{"python3.12", "python3.13", "python3.14"} {
		t.Run(id, func(t *testing.T) {
			if fileExists("/usr/bin/" + id) {
				t.Skip("the host's own serves it")
			}
			install(t, r, id)
			plan, err := r.Plan(id, "")
			if err != nil {
				t.Fatal(err)
			}
			task := write(t, map[string]string{"app.py": importsBoto3})
			vars := map[string]string{}
			if got := answers(t, plan, task, "app.handler", vars); got != `["boto3/__init__.py", true, true]` {
				t.Errorf("got %s", got)
			}
			if os.Getuid() != 0 {
				return
			}
			script := `import sys, boto3, sqlite3, lzma, bz2, uuid, decimal, zoneinfo, multiprocessing, ctypes, json.decoder as j
print(sys.prefix, boto3.__file__, j.__cached__ and __import__("os").path.exists(j.__cached__), __import__("subprocess").check_output([sys.executable, "-c", "print(1)"]))`
			got := strings.TrimSpace(inRoot(t, plan, task, []string{plan.Argv[0], "-c", script}))
			if got != `/var/lang /var/runtime/boto3/__init__.py True b'1\n'` {
				t.Errorf("in a root of its own: %s", got)
			}
		})
	}
}

func TestFetchedJava(t *testing.T) {
	r := fetched(t)
	const id = "java21"
	install(t, r, id)
	plan, err := r.Plan(id, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Ls() {
		if row.Identifier == id && row.InterpreterSource != "PyPI" {
			t.Skipf("%s of the host serves it", row.Interpreter)
		}
	}
	a := newAPI(t)
	p := start(t, a, launch{plan: plan, task: unpacked(t, "java-hello"), handler: "example.Hello::handle", frames: true})
	greets(t, a, id, 1)
	waitFor(t, p.out, "hello "+id)
	if os.Getuid() == 0 {
		got := inRoot(t, plan, t.TempDir(), []string{plan.Argv[0], "-Xmx64m", "-XshowSettings:properties", "-version"})
		if !strings.Contains(got, "java.home = /var/lang") {
			t.Errorf("in a root of its own: %s", got)
		}
	}
}

func TestPythonSDK(t *testing.T) {
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	plan := anyPython(t)
	install(t, r, plan.Identifier)
	if plan, err = r.Plan(plan.Identifier, ""); err != nil {
		t.Fatal(err)
	}
	t.Run("boto3 is there", func(t *testing.T) {
		if got := answers(t, plan, write(t, map[string]string{"app.py": importsBoto3}), "app.handler", nil); got != `["boto3/__init__.py", true, true]` {
			t.Errorf("got %s", got)
		}
	})
	t.Run("the function's own copy wins", func(t *testing.T) {
		task := write(t, map[string]string{"app.py": "import boto3, botocore\ndef handler(event, context):\n    return [boto3.whose, hasattr(botocore, 'whose')]\n", "boto3/__init__.py": "whose = 'mine'\n"})
		if got := answers(t, plan, task, "app.handler", nil); got != `["mine", false]` {
			t.Errorf("got %s", got)
		}
	})
	t.Run("its files are read-only and compiled", func(t *testing.T) {
		for _, m := range plan.Mounts {
			if found, _ := filepath.Glob(filepath.Join(m.Source, "botocore", "__pycache__", "client.*.pyc")); m.Target == "/var/runtime" && len(found) != 1 {
				t.Errorf("%s has %d compiled files of botocore.client, want 1", m.Source, len(found))
			}
		}
	})
}

// A function finds nothing that the host's users have installed: neither for an interpreter of their own, nor for themselves.
func TestHostPackagesAreNotTheFunctions(t *testing.T) {
	r := fetched(t)
	install(t, r, "python3.12")
	if fileExists("/usr/bin/python3.12") {
		t.Skip("the host's own python3.12 would serve")
	}
	source := ""
	for _, row := range r.Ls() {
		if row.Identifier == "python3.12" {
			source = filepath.Dir(filepath.Dir(row.Interpreter))
		}
	}
	// One as pyenv has it, with a package, a startup file, and a package of the user's beside.
	home := os.Getenv("HOME")
	theirs := filepath.Join(home, ".pyenv", "versions", "3.12.1")
	if err := os.MkdirAll(filepath.Dir(theirs), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", source, theirs).CombinedOutput(); err != nil { // 7,000 files
		t.Fatalf("%v\n%s", err, out)
	}
	hidden := filepath.Join(t.TempDir(), "hidden")
	for path, body := range map[string]string{
		filepath.Join(theirs, "lib/python3.12/site-packages/leaked.py"):               "",
		filepath.Join(theirs, "lib/python3.12/site-packages/simplejson.py"):           "raise Exception('the host\\'s')",
		filepath.Join(theirs, "lib/python3.12/site-packages/editable.pth"):            hidden + "\n",
		filepath.Join(hidden, "editable.py"):                                          "",
		filepath.Join(home, ".local/lib/python3.12/site-packages/for_themselves.py"):  "",
		filepath.Join(home, ".local/lib/python3.12/site-packages/for_themselves.pth"): hidden + "\n",
		filepath.Join(theirs, "lib/python3.12/site-packages/nested/__init__.py"):      "",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for dir := home; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755) // the function's user reads below it
	}
	r, err := runtimes.Open(runtimes.Options{Dir: r.Dir()})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := r.Plan("python3.12", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Ls() {
		if row.Identifier == "python3.12" && !strings.HasPrefix(row.Interpreter, theirs) {
			t.Fatalf("served by %s", row.Interpreter)
		}
	}
	task := write(t, map[string]string{"app.py": `import importlib.util, sys
def handler(event, context):
    found = [n for n in ["leaked", "nested", "editable", "for_themselves", "pip"] if importlib.util.find_spec(n)]
    import boto3, json, simplejson, _decimal
    return found
`})
	if got := answers(t, plan, task, "app.handler", map[string]string{"HOME": home}); got != `[]` {
		t.Errorf("a function finds %s of the host", got)
	}
	if os.Getuid() == 0 { // a child does not go through our bootstrap: what it must not find must not be there
		got := strings.TrimSpace(inRoot(t, plan, task, []string{plan.Argv[0], "-c", `import importlib.util as u, sys
print([n for n in ["leaked", "nested", "editable", "for_themselves", "pip"] if u.find_spec(n)])`}))
		if got != `[]` {
			t.Errorf("a function's child finds %s of the host", got)
		}
	}
}

func TestNodeSDK(t *testing.T) {
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs26.x"} {
		t.Run(id, func(t *testing.T) {
			if id != "nodejs22.x" && id != "nodejs24.x" { // fetched when missing; the others are tried where they are
				if err := r.Check(id, ""); err != nil {
					t.Skip(err)
				}
			}
			install(t, r, id)
			plan, err := r.Plan(id, "")
			if err != nil {
				t.Fatal(err)
			}
			const use = `
const client = new S3Client({ region: 'eu-west-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
const url = () => getSignedUrl(client, new GetObjectCommand({ Bucket: 'b', Key: 'k' }));`
			const ownPackage = `{"name":"@aws-sdk/client-s3","version":"0.0.1","main":"index.js"}`
			tests := []struct {
				name  string
				files map[string]string
				want  string
			}{
				{"CommonJS", map[string]string{"index.js": `const { S3Client, GetObjectCommand } = require('@aws-sdk/client-s3');
const { getSignedUrl } = require('@aws-sdk/s3-request-presigner');
const { DynamoDBDocumentClient } = require('@aws-sdk/lib-dynamodb');` + use + `
exports.handler = async () => [(await url()).length > 100, typeof DynamoDBDocumentClient];`}, `[true,"function"]`},
				{"an ES module", map[string]string{"index.mjs": `import { S3Client, GetObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';` + use + `
const { SQSClient } = await import('@aws-sdk/client-sqs');
let absent; try { await import('no-such-package'); } catch (err) { absent = err.code + ' ' + /no-such-package.*index\.mjs/.test(err.message); }
export const handler = async () => [(await url()).length > 100, typeof SQSClient, absent];`}, `[true,"function","ERR_MODULE_NOT_FOUND true"]`},
				{"an ES module by package.json, in a folder", map[string]string{"package.json": `{"type":"module"}`, "index.js": "export { handler } from './lib/index.js';", "lib/index.js": `import { SSMClient } from '@aws-sdk/client-ssm';
import { thaw } from './other.js';
export const handler = async () => [typeof SSMClient, thaw];`, "lib/other.js": "export const thaw = 1;"}, `["function",1]`},
				{"the function's own copy wins, CommonJS", map[string]string{"index.js": `exports.handler = async () => [require('@aws-sdk/client-s3').whose, typeof require('@aws-sdk/client-sns').SNSClient];`,
					"node_modules/@aws-sdk/client-s3/package.json": ownPackage, "node_modules/@aws-sdk/client-s3/index.js": "exports.whose = 'mine';"}, `["mine","function"]`},
				{"the function's own copy wins, ES module", map[string]string{"index.mjs": `import s3 from '@aws-sdk/client-s3'; import { SNSClient } from '@aws-sdk/client-sns';
export const handler = async () => [s3.whose, typeof SNSClient];`,
					"node_modules/@aws-sdk/client-s3/package.json": ownPackage, "node_modules/@aws-sdk/client-s3/index.js": "exports.whose = 'mine';"}, `["mine","function"]`},
			}
			if inThread := id >= "nodejs22.x"; inThread {
				tests = append(tests, tests[0])
				tests[len(tests)-1].name, tests[len(tests)-1].files = "import() in CommonJS", map[string]string{"index.js": `exports.handler = async () => [true, typeof (await import('@aws-sdk/client-kms')).KMSClient];`}
			}
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					if got := answers(t, plan, write(t, test.files), "index.handler", nil); got != test.want {
						t.Errorf("got %s, want %s", got, test.want)
					}
				})
			}
		})
	}
}

// Ls tells of the SDK, and the key of snapshots covers it: identity is over every mount, and it lies in one.
func TestLsTellsOfTheSDK(t *testing.T) {
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	plan := anyNode(t)
	install(t, r, plan.Identifier)
	for _, row := range r.Ls() {
		if row.Identifier != plan.Identifier {
			continue
		}
		b, _ := json.Marshal(row)
		if row.SDK != "AWS SDK for JavaScript" || row.SDKVersion == "" || row.SDKSource != "npm" {
			t.Errorf("told as %s", b)
		}
	}
}
