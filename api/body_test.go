package api_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/api"
	"thaw/internal/door"
)

// raw sends bytes to the server and leaves the connection open.
func (w *world) raw(text string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second)) //nolint:errcheck // a test that hangs ends
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func answerOn(t testing.TB, c net.Conn) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

const createHead = "POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

// bigCreate is the body of a CreateFunction of more than 8 MiB.
func bigCreate(t testing.TB, name string) []byte {
	t.Helper()
	noise := make([]byte, 9<<20)
	for i, x := 0, uint64(1); i < len(noise); i++ { // nothing that a zip makes small
		x = x*6364136223846793005 + 1442695040888963407
		noise[i] = byte(x >> 33)
	}
	b, err := json.Marshal(map[string]any{"FunctionName": name, "Runtime": "nodejs22.x", "Handler": "index.handler", "Role": role,
		"Code": map[string]string{"ZipFile": base64.StdEncoding.EncodeToString(zipOf(t, "index.js", "x", "noise", string(noise)))}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Uploads that have stalled hold no place: the next one is served while they are still allowed to go on.
func TestStalledUploadsHoldNobody(t *testing.T) {
	w := newWorld(t, func(o *options) { o.Uploads, o.Region = filepath.Join(t.TempDir(), "uploads"), region })
	body := bigCreate(t, "fifth")
	stalled := make([]net.Conn, 12) // more than may be in memory at a time
	for i := range stalled {
		stalled[i] = w.raw(fmt.Sprintf(createHead, 9_000_000) + strings.Repeat("x", 4096*(i%2)))
	}
	c := w.raw(fmt.Sprintf(createHead, len(body)) + string(body))
	if resp, text := answerOn(t, c); resp.StatusCode != 201 {
		t.Fatalf("status %d %s", resp.StatusCode, text)
	}
	w.active("fifth")
	if left, err := os.ReadDir(w.Options.Uploads); err != nil || len(left) > 0 {
		t.Errorf("names in the folder of uploads: %v, %v", left, err)
	}
}

func TestUploadsEndWithTheirProgress(t *testing.T) {
	const stall = 500 * time.Millisecond
	w := newWorld(t, func(o *options) { o.Uploads = t.TempDir() })
	w.close()
	w.stall = stall
	w.open()
	body := bigCreate(t, "slow")
	t.Run("one that stalls is answered and closed", func(t *testing.T) {
		t.Parallel()
		c := w.raw(fmt.Sprintf(createHead, len(body)) + string(body[:5<<20]))
		resp, text := answerOn(t, c)
		if resp.StatusCode != 408 || resp.Header.Get("X-Amzn-Errortype") != "RequestTimeoutException" || !resp.Close {
			t.Errorf("status %d %s %v", resp.StatusCode, text, resp.Header)
		}
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d more bytes", n)
		}
	})
	t.Run("one that goes on for longer than the limit is served", func(t *testing.T) {
		t.Parallel()
		c := w.raw(fmt.Sprintf(createHead, len(body)))
		for part := range splitInto(body, 5) {
			time.Sleep(stall / 2)
			if _, err := c.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if resp, text := answerOn(t, c); resp.StatusCode != 201 {
			t.Errorf("status %d %s", resp.StatusCode, text)
		}
	})
	t.Run("an event that stalls", func(t *testing.T) {
		t.Parallel()
		c := w.raw("POST /2015-03-31/functions/none/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
		if resp, text := answerOn(t, c); resp.StatusCode != 408 {
			t.Errorf("status %d %s", resp.StatusCode, text)
		}
	})
}

func splitInto(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for size := len(b)/n + 1; len(b) > 0; b = b[min(size, len(b)):] {
			if !yield(b[:min(size, len(b))]) {
				return
			}
		}
	}
}

// A folder of uploads is empty after a start, whatever an earlier process left.
func TestUploadsAreSwept(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "upload-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	newWorld(t, func(o *options) { o.Uploads = dir })
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// With a stated hash a wrong signature is refused before the body is there.
func TestSignaturesAreCheckedBeforeTheBody(t *testing.T) {
	key := api.Credential{AccessKeyID: "AKID", SecretAccessKey: "secret"}
	w := newWorld(t, func(o *options) {
		o.Verify, o.Credentials, o.Now = true, []api.Credential{key}, func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	})
	c := w.raw("POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nX-Amz-Date: 20260101T000000Z\r\n" +
		"X-Amz-Content-Sha256: " + strings.Repeat("0", 64) + "\r\n" +
		"Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=00\r\nContent-Length: 9000000\r\n\r\n")
	resp, text := answerOn(t, c)
	if resp.StatusCode != 403 || resp.Header.Get("X-Amzn-Errortype") != "InvalidSignatureException" {
		t.Errorf("status %d %s", resp.StatusCode, text)
	}
}

// What a page of another origin sends is refused in AWS's form, and does nothing.
func TestWebPagesAreRefused(t *testing.T) {
	guard := &door.Guard{}
	w := newWorld(t, func(o *options) { o.Guard = guard.Check })
	w.create("victim")
	w.active("victim")
	create, err := json.Marshal(createInput(t, "evil"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, host, origin, site string }{
		{"a foreign page", "127.0.0.1:9600", "http://evil.example", "cross-site"},
		{"a rebound name", "rebind.evil.example", "http://rebind.evil.example", "same-origin"},
		{"a form of an old browser", "localhost", "null", ""},
		{"an image", "localhost", "", "cross-site"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, to := range []string{"/2015-03-31/functions", "/2015-03-31/functions/victim/invocations"} {
				r, err := http.NewRequest("POST", w.url+to, bytes.NewReader(create))
				if err != nil {
					t.Fatal(err)
				}
				r.Host = c.host
				r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
				for name, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
					if value != "" {
						r.Header.Set(name, value)
					}
				}
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				var body struct{ Message string }
				err = json.NewDecoder(resp.Body).Decode(&body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 403 || resp.Header.Get("X-Amzn-Errortype") != "AccessDeniedException" || body.Message == "" {
					t.Errorf("%s: status %d %+v %v", to, resp.StatusCode, body, err)
				}
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
	if len(w.runner.asked) > 0 {
		t.Error("something was invoked")
	}
}
