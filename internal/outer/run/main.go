// Outer runs a static test program in an outer machine: go test -exec 'outer -machine cgroup-v2' PACKAGE.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"thaw/internal/outer"
)

func main() {
	if os.Getpid() == 1 { // this program is the machine's init as well
		outer.Init()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	go orphaned(cancel)
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "outer:", err)
		code = 125
	}
	os.Exit(code)
}

// orphaned ends the machine when go test has gone, which does not tell its children.
func orphaned(cancel context.CancelCauseFunc) {
	parent := os.Getppid()
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			cancel(errors.New("the process that started this one has gone"))
		}
	}
}

// list is a flag that is given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func run(ctx context.Context, args []string) (int, error) {
	var files, programs, vars, back list
	f := flag.NewFlagSet("outer", flag.ExitOnError)
	kind := f.String("machine", string(outer.CgroupV2), fmt.Sprintf("one of %v", outer.Kinds))
	memory := f.Int("memory", 3072, "MiB of the machine")
	limit := f.Duration("limit", 15*time.Minute, "how long it may run")
	f.Var(&files, "file", "HERE=THERE: a file or folder that the program finds")
	f.Var(&programs, "program", "a command that the program finds, with its libraries")
	f.Var(&vars, "var", "NAME or NAME=VALUE: a variable that the program has")
	f.Var(&back, "back", "THERE=HERE: a file that comes back")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: outer [flags] PROGRAM ARGUMENTS...")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil || f.NArg() == 0 {
		f.Usage()
		return 2, nil
	}
	j := outer.Job{Program: f.Arg(0), Args: f.Args()[1:], Dir: ".", Limit: *limit, Output: os.Stdout, Notes: os.Stderr}
	for _, s := range files {
		here, there, ok := strings.Cut(s, "=")
		if !ok {
			return 0, fmt.Errorf("-file %s: want HERE=THERE", s)
		}
		j.Files = append(j.Files, outer.File{Here: here, There: there})
	}
	for _, p := range programs {
		with, err := outer.Program(p)
		if err != nil {
			return 0, err
		}
		j.Files = append(j.Files, with...)
	}
	for _, s := range back {
		there, here, ok := strings.Cut(s, "=")
		if !ok {
			return 0, fmt.Errorf("-back %s: want THERE=HERE", s)
		}
		j.Back = append(j.Back, outer.Back{There: there, Here: here})
	}
	for _, s := range vars {
		if !strings.Contains(s, "=") {
			v, ok := os.LookupEnv(s)
			if !ok {
				continue
			}
			s += "=" + v
		}
		j.Vars = append(j.Vars, s)
	}
	if err := outer.Missing(); err != nil {
		return 0, err
	}
	m, err := outer.Find(ctx, outer.Kind(*kind), *memory)
	if err != nil {
		return 0, errors.Join(errors.New("no kernel"), err)
	}
	return outer.Run(ctx, m, j)
}
