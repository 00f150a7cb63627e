package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/access"
	"thaw/admin"
	"thaw/eventsource/eventsourcetest"
	"thaw/internal/certtest"
)

// asCommand makes the test's program the command line, for shells that tests start.
const asCommand = "THAW_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		code := run(ctx, context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	eventsourcetest.Main(m)
}

// indented are the blocks of commands of a page, under one heading.
func indented(t *testing.T, page, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", page, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	inside := false
	for line := range strings.Lines(section) {
		code, is := strings.CutPrefix(line, "    ")
		switch {
		case is && inside:
			blocks[len(blocks)-1] += code
		case is:
			blocks = append(blocks, code)
		}
		inside = is
	}
	return blocks
}

// shell runs commands of a page in a shell whose bin/thaw is this program, with a server's data folder.
func shell(t *testing.T, data, commands string) string {
	t.Helper()
	health, err := admin.Dial(data).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec %s \"$@\"\n", asCommand, exe)
	if err := os.WriteFile(filepath.Join(folder, "bin", "thaw"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", strings.ReplaceAll(commands, "http://127.0.0.1:9600", health.Endpoint))
	cmd.Dir = folder
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+folder, "THAW_DATA_DIR="+data)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\nsays\n%s", err, commands, out)
	}
	return string(out)
}

// TestPermissionsPage types what docs/permissions.md tells of access keys and sessions, with AWS's command line.
func TestPermissionsPage(t *testing.T) {
	if len(awsClients()) == 0 {
		t.Skip("AWS's command line is not here")
	}
	dir := serving(t)
	deploy(t, dir, "hello")
	commands := strings.Join(indented(t, "../../docs/permissions.md", "Access keys"), "") + strings.Join(indented(t, "../../docs/permissions.md", "Roles and sessions"), "")
	out := shell(t, dir, commands)
	page, err := os.ReadFile("../../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, said, _ := strings.Cut(string(page), "`An error occurred")
	said, _, _ = strings.Cut(said, "`")
	if want := "An error occurred" + strings.Join(strings.Fields(said), " "); !strings.Contains(out, strings.Replace(want, "occurred(", "occurred (", 1)) {
		t.Errorf("%s\ndoes not say\n%s", out, want)
	}
	for _, want := range []string{"arn:aws:iam::000000000000:user/anna", "arn:aws:sts::000000000000:assumed-role/deployer/anna", "SessionToken"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\ndoes not say\n%s", out, want)
		}
	}
}

// TestKeyCommands: keys and roles, with a server and without one, and the commands of this host beside them.
func TestKeyCommands(t *testing.T) {
	dir := serving(t)
	deploy(t, dir, "hello")
	t.Chdir(t.TempDir())
	const policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"}}`
	if err := os.WriteFile("invoke.json", []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	example := func(args ...string) result {
		t.Helper()
		r := thaw(t.Context(), args...)
		if r.code != exitOK || r.out == "" {
			t.Fatalf("%v: exit %d\n%s%s", args, r.code, r.out, r.words)
		}
		return r
	}
	for _, args := range [][]string{{"key", "add", "ci"}, {"key", "add", "ci", "--policy", "nowhere.json"}} {
		if r := thaw(t.Context(), args...); r.code != exitMisuse {
			t.Errorf("%v: exit %d, %s", args, r.code, r.words)
		}
	}
	r := example(shellWords(t, keyAddCommand(&app{}).Example)[1:]...)
	var id, secret string
	if _, err := fmt.Sscanf(r.out, "[ci]\naws_access_key_id = %s\naws_secret_access_key = %s\n", &id, &secret); err != nil {
		t.Fatal(err, r.out)
	}
	if r := example("key", "ls", "-o", "json"); !strings.Contains(r.out, id) || strings.Contains(r.out, secret) {
		t.Errorf("key ls: %s", r.out)
	}
	health, err := admin.Dial(dir).Health(t.Context())
	if err != nil || !health.Signed {
		t.Fatal(health, err)
	}
	client := newClient(health.Endpoint, region(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, nil)
	invoke := func() error {
		_, err := client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("hello")})
		return err
	}
	if err := invoke(); err != nil {
		t.Error(err)
	}
	if _, err := client.ListFunctions(t.Context(), &lambda.ListFunctionsInput{}); err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
		t.Errorf("ListFunctions: %v", err)
	}
	example("invoke", "hello", "--payload", "{}") // without a key
	if r := thaw(t.Context(), "configure", "--profile", "p"); r.code != exitMisuse || !strings.Contains(r.words, "thaw key add") {
		t.Errorf("configure: %d %s", r.code, r.words)
	}
	example("key", "rm", id)
	if err := invoke(); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("with a removed key: %v", err)
	}
	if r := thaw(t.Context(), "key", "rm", id); r.code != exitFailed {
		t.Errorf("a key that is not there: %d %s", r.code, r.words)
	}

	example(shellWords(t, rolePutCommand(&app{}).Example)[1:]...)
	if r := example("role", "ls"); !strings.Contains(r.out, "arn:aws:iam::000000000000:role/orders") {
		t.Error(r.out)
	}
	example(shellWords(t, roleRmCommand(&app{}).Example)[1:]...)

	// A folder without a server: the keys of a server that is to come.
	other := t.TempDir()
	r = example("key", "add", "first", "--policy", "invoke.json", "--data-dir", other)
	if !access.HasKeys(filepath.Join(other, "access")) {
		t.Error("no key is there")
	}
	if r = example("key", "ls", "--data-dir", other); !strings.Contains(r.out, "first") {
		t.Error(r.out)
	}
}

// Commands of this host know a server that speaks TLS by its certificate, whatever name that has; others do not.
func TestCommandsOverTLS(t *testing.T) {
	cert, key := certtest.Make(t, t.TempDir(), "thaw.test")
	dir := servingIn(t, "process", "--tls-cert", cert, "--tls-key", key)
	r := thaw(t.Context(), "deploy", filepath.Join("..", "..", "samples", "shell-hello"), "--runtime", "provided.al2023", "--handler", "hello.handler", "--name", "hello")
	if r.code != exitOK {
		t.Fatal(r.words)
	}
	if r := thaw(t.Context(), "invoke", "hello", "--payload", "{}"); r.code != exitOK {
		t.Errorf("%d %s", r.code, r.words)
	}
	health, err := admin.Dial(dir).Health(t.Context())
	if err != nil || !strings.HasPrefix(health.Endpoint, "https://") {
		t.Fatal(health, err)
	}
	if _, err := newClient(health.Endpoint, region(), testKey, nil).ListFunctions(t.Context(), &lambda.ListFunctionsInput{}); err == nil {
		t.Error("a program that knows nothing of the certificate trusts it")
	}
	health.Certificate = strings.Replace(health.Certificate, "MI", "MJ", 1)
	if _, err := newClient(health.Endpoint, region(), testKey, trusting(health)).ListFunctions(t.Context(), &lambda.ListFunctionsInput{}); err == nil {
		t.Error("another certificate is trusted")
	}
}
