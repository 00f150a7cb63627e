package runtimes_test

import (
	"encoding/json"
	"strings"
	"testing"
)

const hooks = `
const order = [];
const { beforeCheckpoint, afterRestore } = awslambda.snapStart;
beforeCheckpoint(() => { order.push('before 1') });
beforeCheckpoint(async () => { await null; order.push('before 2') });
afterRestore(async () => { await null; order.push('after 1') });
afterRestore(() => { order.push('after 2') });
exports.handler = async () => order;
`

var snapStart = map[string]string{"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}

func TestNodeSnapStartHooks(t *testing.T) {
	a := newAPI(t)
	start(t, a, launch{plan: anyNode(t), task: write(t, js(hooks)), handler: "index.handler", vars: snapStart})
	a.waitParked("restore/next")
	close(a.restore)
	a.waitParked("invocation/next")
	if got := a.invoke(event{Body: `{}`}); got.Body != `["before 2","before 1","after 1","after 2"]` {
		t.Errorf("hooks ran as %s", got.Body)
	}
}

// What V8 holds for objects that are gone is not a part of the snapshot: neither the garbage nor the young generation that it was in.
func TestNodeGivesMemoryBackBeforeTheSnapshot(t *testing.T) {
	for name, code := range map[string]string{
		"a large young generation": `for (let i = 0; i < 3e6; i++) kept[i % 30000] = { i, of: [i] };`,
		"a small one":              ``,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			start(t, a, launch{plan: anyNode(t), handler: "index.handler", vars: snapStart, task: write(t, js(`
const v8 = require('node:v8');
const kept = [];
const warnings = [];
process.on('warning', (w) => { warnings.push(w.message) });
const emit = process.emitWarning;
const young = () => v8.getHeapSpaceStatistics().find((s) => s.space_name === 'new_space').physical_space_size >> 20;
`+code+`
const before = young();
exports.handler = async () => ({ before, after: young(), canShrink: !!v8.queryObjects, kept: kept.length, warnings, same: emit === process.emitWarning });
`))})
			a.waitParked("restore/next")
			close(a.restore)
			a.waitParked("invocation/next")
			var got struct {
				Before, After, Kept int
				CanShrink, Same     bool
				Warnings            []string
			}
			if body := a.invoke(event{Body: `{}`}).Body; json.Unmarshal([]byte(body), &got) != nil {
				t.Fatal(body)
			}
			t.Logf("%+v", got)
			if code != "" && (got.Before < 8 || got.Kept != 30000) {
				t.Errorf("the function has a young generation of %d MiB and keeps %d objects: it shows nothing", got.Before, got.Kept)
			}
			if got.CanShrink && got.After > 2 {
				t.Errorf("a young generation of %d MiB is in the snapshot, of %d before", got.After, got.Before)
			}
			if len(got.Warnings) > 0 || !got.Same {
				t.Errorf("the function sees %q, and its emitWarning is the same: %v", got.Warnings, got.Same)
			}
		})
	}
}

func TestNodeHooksDoNotRunWithoutSnapStart(t *testing.T) {
	a := newAPI(t)
	start(t, a, launch{plan: anyNode(t), task: write(t, js(hooks)), handler: "index.handler"})
	a.waitParked("invocation/next")
	if got := a.invoke(event{Body: `{}`}); got.Body != `[]` {
		t.Errorf("hooks ran: %s", got.Body)
	}
}

func TestNodeHookFailures(t *testing.T) {
	for _, test := range []struct{ name, hook, path, typ string }{
		{"before the checkpoint", "beforeCheckpoint", "init/error", "Runtime.BeforeCheckpointError"},
		{"after the restore", "afterRestore", "restore/error", "Runtime.AfterRestoreError"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			close(a.restore)
			p := start(t, a, launch{plan: anyNode(t), handler: "index.handler", vars: snapStart,
				task: write(t, js(`require('thaw-snapstart').`+test.hook+`(async () => { throw new TypeError('hook') }); exports.handler = async () => 1`))})
			got := a.next()
			if got.Path != test.path || got.Header.Get("Lambda-Runtime-Function-Error-Type") != test.typ {
				t.Errorf("got %s with type %q, want %s with %s", got.Path, got.Header.Get("Lambda-Runtime-Function-Error-Type"), test.path, test.typ)
			}
			if status := p.exitStatus(); status != 64 {
				t.Errorf("exit status %d, want 64", status)
			}
		})
	}
}

