package node

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// url gives a function a URL that everybody may call.
func (f *deployed) url(mode types.InvokeMode, cors *types.Cors) string {
	f.t.Helper()
	out, err := f.client.CreateFunctionUrlConfig(f.t.Context(), &lambda.CreateFunctionUrlConfigInput{FunctionName: &f.name, AuthType: types.FunctionUrlAuthTypeNone,
		InvokeMode: mode, Cors: cors})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.client.AddPermission(f.t.Context(), &lambda.AddPermissionInput{FunctionName: &f.name, StatementId: aws.String("open"), Principal: aws.String("*"),
		Action: aws.String("lambda:InvokeFunctionUrl"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone}); err != nil {
		f.t.Fatal(err)
	}
	return *out.FunctionUrl
}

// localClient finds every name on a server, as names under localhost are found where they resolve by themselves.
func localClient(t testing.TB, addr string) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

type heard struct {
	status int
	header http.Header
	body   string
}

func ask(t testing.TB, c *http.Client, method, url, contentType, body string) heard {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header["X-Many"] = []string{"1", "2"}
	req.Header.Set("Cookie", "a=1; b=2")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return heard{resp.StatusCode, resp.Header, string(b)}
}

// C-114, C-115, S-108, S-109: a real function behind a URL that does not stream, by its host name and by its path.
func TestFunctionURL(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`exports.handler = async (e) => {
		const body = e.isBase64Encoded ? Buffer.from(e.body, 'base64') : e.body
		if (e.rawPath == '/event') return { statusCode: 200, body: e }
		if (e.rawPath == '/throw') throw new Error('secret')
		if (e.rawPath == '/binary') return { statusCode: 200, headers: { 'content-type': 'image/png' }, isBase64Encoded: true, body: Buffer.concat([body, Buffer.from([0, 255])]).toString('base64') }
		return JSON.parse(body)
	}`)
	at, c := f.url("", nil), localClient(t, s.node.Addr())
	id, _, _ := strings.Cut(strings.TrimPrefix(at, "http://"), ".")
	path := s.node.Endpoint() + "/lambda-url/" + id + "/"

	for _, c2 := range []struct {
		answer      string
		status      int
		body        string
		contentType string
	}{
		{`{"a": 1}`, 200, `{"a":1}`, "application/json"},
		{`"hello"`, 200, `hello`, "application/json"},
		{`[1,true]`, 200, `[1,true]`, "application/json"},
		{`7`, 200, `7`, "application/json"},
		{`{"statusCode":"418","body":"tea","headers":{"Content-Type":"text/plain"}}`, 418, `tea`, "text/plain"},
		{`{"statusCode":201,"body":{"b":[2]}}`, 201, `{"b":[2]}`, "application/json"},
		{`{"statusCode":204}`, 204, ``, "application/json"},
		{`{"statusCode":200,"headers":{"X-A":"b\r\nX-C: d"}}`, 502, "Internal Server Error", "text/plain; charset=utf-8"},
		{`{"statusCode":"x"}`, 502, "Internal Server Error", "text/plain; charset=utf-8"},
	} {
		for _, base := range []string{at, path} {
			if h := ask(t, c, "POST", base+"answer", "application/json", c2.answer); h.status != c2.status || h.body != c2.body || h.header.Get("Content-Type") != c2.contentType {
				t.Errorf("%s: %d %q %v", c2.answer, h.status, h.body, h.header)
			}
		}
	}
	if h := ask(t, c, "GET", at+"throw", "", ""); h.status != 502 || h.body != "Internal Server Error" {
		t.Errorf("a function that fails: %+v", h)
	}
	if h := ask(t, c, "GET", at+"metrics", "", ""); h.status != 502 {
		t.Errorf("every path of a URL's host is the function's: %d %.80s", h.status, h.body)
	}
	if h := ask(t, c, "PUT", at+"binary", "application/octet-stream", "\x00\xfe"); h.body != "\x00\xfe\x00\xff" || h.header.Get("Content-Type") != "image/png" {
		t.Errorf("binary: %+v", h)
	}
	h := ask(t, c, "POST", at+"answer", "text/plain", `{"statusCode":200,"cookies":["a=1","b=2"],"body":""}`)
	if got := strings.Join(h.header["Set-Cookie"], "|"); got != "a=1|b=2" {
		t.Errorf("cookies %s", got)
	}

	for base, want := range map[string]string{at: "/event", path: "/event"} {
		var e struct {
			RawPath, RawQueryString, Body string
			Cookies                       []string
			Headers                       map[string]string
			QueryStringParameters         map[string]string
			RequestContext                struct {
				AccountID, APIID, DomainName string
				HTTP                         struct{ Method, SourceIP string }
			}
			IsBase64Encoded bool
		}
		h := ask(t, c, "POST", base+"event?q=1&q=%26", "multipart/form-data; boundary=x", "--x--")
		if err := json.Unmarshal([]byte(h.body), &e); err != nil {
			t.Fatal(err, h.body)
		}
		r := e.RequestContext
		if e.RawPath != want || e.RawQueryString != "q=1&q=%26" || e.QueryStringParameters["q"] != "1,&" || !e.IsBase64Encoded || strings.Join(e.Cookies, " ") != "a=1 b=2" ||
			e.Headers["x-many"] != "1,2" || e.Headers["cookie"] != "" || e.Headers["x-forwarded-proto"] != "http" || !strings.HasPrefix(e.Headers["x-amzn-trace-id"], "Root=1-") ||
			r.AccountID != "anonymous" || r.APIID != id || r.DomainName != id+".lambda-url.eu-west-1.localhost" || r.HTTP.Method != "POST" || r.HTTP.SourceIP != "127.0.0.1" {
			t.Errorf("event %s", h.body)
		}
		if h.header.Get("X-Amzn-Requestid") == "" || h.header.Get("X-Amzn-Trace-Id") != e.Headers["x-amzn-trace-id"] {
			t.Errorf("headers %v", h.header)
		}
	}
	if h := ask(t, c, "POST", at, "text/plain", strings.Repeat("x", 6<<20+1)); h.status != 413 {
		t.Errorf("a body that is too large: %d %s", h.status, h.body)
	}
	if h := ask(t, c, "POST", at, "image/png", strings.Repeat("x", 5<<20)); h.status != 413 {
		t.Errorf("a body that is too large as base64: %d %s", h.status, h.body)
	}
}

