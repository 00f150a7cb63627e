package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"thaw/internal/wholebody"
)

// talker prints a JSON line with what it was given, a plain one, and one that is hostile.
const talker = `exports.handler = async (e) => {
	process.stdout.write(JSON.stringify({level: e.level, n: e.n}) + '\nplain ' + e.n + '\n')
	process.stdout.write(Buffer.from([0x61, 0xff, 0x1b, 0x5b, 0x33, 0x31, 0x6d, 0x00, 0x0a]))
	return e.n }`

// signed is a server that checks signatures, and what AWS's clients need to know of it.
func signedServer(t *testing.T) (*server, []string) {
	t.Helper()
	s := openServerWith(t, "process", t.TempDir(), func(c *Config) { c.AccessKeyID, c.SecretAccessKey = "AKIDEXAMPLE", "secret" })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.node.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	creds := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")
	s.client = lambda.New(lambda.Options{Region: "eu-west-1", BaseEndpoint: aws.String(s.node.Endpoint()), HTTPClient: wholebody.Client(nil), Credentials: creds})
	return s, append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "AWS_") }), "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION=eu-west-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=", "SAM_CLI_TELEMETRY=0", "PYTHONUNBUFFERED=1")
}

func logsClient(s *server, secret string) *cloudwatchlogs.Client {
	return cloudwatchlogs.New(cloudwatchlogs.Options{Region: "eu-west-1", BaseEndpoint: aws.String(s.node.Endpoint()), RetryMaxAttempts: 1,
		HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", secret, "")})
}

// program finds a command line that says what is wanted of itself.
func program(t *testing.T, says string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			if out, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput(); err == nil && strings.Contains(string(out), says) {
				return path
			}
		}
	}
	t.Skipf("none of %q is %s here", names, says)
	return ""
}

func run(t *testing.T, env []string, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, words bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &words
	cmd.Run() //nolint:errcheck // what it says is looked at
	return out.String(), words.String()
}

// C-136, C-137: AWS's own clients read what a real function wrote, signed, from the same endpoint.
func TestLogsWithAWSClients(t *testing.T) {
	t.Parallel()
	s, env := signedServer(t)
	f := s.js(talker)
	for n := range 5 {
		f.invoke(fmt.Sprintf(`{"n":%d,"level":"%s"}`, n, []string{"INFO", "ERROR"}[n%2])).ok(t)
	}
	f.logs("plain 4")
	group := "/aws/lambda/" + f.name

	t.Run("aws logs", func(t *testing.T) {
		cli := program(t, "aws-cli/", "aws", "/usr/bin/aws")
		out, words := run(t, env, cli, "--endpoint-url", s.node.Endpoint(), "--output", "json", "logs", "filter-log-events", "--log-group-name", group,
			"--filter-pattern", `{ $.level = "ERROR" && $.n > 1 }`)
		var page struct{ Events []struct{ Message string } }
		if err := json.Unmarshal([]byte(out), &page); err != nil || len(page.Events) != 1 || page.Events[0].Message != `{"level":"ERROR","n":3}`+"\n" {
			t.Errorf("filter-log-events: %s%s", out, words)
		}
	})
	t.Run("signatures", func(t *testing.T) {
		for key, want := range map[string]string{"secret": "ResourceNotFoundException", "wrong": "InvalidSignatureException"} {
			var e smithy.APIError
			if _, err := logsClient(s, key).DescribeLogStreams(t.Context(), &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("/none")}); !errors.As(err, &e) || e.ErrorCode() != want {
				t.Errorf("signed with %s: %v", key, err)
			}
		}
		if status, body := unsigned(t, s.node.Endpoint()); status != 400 || !strings.Contains(body, `"__type":"MissingAuthenticationTokenException"`) {
			t.Errorf("no signature: %d %s", status, body)
		}
	})
	t.Run("boto3", func(t *testing.T) {
		python := program(t, "Python", "python3")
		script := fmt.Sprintf(`
import boto3
c = boto3.client("logs", endpoint_url=%q)
pages = list(c.get_paginator("filter_log_events").paginate(logGroupName=%q, filterPattern="plain", PaginationConfig={"PageSize": 2}))
print(len(pages) > 2, sorted(e["message"] for p in pages for e in p["events"]))
stream = c.describe_log_streams(logGroupName=%q, orderBy="LastEventTime", descending=True)["logStreams"][0]
print(stream["logStreamName"].count("[$LATEST]"), "a\ufffd\x1b[31m\x00\n" in [e["message"] for e in c.get_log_events(logGroupName=%q, logStreamName=stream["logStreamName"], startFromHead=True)["events"]])
`, s.node.Endpoint(), group, group, group)
		if exec.CommandContext(t.Context(), python, "-c", "import boto3").Run() != nil {
			t.Skip("no boto3 for " + python)
		}
		out, words := run(t, env, python, "-c", script)
		if want := "True ['plain 0\\n', 'plain 1\\n', 'plain 2\\n', 'plain 3\\n', 'plain 4\\n']\n1 True\n"; out != want {
			t.Errorf("got %s%s\nwant %s", out, words, want)
		}
	})
	t.Run("boto3, live tail", func(t *testing.T) { boto3LiveTail(t, s, env, group) })
	t.Run("sam logs", func(t *testing.T) {
		sam := program(t, "SAM CLI", "sam")
		env := append(env, "AWS_ENDPOINT_URL="+s.node.Endpoint())
		out, words := run(t, env, sam, "logs", "--cw-log-group", group, "--filter", "plain", "--start-time", "10min ago", "--region", "eu-west-1")
		if n := strings.Count(out, "plain "); n != 5 {
			t.Errorf("%d lines: %s%s", n, out, words)
		}
		if out, words := run(t, env, sam, "logs", "--cw-log-group", "/none", "--region", "eu-west-1"); strings.Contains(out+words, "Traceback") {
			t.Errorf("no group: %s%s", out, words)
		}
	})
	t.Run("aws logs tail --follow", func(t *testing.T) { tailFollow(t, s, env, f, group) })
}

