package secret

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/eventsource"
)

// A file is found by the name of the secret, with and without what the service adds; otherwise Secrets Manager is asked.
func TestSecretsAreFilesOrOfSecretsManager(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(filepath.Dir(dir), "outside")
	for path, text := range map[string]string{filepath.Join(dir, "prod", "kafka"): "file", outside: "not for anybody"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	manager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(b), "in-manager") {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"__type":"ResourceNotFoundException"}`) //nolint:errcheck // the client sees it
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"SecretString": "managed"}) //nolint:errcheck // the client sees it
	}))
	defer manager.Close()
	for k, v := range map[string]string{"AWS_ENDPOINT_URL_SECRETS_MANAGER": manager.URL, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_MAX_ATTEMPTS": "1"} {
		t.Setenv(k, v)
	}
	f := &Finder{Dir: dir}
	const arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
	for uri, want := range map[string]string{arn + "prod/kafka-a1B2c3": "file", arn + "prod/kafka": "file", "prod/kafka": "file", arn + "in-manager-a1B2c3": "managed",
		arn + "none": "", "../outside": "", outside: "", "link": "", "prod": ""} {
		got, err := f.Secret(t.Context(), uri)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v; want %q", uri, got, err, want)
		}
		if err != nil && !errors.As(err, new(*eventsource.ProblemError)) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}