// C-089, C-085: a stream comes in pieces, without its prelude, and one that breaks off does not look whole. A caller may leave.
func TestFunctionURLStreams(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`exports.handler = awslambda.streamifyResponse(async (e, out) => {
		if (e.rawPath == '/throw') throw new Error('secret')
		if (e.rawPath == '/plain') { out.setContentType('text/csv'); out.write('a,b'); out.end(); return }
		out = awslambda.HttpResponseStream.from(out, { statusCode: 203, headers: { 'x-a': 'b' }, cookies: ['c=d'] })
		out.write('first;')
		await new Promise(r => setTimeout(r, 1000))
		if (e.rawPath == '/break') throw new Error('secret')
		out.write(String(Date.now())); out.end()
	})`)
	at, c := f.url(types.InvokeModeResponseStream, nil), localClient(t, s.node.Addr())
	get := func(path string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "GET", at+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	get("warm")
	resp := get("pieces")
	body := bufio.NewReader(resp.Body)
	piece, err := body.ReadString(';')
	first := time.Now()
	if err != nil || piece != "first;" || resp.StatusCode != 203 || resp.Header.Get("X-A") != "b" || resp.Header.Get("Set-Cookie") != "c=d" {
		t.Fatalf("%q %v %d %v", piece, err, resp.StatusCode, resp.Header)
	}
	rest, err := io.ReadAll(body)
	if ms, _ := strconv.ParseInt(string(rest), 10, 64); err != nil || ms < first.UnixMilli() { //nolint:errcheck // then it is 0
		t.Errorf("the first piece came at %d, the second was written at %s: %v", first.UnixMilli(), rest, err)
	}
	if b, err := io.ReadAll(get("break").Body); err == nil {
		t.Errorf("a stream that broke off looks whole: %q", b)
	}
	if h := ask(t, c, "GET", at+"throw", "", ""); h.status != 502 || h.body != "Internal Server Error" {
		t.Errorf("a function that fails before its first byte: %+v", h)
	}
	if h := ask(t, c, "GET", at+"plain", "", ""); h.status != 200 || h.body != "a,b" || h.header.Get("Content-Type") != "text/csv" {
		t.Errorf("without a prelude: %+v", h)
	}
	left := get("leaves")
	if _, err := left.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	left.Body.Close()
	if h := ask(t, c, "GET", at+"plain", "", ""); h.status != 200 {
		t.Errorf("after a caller who left: %+v", h)
	}

	whole := s.js(`exports.handler = async () => ({ statusCode: 418, body: 'b' })`)
	if h := ask(t, c, "GET", whole.url(types.InvokeModeResponseStream, nil), "", ""); h.status != 200 || h.body != `{"statusCode":418,"body":"b"}` {
		t.Errorf("a function that does not stream: %+v", h)
	}
	// The stream of a function behind a URL that does not stream.
	if _, err := f.client.UpdateFunctionUrlConfig(t.Context(), &lambda.UpdateFunctionUrlConfigInput{FunctionName: &f.name, InvokeMode: types.InvokeModeBuffered}); err != nil {
		t.Fatal(err)
	}
	if h := ask(t, c, "GET", at+"pieces", "", ""); h.status != 203 || !strings.HasPrefix(h.body, "first;") || h.header.Get("X-A") != "b" {
		t.Errorf("collected: %+v", h)
	}
}

