package trigger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/internal/golden"
)

func plainRequest() Request {
	return Request{ID: "id", Time: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC), Method: "GET", Path: "/a", Protocol: "HTTP/1.1", Scheme: "http", Port: "9600",
		SourceIP: "10.0.0.1", Host: "u.lambda-url.r.example.org", TraceID: "Root=1-0-0", URLID: "u", Domain: "u.lambda-url.r.example.org", Account: "123456789012"}
}

// S-108: requests and their events, one golden file for all. Statement 13.4 row by row.
func TestEvents(t *testing.T) {
	t.Parallel()
	text := func(contentType string, body string) func(*Request) {
		return func(r *Request) {
			r.Method, r.Body, r.Header = "POST", []byte(body), map[string][]string{"Content-Type": {contentType}}
		}
	}
	var out strings.Builder
	for _, c := range []struct {
		name string
		edit func(*Request)
	}{
		{"plain", func(*Request) {}},
		{"no path", func(r *Request) { r.Path = "" }},
		{"a path is not decoded, a query is, and its values are joined", func(r *Request) { r.Path, r.Query = "/a%20b//c%2Fd", "x=1&y=%26+ä&x=2&z&=&bad=%zz" }},
		{"headers, repeated ones, cookies, and those of the connection", func(r *Request) {
			r.Header = map[string][]string{"User-Agent": {"curl/8"}, "X-A": {"1", "2"}, "Cookie": {"a=1; b=2", "c=3"}, "Connection": {"close"}, "Upgrade": {"h2c"},
				"X-Forwarded-For": {"1.1.1.1"}, "X-Forwarded-Proto": {"https"}, "X-Amzn-Trace-Id": {"forged"}, "Authorization": {"Bearer of the function"}}
		}},
		{"json", text("application/json; charset=utf-8", `{"n":1}`)},
		{"text with signs that JSON escapes", text("text/plain", "<&>\"ä\n")},
		{"vendor json", text("application/vnd.api+json", `{}`)},
		{"text that is no UTF-8", text("text/plain", "\xff\xfe")},
		{"multipart is binary", text("multipart/form-data; boundary=x", "--x--")},
		{"a form is binary", text("application/x-www-form-urlencoded", "a=b")},
		{"a body without a type is binary", text("", "abc")},
		{"signed: the function learns who, and not how to be them", func(r *Request) {
			r.Caller = &Caller{"AKIA", "123456789012", "arn:aws:iam::123456789012:root", "123456789012"}
			r.Header = map[string][]string{"Authorization": {"AWS4-HMAC-SHA256 secret"}, "X-Amz-Security-Token": {"secret"}, "X-Amz-Date": {"20261120T090000Z"}}
		}},
	} {
		r := plainRequest()
		c.edit(&r)
		b, err := r.Event()
		if err != nil {
			t.Fatal(err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, b, "", " "); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "# %s\n%s\n", c.name, pretty.String())
	}
	golden.Equal(t, "testdata/events.golden", out.String())
}

func (r *Response) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", r.Status)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, " %s=%q", name, r.Header[name])
	}
	fmt.Fprintf(&b, " %q", r.Body)
	return b.String()
}

// C-114, S-109: answers and what is sent for them, one golden file for all.
func TestResponses(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, payload := range []string{
		`{"a": 1, "b": [2]}`, `"hello"`, `""`, `12.50`, `true`, `[1, "two"]`, `null`, ``, ` {} `,
		`{"statusCode":200,"body":"text"}`, `{"statusCode":201,"body":{"a": 1}}`, `{"statusCode":"418"}`, `{"statusCode":200,"body":7}`, `{"statusCode":204,"body":null}`,
		`{"statusCode":200,"headers":{"Content-Type":"text/html","X-A":"b"},"body":"<p>"}`, `{"statusCode":200,"cookies":["a=1; Secure","b=2"]}`,
		`{"statusCode":200,"isBase64Encoded":true,"body":"AP8="}`, `{"statusCode":200,"isBase64Encoded":false,"body":"AP8="}`,
		`{"statusCode":200,"headers":{"Connection":"close","Transfer-Encoding":"chunked","Content-Length":"5"},"body":"x"}`,
		// refused
		`{`, `hello`, `{"statusCode":"many"}`, `{"statusCode":null}`, `{"statusCode":100}`, `{"statusCode":1000}`, `{"statusCode":200.5}`,
		`{"statusCode":200,"headers":{"X-A":1}}`, `{"statusCode":200,"headers":{"X-A":"b\r\nSet-Cookie: c=d"}}`, `{"statusCode":200,"headers":{"X A":"b"}}`,
		`{"statusCode":200,"headers":{"":"b"}}`, `{"statusCode":200,"cookies":["a=1\nX: y"]}`, `{"statusCode":200,"cookies":"a=1"}`, `{"statusCode":200,"headers":[]}`,
		`{"statusCode":200,"isBase64Encoded":true,"body":"!"}`,
	} {
		r, err := Parse([]byte(payload))
		switch {
		case err == nil:
			fmt.Fprintf(&out, "%s\n\t-> %v\n", payload, r)
		case errors.Is(err, ErrBadAnswer):
			fmt.Fprintf(&out, "%s\n\t-> %v\n", payload, err)
		default:
			t.Errorf("%s: %v", payload, err)
		}
	}
	golden.Equal(t, "testdata/responses.golden", out.String())
}

