package runtimes_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"thaw/runtimes"
)

// anyNode is the plan of some Node that is here, else of one that can be installed.
func anyNode(t testing.TB) runtimes.Plan {
	t.Helper()
	r, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"nodejs22.x", "nodejs20.x", "nodejs24.x", "nodejs18.x", "nodejs26.x"} {
		if plan, err := r.Plan(id, ""); err == nil {
			return plan
		}
	}
	return ready(t, "nodejs22.x")
}

// until22 and from24 name the behaviour that the client takes from AWS_EXECUTION_ENV.
const (
	until22 = "AWS_Lambda_nodejs22.x"
	from24  = "AWS_Lambda_nodejs24.x"
)

func TestNodeHandlers(t *testing.T) {
	plan := anyNode(t)
	tests := []struct {
		name    string
		files   map[string]string
		handler string // index.handler
		env     string // until22
		event   string // {}
		want    string
	}{
		{name: "async handler returns an object", files: js(`exports.handler = async (e) => ({ got: e.a })`), event: `{"a":1}`, want: `{"got":1}`},
		{name: "async handler returns a plain value", files: js(`exports.handler = async () => 42`), want: `42`},
		{name: "a promise made by hand", files: js(`exports.handler = () => new Promise((r) => setTimeout(() => r('late'), 5))`), want: `"late"`},
		{name: "a thenable that is no promise", files: js(`exports.handler = () => ({ then: (ok) => ok('then') })`), want: `"then"`},
		{name: "undefined becomes null", files: js(`exports.handler = async () => {}`), want: `null`},
		{name: "a function as result becomes null", files: js(`exports.handler = async () => () => {}`), want: `null`},
		{name: "text outside of ASCII", files: js(`exports.handler = async (e) => e`), event: `{"s":"grüße \ud83d\ude00 \u2028"}`,
			want: `{"s":"grüße 😀 ` + "\u2028" + `"}`},
		{name: "callback answers", files: js(`exports.handler = (e, c, cb) => cb(null, 'called')`), want: `"called"`},
		{name: "callback waits for the empty event loop",
			files: js(`exports.handler = (e, c, cb) => { const a = []; setTimeout(() => a.push('timer'), 20); cb(null, a); }`), want: `["timer"]`},
		{name: "callback without waiting",
			files: js(`exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; const a = []; setTimeout(() => a.push('timer'), 1000); cb(null, a); }`), want: `[]`},
		{name: "only the first callback counts", files: js(`exports.handler = (e, c, cb) => { cb(null, 1); cb(null, 2); cb(new Error('x')); }`), want: `1`},
		{name: "an async result does not wait for timers", files: js(`exports.handler = async () => { setTimeout(() => {}, 60000); return 'now'; }`), want: `"now"`},
		{name: "no callback and an empty event loop", files: js(`exports.handler = (e, c, cb) => { setTimeout(() => {}, 5); }`), want: `null`},
		{name: "a plain value is ignored until nodejs22.x", files: js(`exports.handler = () => 'ignored'`), want: `null`},
		{name: "a plain value counts from nodejs24.x on", files: js(`exports.handler = () => 'counts'`), env: from24, want: `"counts"`},
		{name: "a promise that nobody settles", files: js(`exports.handler = () => new Promise(() => {})`), want: `null`},
		{name: "context.succeed", files: js(`exports.handler = (e, c) => { setTimeout(() => {}, 60000); c.succeed('s'); }`), want: `"s"`},
		{name: "context.done", files: js(`exports.handler = (e, c) => c.done(null, 'd')`), want: `"d"`},
		{name: "nested export", files: map[string]string{"a/b.js": `exports.c = { d: async () => 'nested' }`}, handler: "a/b.c.d", want: `"nested"`},
		{name: "handler in a folder", files: map[string]string{"src/app.js": `exports.run = async () => __filename.endsWith('src/app.js')`}, handler: "src/app.run", want: `true`},
		{name: "this inside a CommonJS handler file", files: js(`exports.handler = async () => require.main === module ? 'main' : 'module'`), want: `"module"`},
		{name: ".cjs", files: map[string]string{"index.cjs": `exports.handler = async () => 'cjs'`}, want: `"cjs"`},
		{name: ".mjs with a top-level await", files: map[string]string{"index.mjs": `const v = await Promise.resolve('tla'); export const handler = async () => v`}, want: `"tla"`},
		{name: ".mjs with a default export", files: map[string]string{"index.mjs": `export default { handler: async () => 'default' }`}, want: `"default"`},
		{name: "an ES module by package.json", files: map[string]string{"package.json": `{"type":"module"}`, "index.js": `export const handler = async () => import.meta.url.slice(-8)`}, want: `"index.js"`},
		{name: "CommonJS in a folder below an ES module package", files: map[string]string{"package.json": `{"type":"module"}`, "lib/package.json": `{}`,
			"lib/index.js": `exports.handler = async () => 'commonjs'`}, handler: "lib/index.handler", want: `"commonjs"`},
		{name: "a file without suffix", files: map[string]string{"index": `exports.handler = async () => 'bare'`}, want: `"bare"`},
		{name: "a handler out of node_modules", files: map[string]string{"node_modules/dep/index.js": `exports.handler = async () => 'dep'`}, handler: "dep.handler", want: `"dep"`},
		{name: "an imported package", files: map[string]string{"index.mjs": `import v from 'dep'; export const handler = async () => v`, "node_modules/dep/index.js": `module.exports = 'imported'`}, want: `"imported"`},
		{name: "a module that console.logs at init", files: js(`console.log('at init'); exports.handler = async () => 1`), want: `1`},
		{name: "the trace header in the environment", files: js(`exports.handler = async () => process.env._X_AMZN_TRACE_ID`), want: `"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"`},
		{name: "the log descriptor is not visible", files: js(`exports.handler = async () => '_LAMBDA_TELEMETRY_LOG_FD' in process.env`), want: `false`},
		{name: "one InvokeStore for all libraries", files: js(`exports.handler = async (e, c) => awslambda.InvokeStore.getRequestId() === c.awsRequestId`), want: `true`},
		{name: "SnapStart hooks can be registered anywhere", files: js(`require('thaw-snapstart').afterRestore(() => {}); exports.handler = async () => typeof awslambda.snapStart.beforeCheckpoint`), want: `"function"`},
		{name: "a layer's module through NODE_PATH", files: map[string]string{"index.js": `exports.handler = async () => require('shared')`, "shared.js": `module.exports = 'shared'`}, want: `"shared"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			start(t, a, launch{plan: plan, task: write(t, test.files), handler: or(test.handler, "index.handler"), frames: true,
				vars: map[string]string{"AWS_EXECUTION_ENV": or(test.env, until22)}})
			a.waitParked("invocation/next")
			for range 2 { // the second shows that nothing of the first is left
				got := a.invoke(event{Body: or(test.event, `{}`), Header: map[string]string{"Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"}})
				if !strings.HasSuffix(got.Path, "/response") || got.Body != test.want {
					t.Fatalf("got %s %s, want response %s", got.Path, got.Body, test.want)
				}
				a.waitParked("invocation/next")
			}
		})
	}
}

func js(source string) map[string]string { return map[string]string{"index.js": source} }

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// report is the body of an error.
type report struct {
	Type    string   `json:"errorType"`
	Message string   `json:"errorMessage"`
	Trace   []string `json:"trace"`
}

func TestNodeErrors(t *testing.T) {
	plan := anyNode(t)
	const alive = -1
	tests := []struct {
		name    string
		source  string
		files   map[string]string
		handler string
		env     string
		event   string
		init    bool   // the error comes before the first event
		typ     string // errorType
		message string // begins so
		header  string // Lambda-Runtime-Function-Error-Type, init only
		exit    int    // exit status, or alive
	}{
		{name: "thrown in an async handler", source: `exports.handler = async () => { throw new TypeError('bad') }`, typ: "TypeError", message: "bad", exit: alive},
		{name: "thrown in a callback handler", source: `exports.handler = (e, c, cb) => { throw new Error('sync') }`, typ: "Error", message: "sync", exit: alive},
		{name: "callback with an error", source: `exports.handler = (e, c, cb) => cb(new RangeError('cb'))`, typ: "RangeError", message: "cb", exit: alive},
		{name: "callback with a string", source: `exports.handler = (e, c, cb) => cb('text')`, typ: "string", message: "text", exit: alive},
		{name: "context.fail without an error", source: `exports.handler = (e, c) => c.fail()`, typ: "string", message: "handled", exit: alive},
		{name: "an own error class", source: `class Mine extends Error { constructor(m) { super(m); this.name = 'Mine' } } exports.handler = async () => { throw new Mine('own') }`, typ: "Mine", message: "own", exit: alive},
		{name: "a number is thrown", source: `exports.handler = async () => { throw 7 }`, typ: "number", message: "7", exit: alive},
		{name: "undefined is rejected", source: `exports.handler = () => Promise.reject()`, typ: "string", message: "handled", exit: alive},
		{name: "an error whose message throws", source: `exports.handler = async () => { const e = new Error('x'); Object.defineProperty(e, 'message', { get() { throw 1 } }); throw e }`,
			typ: "handled", message: "callback called with Error argument", exit: alive},
		{name: "an error that contains itself", source: `exports.handler = async () => { const e = new Error('circle'); e.self = e; e.list = [e]; throw e }`, typ: "Error", message: "circle", exit: alive},
		{name: "an error with DEL and newlines", source: `exports.handler = async () => { throw new Error('a\x7fb\nc') }`, typ: "Error", message: "a%7Fb\nc", exit: alive},
		{name: "an error with text outside of ASCII", source: `exports.handler = async () => { throw new Error('grüße 😀') }`, typ: "Error", message: "grüße 😀", exit: alive},
		{name: "a result that contains itself", source: `exports.handler = async () => { const a = {}; a.a = a; return a }`, typ: "Error", message: "Unable to stringify response body", exit: alive},
		{name: "a BigInt as result", source: `exports.handler = async () => 1n`, typ: "Error", message: "Unable to stringify response body", exit: alive},
		{name: "an event that is no JSON", source: `exports.handler = async () => 1`, event: `{"a":`, typ: "SyntaxError", exit: alive},
		{name: "an exception that nobody catches", source: `exports.handler = async () => { setTimeout(() => { throw new Error('late') }, 1); return new Promise(() => {}) }`, typ: "Error", message: "late", exit: 129},
		{name: "a rejection that nobody handles", source: `exports.handler = async () => { Promise.reject(new Error('lost')); return new Promise((r) => setTimeout(r, 60000)) }`,
			typ: "Runtime.UnhandledPromiseRejection", message: "Error: lost", exit: 128},
		{name: "an exception at init", source: `throw new Error('at init')`, init: true, typ: "Error", message: "at init", header: "Error", exit: 129},
		{name: "a rejection at init", source: `Promise.reject(new Error('at init')); exports.handler = async () => { await new Promise(() => setTimeout(() => {}, 1e6)) }; require('child_process').execSync('sleep 0')`,
			init: true, typ: "Runtime.UnhandledPromiseRejection", message: "Error: at init", header: "Runtime.UnhandledPromiseRejection", exit: 128},
		{name: "a rejected top-level await", files: map[string]string{"index.mjs": `await Promise.reject(new Error('tla'))`}, init: true, typ: "Error", message: "tla", header: "Error", exit: 129},
		{name: "no such file", source: ``, handler: "other.handler", init: true, typ: "Runtime.ImportModuleError", message: "Error: Cannot find module 'other'", header: "Runtime.ImportModuleError", exit: 129},
		{name: "no such dependency", source: `require('absent')`, init: true, typ: "Runtime.ImportModuleError", message: "Error: Cannot find module 'absent'", header: "Runtime.ImportModuleError", exit: 129},
		{name: "no such export", source: `exports.other = 1`, init: true, typ: "Runtime.HandlerNotFound", message: "index.handler is undefined or not exported", header: "Runtime.HandlerNotFound", exit: 129},
		{name: "the export is no function", source: `exports.handler = 1`, init: true, typ: "Runtime.HandlerNotFound", message: "index.handler is not a function", header: "Runtime.HandlerNotFound", exit: 129},
		{name: "a syntax error", source: `exports.handler = async ( => {`, init: true, typ: "Runtime.UserCodeSyntaxError", message: "SyntaxError: ", header: "Runtime.UserCodeSyntaxError", exit: 129},
		{name: "a syntax error in an ES module", files: map[string]string{"index.mjs": `export const = 1`}, init: true, typ: "Runtime.UserCodeSyntaxError", message: "SyntaxError: ", header: "Runtime.UserCodeSyntaxError", exit: 129},
		{name: "a handler without a dot", source: ``, handler: "index", init: true, typ: "Runtime.MalformedHandlerName", message: "Bad handler", header: "Runtime.MalformedHandlerName", exit: 129},
		{name: "a handler that leaves its folder", source: ``, handler: "../index.handler", init: true, typ: "Runtime.MalformedHandlerName", message: "'../index.handler' is not a valid", header: "Runtime.MalformedHandlerName", exit: 129},
		{name: "a callback handler from nodejs24.x on", source: `exports.handler = (e, c, cb) => cb()`, env: from24, init: true, typ: "Runtime.CallbackHandlerDeprecated", message: "ERROR: AWS Lambda has removed", header: "Runtime.CallbackHandlerDeprecated", exit: 129},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			files := test.files
			if files == nil {
				files = js(test.source)
			}
			p := start(t, a, launch{plan: plan, task: write(t, files), handler: or(test.handler, "index.handler"), frames: true,
				vars: map[string]string{"AWS_EXECUTION_ENV": or(test.env, until22)}})
			var got post
			if test.init {
				if got = a.next(); got.Path != "init/error" {
					t.Fatalf("got %s %s, want init/error", got.Path, got.Body)
				}
				if h := got.Header.Get("Lambda-Runtime-Function-Error-Type"); h != test.header {
					t.Errorf("error type header %q, want %q", h, test.header)
				}
			} else {
				a.waitParked("invocation/next")
				if got = a.invoke(event{Body: or(test.event, `{}`)}); !strings.HasSuffix(got.Path, "/error") {
					t.Fatalf("got %s %s, want an error", got.Path, got.Body)
				}
				if cause := got.Header.Get("Lambda-Runtime-Function-Xray-Error-Cause"); cause != "" && !json.Valid([]byte(cause)) {
					t.Errorf("cause for X-Ray is no JSON: %s", cause)
				}
			}
			if ct := got.Header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("content type %q", ct)
			}
			var r report
			if err := json.Unmarshal([]byte(got.Body), &r); err != nil {
				t.Fatalf("%s: %v", got.Body, err)
			}
			if r.Type != test.typ || !strings.HasPrefix(r.Message, test.message) {
				t.Errorf("got %s: %q, want %s: %q", r.Type, r.Message, test.typ, test.message)
			}
			if !strings.HasPrefix(got.Body, `{"errorType":`) {
				t.Errorf("errorType does not come first in %s", got.Body)
			}
			if test.exit == alive {
				a.waitParked("invocation/next")
				return
			}
			if status := p.exitStatus(); status != test.exit {
				t.Errorf("exit status %d, want %d", status, test.exit)
			}
		})
	}
}

func TestNodeContext(t *testing.T) {
	plan := anyNode(t)
	a := newAPI(t)
	start(t, a, launch{plan: plan, task: write(t, js(`exports.handler = async (e, c) => {
		const left = c.getRemainingTimeInMillis();
		return { ...c, left: left > 4000 && left <= 5000, functions: Object.keys(c).filter((k) => typeof c[k] === 'function').sort() };
	}`)), handler: "index.handler", vars: map[string]string{"AWS_EXECUTION_ENV": until22}})
	a.waitParked("invocation/next")
	got := a.invoke(event{Body: `{}`, ID: "b3ce6c1a-0000-4000-8000-000000000001", Limit: 5e9, Header: map[string]string{
		"Lambda-Runtime-Client-Context": `{"client":{"app_title":"x"},"custom":{"a":"b"}}`, "Lambda-Runtime-Cognito-Identity": `{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}`,
		"Lambda-Runtime-Aws-Tenant-Id": "blue", "Lambda-Runtime-Invocation-Id": "nonce-1"}})
	const want = `{"functionVersion":"$LATEST","functionName":"f","memoryLimitInMB":"512","logGroupName":"/aws/lambda/f",` +
		`"logStreamName":"2026/01/01/[$LATEST]0123456789abcdef","clientContext":{"client":{"app_title":"x"},"custom":{"a":"b"}},` +
		`"identity":{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"},"invokedFunctionArn":"arn:aws:lambda:eu-west-1:000000000000:function:f:live",` +
		`"awsRequestId":"b3ce6c1a-0000-4000-8000-000000000001","tenantId":"blue","callbackWaitsForEmptyEventLoop":true,"left":true,` +
		`"functions":["done","fail","getRemainingTimeInMillis","succeed"]}`
	if got.Body != want {
		t.Errorf("context\n%s\nwant\n%s", got.Body, want)
	}
	if echo := got.Header.Get("Lambda-Runtime-Invocation-Id"); echo != "nonce-1" { // E-051: the client's half
		t.Errorf("echo of the invocation id is %q", echo)
	}
	a.waitParked("invocation/next")
	second := a.invoke(event{Body: `{}`})
	if strings.Contains(second.Body, "tenantId") || strings.Contains(second.Body, "clientContext") || second.Header.Get("Lambda-Runtime-Invocation-Id") != "" {
		t.Errorf("the second invocation has something of the first: %s %v", second.Body, second.Header)
	}
}

// What a function left undone goes on while the client waits for the next event (and stands still only when the platform freezes it).
func TestNodeBackgroundWork(t *testing.T) {
	a := newAPI(t)
	start(t, a, launch{plan: anyNode(t), task: write(t, js(`let ticks = 0;
	exports.handler = async (e) => { if (e.start) { setImmediate(() => { ticks += 10 }); setTimeout(() => { ticks += 1 }, 20) } return ticks }`)), handler: "index.handler"})
	a.waitParked("invocation/next")
	if got := a.invoke(event{Body: `{"start":true}`}); got.Body != "0" {
		t.Fatalf("first invocation: %s, want 0", got.Body)
	}
	a.waitParked("invocation/next")
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		got := a.invoke(event{Body: `{}`})
		if got.Body == "11" {
			return
		}
		if got.Body != "10" || time.Now().After(deadline) { // 10 at least: setImmediate comes before the next event is asked for
			t.Fatalf("%s, want 10 and at last 11", got.Body)
		}
	}
}
