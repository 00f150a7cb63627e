package runtimes_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/sandbox"
)

func TestNodeResponseParser(t *testing.T) {
	plan := anyNode(t)
	wire, err := filepath.Abs("nodejs/wire.cjs")
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range []string{"1", "20260101"} {
		if out, err := exec.Command(sandbox.Translate(plan.Mounts, "/var/lang/bin/node"), "testdata/parser.cjs", wire, seed).CombinedOutput(); err != nil {
			t.Errorf("seed %s: %v\n%s", seed, err, out)
		}
	}
}

// The platform's end may go away while the client waits for an event: it connects anew, once, as after a restore that lost the
// connection. A platform that is gone ends the process.
func TestNodeConnectsAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	a := &api{t: t}
	accept := func() net.Conn {
		c, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		return c
	}
	read := func(c net.Conn) (*http.Request, string) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, string(b)
	}
	p := start(t, &api{t: t, server: serverAt(listener.Addr().String())}, launch{plan: anyNode(t), task: write(t, js(`exports.handler = async (e) => e`)), handler: "index.handler"})
	first := accept()
	if r, _ := read(first); !strings.HasSuffix(r.URL.Path, "/invocation/next") {
		a.t.Fatalf("the first call is %s", r.URL)
	}
	first.Close()
	second := accept()
	if r, _ := read(second); !strings.HasSuffix(r.URL.Path, "/invocation/next") {
		t.Fatalf("the call on the second connection is %s", r.URL)
	}
	io.WriteString(second, "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id\r\nLambda-Runtime-Deadline-Ms: 99999999999999\r\nContent-Length: 2\r\n\r\n{}")
	if r, body := read(second); !strings.HasSuffix(r.URL.Path, "/invocation/id/response") || body != "{}" {
		t.Fatalf("the answer is %s %s", r.URL, body)
	}
	listener.Close()
	second.Close()
	if status := p.exitStatus(); status != 1 {
		t.Errorf("exit status %d without a platform, want 1", status)
	}
}
