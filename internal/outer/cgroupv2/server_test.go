package cgroupv2

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/internal/outer"
	"thaw/internal/wholebody"
)

// What the lane puts into the machine.
const (
	thawExe     = "/test/thaw"
	functionExe = "/test/function"
)

// patience bounds what takes a second on an idle machine: emulation is ten times slower, and shares its processor.
const patience = 3 * time.Minute

const address = "127.0.0.1:9600"

// server is bin/thaw as a user starts it. One that a failed test leaves ends with the machine.
type server struct {
	t      *testing.T
	cmd    *exec.Cmd
	client *lambda.Client
	ended  chan error
}

func needMachine(t *testing.T) {
	t.Helper()
	if os.Getenv(outer.KindVar) != string(outer.CgroupV2) {
		t.Skip("needs an outer machine with control groups of version 2: make lanes")
	}
}

func start(t *testing.T, dir string) *server {
	t.Helper()
	s := &server{t: t, ended: make(chan error, 1)}
	s.cmd = exec.Command(thawExe, "server", "--data-dir", dir, "--listen", address, "--sandbox", "gvisor", "--offline", "--spares", "0", "--log-level", "warn")
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	s.client = lambda.New(lambda.Options{Region: "eu-west-1", BaseEndpoint: aws.String("http://" + address), RetryMaxAttempts: 1,
		HTTPClient: wholebody.Client(&http.Client{Timeout: patience}), Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	s.until("the server answers", func() bool {
		_, err := s.client.ListFunctions(context.Background(), &lambda.ListFunctionsInput{})
		return err == nil
	})
	return s
}

func (s *server) until(what string, cond func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-s.ended:
			s.t.Fatalf("before %s the server ended: %v", what, err)
		default:
		}
		if time.Now().After(end) {
			s.t.Fatalf("not yet: %s", what)
		}
	}
}

// end sends the server a signal and waits for its end.
func (s *server) end(sig syscall.Signal) error {
	s.t.Helper()
	s.cmd.Process.Signal(sig)
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		s.t.Fatalf("the server does not end by %v", sig)
		return nil
	}
}

// function is one of the server's.
type function struct {
	*server
	name string
}

func (s *server) create(name string, runtime types.Runtime, memoryMiB int32, files map[string][]byte) *function {
	s.t.Helper()
	_, err := s.client.CreateFunction(context.Background(), &lambda.CreateFunctionInput{FunctionName: &name, Runtime: runtime, Handler: aws.String("index.handler"),
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Code: &types.FunctionCode{ZipFile: zipOf(s.t, files)}, Timeout: aws.Int32(120), MemorySize: &memoryMiB,
		SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}})
	if err != nil {
		s.t.Fatalf("create %s: %v", name, err)
	}
	f := &function{s, name}
	f.active("$LATEST")
	return f
}

func (f *function) active(qualifier string) {
	f.t.Helper()
	f.until(f.name+":"+qualifier+" is active", func() bool {
		c, err := f.client.GetFunctionConfiguration(context.Background(), &lambda.GetFunctionConfigurationInput{FunctionName: &f.name, Qualifier: &qualifier})
		if err == nil && c.State == types.StateFailed {
			f.t.Fatalf("%s:%s: %s", f.name, qualifier, aws.ToString(c.StateReason))
		}
		return err == nil && c.State == types.StateActive
	})
}

// answer is what the functions say of themselves.
type answer struct {
	Count int
	Born  string
	log   string
}

// invoke asks again when a restore took longer than the ten seconds that it may: emulation does on a busy processor.
func (f *function) invoke(qualifier, event string) (body, functionError, log string) {
	f.t.Helper()
	out, err := f.client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.name, Qualifier: &qualifier, Payload: []byte(event), LogType: types.LogTypeTail})
	for end := time.Now().Add(patience); errors.As(err, new(*types.SnapStartTimeoutException)) && time.Now().Before(end); {
		out, err = f.client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.name, Qualifier: &qualifier, Payload: []byte(event), LogType: types.LogTypeTail})
	}
	if err != nil {
		f.t.Fatalf("invoke %s:%s: %v", f.name, qualifier, err)
	}
	return string(out.Payload), aws.ToString(out.FunctionError), decoded(f.t, aws.ToString(out.LogResult))
}

func (f *function) answers(qualifier string) (a answer) {
	f.t.Helper()
	body, functionError, log := f.invoke(qualifier, `{}`)
	if functionError != "" {
		f.t.Fatalf("%s:%s: %s\n%s", f.name, qualifier, body, log)
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		f.t.Fatalf("%s: %v", body, err)
	}
	a.log = log
	return a
}

func (f *function) publish() {
	f.t.Helper()
	v, err := f.client.PublishVersion(context.Background(), &lambda.PublishVersionInput{FunctionName: &f.name})
	if err != nil {
		f.t.Fatalf("publish: %v", err)
	}
	f.active(aws.ToString(v.Version))
}

func zipOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Store}
		h.SetMode(0o755)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// doctor is what thaw says of this host.
func doctor(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command(thawExe, "doctor", "--data-dir", dir).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "cgroups") {
		t.Fatalf("doctor: %v\n%s", err, out)
	}
	return string(out)
}
