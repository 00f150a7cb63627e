package node

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// doorFile is the package that clients put APIs in front of, as a file.
func doorFile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "clients", "door", "index.js"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "door.zip")
	if err := os.WriteFile(path, zipOf(t, map[string]string{"index.js": string(text)}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// throughAPI sends a request to an API by the path form, and gives status and body.
func throughAPI(t *testing.T, s *server, path string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.node.Endpoint()+"/execute-api/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// boto3 makes HTTP and REST APIs, and requests reach the function through them.
func TestClientGatewayBoto3(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	story, err := filepath.Abs(filepath.Join("testdata", "clients", "gateway.py"))
	if err != nil {
		t.Fatal(err)
	}
	python(t, env, "python").do(story, doorFile(t), "boto3-door", nodejs(t, s))
}

// AWS's command line makes an API with one command, and shows it.
func TestClientGatewayCommandLine(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	f := (&deployedAs{s, "cli-door"}).create(t)
	aws := python(t, env, "aws")
	do := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(aws.do(append([]string{"--endpoint-url", s.node.Endpoint(), "--output", "text"}, args...)...))
	}
	id := do("apigatewayv2", "create-api", "--name", "cli", "--protocol-type", "HTTP", "--target", f.arn, "--query", "ApiId")
	do("lambda", "add-permission", "--function-name", "cli-door", "--statement-id", "api", "--action", "lambda:InvokeFunction", "--principal", "apigateway.amazonaws.com",
		"--source-arn", "arn:aws:execute-api:eu-west-1:000000000000:"+id+"/*")
	if status, body := throughAPI(t, s, id+"/$default/"); status != 200 || !strings.Contains(body, `"version":"$LATEST"`) {
		t.Errorf("through the API: %d %s", status, body)
	}
	if got := do("apigatewayv2", "get-apis", "--query", "Items[?Name=='cli'].ApiId"); got != id {
		t.Errorf("get-apis has %q, want %s", got, id)
	}
	do("apigatewayv2", "delete-api", "--api-id", id)
	if status, body := throughAPI(t, s, id+"/$default/"); status != 403 {
		t.Errorf("through a deleted API: %d %s", status, body)
	}
	f.delete(t)
}

// Terraform makes an HTTP API and a REST API with all that belongs to them, changes them, has nothing to do then, and
// takes them away. Requests reach the function in between.
func TestClientGatewayTerraform(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", "clients", "terraform-gateway", "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	tf := terraformIn(t, dir, append(env, "TF_VAR_endpoint="+s.node.Endpoint(), "TF_VAR_zip="+doorFile(t), "TF_VAR_runtime="+nodejs(t, s)))
	flags := []string{"-no-color", "-input=false"}
	tf.do(append([]string{"apply", "-auto-approve"}, flags...)...)
	var out struct{ HTTP, REST, Key, Chat struct{ Value string } }
	if err := json.Unmarshal([]byte(tf.do("output", "-json")), &out); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path   string
		header []string
		status int
		want   string
	}{
		{out.HTTP.Value + "/prod/orders/7", nil, 200, `"parameters":{"id":"7"}`},
		{out.HTTP.Value + "/prod/judged", []string{"Authorization", "open"}, 200, `"stage":"prod"`},
		{out.HTTP.Value + "/prod/judged", []string{"Authorization", "shut"}, 403, "Forbidden"},
		{out.HTTP.Value + "/prod/tokens", nil, 401, "Unauthorized"},
		{out.REST.Value + "/prod/orders?q=1", []string{"X-Api-Key", out.Key.Value}, 200, `"variables":{"table":"orders"}`},
		{out.REST.Value + "/prod/orders", []string{"X-Api-Key", out.Key.Value}, 400, "q"},
		{out.REST.Value + "/prod/orders?q=1", nil, 401, `{"bring":"a key"}`},
		{out.REST.Value + "/prod", nil, 200, `{"ip": "127.0.0.1"}`},
	} {
		if status, body := throughAPI(t, s, c.path, c.header...); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.path, c.header, status, body, c.status, c.want)
		}
	}
	c, _, err := websocket.DefaultDialer.Dial("ws://"+s.node.Addr()+"/execute-api/"+out.Chat.Value+"/prod", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := said(t, c, `{}`); !strings.Contains(got, `"connectionId"`) && !strings.Contains(got, `"stage":"prod"`) {
		t.Errorf("through the WebSocket API: %s", got)
	}
	tf.do(append([]string{"apply", "-auto-approve", "-var", "burst=60"}, flags...)...)
	if said, words, err := tf.try(append([]string{"plan", "-detailed-exitcode", "-var", "burst=60"}, flags...)...); err != nil { // 2: there are changes
		t.Errorf("a plan behind it: %v\n%s\n%s", err, said, words)
	}
	tf.do(append([]string{"destroy", "-auto-approve", "-refresh=false"}, flags...)...)
	if status, _ := throughAPI(t, s, out.HTTP.Value+"/prod/orders/7"); status != 403 {
		t.Errorf("through a destroyed API: %d", status)
	}
}
