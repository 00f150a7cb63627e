package runtimes_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const streaming = `exports.handler = awslambda.streamifyResponse(async (e, out, c) => { %s });`

func TestNodeStreams(t *testing.T) {
	plan := anyNode(t)
	tests := []struct {
		name        string
		source      string // body of the handler
		want        string
		contentType string
		errorType   string // in the trailer
	}{
		{name: "parts", source: `out.write('a'); await new Promise((r) => setTimeout(r, 5)); out.write(Buffer.from('b')); out.end('c')`, want: "abc", contentType: "application/octet-stream"},
		{name: "content type", source: `out.setContentType('text/html'); out.write('x'); out.end()`, want: "x", contentType: "text/html"},
		{name: "objects become JSON", source: `out.write({ a: 1 }); out.end()`, want: `{"a":1}`, contentType: "application/octet-stream"},
		{name: "nothing but an end", source: `out.end()`, want: "", contentType: "application/octet-stream"},
		{name: "empty parts do not end it", source: `out.write(''); out.write('a'); out.write(''); out.end('b')`, want: "ab", contentType: "application/octet-stream"},
		{name: "HTTP prelude", source: `const http = awslambda.HttpResponseStream.from(out, { statusCode: 201, cookies: ['a=b'] }); http.write('body'); http.end()`,
			want: `{"statusCode":201,"cookies":["a=b"]}` + "\x00\x00\x00\x00\x00\x00\x00\x00body", contentType: "application/vnd.awslambda.http-integration-response"},
		{name: "a pipeline", source: `await require('stream/promises').pipeline(require('stream').Readable.from(['x', 'y', 'z']), out)`, want: "xyz", contentType: "application/octet-stream"},
		{name: "an error in the middle", source: `out.write('half'); throw new TypeError('broke')`, want: "half", contentType: "application/octet-stream", errorType: "TypeError"},
		{name: "an error behind a slow part", source: `out.write(Buffer.alloc(3e6, 97)); throw new TypeError('broke')`, want: strings.Repeat("a", 3e6), contentType: "application/octet-stream", errorType: "TypeError"},
		{name: "an end that never comes", source: `out.write('half')`, want: "half", contentType: "application/octet-stream", errorType: "Error"},
		{name: "content type too late", source: `out.write('a'); out.setContentType('x')`, want: "a", contentType: "application/octet-stream", errorType: "Runtime.InvalidStreamingOperation"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			start(t, a, launch{plan: plan, task: write(t, js(fmt.Sprintf(streaming, test.source))), handler: "index.handler", frames: true,
				vars: map[string]string{"AWS_EXECUTION_ENV": until22}})
			a.waitParked("invocation/next")
			for range 2 {
				got := a.invoke(event{Body: `{}`})
				if !strings.HasSuffix(got.Path, "/response") || got.Body != test.want || got.Header.Get("Content-Type") != test.contentType {
					t.Fatalf("got %s %s %.200q, want %s %.200q", got.Path, got.Header.Get("Content-Type"), got.Body, test.contentType, test.want)
				}
				if mode := got.Header.Get("Lambda-Runtime-Function-Response-Mode"); mode != "streaming" {
					t.Errorf("response mode %q", mode)
				}
				if typ := got.Trailer.Get("Lambda-Runtime-Function-Error-Type"); typ != test.errorType {
					t.Errorf("error type in the trailer is %q, want %q", typ, test.errorType)
				}
				if test.errorType != "" { // E-055: the client's half
					b, err := base64.StdEncoding.DecodeString(got.Trailer.Get("Lambda-Runtime-Function-Error-Body"))
					var r report
					if err != nil || json.Unmarshal(b, &r) != nil || r.Type != test.errorType {
						t.Errorf("error body in the trailer: %s, %v", b, err)
					}
				}
				a.waitParked("invocation/next")
			}
		})
	}
}

// Before its first byte a stream can still fail like any other invocation.
func TestNodeStreamErrorsBeforeTheFirstByte(t *testing.T) {
	for name, source := range map[string]string{
		"thrown":       fmt.Sprintf(streaming, `throw new TypeError('early')`),
		"not async":    `exports.handler = awslambda.streamifyResponse((e, out) => { out.x = 1 })`,
		"never ending": fmt.Sprintf(streaming, ``),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			start(t, a, launch{plan: anyNode(t), task: write(t, js(source)), handler: "index.handler", frames: true})
			a.waitParked("invocation/next")
			for range 2 {
				if got := a.invoke(event{Body: `{}`}); !strings.HasSuffix(got.Path, "/error") {
					t.Fatalf("got %s %s, want an error", got.Path, got.Body)
				}
				a.waitParked("invocation/next")
			}
		})
	}
}

func TestNodeExceptionWhileStreaming(t *testing.T) {
	a := newAPI(t)
	p := start(t, a, launch{plan: anyNode(t), task: write(t, js(fmt.Sprintf(streaming, `out.write('x'); setTimeout(() => { throw new RangeError('nobody') }, 5); await new Promise(() => {})`))),
		handler: "index.handler", frames: true})
	a.waitParked("invocation/next")
	got := a.invoke(event{Body: `{}`})
	if got.Body != "x" || got.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "RangeError" {
		t.Errorf("got %q with trailers %v", got.Body, got.Trailer)
	}
	if status := p.exitStatus(); status != 129 {
		t.Errorf("exit status %d, want 129", status)
	}
}

// Payloads as large as they get, in and out, byte for byte.
func TestNodeLargePayloads(t *testing.T) {
	a := newAPI(t)
	start(t, a, launch{plan: anyNode(t), task: write(t, js(`const crypto = require('crypto');
	exports.handler = async (e) => ({ sum: crypto.createHash('sha256').update(e.data).digest('hex'), data: e.data })`)), handler: "index.handler"})
	a.waitParked("invocation/next")
	for _, size := range []int{1, 65535, 65536, 65537, 1 << 20, 6*1024*1024 - 64} {
		var data strings.Builder
		for i := 0; data.Len() < size; i++ {
			fmt.Fprintf(&data, "%d ü %x;", i, sha256.Sum256([]byte{byte(i)}))
		}
		text := strings.ToValidUTF8(data.String()[:size], "")
		body, _ := json.Marshal(map[string]string{"data": text})
		got := a.invoke(event{Body: string(body)})
		var answer struct{ Sum, Data string }
		if err := json.Unmarshal([]byte(got.Body), &answer); err != nil {
			t.Fatalf("%d bytes: %s %.100s: %v", size, got.Path, got.Body, err)
		}
		if want := fmt.Sprintf("%x", sha256.Sum256([]byte(text))); answer.Sum != want || answer.Data != text {
			t.Errorf("%d bytes came through changed", size)
		}
		a.waitParked("invocation/next")
	}
}
