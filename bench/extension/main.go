// Extension does nothing with what it hears: it asks for the next INVOKE at once, on one connection from one goroutine,
// so that the platform's own share shows. One whose file is named telemetry subscribes, and reads what comes.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

func main() {
	name, api := filepath.Base(os.Args[0]), os.Getenv("AWS_LAMBDA_RUNTIME_API")
	c, err := net.Dial("tcp", api)
	if err != nil {
		log.Fatal(err)
	}
	answers := bufio.NewReader(c)
	call := func(method, path, header, body string) *http.Response {
		_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: %d\r\n\r\n%s", method, path, api, header, len(body), body)
		if err != nil {
			log.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			log.Fatal(err)
		}
		if said, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			log.Fatal(resp.Status, string(said), err)
		}
		return resp
	}
	events := `{"events":["INVOKE"]}`
	if name == "telemetry" {
		events = `{"events":[]}`
	}
	registered := call("POST", "/2020-01-01/extension/register", "Lambda-Extension-Name: "+name, events)
	id := "Lambda-Extension-Identifier: " + registered.Header.Get("Lambda-Extension-Identifier")
	if name == "telemetry" {
		call("PUT", "/2022-07-01/telemetry", id, subscription())
	}
	ask := []byte("GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: " + api + "\r\n" + id + "\r\n\r\n")
	if name == "telemetry" {
		for event := make([]byte, 64<<10); ; {
			if _, err := c.Write(ask); err != nil {
				log.Fatal(err)
			}
			if _, err := c.Read(event); err != nil {
				log.Fatal(err)
			}
		}
	}
	f, err := c.(*net.TCPConn).File() // which blocks
	if err != nil {
		log.Fatal(err)
	}
	listen(f.Fd(), ask)
}

// listen asks for events with two system calls each, as a program in C would: Go's scheduler would add six.
func listen(fd uintptr, ask []byte) {
	for event := make([]byte, 64<<10); ; {
		if n, _, err := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&ask[0])), uintptr(len(ask))); int(n) != len(ask) {
			log.Fatal(err)
		}
		// An event is one small write.
		if n, _, err := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&event[0])), uintptr(len(event))); int(n) <= 0 {
			log.Fatal(err)
		}
	}
}

// subscription opens a port whose connections are read to their end, and asks for everything to be sent there.
func subscription() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go io.Copy(io.Discard, c)
		}
	}()
	return fmt.Sprintf(`{"schemaVersion":"2022-12-13","types":["platform","function"],"buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":25},`+
		`"destination":{"protocol":"TCP","port":%d}}`, l.Addr().(*net.TCPAddr).Port)
}
