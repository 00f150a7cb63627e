package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A function reaches what --host-access names, and gains nothing by it at the API of the server that runs it.
func TestFunctionReachesTheHostWhenTold(t *testing.T) {
	needRoot(t, "gvisor")
	database := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprint(w, "rows for ", host)
	}))
	defer database.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := free.Addr().String()
	free.Close()
	_, own, _ := net.SplitHostPort(listen)
	_, port, _ := net.SplitHostPort(database.Listener.Addr().String())
	s := openServerWith(t, "gvisor", t.TempDir(), func(c *Config) { c.Listen, c.HostAccess = listen, port+","+own })
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.node.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	f := s.deploy(installed(t, s, "nodejs"), map[string]string{"index.js": `
const http = require("http")
const get = (port, host) => new Promise(done => {
  const began = Date.now()
  http.get({host: "host.thaw.internal", port, path: "/2015-03-31/functions/", headers: host ? {host} : {}}, r => {
    let text = ""; r.on("data", d => text += d); r.on("end", () => done(r.statusCode + " " + text))
  }).on("error", e => done(e.code + (Date.now() - began < 1000 ? " at once" : " late")))
})
exports.handler = async e => ({database: await get(e.database), api: await get(e.api), pretended: await get(e.api, "localhost"), other: await get(1)})`})
	event := fmt.Sprintf(`{"database":%s,"api":%s}`, port, own)
	var got map[string]string
	if err := json.Unmarshal([]byte(f.invoke(event).ok(t)), &got); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{"database": "200 rows for 127.0.0.1", "api": "403 ", "pretended": "403 ", "other": "ECONNREFUSED at once"} {
		if !strings.HasPrefix(got[what], want) {
			t.Errorf("%s: %q, want %q", what, got[what], want)
		}
	}
	if !strings.Contains(got["pretended"], "not known which user") {
		t.Errorf("refused for another reason: %s", got["pretended"])
	}
}
