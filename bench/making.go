package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// What measureMaking keeps the server busy with.
const (
	refreshed   = 6
	generations = 4 // of each
)

// nodeRefreshed is a function whose snapshot is made anew every 15 s.
var nodeRefreshed = subject{family: "nodejs", handler: "index.handler", tags: map[string]string{"thaw:snapshot-refresh": "15s"}, files: sources("index.js", `const revision = REVISION;
const table = [];
const used = () => { gc(); return process.memoryUsage().heapUsed; };
while (used() < 30e6) for (let n = 0; n < 4; n++) table.push(Array.from({ length: 32768 }, (_, i) => i / 7 + Math.random()));
exports.handler = async (event) => ({ hello: event.hello, revision, rows: table.length });
`)}

// measureMaking looks at what the server itself holds while the snapshots of several functions are made again and again.
func measureMaking(ctx context.Context, _ options, s *server) ([]result, error) {
	if err := pause(ctx, 3*time.Second); err != nil { // what only its start needed goes
		return nil, err
	}
	idle, err := s.ownMB()
	if err != nil {
		return nil, err
	}
	peak, made := idle, make(chan error, 1)
	go func() {
		made <- func() error {
			for n := range refreshed {
				f := nodeRefreshed
				f.what = fmt.Sprintf("refreshed %d", n)
				if _, err := s.makeAndPublish(ctx, f); err != nil {
					return err
				}
			}
			return s.until(ctx, "refreshed", 5*time.Minute, func() (bool, error) {
				if err := pause(ctx, time.Second); err != nil { // to list them is work for the server, too
					return false, err
				}
				list, err := s.admin.Snapshots(ctx)
				if err != nil || len(list) < refreshed {
					return false, err
				}
				for _, v := range list {
					if v.Generation < generations {
						return false, nil
					}
				}
				return true, nil
			})
		}()
	}()
	for tick := time.Tick(10 * time.Millisecond); ; {
		select {
		case err := <-made:
			if err != nil {
				return orWords("server", err)
			}
			return []result{{what: "server when idle", value: idle, unit: "MB"},
				{what: fmt.Sprintf("server while %d Node functions of 30 MB are refreshed, above idle", refreshed), value: peak - idle, unit: "MB", aim: 150}}, nil
		case <-tick:
			now, err := s.ownMB()
			if err != nil {
				return nil, err
			}
			peak = max(peak, now)
		}
	}
}

// ownMB is the memory of the server's process that is no file's, in 10^6 bytes.
func (s *server) ownMB() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "\nRssAnon:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("memory of the server: %w", err)
	}
	return kib * 1024 / 1e6, nil
}
