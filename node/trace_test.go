package node

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

var madeTrace = regexp.MustCompile(`Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0`)

// Every invoke has a trace header, the caller's or one that the server made, also in copies of a snapshot.
func TestTraceHeader(t *testing.T) {
	const js = `const first = process.env._X_AMZN_TRACE_ID; exports.handler = async () => [String(first), process.env._X_AMZN_TRACE_ID].join(' ')`
	seen := map[string]bool{}
	var mu sync.Mutex // of seen: the tests below run side by side
	made := func(t *testing.T, a answer) {
		t.Helper()
		m := madeTrace.FindString(a.ok(t))
		mu.Lock()
		defer mu.Unlock()
		if m == "" || seen[m] {
			t.Errorf("the function has %s; want a new trace", a.body)
		}
		seen[m] = true
	}
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(js)
		made(t, f.invoke(`{}`))
		made(t, f.invoke(`{}`))
		const given = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
		req, err := http.NewRequest("POST", "http://"+s.node.Addr()+"/2015-03-31/functions/"+f.name+"/invocations", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amzn-Trace-Id", given)
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); !strings.Contains(string(b), given) {
			t.Errorf("with a caller's header the function has %d %s %v", resp.StatusCode, b, err)
		}
		t.Run("python", func(t *testing.T) {
			s := &server{t, s.node, s.client, s.kind}
			f := s.deploy(ready(t, s, "python3.11", "python3.12", "python3.13"), map[string]string{"index.py": "import os\ndef handler(e, c):\n    return os.environ.get('_X_AMZN_TRACE_ID')\n"})
			made(t, f.invoke(`{}`))
		})
	})
	t.Run("copies", func(t *testing.T) {
		f := shared(t, "gvisor").js(js+`.replace(/$/, await new Promise(r => setTimeout(r, 500, '')))`, snapStart)
		f.publish()
		answers := make([]answer, 3)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = f.invokeVersion("1", `{}`) })
		}
		all.Wait()
		for _, a := range answers {
			if made(t, a); !strings.Contains(a.ok(t), "undefined ") {
				t.Errorf("Init had a trace header: %s", a.body)
			}
		}
		if n := len(f.envs()); n < 2 {
			t.Errorf("%d copies answered; want more than one", n)
		}
	})
}
