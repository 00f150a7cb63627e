// Command snapshotfn is the Go function of the suite's snapshot part. What it does is told in snapshots.go.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "snapshotfn:", err)
		os.Exit(70)
	}
}

func draw(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func main() {
	born := time.Now()
	value := draw(8)
	check(os.WriteFile("/tmp/kept", []byte(value), 0o600))
	var fired atomic.Bool
	time.AfterFunc(time.Hour, func() { fired.Store(true) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		c, err := l.Accept()
		check(err)
		io.Copy(c, c)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	check(err)
	back := bufio.NewReader(conn)
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"
	for calls := 0; ; calls++ {
		resp, err := http.Get(api + "invocation/next")
		check(err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		fmt.Fprintln(conn, "ping", calls)
		line, err := back.ReadString('\n')
		check(err)
		kept, err := os.ReadFile("/tmp/kept")
		check(err)
		urandom, err := os.Open("/dev/urandom")
		check(err)
		b := make([]byte, 16)
		_, err = io.ReadFull(urandom, b)
		check(err)
		urandom.Close()
		body, err := json.Marshal(map[string]any{
			"value": value, "kept": string(kept), "loop": strings.TrimSpace(line) == fmt.Sprint("ping ", calls), "calls": calls,
			"mono": time.Since(born).Seconds(), "wall": float64(time.Now().UnixMicro()) / 1e6, "fired": fired.Load(), "pid": os.Getpid(),
			"random": map[string]string{"urandom": hex.EncodeToString(b), "crypto/rand": draw(16)},
		})
		check(err)
		resp, err = http.Post(api+"invocation/"+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", bytes.NewReader(body))
		check(err)
		resp.Body.Close()
	}
}
