package runtimeapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzRequest reads whatever comes as requests, twice: at once and byte by byte. Both must read the same; and what both we and net/http
// take for a request must have the same body for both.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
		"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"POST /a HTTP/1.1\nContent-Length: 1\n\na",
		"POST http://h/a?b HTTP/1.0\r\nConnection: keep-alive, x\r\nExpect: 100-continue\r\n\r\n",
		"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := readAll(t, bytes.NewReader(b))
		if slow := readAll(t, iotest.OneByteReader(bytes.NewReader(b))); slow != whole {
			t.Fatalf("at once: %q, byte by byte: %q", whole, slow)
		}
		r := &reader{r: bytes.NewReader(b)}
		q, err := r.request()
		if err != nil {
			return
		}
		ours, ourErr := r.whole(q, 1<<20)
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return // it is stricter about hosts and URLs
		}
		theirs, err := io.ReadAll(std.Body)
		if err == nil && ourErr == nil && !bytes.Equal(ours, theirs) {
			t.Fatalf("we read the body %q, net/http %q", ours, theirs)
		}
		if q.method != std.Method {
			t.Fatalf("method %q, net/http says %q", q.method, std.Method)
		}
	})
}

// readAll is what a connection's requests come to, in words.
func readAll(t *testing.T, in io.Reader) string {
	var out strings.Builder
	r := &reader{r: in}
	for range 10 {
		q, err := r.request()
		if err != nil {
			out.WriteString(" end " + plain(err))
			return out.String()
		}
		body, err := r.whole(q, 1<<20)
		if int64(len(body)) != q.length && q.length >= 0 && err == nil {
			t.Fatalf("a body of %d bytes with length %d", len(body), q.length)
		}
		out.WriteString(q.method + " " + q.path + " " + string(body))
		for _, h := range append(q.fields, q.trailers...) {
			out.WriteString(h.name + ":" + h.value + ",")
		}
		if err != nil && err != errTooLarge {
			out.WriteString(" broken " + plain(err))
			return out.String()
		}
	}
	return out.String()
}

func plain(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "EOF"
	}
	return err.Error()
}

func FuzzFilterErrorType(f *testing.F) {
	for _, seed := range []string{"", "Runtime.X", "Function.Ab", "Function.bad", "xRuntime.AbFunction.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := FilterErrorType(in)
		if again := FilterErrorType(got); again != got {
			t.Fatalf("%q becomes %q, and that %q", in, got, again)
		}
		if got != RuntimeUnknown && got != FunctionUnknown && (!strings.HasPrefix(in, got) || len(got) > maxErrorType) {
			t.Fatalf("%q becomes %q", in, got)
		}
	})
}

func FuzzCause(f *testing.F) {
	f.Add([]byte(`{"errorMessage":"m","errorType":"T","stackTrace":["a"],"errorCause":{"message":"m","paths":["p"],"exceptions":[{"stack":[{}]}]}}`))
	f.Add([]byte(`{"message":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if out := cropCause(b); len(out) > maxCause {
			t.Fatalf("a cause of %d bytes", len(out))
		}
		rest, contentType, _ := stripCause(b)
		if contentType == "application/json" && bytes.Contains(rest, []byte(`"errorCause":`)) && !bytes.Contains(rest, []byte(`\"errorCause`)) {
			again, _, cause := stripCause(rest)
			if cause != "" {
				t.Fatalf("the cause is still in %s (%s)", rest, again)
			}
		}
	})
}