// boto3LiveTail reads what comes while a function is invoked, until the server ends the stream. That does not wait for
// the tail.
func boto3LiveTail(t *testing.T, s *server, env []string, group string) {
	python := program(t, "Python", "python3")
	if exec.CommandContext(t.Context(), python, "-c", "import boto3; boto3.client('logs', region_name='x').start_live_tail").Run() != nil {
		t.Skip("no boto3 with live tails for " + python)
	}
	script := fmt.Sprintf(`
import boto3
from botocore.config import Config
c = boto3.client("logs", endpoint_url=%q, config=Config(inject_host_prefix=False))
for e in c.start_live_tail(logGroupIdentifiers=["arn:aws:logs:eu-west-1:000000000000:log-group:" + %q], logEventFilterPattern="plain")["responseStream"]:
    if "sessionStart" in e:
        print("start", flush=True)
    for r in e.get("sessionUpdate", {}).get("sessionResults", []):
        print(r["message"], end="", flush=True)
`, s.node.Endpoint(), group)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-c", script)
	cmd.Env, cmd.Stderr = env, os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); cmd.Wait() }() //nolint:errcheck // it was killed
	lines := bufio.NewScanner(pipe)
	if !lines.Scan() || lines.Text() != "start" {
		t.Fatalf("begins with %q", lines.Text())
	}
	s.node.logs.Stream(group, "live").Append(time.Now(), "plain and live\n")
	if !lines.Scan() || lines.Text() != "plain and live" {
		t.Errorf("then comes %q", lines.Text())
	}
}

// A live tail does not hold up the end of the server.
func TestLiveTailEndsWithTheServer(t *testing.T) {
	t.Parallel()
	s := openServer(t, "process", t.TempDir())
	s.node.logs.Stream("/g", "s").Append(time.Now(), "m")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.node.Endpoint()+"/", strings.NewReader(`{"logGroupIdentifiers":["/g"]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Logs_20140328.StartLiveTail")
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%+v, %v", resp, err)
	}
	defer resp.Body.Close()
	if err := s.node.Close(t.Context()); err != nil { // errs when requests had to be broken off
		t.Error(err)
	}
	if all, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(all), "SessionStreamingException") {
		t.Errorf("ended with %q, %v", all, err)
	}
}

// tailFollow follows a function's log while it is invoked: each line is printed once.
func tailFollow(t *testing.T, s *server, env []string, f *deployed, group string) {
	cli := program(t, "aws-cli/2", "aws", "/usr/bin/aws")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, cli, "--endpoint-url", s.node.Endpoint(), "logs", "tail", group, "--follow", "--format", "short", "--filter-pattern", "plain")
	cmd.Env = env
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); cmd.Wait() }() //nolint:errcheck // it was killed
	seen := map[string]int{}
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		_, text, found := strings.Cut(lines.Text(), " plain ")
		if !found {
			continue
		}
		seen[text]++
		switch {
		case len(seen) == 5 && seen["0"] == 1 && text == "4": // what was there is printed: now what comes
			for n := 5; n < 8; n++ {
				f.invoke(fmt.Sprintf(`{"n":%d}`, n)).ok(t)
			}
		case text == "7": // it follows on; one more round, so that what would come twice comes
			f.invoke(`{"n":8}`).ok(t)
		}
		if text == "8" {
			break
		}
	}
	for n := range 9 {
		if seen[fmt.Sprint(n)] != 1 {
			t.Errorf("line %d was printed %d times: %v", n, seen[fmt.Sprint(n)], seen)
		}
	}
}

// unsigned sends a request without a signature.
func unsigned(t *testing.T, url string) (int, string) {
	t.Helper()
	out, _ := run(t, os.Environ(), "curl", "-s", "-w", "\n%{http_code}", "-H", "X-Amz-Target: Logs_20140328.DescribeLogGroups", "-d", "{}", url+"/")
	body, code, _ := strings.Cut(out, "\n")
	var status int
	fmt.Sscan(code, &status) //nolint:errcheck // 0 then
	return status, body
}

// A function's log goes to the group of its own choice, and what was set for the group is there before and after.
func TestLogGroupOfOnesOwn(t *testing.T) {
	t.Parallel()
	s := shared(t, "process")
	logs := logsClient(s, "any")
	group := fmt.Sprintf("/mine/%d", time.Now().UnixNano())
	if _, err := logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group, Tags: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	f := s.js(talker, func(in *lambda.CreateFunctionInput) { in.LoggingConfig = &types.LoggingConfig{LogGroup: &group} })
	f.tail(`{"n":1}`).ok(t)
	out, err := logs.FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, FilterPattern: aws.String("plain")})
	if err != nil || len(out.Events) != 1 || *out.Events[0].Message != "plain 1\n" {
		t.Errorf("events %+v, %v", out, err)
	}
	if _, err := logs.DescribeLogStreams(t.Context(), &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("/aws/lambda/" + f.name)}); err == nil {
		t.Error("the function's usual group is there, too")
	}
	tags, err := logs.ListTagsForResource(t.Context(), &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:logs:eu-west-1:000000000000:log-group:" + group)})
	if err != nil || tags.Tags["a"] != "b" {
		t.Errorf("tags %+v, %v", tags, err)
	}
}
