// Sources shows one event source at work: it starts the source's server and a server of functions, deploys the sample
// nodejs-source, makes an event source mapping, puts a few records, shows what the function prints of them, and ends
// everything.
//
//	go run ./samples/sources -thaw bin/thaw kafka
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/admin"
	"thaw/eventsource/eventsourcetest"
	"thaw/internal/wholebody"
)

const (
	function = "nodejs-source"
	region   = "eu-west-1"
	account  = "123456789012"
)

// patience is how long each step may take, beside the fetching of a server.
const patience = 2 * time.Minute

func main() {
	thaw := flag.String("thaw", "bin/thaw", "the program")
	folder := flag.String("function", "samples/"+function, "the folder of the function")
	flag.Parse()
	start, ok := sources[flag.Arg(0)]
	if !ok {
		fmt.Fprintf(os.Stderr, "sources: say which one with SOURCE=, one of %s; %q is none\n", strings.Join(all(), ", "), flag.Arg(0))
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := show(ctx, start, demo{out: os.Stdout, thaw: *thaw, folder: *folder})
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "sources: %v\n", err)
		os.Exit(1)
	}
}

func all() []string { return slices.Sorted(maps.Keys(sources)) }

// demo is what a demonstration has.
type demo struct {
	*eventsourcetest.Stage
	out    io.Writer
	thaw   string // the program
	folder string // of the function
}

// show is the demonstration. It leaves nothing.
func show(ctx context.Context, start func(*eventsourcetest.Stage) *source, d demo) error {
	d.Stage = eventsourcetest.NewStage(ctx)
	defer d.End()
	return d.Do(func(t *eventsourcetest.Stage) {
		began := time.Now()
		s := start(t)
		d.say("source", "%s, started in %.1f s", s.name, time.Since(began).Seconds())
		d.read(s)
	})
}

// read has a function read what is put into a source.
func (t demo) read(s *source) {
	ctx := t.Context()
	c := t.serve(s)
	t.say("server", "%s", c.health.Endpoint)
	c.run("deploy", t.folder, "--region", region)
	t.say("function", "%s", function)
	client := lambda.New(lambda.Options{Region: region, BaseEndpoint: &c.health.Endpoint, HTTPClient: wholebody.Client(nil), Credentials: anyKey})
	s.mapping.FunctionName = aws.String(function)
	m, err := client.CreateEventSourceMapping(ctx, s.mapping)
	t.Must(err)
	state := aws.ToString(m.State)
	t.Until("the mapping is Enabled", func() bool {
		now, err := client.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: m.UUID})
		t.Must(err)
		state = aws.ToString(now.State)
		if problem := aws.ToString(now.LastProcessingResult); strings.HasPrefix(problem, "PROBLEM") {
			t.Fatalf("the mapping says: %s", problem)
		}
		return state == "Enabled"
	})
	t.say("mapping", "%s is %s", aws.ToString(m.UUID), state)
	const records = 5
	for n := range records {
		t.Must(s.put(n, fmt.Sprintf(`{"order":%d,"city":%q}`, n, []string{"Oslo", "Porto", "Turin"}[n%3])))
	}
	put := time.Now()
	t.say("records", "%d were put", records)
	var lines []string
	t.Until("the function has seen every record", func() bool {
		log, err := c.try("logs", function, "--lines", "0")
		if err != nil { // nothing was logged yet
			return false
		}
		lines = seen(log)
		for n := range records {
			order := regexp.MustCompile(fmt.Sprintf(`"order":(\{"N":")?%d\b`, n)) // DynamoDB's numbers have a type
			if !slices.ContainsFunc(lines, order.MatchString) {
				return false
			}
		}
		return true
	})
	t.say("seen", "all of them, after at most %.1f s:", time.Since(put).Seconds())
	for _, l := range lines {
		fmt.Fprintf(t.out, "             %s\n", l)
	}
	_, err = client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: m.UUID})
	t.Must(err)
	t.say("end", "the servers end and their folders are removed")
}

var anyKey = credentials.NewStaticCredentialsProvider("any", "any", "")

func (t demo) say(what, format string, args ...any) {
	fmt.Fprintf(t.out, "%-12s %s\n", what, fmt.Sprintf(format, args...))
}

var record = regexp.MustCompile(`record from .*`)

// seen are the lines of a log that the function has written about records.
func seen(log string) []string { return record.FindAllString(log, -1) }

// server is thaw.
type server struct {
	t      demo
	dir    string
	health admin.Health
}

// serve starts a server of functions, which ends with the demonstration.
func (t demo) serve(s *source) *server {
	c := &server{t: t, dir: eventsourcetest.Dir(t)}
	for name, text := range s.secrets {
		at := filepath.Join(c.dir, "secrets", name)
		t.Must(os.MkdirAll(filepath.Dir(at), 0o700))
		t.Must(os.WriteFile(at, []byte(text), 0o600))
	}
	cmd := exec.Command(t.thaw, "server", "--data-dir", c.dir, "--listen", "127.0.0.1:0", "--log-level", "warn", "--offline", "--sources", s.at)
	cmd.Env = append(append(os.Environ(), "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any"), s.env...)
	var words bytes.Buffer // for when it ends too early
	cmd.Stderr = &words
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	exited, began := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig counts from the end of the thread, which ends with this goroutine
		err := cmd.Start()
		if began <- err; err == nil {
			exited <- cmd.Wait()
		}
	}()
	t.Must(<-began)
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it may have ended
		select {
		case <-exited:
		case <-time.After(patience):
			cmd.Process.Kill() //nolint:errcheck // it may have ended
			<-exited
		}
	})
	t.Until("thaw answers", func() bool {
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("thaw has ended: %v\n%s", err, words.Bytes())
		default:
		}
		var err error
		c.health, err = admin.Dial(c.dir).Health(t.Context())
		return err == nil
	})
	return c
}

// run runs a command of thaw and returns what it prints.
func (c *server) run(args ...string) string {
	out, err := c.try(args...)
	c.t.Must(err)
	return out
}

func (c *server) try(args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), c.t.thaw, append(args, "--data-dir", c.dir)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("thaw %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}
