package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/cmd/thaw-cache/internal/cache"
)

func TestLifeOfAnAnswer(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": time.Minute, "max-age=5": 5 * time.Second, "public, Max-Age=5": 5 * time.Second, "max-age=0": 0, "no-store": 0, "no-cache, max-age=9": 0,
		"max-age=9 Age:4": 5 * time.Second, "max-age=3 Age:4": 0, "max-age=soon": time.Minute, "max-age=-1": time.Minute, "max-age=2147483647": maxTTL,
	} {
		h := http.Header{}
		control, age, _ := strings.Cut(text, " Age:")
		h.Set("Cache-Control", control)
		h.Set("Age", age)
		if got := life(h, time.Minute); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/tagged":
			w.Header().Set("ETag", `"one"`)
			if r.Header.Get("If-None-Match") == `"one"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			fmt.Fprint(w, "tagged")
		case "/none":
			http.NotFound(w, r)
		case "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/large":
			io.CopyN(w, endless{}, MaxBody+1) //nolint:errcheck // the client goes away
		}
	}))
	defer server.Close()
	get := func(path string, old *cache.Value) (*cache.Value, error) {
		t.Helper()
		fetch, err := HTTP(server.Client(), server.URL+path+"?key=hush", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return fetch(t.Context(), old)
	}
	v, err := get("/tagged", nil)
	if err != nil || string(v.Body) != "tagged" || v.TTL != time.Minute {
		t.Fatalf("%+v, %v", v, err)
	}
	if again, err := get("/tagged", v); err != nil || string(again.Body) != "tagged" || again.TTL != time.Minute || again.Status != 200 {
		t.Errorf("unchanged: %+v, %v", again, err)
	}
	if v, err := get("/none", nil); err != nil || v.Status != 404 || v.TTL != 0 {
		t.Errorf("not there: %+v, %v", v, err)
	}
	for _, path := range []string{"/down", "/large"} {
		if v, err := get(path, nil); err == nil || v != nil {
			t.Errorf("%s: %+v", path, v)
		}
	}
	server.Close()
	if _, err := get("/tagged", v); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("an error with the query in it: %v", err)
	}
	for _, bad := range []string{"", "ftp://x/", "file:///etc/passwd", "http://", "/x", "http://[x"} {
		if _, err := HTTP(http.DefaultClient, bad, time.Minute); err == nil {
			t.Errorf("%q is taken for a URL", bad)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	fetch, err := File(path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := fetch(t.Context(), nil); err != nil || v.Status != 404 || v.TTL != 0 {
		t.Errorf("not there: %+v, %v", v, err)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	one, err := fetch(t.Context(), nil)
	if err != nil || string(one.Body) != "one" || one.TTL != time.Minute {
		t.Fatalf("%+v, %v", one, err)
	}
	if same, err := fetch(t.Context(), one); err != nil || &same.Body[0] != &one.Body[0] {
		t.Errorf("an unchanged file was read again: %v", err)
	}
	write("three")
	if v, err := fetch(t.Context(), one); err != nil || string(v.Body) != "three" {
		t.Errorf("%+v, %v", v, err)
	}
	for _, bad := range []string{"", "f", "../f"} {
		if _, err := File(bad, time.Minute); err == nil {
			t.Errorf("%q is taken for a path", bad)
		}
	}
	device, err := File("/dev/zero", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := device(t.Context(), nil); err == nil {
		t.Error("a device was read")
	}
}

// What is asked of AWS is asked as the SDK does, and what it answers has the form in which AWS's extension says it.
func TestAWS(t *testing.T) {
	var status int
	var answer, asked string
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		scope := "/ssm/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-security-token;x-amz-target,"
		if a := r.Header.Get("Authorization"); !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=AKID/") || !strings.Contains(a, "/eu-west-1"+scope) || r.Header.Get("X-Amz-Security-Token") != "TOKEN" {
			t.Errorf("signed %q", a)
		}
		asked = r.Header.Get("X-Amz-Target") + " " + string(body)
		w.WriteHeader(status)
		io.WriteString(w, answer) //nolint:errcheck // a test's
	}))
	defer service.Close()
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SSM": service.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKID",
		"AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_SESSION_TOKEN": "TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": ""} {
		t.Setenv(k, v)
	}
	get := func(query string) (*cache.Value, error) {
		t.Helper()
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		fetch, err := Parameter(SSM(service.Client()), q, time.Minute)
		if err != nil {
			return nil, err
		}
		return fetch(t.Context(), nil)
	}
	status, answer = 200, `{"Parameter":{"ARN":"a","DataType":"text","LastModifiedDate":1500000000.25,"Name":"/n","Type":"SecureString","Value":"hush","Version":3}}`
	v, err := get("name=/n&version=3&withDecryption=true")
	if err != nil || v.TTL != time.Minute || asked != `AmazonSSM.GetParameter {"Name":"/n:3","WithDecryption":true}` {
		t.Fatalf("%+v, %v; asked %s", v, err, asked)
	}
	if want := `{"Parameter":{"ARN":"a","DataType":"text","LastModifiedDate":"2017-07-14T02:40:00.25Z","Name":"/n","Selector":null,"SourceResult":null,"Type":"SecureString","Value":"hush","Version":3},"ResultMetadata":{}}`; string(v.Body) != want {
		t.Errorf("it says\n%s, want\n%s", v.Body, want)
	}
	for _, bad := range []string{"", "name=/n&version=1&label=x", "name=/n&withDecryption=maybe"} {
		e := new(Error)
		if _, err := get(bad); !errors.As(err, &e) || e.Status != 400 {
			t.Errorf("%q: %v", bad, err)
		}
	}
	status, answer = 400, `{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"no"}`
	if v, err := get("name=/n"); err != nil || v.Status != 400 || v.TTL != 0 || string(v.Body) != answer {
		t.Errorf("not there: %+v, %v", v, err)
	}
	answer = `{"__type":"ThrottlingException","message":"hush"}`
	if v, err := get("name=/n"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("throttled: %+v, %v", v, err)
	}
	status, answer = 200, `{"Parameter":[`
	if v, err := get("name=/n"); err == nil {
		t.Errorf("garbage: %+v", v)
	}
}

func TestEndpoint(t *testing.T) {
	for _, tc := range []struct{ own, all, ignore, region, want string }{
		{"", "", "", "eu-west-1", "https://secretsmanager.eu-west-1.amazonaws.com/"},
		{"", "", "", "cn-north-1", "https://secretsmanager.cn-north-1.amazonaws.com.cn/"},
		{"", "http://all:1", "", "x", "http://all:1/"},
		{"http://own:1/", "http://all:1", "", "x", "http://own:1/"},
		{"http://own:1", "", "true", "x", "https://secretsmanager.x.amazonaws.com/"},
	} {
		t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", tc.own)
		t.Setenv("AWS_ENDPOINT_URL", tc.all)
		t.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", tc.ignore)
		if got := SecretsManager(nil).endpoint(tc.region); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

// Under SnapStart the credentials are those that the environment has now.
func TestCredentials(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "opens" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, `{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T","Expiration":"2030-01-01T00:00:00Z"}`) //nolint:errcheck // a test's
	}))
	defer api.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", api.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "opens")
	if c, err := Credentials(context.Background(), api.Client()); err != nil || c.AccessKeyID != "A" || c.SecretAccessKey != "S" || c.SessionToken != "T" {
		t.Errorf("%+v, %v", c, err)
	}
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "does not")
	if _, err := Credentials(context.Background(), api.Client()); err == nil {
		t.Error("credentials without the token")
	}
}
