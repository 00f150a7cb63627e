package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

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
}

// try runs the program. Its answer and its words are apart.
func (p tool) try(args ...string) (out, words string, err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, append(slices.Clone(p.args), args...)...)
	var b, w bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, &b, &w
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

var fetching sync.Mutex

// fetched is a folder of the user's cache that make has filled, now or in an earlier run. key is all that its content depends
// on. Other processes that want it wait.
func fetched(t *testing.T, name, key string, fill func(dir string) error) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no place for %s: %v", name, err)
	}
	fetching.Lock()
	defer fetching.Unlock()
	dir := filepath.Join(cache, "thaw-tests", fmt.Sprintf("%s-%x", name, sha256.Sum256([]byte(key)))[:len(name)+17])
	whole := dir + ".whole"
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(whole); err == nil {
		return dir
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := fill(dir); err != nil {
		t.Skipf("%s cannot be had: %v", name, err)
	}
	if err := os.WriteFile(whole, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// venv is a Python environment with what pip makes of these arguments; the programs are in its folder bin.
func venv(t *testing.T, name string, install ...string) string {
	t.Helper()
	key := strings.Join(install, "\n")
	for _, word := range install {
		if text, err := os.ReadFile(word); err == nil { // a file of requirements
			key += "\n" + string(text)
		}
	}
	return fetched(t, name, key, func(dir string) error {
		if err := command("", "python3", "-m", "venv", dir); err != nil {
			return err
		}
		return command("", filepath.Join(dir, "bin", "pip"), append([]string{"install", "-q", "--disable-pip-version-check"}, install...)...)
	})
}

// command runs what fetches something. The error has what it said.
func command(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// python is a program of the environment that has AWS's Python clients.
func python(t *testing.T, env []string, program string) tool {
	t.Helper()
	dir := venv(t, "aws-clients", "-r", filepath.Join("testdata", "clients", "requirements.txt"))
	return tool{t: t, env: env, dir: t.TempDir(), path: filepath.Join(dir, "bin", program)}
}
