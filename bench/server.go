package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/admin"
	"thaw/internal/wholebody"
)

// The key that the servers are given, so that every request is verified.
const (
	keyID     = "AKIABENCH"
	keySecret = "bench-secret"
	region    = "eu-central-1"
)

// server is one thaw under measurement.
type server struct {
	kind   string
	thaw   string // path of the executable
	dir    string
	cmd    *exec.Cmd
	exited chan error
	words  bytes.Buffer // its stderr, for when it dies
	admin  *admin.Client
	host   string // of the API
	client *lambda.Client

	brokers *brokers // whose sources it reads; nil: none
	stopped bool
}

func start(ctx context.Context, thaw, parts, kind string, b *brokers, flags ...string) (*server, error) {
	dir, err := os.MkdirTemp("", "thaw-bench-")
	if err != nil {
		return nil, err
	}
	s := &server{kind: kind, dir: dir, exited: make(chan error, 1), admin: admin.Dial(dir), brokers: b}
	thaw, err = filepath.Abs(thaw)
	if err != nil {
		return nil, err
	}
	s.thaw = thaw
	if microVM(kind) {
		if err := os.CopyFS(filepath.Join(dir, "microvm"), os.DirFS(parts)); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	s.cmd = exec.Command(thaw, append([]string{"server", "--data-dir", dir, "--listen", "127.0.0.1:0", "--sandbox", kind, "--log-level", "warn", "--offline"}, append(b.flags(), flags...)...)...)
	s.cmd.Env = append(os.Environ(), "THAW_ACCESS_KEY_ID="+keyID, "THAW_SECRET_ACCESS_KEY="+keySecret)
	s.cmd.Env = append(s.cmd.Env, b.environment()...)
	s.cmd.Stderr = &s.words
	// Ctrl-C is ours to pass on; a bench that is killed takes its server along (main keeps the thread that this is bound to).
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	go func() { s.exited <- s.cmd.Wait() }()
	for deadline := time.Now().Add(patience * 2 * time.Minute); ; {
		health, err := s.admin.Health(ctx)
		if err == nil {
			u, err := url.Parse(health.Endpoint)
			if err != nil {
				return nil, errors.Join(err, s.stop())
			}
			s.host = u.Host
			break
		}
		select {
		case died := <-s.exited:
			os.RemoveAll(dir)
			return nil, fmt.Errorf("ended: %v\n%s", died, s.words.Bytes())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), s.stop())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("does not answer: %w", err), s.stop())
		}
	}
	endpoint := "http://" + s.host
	s.client = lambda.New(lambda.Options{Region: region, BaseEndpoint: &endpoint, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider(keyID, keySecret, "")})
	return s, nil
}

// stop drains the server and removes its data folder. Again, it does nothing.
func (s *server) stop() error {
	if s.stopped {
		return nil
	}
	s.stopped = true
	defer os.RemoveAll(s.dir)
	s.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-s.exited:
		if err != nil {
			return fmt.Errorf("%w\n%s", err, s.words.Bytes())
		}
		return nil
	case <-time.After(patience * time.Minute):
		s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("did not end within a minute\n%s", s.words.Bytes())
	}
}