// An error that nobody catches while hooks run, as of a connection that did not survive the restore, is told of as a hook's.
func TestNodeUncaughtErrorsInHooks(t *testing.T) {
	for _, test := range []struct{ hook, code, path, typ string }{
		{"beforeCheckpoint", `setTimeout(() => { throw new RangeError('nobody') }, 5); await new Promise((r) => setTimeout(r, 60000))`, "init/error", "Runtime.BeforeCheckpointError"},
		{"beforeCheckpoint", `Promise.reject(new RangeError('nobody')); await new Promise((r) => setTimeout(r, 60000))`, "init/error", "Runtime.BeforeCheckpointError"},
		{"afterRestore", `setTimeout(() => { new (require('events'))().emit('error', new RangeError('nobody')) }, 5); await new Promise((r) => setTimeout(r, 60000))`, "restore/error", "Runtime.AfterRestoreError"},
		{"afterRestore", `queueMicrotask(() => { throw new RangeError('nobody') })`, "restore/error", "Runtime.AfterRestoreError"},
	} {
		t.Run(test.hook, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			close(a.restore)
			p := start(t, a, launch{plan: anyNode(t), handler: "index.handler", vars: snapStart,
				task: write(t, js(`awslambda.snapStart.`+test.hook+`(async () => { `+test.code+` }); exports.handler = async () => 1`))})
			got := a.next()
			if got.Path != test.path || got.Header.Get("Lambda-Runtime-Function-Error-Type") != test.typ || !strings.Contains(got.Body, "nobody") {
				t.Errorf("got %s with type %q: %s; want %s with %s", got.Path, got.Header.Get("Lambda-Runtime-Function-Error-Type"), got.Body, test.path, test.typ)
			}
			if status := p.exitStatus(); status != 128 && status != 129 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

// What expiresIn was told must have been heard before the snapshot, awaited or not: a refusal is the failure of a hook.
func TestNodeExpiresIn(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		a := newAPI(t)
		a.refuseNotes = true
		p := start(t, a, launch{plan: anyNode(t), handler: "index.handler", vars: snapStart,
			task: write(t, js(`awslambda.snapStart.beforeCheckpoint(() => { awslambda.snapStart.expiresIn(60) }); exports.handler = async () => 1`))})
		got := a.next()
		if got.Path != "init/error" || got.Header.Get("Lambda-Runtime-Function-Error-Type") != "Runtime.BeforeCheckpointError" || !strings.Contains(got.Body, "expiry") {
			t.Errorf("got %s %s", got.Path, got.Body)
		}
		if status := p.exitStatus(); status != 64 {
			t.Errorf("exit status %d, want 64", status)
		}
	})
	t.Run("taken", func(t *testing.T) {
		a := newAPI(t)
		start(t, a, launch{plan: anyNode(t), handler: "index.handler", vars: snapStart,
			task: write(t, js(`awslambda.snapStart.beforeCheckpoint(function warm() { awslambda.snapStart.expiresIn(60) }); exports.handler = async () => 1`))})
		if got := a.note(); got != `{"ttlSeconds":60}` {
			t.Errorf("the platform was told %s", got)
		}
		if got := a.note(); got != `{"hooks":["warm"]}` {
			t.Errorf("the platform was told %s", got)
		}
		a.waitParked("restore/next")
	})
	t.Run("without SnapStart it does nothing", func(t *testing.T) {
		a := newAPI(t)
		start(t, a, launch{plan: anyNode(t), handler: "index.handler",
			task: write(t, js(`const told = awslambda.snapStart.expiresIn(60); exports.handler = async () => (await told) === undefined`))})
		a.waitParked("invocation/next")
		if got := a.invoke(event{Body: `{}`}); got.Body != `true` {
			t.Errorf("answered %s", got.Body)
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		a := newAPI(t)
		start(t, a, launch{plan: anyNode(t), handler: "index.handler",
			task: write(t, js(`exports.handler = async () => ['soon', 0, -1, NaN].map((s) => { try { awslambda.snapStart.expiresIn(s) } catch (e) { return e.name } })`))})
		a.waitParked("invocation/next")
		if got := a.invoke(event{Body: `{}`}); got.Body != `["RangeError","RangeError","RangeError","RangeError"]` {
			t.Errorf("answered %s", got.Body)
		}
	})
}
