package node

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/eventsource/eventsourcetest"
	"thaw/internal/wholebody"
)

// AWS's clients and the tools of others, each from create to delete, against one server that checks signatures. What
// they need is fetched once into the cache folder of the user; what cannot be had is skipped with the reason.

// forClients is the package's server for clients, and the variables that lead a client to it, and to nothing else.
func forClients(t *testing.T) (*server, []string) {
	t.Helper()
	sharedServers.Lock()
	defer sharedServers.Unlock()
	s := sharedServers.open["signed"]
	if s == nil {
		dir, err := os.MkdirTemp("", "thaw-test-signed-")
		if err != nil {
			t.Fatal(err)
		}
		s = openServerWith(t, "process", dir, func(c *Config) { c.AccessKeyID, c.SecretAccessKey = "AKIDEXAMPLE", "secret" })
		s.client = lambda.New(lambda.Options{Region: "eu-west-1", BaseEndpoint: aws.String(s.node.Endpoint()), HTTPClient: wholebody.Client(nil),
			Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")})
		sharedServers.open["signed"] = s
	}
	return &server{t: t, node: s.node, client: s.client, kind: s.kind}, clientEnv(s)
}

// clientEnv has nothing of the user's own settings of clients in it.
func clientEnv(s *server) []string {
	own := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "AWS_") || strings.HasPrefix(kv, "TF_") })
	return append(own, "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION=eu-west-1", "AWS_REGION=eu-west-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "SAM_CLI_TELEMETRY=0",
		"PYTHONUNBUFFERED=1", "AWS_ENDPOINT_URL="+s.node.Endpoint(), "TF_CLI_CONFIG_FILE=/dev/null", "CHECKPOINT_DISABLE=1")
}

// nodejs is the identifier of a Node.js that the server has.
func nodejs(t *testing.T, s *server) string {
	t.Helper()
	return installed(t, s, "nodejs")
}

// shop is the package that every client deploys.
func shop(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "clients", "shop", "index.js"))
	if err != nil {
		t.Fatal(err)
	}
	return zipOf(t, map[string]string{"index.js": string(text)})
}

// shopFile is that package as a file.
func shopFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.zip")
	if err := os.WriteFile(path, shop(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tool is a client's program with its folder and variables.
type tool struct {
	t    *testing.T
	env  []string
	dir  string
	path string
	args []string // before all others

	stdin string
}

// try runs the program. Its answer and its words are apart.
func (p tool) try(args ...string) (out, words string, err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, append(slices.Clone(p.args), args...)...)
	var b, w bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.dir, p.env, strings.NewReader(p.stdin), &b, &w
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has children
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	return b.String(), w.String(), err
}

// do runs the program, which must succeed.
func (p tool) do(args ...string) string {
	p.t.Helper()
	out, words, err := p.try(args...)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s\n%s", filepath.Base(p.path), strings.Join(args, " "), err, out, words)
	}
	return out
}

// python is a program of the environment that has AWS's Python clients.
func python(t *testing.T, env []string, program string) tool {
	t.Helper()
	dir := eventsourcetest.Python(t, "boto3==1.44.8", "awscli==1.46.3", "aws-sam-cli==1.148.0", "chalice==1.34.0")
	return tool{t: t, env: env, dir: t.TempDir(), path: filepath.Join(dir, "bin", program)}
}
