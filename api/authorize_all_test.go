package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"thaw/access"
	"thaw/api"
	"thaw/internal/golden"
)

// TestEveryOperationIsDenied asks for each operation with a key that may do nothing. The golden file says what each one
// needs, and of what: none may be served, and a new operation appears there.
func TestEveryOperationIsDenied(t *testing.T) {
	t.Parallel()
	w, keys := withKeys(t)
	k, secret, err := keys.AddKey(access.Key{User: "none", Policy: []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"none:*","Resource":"*"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"FunctionName": "one:live", "Name": "live", "LayerName": "libs", "VersionNumber": "3", "StatementId": "s", "UUID": "u-u-i-d",
		"Resource": oneARN, "ResourceArn": oneARN, "CodeSigningConfigArn": "arn:aws:lambda:eu-west-1:000000000000:code-signing-config:csc-1", "CapacityProviderName": "cp",
		"DurableExecutionArn": oneARN + ":1/durable-execution/a/b", "CallbackId": "c"}
	client := &http.Client{Transport: w.transport()}
	label := regexp.MustCompile(`\{(\w+)\}`)
	said := regexp.MustCompile(`is not authorized to perform: (\S+) on resource: (\S+) because`)
	var table strings.Builder
	for _, row := range api.Rows() {
		path := label.ReplaceAllStringFunc(row.Path, func(l string) string { return url.PathEscape(labels[l[1:len(l)-1]]) })
		query := "?Qualifier=live"
		if strings.Contains(row.Query, "=") {
			query += "&" + row.Query
		}
		if row.Name == "GetLayerVersionByArn" {
			query += "&Arn=" + url.QueryEscape("arn:aws:lambda:eu-west-1:000000000000:layer:libs:3")
		}
		body := `{"FunctionName":"one"}`
		if row.Method == http.MethodGet {
			body = ""
		}
		r, err := http.NewRequestWithContext(t.Context(), row.Method, w.url+path+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(body))
		if err := signer.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: secret}, r, hex.EncodeToString(sum[:]), "lambda", region, time.Now()); err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var answer struct{ Message string }
		if json.Unmarshal(text, &answer) != nil || err != nil || resp.StatusCode != http.StatusForbidden || resp.Header.Get("X-Amzn-Errortype") != "AccessDeniedException" {
			t.Errorf("%s %s: %d %s", row.Name, path, resp.StatusCode, text)
			continue
		}
		m := said.FindStringSubmatch(answer.Message)
		if m == nil {
			t.Errorf("%s: %s", row.Name, answer.Message)
			continue
		}
		table.WriteString(row.Name + " " + m[1] + " " + m[2] + "\n")
	}
	golden.Equal(t, "testdata/permissions.golden", table.String())
}
