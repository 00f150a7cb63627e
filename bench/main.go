// Bench prints the tables of speed and memory: `make bench`.
//
// It starts the built server as a child, once with each sandbox and once more for each table about snapshots, and
// measures from outside through the signed API, as a client would. Each number is the median of ten rounds, and ratios
// are of numbers of one run: the machine's own speed changes from run to run. Only the soak and the day decide about
// anything: bench fails when they find a fault.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"thaw/internal/outer"
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
	restores  int           // of the soak
	soakTime  time.Duration // after which it ends, whatever was restored
	day       time.Duration // how long requests come in the day
	seed      uint64        // of what the day does by chance
	parts     string        // folder of what microVMs are made of, as thaw sandbox install fills it; empty: it is asked to
}

func main() {
	runtime.LockOSThread()
	if os.Getpid() == 1 { // this program is the init of an outer machine as well
		outer.Init()
	}
	var o options
	var kinds string
	flag.StringVar(&o.thaw, "thaw", "bin/thaw", "the server to measure")
	flag.StringVar(&kinds, "sandboxes", "process,gvisor", "which sandboxes, of those that run here; best: gvisor, or process where that cannot run")
	flag.IntVar(&o.rounds, "rounds", 10, "rounds of each measurement; the median is printed")
	flag.IntVar(&o.invokes, "invokes", 1000, "invokes of a warm round")
	flag.DurationVar(&o.burst, "burst", time.Second, "length of a throughput round")
	flag.DurationVar(&o.idle, "idle", 10*time.Second, "time over which idle CPU is counted")
	flag.StringVar(&o.only, "only", "", "only the tables whose name contains this: "+tableNames())
	flag.IntVar(&o.restores, "restores", 1000, "restores of the soak, which runs with --only soak alone")
	flag.DurationVar(&o.soakTime, "soak-time", time.Hour, "time after which the soak ends, however many restores there were")
	flag.DurationVar(&o.day, "day", 20*time.Minute, "how long requests come in the day, which runs with --only day alone")
	flag.Uint64Var(&o.seed, "seed", 0, "what the day does by chance follows from this; 0: another one each time, which is printed")
	flag.StringVar(&copyFile, "copy", "", "the compiled program of the Go function, where there is no Go; empty: it is compiled")
	flag.StringVar(&o.parts, "parts", "", "folder of what microVMs are made of (microvm in a data folder); empty: thaw sandbox install fetches it")
	flag.Parse()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	if flag.NArg() > 0 || o.rounds < 1 || o.invokes < 1 || o.restores < 1 || o.day <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	if kinds == "best" {
		if kinds = "gvisor"; os.Geteuid() != 0 {
			fmt.Println("The gvisor sandbox needs root: the process sandbox instead.")
			kinds = "process"
		}
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
	run := bench
	if slices.ContainsFunc(tables, func(t table) bool { return t.micro && o.wants(t) }) {
		run = benchMicroVMs
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// table is one measurement.
type table struct {
	name    string
	measure func(context.Context, options, *server) ([]result, error)
	// flags are those of a server of its own, which must be gvisor's: for what concerns snapshots. nil: the server that all others share.
	flags   []string
	brokers func(context.Context) (*brokers, error) // starts what its own server reads; nil: nothing
	micro   bool                                    // its own server is one with microVMs, whatever -sandboxes says
	process bool                                    // its own server may be one with the process sandbox, too
	asked   bool                                    // runs only when it is named in full
	spares  bool                                    // without it the server of its own keeps no spares, if it can
	strict  bool                                    // an aim that is missed is a failure of the run
}

// fleeting makes environments go soon after their invoke, as those of a function that nobody calls for ten minutes: the next invoke is a restore.
var fleeting = []string{"--idle-expiry", "1s"}

// tables are the measurements, in order.
var tables = []table{
	{name: "idle", measure: measureIdle}, // first: nothing has run in the server yet
	{name: "warm", measure: measureWarm},
	{name: "extensions", measure: measureExtensions},
	{name: "traces", measure: measureTraces},
	{name: "control plane", measure: measureControlPlane},
	{name: "gateway", measure: measureGateway},
	{name: "websocket", measure: measureSockets, flags: []string{}, process: true},
	{name: "throughput", measure: measureThroughput},
	{name: "asynchronous", measure: measureAsync},
	{name: "buses", measure: measureBuses, flags: []string{}, process: true},
	{name: "bodies", measure: measureBodies},
	{name: "cold", measure: measureCold},
	{name: "frozen", measure: measureFrozen},
	{name: "restore", measure: measureRestore, flags: fleeting},
	{name: "extension restore", measure: measureExtensionRestore, flags: fleeting},
	{name: "spare", measure: measureSpare, flags: fleeting, spares: true},
	{name: "publish", measure: measurePublish, flags: fleeting},
	{name: "snapshot storage", measure: measureStorage, flags: fleeting},
	{name: "snapshot memory", measure: measureSnapshotMemory, flags: []string{"--idle-expiry", "1m"}},
	{name: "snapshot making", measure: measureMaking, flags: fleeting},
	{name: "burst", measure: measureBurst, flags: fleeting},
	{name: "logs", measure: measureLogs, flags: []string{"--log-bound", "1024"}, process: true},
	{name: "sources", measure: measureSources, flags: []string{}, brokers: startBrokers, process: true},
	{name: "sources at rest", measure: measureSourcesAtRest, flags: []string{}, brokers: startBrokers, process: true},
	{name: "stream polled", measure: measureStream, flags: []string{}, brokers: startPolled, process: true},
	{name: "stream pushed", measure: measureStream, flags: []string{}, brokers: startPushed, process: true},
	{name: "streams at rest", measure: measureStreamsAtRest, flags: []string{}, brokers: startPushed, process: true},
	{name: "firecracker", measure: measureMicroVMs, flags: []string{"--idle-expiry", "5s", "--snapshot-disk", microDisk}, micro: true, asked: true},
	{name: "soak", measure: measureSoak, flags: fleeting, asked: true, strict: true},
	{name: "day", measure: measureDay, flags: []string{"--idle-expiry", dayExpiry.String()}, brokers: startLight, process: true, asked: true, spares: true, strict: true},
}

func tableNames() string {
	var names []string
	for _, t := range tables {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

// result is one line of a table.
type result struct {
	table, what, sandbox string
	value                float64
	unit                 string
	cpu                  float64 // milliseconds of a processor, where it is known
	aim                  float64 // 0: no aim
	atLeast              bool    // the aim is a lower bound
	exact                bool    // the aim must be met exactly
	none                 bool    // the aim is that there is none
	words                string  // instead of a value: why there is none
}

func bench(ctx context.Context, o options) error {
	fmt.Println(environment(ctx, o.thaw))
	var all []result
	if o.wants(table{name: "warm"}) {
		floor, err := measureFloor(ctx, o)
		if err != nil {
			return err
		}
		all = append(all, floor...)
	}
	for _, kind := range o.sandboxes {
		var shared, alone []table
		for _, t := range tables {
			switch {
			case !o.wants(t):
			case t.flags == nil:
				shared = append(shared, t)
			case kind == "gvisor" || t.process || t.micro:
				alone = append(alone, t)
			}
		}
		if len(shared) > 0 {
			rs, err := o.run(ctx, kind, nil, shared...)
			if err != nil {
				return err
			}
			all = append(all, rs...)
		}
		for _, t := range alone {
			flags := t.flags
			if !t.spares && knows(ctx, o.thaw, "--spares") {
				flags = append(slices.Clone(flags), "--spares", "0")
			}
			rs, err := o.run(ctx, kind, flags, t)
			if err != nil {
				return err
			}
			all = append(all, rs...)
		}
	}
	printTables(all, o.sandboxes)
	return o.missed(all)
}

// missed says whether a table that must have no misses has some.
func (o options) missed(all []result) error {
	var missed []string
	for _, r := range all {
		for _, t := range tables {
			if t.name == r.table && t.strict && r.missed() {
				missed = append(missed, fmt.Sprintf("%s with the %s sandbox: %s", r.table, r.sandbox, r.what))
			}
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("%d faults:\n%s", len(missed), strings.Join(missed, "\n"))
	}
	return nil
}

// run measures tables with one server.
func (o options) run(ctx context.Context, kind string, flags []string, tables ...table) ([]result, error) {
	var b *brokers
	if tables[0].brokers != nil {
		var err error
		if b, err = tables[0].brokers(ctx); err != nil {
			return nil, err
		}
		defer b.end()
	}
	s, err := start(ctx, o.thaw, o.parts, kind, b, flags...)
	if err != nil {
		return nil, fmt.Errorf("server with the %s sandbox: %w", kind, err)
	}
	var all []result
	for _, t := range tables {
		fmt.Fprintf(os.Stderr, "bench: %s, %s\n", kind, t.name)
		rs, e := t.measure(ctx, o, s)
		if e != nil {
			err := s.stop()
			return nil, errors.Join(fmt.Errorf("%s with the %s sandbox: %w; the server said:\n%s", t.name, kind, e, s.words.Bytes()), err)
		}
		for i := range rs {
			rs[i].table, rs[i].sandbox = t.name, kind
		}
		all = append(all, rs...)
	}
	if err := s.stop(); err != nil {
		return nil, fmt.Errorf("server with the %s sandbox: %w", kind, err)
	}
	return all, nil
}

func (o options) wants(t table) bool {
	if t.asked {
		return o.only == t.name
	}
	return o.only == "" || strings.Contains(t.name, o.only)
}

// knows says whether the server has a flag.
func knows(ctx context.Context, thaw, flag string) bool {
	out, err := exec.CommandContext(ctx, thaw, "server", "--help").Output()
	return err == nil && strings.Contains(string(out), flag+" ")
}
