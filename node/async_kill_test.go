package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/async"
	"thaw/internal/childtest"
	"thaw/internal/proctree"
)

// TestServeWithHostAccess is the child of TestKillsOfAnyPartLoseNoEvent: "PORT DIR" in, its address out.
func TestServeWithHostAccess(t *testing.T) {
	port, dir, _ := strings.Cut(childtest.Arg(t), " ")
	c := testConfig("gvisor", dir)
	c.HostAccess = port
	c.delays = async.Delays{Retry: []time.Duration{100 * time.Millisecond}, First: 20 * time.Millisecond, Limit: time.Second}
	n, err := Open(context.Background(), c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(n.Addr())
	<-n.Drained()
	if err := n.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// partsOf returns the launcher of a server, and the processes of its sandboxes that a kernel of gVisor is in.
func partsOf(server int) (launcher int, sandboxes []int) {
	for _, pid := range proctree.Descendants(server, nil) {
		cmd, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline") //nolint:errcheck // it may have gone
		switch {
		case bytes.HasSuffix(cmd, []byte("\x00launch\x00")):
			launcher = pid
		case bytes.Contains(cmd, []byte("\x00boot\x00")):
			sandboxes = append(sandboxes, pid)
		}
	}
	return launcher, sandboxes
}

// C-100: kill -9 of the server, of the launcher of its sandboxes, or of sandboxes, under load: every event that was
// accepted is run. The function counts by itself: it tells somebody outside before it ends.
// (THAW_TEST_KILLS is how many kills there are.)
func TestKillsOfAnyPartLoseNoEvent(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	kills := 3
	if n, err := strconv.Atoi(os.Getenv("THAW_TEST_KILLS")); err == nil {
		kills = n
	}
	var mu sync.Mutex
	seen, accepted := map[string]int{}, map[string]bool{}
	counter := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id, err := io.ReadAll(r.Body)
		if err == nil {
			mu.Lock()
			seen[string(id)]++
			mu.Unlock()
		}
	}))
	defer counter.Close()
	_, port, _ := net.SplitHostPort(counter.Listener.Addr().String())
	dir := t.TempDir()
	start := func() *child {
		p := childtest.Start(t, "TestServeWithHostAccess", port+" "+dir)
		return &child{&server{t: t, client: clientOf(p.Line()), kind: "gvisor"}, p}
	}
	c := start()
	f := &deployed{c.server, "counts"}
	_, err := c.client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: &f.name, Runtime: types.Runtime(nodeRuntime(t)), Handler: aws.String("index.handler"),
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Timeout: aws.Int32(60), Environment: &types.Environment{Variables: map[string]string{"PORT": port}},
		Code: &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.js": `const http = require('http')
exports.handler = e => new Promise((done, fail) => http.request({host: 'host.thaw.internal', port: process.env.PORT, method: 'POST'}, r => r.resume().on('end', done)).on('error', fail).end(e))`})}})
	if err != nil {
		t.Fatal(err)
	}
	f.wait()
	n := 0
	for round := range kills {
		f := &deployed{c.server, f.name}
		before, ran, over := len(accepted), len(seen), make(chan struct{})
		var senders sync.WaitGroup
		for range 4 {
			senders.Go(func() {
				for {
					select {
					case <-over:
						return
					case <-time.After(5 * time.Millisecond):
					}
					mu.Lock()
					n++
					id := fmt.Sprint(n)
					mu.Unlock()
					if f.send(`"`+id+`"`) == nil {
						mu.Lock()
						accepted[id] = true
						mu.Unlock()
					}
				}
			})
		}
		until(t, time.Minute, "events are accepted and run", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(accepted) > before+60 && len(seen) > ran+20
		})
		switch launcher, boxes := partsOf(c.PID()); {
		case round%3 == 0:
			c.Kill()
		case launcher == 0 || len(boxes) == 0:
			t.Fatalf("the server has the launcher %d and the sandboxes %v", launcher, boxes)
		case round%3 == 1:
			syscall.Kill(launcher, syscall.SIGKILL) //nolint:errcheck // it was there a moment ago
		default:
			for _, pid := range boxes {
				syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // likewise
			}
		}
		time.Sleep(50 * time.Millisecond) // some are sent to what is left
		close(over)
		senders.Wait()
		if round%3 == 0 {
			c = start()
		}
	}
	lost := func() (missing []string) {
		mu.Lock()
		defer mu.Unlock()
		for id := range accepted {
			if seen[id] == 0 {
				missing = append(missing, id)
			}
		}
		return missing
	}
	until(t, 2*time.Minute, "all have been run", func() bool { return len(lost()) == 0 })
	mu.Lock()
	defer mu.Unlock()
	again := 0
	for _, times := range seen {
		again += times - 1
	}
	t.Logf("%d kills, %d accepted, 0 lost, %d run again", kills, len(accepted), again)
}
