package node

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

const localeJava = `
import java.io.*; import java.nio.charset.*; import java.nio.file.*; import java.util.*;
public class Words {
  public Object handle(Map<String, Object> e) throws Exception {
    Map<String, Object> o = new TreeMap<>();
    String s = "gr\u00fc\u00dfe \u65e5\u672c";
    o.put("charset", Charset.defaultCharset().name());
    o.put("paths", System.getProperty("sun.jnu.encoding"));
    o.put("event", s.equals(e.get("s")));
    o.put("default", s.equals(new String(s.getBytes())));
    Path p = Path.of(System.getProperty("java.io.tmpdir"), s.replace(' ', '_'));
    Files.writeString(p, "x");
    o.put("file", Arrays.asList(new File(p.getParent().toString()).list()).contains(s.replace(' ', '_')));
    o.put("task", new File(System.getenv("LAMBDA_TASK_ROOT") + "/\u00fc.txt").exists());
    o.put("variable", s.equals(System.getenv("UNI")));
    o.put("child", (s + "\n").equals(new String(new ProcessBuilder("/bin/echo", s).start().getInputStream().readAllBytes(), StandardCharsets.UTF_8)));
    System.out.println("stdout " + s);
    return o;
  }
}`

const localePython = `
import locale, os, subprocess, sys, tempfile
def handler(e, c):
    s = "gr\u00fc\u00dfe \u65e5\u672c"
    name = locale.setlocale(locale.LC_ALL, "")
    path = os.path.join(tempfile.gettempdir(), s)
    open(path, "w").write(s)
    print("stdout", s)
    return {"charset": locale.nl_langinfo(locale.CODESET), "paths": sys.getfilesystemencoding().upper(), "event": e["s"] == s,
            "default": open(path).read() == s and locale.getpreferredencoding() == "UTF-8", "file": s in os.listdir(os.path.dirname(path)), "task": os.path.exists(os.environ["LAMBDA_TASK_ROOT"] + "/\u00fc.txt"),
            "variable": os.environ["UNI"] == s, "child": subprocess.check_output(["/bin/echo", s]).decode() == s + "\n"}
`

const localeNode = `
const fs = require('fs'), os = require('os'), path = require('path'), cp = require('child_process');
exports.handler = async (e) => {
  const s = 'gr\u00fc\u00dfe \u65e5\u672c', file = path.join(os.tmpdir(), s);
  fs.writeFileSync(file, 'x');
  console.log('stdout', s);
  return { charset: cp.execSync('locale charmap').toString().trim(), paths: 'UTF-8', event: e.s === s, default: Buffer.from(s).toString() === s, file: fs.readdirSync(os.tmpdir()).includes(s),
    task: fs.existsSync(process.env.LAMBDA_TASK_ROOT + '/\u00fc.txt'), variable: process.env.UNI === s, child: cp.execFileSync('/bin/echo', [s]).toString() === s + '\n' };
};`

// UTF-8 wherever text becomes bytes, on a host of any locale: with the variables as they are, and with a function's own.
func TestLocale(t *testing.T) {
	const text = "grüße 日本"
	java := func(o *lambda.CreateFunctionInput) { h := "Words::handle"; o.Handler = &h }
	type program struct {
		name  string
		files func(t *testing.T, s *server) (runtime string, files map[string]string)
		opts  []option
	}
	programs := []program{
		{"Node", func(t *testing.T, s *server) (string, map[string]string) {
			return nodeRuntime(t), map[string]string{"index.js": localeNode}
		}, nil},
		{"Python", func(t *testing.T, s *server) (string, map[string]string) {
			return ready(t, s, "python3.12", "python3.11", "python3.13"), map[string]string{"index.py": localePython}
		}, nil},
	}
	for _, id := range []string{"java17", "java21", "java25"} {
		programs = append(programs, program{id, func(t *testing.T, s *server) (string, map[string]string) {
			return ready(t, s, id), javaFiles(t, s, "Words", localeJava)
		}, []option{java, memory(512)}})
	}
	locales := map[string]map[string]string{
		"as it is":   nil,
		"C.UTF-8":    {"LC_ALL": "C.UTF-8"},
		"en_US.utf8": {"LANG": "en_US.utf8"},
		"German":     {"LANG": "de_DE.UTF-8"},
		"Japanese":   {"LC_ALL": "ja_JP.UTF-8", "LANG": "C"},
	}
	eachSandbox(t, func(t *testing.T, s *server) {
		for _, p := range programs {
			t.Run(p.name, func(t *testing.T) {
				s := &server{t, s.node, s.client, s.kind}
				runtime, files := p.files(t, s)
				files["ü.txt"] = "x"
				code := zipOf(t, files)
				for _, name := range slices.Sorted(maps.Keys(locales)) {
					if strings.HasPrefix(p.name, "java") && name != "as it is" && name != "German" {
						continue // they start slowly, and differ from Python in no way that matters here
					}
					own := map[string]string{"UNI": text}
					maps.Copy(own, locales[name])
					f := s.deployZip(runtime, code, append(slices.Clone(p.opts), vars(own))...)
					var got map[string]any
					if err := json.Unmarshal([]byte(f.invoke(`{"s":"`+text+`"}`).ok(t)), &got); err != nil {
						t.Fatal(err)
					}
					want := map[string]any{"charset": "UTF-8", "paths": "UTF-8", "event": true, "default": true, "file": true, "task": true, "variable": true, "child": true}
					if !maps.Equal(got, want) {
						t.Errorf("%s: %v", name, got)
					}
					if !strings.Contains(strings.Join(f.logs("stdout "), ""), "stdout "+text) {
						t.Errorf("%s: the log has %q", name, f.logs())
					}
				}
			})
		}
	})
}
