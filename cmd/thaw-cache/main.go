// Thaw-cache is an external extension that keeps values for a function: parameters, secrets, HTTP answers and files. It
// answers on the port and the paths of AWS's Parameters and Secrets extension, and on two paths of its own;
// docs/caching.md is its manual.
//
// It knows the Extensions API as any extension does. Of this project it knows two things, and does without them elsewhere:
// the file that changes when the environment was restored, and the call by which a function says when its snapshot is stale.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "[thaw-cache]", err)
		os.Exit(1)
	}
}

// run serves until the environment shuts down.
func run(ctx context.Context) error {
	c, err := readConfig(os.Getenv)
	if err != nil {
		return err
	}
	// The function finds it from its first line on, because runtimes start when all extensions have registered.
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", c.port))
	if err != nil {
		return fmt.Errorf("port %s: %w", c.port, err)
	}
	s := newServer(c)
	defer s.cache.Close()
	web := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 0, MaxHeaderBytes: 16 << 10}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(l) }()
	defer web.Close()

	x := &extension{api: c.api, name: filepath.Base(os.Args[0])}
	ended := make(chan error, 1)
	go func() { ended <- x.run(ctx, s.invoked) }()
	select {
	case err := <-ended:
		return err
	case err := <-failed:
		return errors.Join(errors.New("it does not serve any more"), err)
	}
}