// C-089, E-057: a prelude is found wherever its stream is cut.
func TestPreludes(t *testing.T) {
	t.Parallel()
	stream := []byte(`{"statusCode":404,"headers":{"X-A":"b"},"cookies":["c=d"]}` + "\x00\x00\x00\x00\x00\x00\x00\x00\x00body\x00")
	const want = `404 content-type=["application/json"] set-cookie=["c=d"] x-a=["b"] "\x00body\x00"`
	for size := 1; size <= len(stream); size++ {
		var p Prelude
		var r *Response
		var body []byte
		for piece := range slices.Chunk(stream, size) {
			if r != nil {
				body = append(body, piece...)
				continue
			}
			var err error
			if r, err = p.Take(piece); err != nil {
				t.Fatal(err)
			}
		}
		r.Body = append(r.Body, body...)
		if r.String() != want {
			t.Errorf("in pieces of %d: %v", size, r)
		}
	}
	for _, bad := range []string{"", "{}", "{}\x00\x00\x00\x00\x00\x00\x00", "[]" + string(preludeEnd), string(preludeEnd), `{"statusCode":9}` + string(preludeEnd), strings.Repeat(" ", maxPrelude+1)} {
		if r, err := ParseStreamed([]byte(bad)); !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%.40q: %v, %v", bad, r, err)
		}
	}
	if r, err := ParseStreamed([]byte("{}" + string(preludeEnd))); err != nil || r.Status != 200 {
		t.Errorf("a prelude that says nothing: %v, %v", r, err)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for name, c := range map[string]CORS{
		"1 one origin":      {Origins: []string{"https://a.example"}, Methods: []string{"GET", "PUT"}, Headers: []string{"x-a"}, ExposeHeaders: []string{"x-b", "x-c"}, MaxAge: 60},
		"2 all":             {Origins: []string{"*"}, Methods: []string{"*"}, Headers: []string{"*"}},
		"3 all, with login": {Origins: []string{"*"}, Methods: []string{"*"}, Headers: []string{"*"}, Credentials: true},
		"4 nobody":          {},
	} {
		for _, origin := range []string{"https://a.example", "https://b.example", "null", ""} {
			fmt.Fprintf(&out, "%s, %q\n\tanswer %v\n\tpreflight %v\n", name, origin, c.Answer(origin), c.Preflight(origin, "DELETE", "x-z"))
		}
	}
	blocks := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	var sorted []string
	for b := range slices.Chunk(blocks, 3) {
		sorted = append(sorted, strings.Join(b, "\n"))
	}
	slices.Sort(sorted)
	golden.Equal(t, "testdata/cors.golden", strings.Join(sorted, "\n")+"\n")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"statusCode":200,"headers":{"a":"b"},"cookies":["c"],"body":"d","isBase64Encoded":true}`))
	f.Add([]byte("{}" + string(preludeEnd) + "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (*Response, error){Parse, ParseStreamed} {
			r, err := parse(b)
			if err != nil {
				continue
			}
			if r.Status < 200 || r.Status > 599 || len(r.Header["content-type"]) == 0 {
				t.Errorf("%v", r)
			}
			for name, values := range r.Header {
				if !isToken(name) || strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
					t.Errorf("header %q: %q", name, values)
				}
			}
		}
	})
}
