// Bootstrap is the function of the conformance suite: a small runtime that does what its event says. It is static, so that it runs in a sandbox that has
// nothing else, and it speaks the Runtime API itself, so that a test sees exactly the calls that it expects.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	api   = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"
	spins atomic.Uint64
	ticks atomic.Uint64
	kept  []byte
	count int
)

func main() {
	if len(os.Args) > 1 {
		child(os.Args[1])
		return
	}
	if filepath.Base(os.Args[0]) == "extension" {
		extension()
	}
	if os.Getenv("CRASH_AT_INIT") != "" {
		code, _ := strconv.Atoi(os.Getenv("CRASH_AT_INIT"))
		fmt.Print("last words")
		os.Exit(code)
	}
	if os.Getenv("ON_TERM") != "" {
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		go func() {
			<-term
			fmt.Println("terminated")
			os.Exit(0)
		}()
	}
	if os.Getenv("IGNORE_TERM") != "" {
		signal.Ignore(syscall.SIGTERM)
	}
	if os.Getenv("HELLO") != "" {
		fmt.Println("hello from init")
		fmt.Fprintln(os.Stderr, "hello from stderr")
	}
	for {
		resp, err := http.Get(api + "invocation/next")
		check(err)
		event, err := io.ReadAll(resp.Body)
		check(err)
		resp.Body.Close()
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		verb, arg, _ := strings.Cut(string(event), " ")
		if verb == "stream" {
			stream(id, arg)
			continue
		}
		post("invocation/"+id+"/response", handle(verb, arg, event))
	}
}

// extension is what this program is under that name: it registers for nothing, and waits.
func extension() {
	ask := func(method, path, body string, header ...string) *http.Response {
		req, err := http.NewRequest(method, "http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+"/2020-01-01/extension/"+path, strings.NewReader(body))
		check(err)
		req.Header.Set(header[0], header[1])
		resp, err := http.DefaultClient.Do(req)
		check(err)
		resp.Body.Close()
		return resp
	}
	id := ask("POST", "register", `{"events":[]}`, "Lambda-Extension-Name", "extension").Header.Get("Lambda-Extension-Identifier")
	for {
		ask("GET", "event/next", "", "Lambda-Extension-Identifier", id)
	}
}

func post(path string, body []byte) {
	resp, err := http.Post(api+path, "application/octet-stream", bytes.NewReader(body))
	check(err)
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bootstrap:", err)
		os.Exit(70)
	}
}

