// Bench prints the tables of speed and memory: `make bench`.
//
// It starts the built server as a child, once with each sandbox, and measures from outside through the signed API, as a client
// would. Each number is the median of ten rounds, and ratios are of numbers of one run: the machine's own speed changes from run to run.
// Nothing here decides whether tests pass.
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
)

// options of a run.
type options struct {
	thaw      string // path of the server's executable
	sandboxes []string
	rounds    int
	invokes   int           // of one connection, per round
	burst     time.Duration // of the throughput rounds
	idle      time.Duration // over which idle CPU is counted
	only      string        // part of a table's name
}

func main() {
	var o options
	var kinds string
	flag.StringVar(&o.thaw, "thaw", "bin/thaw", "the server to measure")
	flag.StringVar(&kinds, "sandboxes", "process,gvisor", "which sandboxes, of those that run here")
	flag.IntVar(&o.rounds, "rounds", 10, "rounds of each measurement; the median is printed")
	flag.IntVar(&o.invokes, "invokes", 1000, "invokes of a warm round")
	flag.DurationVar(&o.burst, "burst", time.Second, "length of a throughput round")
	flag.DurationVar(&o.idle, "idle", 10*time.Second, "time over which idle CPU is counted")
	flag.StringVar(&o.only, "only", "", "only the tables whose name contains this: warm, throughput, cold, bodies, idle")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.invokes < 1 {
		flag.Usage()
		os.Exit(2)
	}
	for _, k := range strings.Split(kinds, ",") {
		if k == "gvisor" && os.Geteuid() != 0 {
			fmt.Println("The gvisor sandbox needs root: left out.")
			continue
		}
		o.sandboxes = append(o.sandboxes, k)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// tables are the measurements, in order.
var tables = []struct {
	name    string
	measure func(context.Context, options, *server) ([]result, error)
}{
	{"idle", measureIdle}, // first: nothing has run in the server yet
	{"warm", measureWarm},
	{"throughput", measureThroughput},
	{"bodies", measureBodies},
	{"cold", measureCold},
	{"frozen", measureFrozen},
}

// result is one line of a table.
type result struct {
	table, what, sandbox string
	value                float64
	unit                 string
	aim                  float64 // 0: none
	atLeast              bool    // the aim is a lower bound
}

func bench(ctx context.Context, o options) (err error) {
	fmt.Println(environment(ctx, o.thaw))
	var all []result
	if o.wants("warm") {
		floor, err := measureFloor(ctx, o)
		if err != nil {
			return err
		}
		all = append(all, floor...)
	}
	for _, kind := range o.sandboxes {
		s, err := start(ctx, o.thaw, kind)
		if err != nil {
			return fmt.Errorf("server with the %s sandbox: %w", kind, err)
		}
		for _, t := range tables {
			if !o.wants(t.name) {
				continue
			}
			fmt.Fprintf(os.Stderr, "bench: %s, %s\n", kind, t.name)
			rs, e := t.measure(ctx, o, s)
			if e != nil {
				err := s.stop()
				return errors.Join(fmt.Errorf("%s with the %s sandbox: %w; the server said:\n%s", t.name, kind, e, s.words.Bytes()), err)
			}
			for i := range rs {
				rs[i].table, rs[i].sandbox = t.name, kind
			}
			all = append(all, rs...)
		}
		if err := s.stop(); err != nil {
			return fmt.Errorf("server with the %s sandbox: %w", kind, err)
		}
	}
	printTables(all, o.sandboxes)
	return nil
}

func (o options) wants(table string) bool { return o.only == "" || strings.Contains(table, o.only) }
