// Extension is an external extension as one finds it beside functions on AWS: it knows the Extensions and Telemetry APIs and
// nothing of this project. What it does is said by the variable EXT_<its name>, a list of words.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	name  = filepath.Base(os.Args[0])
	words = strings.Fields(os.Getenv("EXT_" + name))
	api   = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")
	id    string
)

// word returns the value of key=value, and whether the key is there.
func word(key string) (value string, ok bool) {
	for _, w := range words {
		if k, v, _ := strings.Cut(w, "="); k == key {
			return v, true
		}
	}
	return "", false
}

func has(key string) bool { _, ok := word(key); return ok }

func call(method, path, body string, headers ...string) (int, http.Header, string) {
	req, err := http.NewRequest(method, api+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Lambda-Extension-Identifier", id)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b)
}

func say(form string, args ...any) { fmt.Printf("["+name+"] "+form+"\n", args...) }

// exit ends with the status that a word gives, if it is there.
func exit(key string) {
	if v, ok := word(key); ok {
		code, _ := strconv.Atoi(v)
		os.Exit(code)
	}
}

func main() {
	if has("never-registers") {
		time.Sleep(time.Hour)
	}
	exit("exits-at-once")
	events := []string{}
	if v, _ := word("events"); v != "" {
		events = strings.Split(v, ",")
	}
	body, _ := json.Marshal(map[string]any{"events": events})
	status, head, text := call("POST", "/2020-01-01/extension/register", string(body), "Lambda-Extension-Name", name)
	id = head.Get("Lambda-Extension-Identifier")
	say("registered %d %s", status, text)
	if has("vars") {
		var names []string
		for _, v := range os.Environ() {
			k, _, _ := strings.Cut(v, "=")
			names = append(names, k)
		}
		slices.Sort(names)
		say("vars %s args %d", strings.Join(names, ","), len(os.Args)-1)
	}
	if has("garbage") {
		garbage()
	}
	if v, ok := word("telemetry"); ok {
		subscribe(v)
		if has("twice") {
			subscribe(v)
		}
	}
	exit("exits-in-init")
	if has("init-error") {
		status, _, text := call("POST", "/2020-01-01/extension/init/error", `{"errorMessage":"no","errorType":"Foo"}`, "Lambda-Extension-Function-Error-Type", "Extension.Foo")
		say("init/error %d %s", status, text)
		os.Exit(0)
	}
	if has("lean") {
		lean()
	}
	for {
		_, _, text := call("GET", "/2020-01-01/extension/event/next", "")
		var e struct {
			EventType, RequestID, ShutdownReason string
			DeadlineMs                           int64
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			say("event/next %s", text)
			os.Exit(9)
		}
		if e.EventType == "SHUTDOWN" {
			say("SHUTDOWN %s in %d ms", e.ShutdownReason, time.UnixMilli(e.DeadlineMs).Sub(time.Now()).Milliseconds())
			if has("ignores-shutdown") {
				time.Sleep(time.Hour)
			}
			return
		}
		if !has("silent") {
			say("INVOKE %s", e.RequestID)
		}
		exit("exits-in-invoke")
		if has("crashes") {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		if has("exit-error") {
			call("POST", "/2020-01-01/extension/exit/error", "{}", "Lambda-Extension-Function-Error-Type", "Extension.Bar")
			os.Exit(1)
		}
		if v, ok := word("floods"); ok {
			for end := time.Now().Add(duration(v)); time.Now().Before(end); {
				os.Stdout.Write(bytes.Repeat([]byte(strings.Repeat("f", 1023)+"\n"), 64))
			}
		}
		if v, ok := word("works"); ok {
			time.Sleep(duration(v))
			say("worked for %s", e.RequestID)
		}
	}
}

// garbage sends what no API knows, on connections that it leaves open, and says what the answers were.
func garbage() {
	for _, text := range []string{"\x00\x01\x02 \xff\xfe\r\n\r\n", "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf a ",
		"GET / HTTP/9.9\r\n" + strings.Repeat("X: y\r\n", 10000)} {
		c, err := net.Dial("tcp", os.Getenv("AWS_LAMBDA_RUNTIME_API"))
		if err != nil {
			panic(err)
		}
		kept = append(kept, c)
		io.WriteString(c, text)
	}
	var answers []string
	for _, ask := range [][3]string{{"PUT", "/2022-07-01/telemetry", "{"}, {"PUT", "/2020-08-15/logs", "\xff"}, {"POST", "/2020-01-01/extension/register", strings.Repeat("[", 1<<20)},
		{"POST", "/2020-01-01/extension/none", "{}"}, {"POST", "/2018-06-01/runtime/invocation/none/response", "x"}} {
		status, _, _ := call(ask[0], ask[1], ask[2], "Lambda-Extension-Name", name)
		answers = append(answers, strconv.Itoa(status))
	}
	say("garbage %s", strings.Join(answers, " "))
}

var kept []net.Conn

// lean asks for events on one connection from one goroutine, and does nothing with them.
func lean() {
	c, err := net.Dial("tcp", os.Getenv("AWS_LAMBDA_RUNTIME_API"))
	if err != nil {
		panic(err)
	}
	ask := []byte("GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\nLambda-Extension-Identifier: " + id + "\r\n\r\n")
	for buf := make([]byte, 64<<10); ; {
		if _, err := c.Write(ask); err != nil {
			os.Exit(1)
		}
		n, err := c.Read(buf)
		if err != nil || bytes.Contains(buf[:n], []byte("SHUTDOWN")) {
			os.Exit(0)
		}
	}
}

func duration(v string) time.Duration {
	d, err := time.ParseDuration(v)
	if err != nil {
		panic(err)
	}
	return d
}

// subscribe listens and subscribes. v: schema:types:protocol, where protocol is HTTP, TCP, Logs (HTTP of the Logs API),
// Dead (a port where nobody listens) or Slow (a listener that answers nothing). The port is any free one: in a sandbox
// that isolates nothing a fixed one would be another environment's, too.
func subscribe(v string) {
	part := strings.Split(v, ":")
	schema, types, protocol, port := part[0], strings.Split(part[1], "+"), part[2], "1"
	switch protocol {
	case "HTTP", "Logs":
		var l net.Listener
		l, port = listen()
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var events []json.RawMessage
			if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
				say("telemetry %v", err)
			}
			for _, e := range events {
				report(string(e))
			}
		}))
	case "TCP":
		var l net.Listener
		l, port = listen()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				dec := json.NewDecoder(c)
				for {
					var e json.RawMessage
					if dec.Decode(&e) != nil {
						break
					}
					report(string(e))
				}
			}
		}()
	case "Slow":
		var l net.Listener
		l, port = listen()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
			}
		}()
	}
	dest := map[string]any{"protocol": "HTTP", "URI": "http://sandbox.localdomain:" + port + "/telemetry"}
	if protocol == "TCP" {
		dest = map[string]any{"protocol": "TCP", "port": json.Number(port)}
	}
	body, _ := json.Marshal(map[string]any{"schemaVersion": schema, "types": types, "destination": dest,
		"buffering": map[string]int{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25}})
	path := "/2022-07-01/telemetry"
	if protocol == "Logs" {
		path = "/2020-08-15/logs"
	}
	status, _, text := call("PUT", path, string(body))
	say("subscribed %d %s", status, text)
}

func listen() (net.Listener, string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return l, port
}

// report prints an event in a way that is no event of its own: what is subscribed to must not grow by being told.
func report(event string) {
	if !strings.Contains(event, "told:") {
		say("told: %s", event)
	}
}