// functionPage is what a function shows. It tells HOME what it was able to do on the server that shows it, and at a URL of
// another origin that lets it.
const functionPage = `<!doctype html><script>(async () => {
  const seen = {};
  const attempt = async (name, f) => { try { seen[name] = String(await f()) } catch (e) { seen[name] = "error" } };
  await attempt("read", async () => (await fetch("/2015-03-31/functions/")).text());
  await attempt("create", async () => (await fetch("/2015-03-31/functions", {method: "POST", body: "{}"})).status);
  await attempt("no-cors", async () => (await fetch("http://ADDR/2015-03-31/functions/victim/configuration", {method: "POST", mode: "no-cors"})).status);
  await attempt("simple", async () => (await fetch("http://ADDR/2015-03-31/functions/victim/invocations", {method: "POST", mode: "no-cors", body: "{}"})).type);
  await attempt("cors", async () => (await fetch("OPEN", {method: "PUT", headers: {"x-a": "b"}, body: "{}"})).text());
  await fetch("HOME", {method: "POST", mode: "no-cors", body: JSON.stringify(seen)});
})()</script>`

// A page that a function shows, by host name or by path, cannot use the API of the server that shows it, in a real browser;
// a URL with Cors is open to it.
func TestPagesOfFunctionsCannotUseTheAPI(t *testing.T) {
	t.Parallel()
	s := openServer(t, "process", t.TempDir())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.node.Close(ctx) //nolint:errcheck // a test
	})
	told := make(chan string, 1)
	home := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			b, _ := io.ReadAll(r.Body) //nolint:errcheck // then it is empty
			told <- string(b)
		}
	}))
	t.Cleanup(home.Close)
	open := s.js(`exports.handler = async () => ({ statusCode: 200, body: 'opened' })`).url("", &types.Cors{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}})
	page, err := json.Marshal(strings.NewReplacer("HOME", home.URL, "OPEN", open, "ADDR", s.node.Addr()).Replace(functionPage))
	if err != nil {
		t.Fatal(err)
	}
	f := s.js(`exports.handler = async () => ({ statusCode: 200, headers: { 'content-type': 'text/html' }, body: ` + string(page) + ` })`)
	at := f.url("", nil)
	id, _, _ := strings.Cut(strings.TrimPrefix(at, "http://"), ".")
	for name, url := range map[string]string{"host": at, "path": s.node.Endpoint() + "/lambda-url/" + id + "/"} {
		t.Run(name, func(t *testing.T) {
			browser(t, url, "MAP *.localhost 127.0.0.1")
			select {
			case text := <-told:
				var seen map[string]string
				if err := json.Unmarshal([]byte(text), &seen); err != nil {
					t.Fatal(err)
				}
				if seen["cors"] != "opened" || len(seen) != 5 {
					t.Errorf("the page did %s", text)
				}
				if strings.Contains(seen["read"], "FunctionName") || strings.HasPrefix(seen["create"], "4") && name == "path" {
					t.Errorf("the page reached the API: %s", text)
				}
			case <-time.After(time.Minute):
				t.Fatal("the page told nothing")
			}
			list, err := s.client.ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
			if err != nil || len(list.Functions) != 2 {
				t.Errorf("%d functions, %v", len(list.Functions), err)
			}
		})
	}
}
