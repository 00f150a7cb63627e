// Command guest is what the tests of package gvisor run as PID 1: it speaks the wire, and does in the sandbox what an invoke's event
// says, one line of words.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"thaw/guest/wire"
)

var (
	spins atomic.Int64
	held  [][]byte
	born  = time.Now()
)

// fill writes what only the seed decides.
func fill(b []byte, seed uint64) {
	for i := range b {
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		b[i] = byte(seed)
	}
}

func main() {
	f := os.NewFile(3, "host")
	w := wire.NewWriter(f)
	check(w.Send(wire.KindHello, wire.Hello{Version: wire.Version, PID: os.Getpid(), MakesTmp: true}, nil))
	r := wire.NewReader(f)
	for {
		fr, err := r.Next()
		if err != nil {
			os.Exit(0)
		}
		switch fr.Kind {
		case wire.KindStart:
			var s wire.Start
			check(fr.Decode(&s))
			if s.TmpBytes > 0 {
				check(syscall.Mount("tmpfs", "/tmp", "tmpfs", 0, fmt.Sprintf("mode=1777,size=%d", s.TmpBytes)))
			}
			check(w.Send(wire.KindStarted, wire.Started{Generation: s.Generation}, nil))
		case wire.KindPing:
			check(w.Send(wire.KindPong, nil, nil))
		case wire.KindOutOfMemory:
			held = nil
			runtime.GC()
			freeOS()
			check(w.Send(wire.KindExited, wire.Exited{OutOfMemory: true}, nil))
		case wire.KindExit:
			os.Exit(0)
		case wire.KindInvoke:
			var inv wire.Invoke
			check(fr.Decode(&inv))
			event := string(fr.Body)
			go func() {
				out, err := do(strings.Fields(event), fr.Body)
				if err != nil {
					out = []byte("error: " + err.Error())
				}
				check(w.Send(wire.KindResponse, wire.ResponseHead{RequestID: inv.RequestID}, out))
			}()
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func do(words []string, event []byte) ([]byte, error) {
	if len(words) == 0 {
		return event, nil
	}
	num := func(i int) int64 {
		n, err := strconv.ParseInt(words[i], 10, 64)
		check(err)
		return n
	}
	switch words[0] {
	case "echo":
		return event, nil
	case "spin": // threads that never stop
		for range num(1) {
			go func() {
				for {
					spins.Add(1)
				}
			}()
		}
		return nil, nil
	case "spins":
		return []byte(fmt.Sprint(spins.Load())), nil
	case "registers": // threads
		watchRegisters(int(num(1)))
		return nil, nil
	case "lost": // how often a register was not what it was, and of how many times
		return registersLost(), nil
	case "clock": // monotonic nanoseconds since start
		return []byte(fmt.Sprint(time.Since(born).Nanoseconds())), nil
	case "read":
		return os.ReadFile(words[1])
	case "list":
		ents, err := os.ReadDir(words[1])
		var b bytes.Buffer
		for _, e := range ents {
			fmt.Fprintln(&b, e.Name())
		}
		return b.Bytes(), err
	case "write": // path bytes
		f, err := os.Create(words[1])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		var n int64
		for n < num(2) {
			k, err := f.Write(chunk[:min(int64(len(chunk)), num(2)-n)])
			n += int64(k)
			if err != nil {
				return []byte(fmt.Sprint(n)), err
			}
		}
		return []byte(fmt.Sprint(n)), nil
	case "remove":
		return nil, os.Remove(words[1])
	case "alloc": // bytes, held
		chunk := int64(1 << 20)
		for n := int64(0); n < num(1); n += chunk {
			b := make([]byte, chunk)
			for i := range b {
				b[i] = byte(i)
			}
			held = append(held, b)
		}
		return nil, nil
	case "keep": // bytes, seed: memory of a known content
		b := make([]byte, num(1))
		fill(b, uint64(num(2)))
		held = append(held, b)
		return nil, nil
	case "kept": // seed: whether the last is as it was, and new memory is empty
		b := held[len(held)-1]
		want := make([]byte, len(b))
		for i, c := range want {
			if c != 0 {
				return nil, fmt.Errorf("new memory has %d at %d", c, i)
			}
		}
		fill(want, uint64(num(1)))
		if !bytes.Equal(b, want) {
			return nil, errors.New("it is not what it was")
		}
		return []byte("yes"), nil
	case "times": // reads the clock so often
		for range num(1) {
			born.Before(time.Now())
		}
		return nil, nil
	case "dial": // network address: says what it was told, or the error
		c, err := net.DialTimeout(words[1], words[2], time.Second)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(3 * time.Second))
		if words[1] == "udp" {
			c.Write([]byte("hello"))
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			return buf[:n], err
		}
		return io.ReadAll(c)
	case "listen":
		l, err := net.Listen("tcp", words[1])
		if err != nil {
			return nil, err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.WriteString(c, "guest")
				c.Close()
			}
		}()
		return nil, nil
	case "addrs":
		as, err := net.InterfaceAddrs()
		return []byte(fmt.Sprint(as)), err
	case "lookup":
		h, err := net.LookupHost(words[1])
		return []byte(fmt.Sprint(h)), err
	case "ids":
		return []byte(fmt.Sprint(os.Getpid(), os.Getuid())), nil
	case "stdio": // where the standard streams and everything else open leads
		var b bytes.Buffer
		ents, err := os.ReadDir("/proc/self/fd")
		for _, e := range ents {
			l, _ := os.Readlink("/proc/self/fd/" + e.Name())
			fmt.Fprintln(&b, e.Name(), l)
		}
		return b.Bytes(), err
	case "run": // a program: how long it took
		t := time.Now()
		out, err := exec.Command(words[1], words[2:]...).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		return []byte(fmt.Sprint(time.Since(t).Microseconds())), nil
	case "print":
		_, err := fmt.Println(strings.Join(words[1:], " "))
		return nil, err
	}
	return nil, fmt.Errorf("unknown word %q", words[0])
}
