package control

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// wires is a port: what is written to one end stays until the other reads it, whoever that is.
func wires(t *testing.T) (host, guest net.Conn) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, end := range []*net.Conn{&host, &guest} {
		f := os.NewFile(uintptr(pair[i]), "port")
		*end, err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*end).Close() })
	}
	return host, guest
}

// greet has both ends of a line begin a conversation.
func greet(t *testing.T, host, guest *Line, nonce string) (h, g *Conversation) {
	t.Helper()
	got := make(chan error, 1)
	go func() {
		var err error
		g, err = guest.Accept()
		got <- err
	}()
	h, err := host.Greet(nonce)
	if err := errors.Join(err, <-got); err != nil {
		t.Fatal(err)
	}
	return h, g
}

func TestConversationCarriesEveryByte(t *testing.T) {
	all := make([]byte, 0, 3*256+100_000)
	for i := range 256 {
		all = append(all, byte(i), mark, escape)
	}
	all = append(all, bytes.Repeat([]byte("x~}\n"), 25_000)...)
	a, b := wires(t)
	host, guest := greet(t, NewLine(a), NewLine(b), "one")
	for _, way := range []struct {
		name     string
		from, to *Conversation
	}{{"host to guest", host, guest}, {"guest to host", guest, host}} {
		go way.from.Write(all)
		got := make([]byte, len(all))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, all) {
			t.Errorf("%s: %v, equal: %v", way.name, err, bytes.Equal(got, all))
		}
	}
}

// A snapshot cuts the line anywhere, and the copy's line begins with whatever is left.
func TestGreetingEndsWhateverCameBefore(t *testing.T) {
	for name, left := range map[string]string{
		"nothing":                        "",
		"half a frame":                   "\x00\x00\x10\x00\x05half",
		"an escape whose byte is lost":   "abc}",
		"half a greeting":                "~hal",
		"an old greeting":                "~old\nmore",
		"a farewell":                     "~\n",
		"a mark and what is no greeting": "~\x00\x01~\xff",
		"too long a nonce":               "~" + strings.Repeat("x", maxNonce+1),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := wires(t)
			guest := NewLine(b)
			_, old := greet(t, NewLine(a), guest, "before")
			go func() {
				io.Copy(io.Discard, old) // the guest reads on: to it nothing has happened
				for {
					c, err := guest.Accept()
					if err != nil {
						return
					}
					io.Copy(c, c)
				}
			}()
			a.Write([]byte(left)) // on its way when the snapshot was taken
			old.Write([]byte("late"))
			conv, err := NewLine(a).Greet("after")
			if err != nil {
				t.Fatal(err)
			}
			go conv.Write([]byte("hello"))
			got := make([]byte, 5)
			if _, err := io.ReadFull(conv, got); err != nil || string(got) != "hello" {
				t.Errorf("answered %q, %v", got, err)
			}
			if _, err := old.Write([]byte("x")); err != ErrOver {
				t.Errorf("a write to the old conversation: %v", err)
			}
		})
	}
}

func TestFarewell(t *testing.T) {
	a, b := wires(t)
	hostLine, guestLine := NewLine(a), NewLine(b)
	for _, nonce := range []string{"one", "two"} {
		host, guest := greet(t, hostLine, guestLine, nonce)
		go host.Close()
		if b, err := io.ReadAll(guest); err != nil || len(b) > 0 {
			t.Errorf("after the host's farewell: %q, %v", b, err)
		}
		if err := guest.Close(); err != nil {
			t.Error(err)
		}
		if _, err := host.Write([]byte("x")); err != ErrOver {
			t.Errorf("a write after the farewell: %v", err)
		}
	}
	if _, err := hostLine.Greet("no nonce\n"); err == nil {
		t.Error("a nonce with a newline was taken")
	}
}

// FuzzLine reads whatever comes from a port: no panic, and what a conversation writes is read as it was, whatever came before it.
func FuzzLine(f *testing.F) {
	f.Add([]byte("~old\nx}~"), []byte("said ~ and }"))
	f.Add([]byte("}"), []byte{mark})
	f.Fuzz(func(t *testing.T, before, said []byte) {
		port := append(append(bytes.Clone(before), "~host\n"...), Escape(nil, said)...)
		l := NewLine(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(port), io.Discard})
		for {
			c, err := l.Accept()
			if err == io.EOF {
				t.Fatal("the greeting was not found")
			}
			got, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if l.greeted == "" && bytes.Equal(got, said) {
				return
			}
		}
	})
}