// dial asks a server and gives its answer.
func dial(network, addr string, _ bool) []byte {
	const limit = 20 * time.Second
	c, err := net.DialTimeout(network, addr, limit)
	if err != nil {
		return []byte("error: " + err.Error())
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	if network == "udp" {
		c.Write([]byte("?"))
	}
	b := make([]byte, 1500)
	n, err := c.Read(b)
	if err != nil {
		return []byte("error: " + err.Error())
	}
	return b[:n]
}

// handle does what an event asks for.
func handle(verb, arg string, event []byte) []byte {
	switch verb {
	case "count": // memory
		count++
		return []byte(strconv.Itoa(count))
	case "print":
		n, _ := strconv.Atoi(arg)
		for i := range n {
			fmt.Println("line", i)
		}
		return nil
	case "spin": // a busy thread and a timer
		go func() {
			for {
				spins.Add(1)
			}
		}()
		go func() {
			for range time.Tick(time.Millisecond) {
				ticks.Add(1)
			}
		}()
		return nil
	case "spins":
		return fmt.Append(nil, spins.Load(), " ", ticks.Load())
	case "clock":
		var now syscall.Timespec
		syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, pointer(&now), 0)
		return fmt.Append(nil, now.Nano())
	case "wall":
		return fmt.Append(nil, time.Now().UnixNano())
	case "write":
		path, text, _ := strings.Cut(arg, " ")
		return answer(os.WriteFile(path, []byte(text), 0o644))
	case "read":
		b, err := os.ReadFile(arg)
		if err != nil {
			return answer(err)
		}
		return b
	case "stat":
		info, err := os.Stat(arg)
		if err != nil {
			return answer(err)
		}
		return []byte(info.Mode().String())
	case "ls":
		entries, err := os.ReadDir(arg)
		if err != nil {
			return answer(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return []byte(strings.Join(names, " "))
	case "addrs":
		all, err := net.InterfaceAddrs()
		return []byte(fmt.Sprint(all, err))
	case "lookup":
		all, err := net.LookupHost(arg)
		return []byte(fmt.Sprint(all, err))
	case "dial": // NETWORK ADDRESS: what a server says
		return dial(strings.Cut(arg, " "))
	case "socket": // of a family of addresses
		family, _ := strconv.Atoi(arg)
		fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
		if err == nil {
			syscall.Close(fd)
		}
		return answer(err)
	case "call": // by number, with no arguments
		number, _ := strconv.Atoi(arg)
		if _, _, errno := syscall.Syscall(uintptr(number), 0, 0, 0); errno != 0 {
			return answer(errno)
		}
		return answer(nil)
	case "daemon": // a descendant that left its session and has no parent
		cmd := exec.Command("/proc/self/exe", "daemonise")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return answer(err)
		}
		return out
	case "alive":
		pid, _ := strconv.Atoi(arg)
		return answer(syscall.Kill(pid, 0))
	case "hang":
		select {}
	case "alloc":
		n, _ := strconv.Atoi(arg)
		kept = make([]byte, n<<20)
		for i := 0; i < len(kept); i += 4096 {
			kept[i] = 1
		}
		return nil
	case "fill": // a file of so many MiB
		path, size, _ := strings.Cut(arg, " ")
		n, _ := strconv.Atoi(size)
		f, err := os.Create(path)
		if err != nil {
			return answer(err)
		}
		defer f.Close()
		block := bytes.Repeat([]byte{1}, 1<<20)
		for range n {
			if _, err := f.Write(block); err != nil {
				return answer(err)
			}
		}
		return []byte("ok")
	case "exit":
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
	case "signal":
		sig, _ := strconv.Atoi(arg)
		syscall.Kill(os.Getpid(), syscall.Signal(sig))
		select {}
	case "whoami":
		var nofile syscall.Rlimit
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &nofile)
		dir, _ := os.Getwd()
		input, err := io.ReadAll(os.Stdin)
		return fmt.Append(nil, os.Getuid(), " ", os.Getgid(), " ", nofile.Cur, "/", nofile.Max, " ", dir, " ", len(input), " ", err)
	case "caps":
		b, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "CapEff:") || strings.HasPrefix(line, "CapPrm:") {
				return []byte(strings.TrimSpace(line))
			}
		}
	case "env":
		return []byte(strings.Join(os.Environ(), "\n"))
	case "big":
		n, _ := strconv.Atoi(arg)
		return bytes.Repeat([]byte{'x'}, n)
	}
	return event
}

func answer(err error) []byte {
	if err != nil {
		return []byte("error: " + err.Error())
	}
	return []byte("ok")
}

// stream answers with so many bytes, a piece at a time.
func stream(id, arg string) {
	n, _ := strconv.Atoi(arg)
	r, w := io.Pipe()
	req, err := http.NewRequest("POST", api+"invocation/"+id+"/response", r)
	check(err)
	req.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	req.Header.Set("Content-Type", "text/plain")
	go func() {
		for left := n; left > 0; {
			piece := bytes.Repeat([]byte{'s'}, min(left, 10_000))
			w.Write(piece)
			left -= len(piece)
		}
		w.Close()
	}()
	resp, err := http.DefaultClient.Do(req)
	check(err)
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// child is what descendants do.
func child(what string) {
	switch what {
	case "daemonise": // the middle one, which goes at once
		cmd := exec.Command("/proc/self/exe", "sleep")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		check(cmd.Start())
		fmt.Print(cmd.Process.Pid)
	case "sleep":
		for {
			time.Sleep(time.Hour)
		}
	}
}
