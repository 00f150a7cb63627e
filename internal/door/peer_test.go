package door

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Both ways of asking the kernel agree, for every family.
func TestUserOfAConnection(t *testing.T) {
	for _, c := range []struct{ name, listen, dial string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "[::1]:0", "::1"},
		{"IPv4 to a listener of both", "[::]:0", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", c.listen)
			if err != nil {
				t.Skip(err)
			}
			defer l.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			client, err := net.Dial("tcp", net.JoinHostPort(c.dial, port))
			if err != nil {
				t.Skip(err)
			}
			defer client.Close()
			a, b := unmapped(netip.MustParseAddrPort(client.LocalAddr().String())), unmapped(netip.MustParseAddrPort(client.RemoteAddr().String()))
			for name, ask := range map[string]func(a, b netip.AddrPort) (uint32, uint32, error){"sock_diag": diagnose, "/proc/net/tcp": lookUpTwice} {
				uid, inode, err := ask(a, b)
				if err != nil || int(uid) != os.Getuid() || inode == 0 {
					t.Errorf("%s: user %d, inode %d, %v", name, uid, inode, err)
				}
				if _, _, err := ask(netip.AddrPortFrom(a.Addr(), 1), b); err == nil {
					t.Errorf("%s knows a socket that is not there", name)
				}
				// Its own address alone leads to the listener.
				if uid, inode, err := ask(b, netip.AddrPortFrom(a.Addr(), 1)); err == nil {
					t.Errorf("%s takes a listener for a connection: user %d, inode %d", name, uid, inode)
				}
			}
		})
	}
}

func TestMayAsk(t *testing.T) {
	for _, c := range []struct {
		name string
		uid  uint32
		own  int
		sudo string
		want bool
	}{
		{"the server's user", 1000, 1000, "", true},
		{"root", 0, 1000, "", true},
		{"another user", 1001, 1000, "", false},
		{"root asks root", 0, 0, "", true},
		{"another user asks root", 1000, 0, "", false},
		{"the user that called sudo", 1000, 0, "1000", true},
		{"not the user that called sudo", 1001, 0, "1000", false},
		{"SUDO_UID without root means nothing", 1001, 1000, "1001", false},
		{"SUDO_UID that is no number", 1000, 0, "x", false},
	} {
		if got := mayAsk(c.uid, c.own, c.sudo); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// asNobody runs a shell program as another user, with the port in $1.
func asNobody(t *testing.T, program, port string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("to be another user needs root")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(bash, "-c", program, "bash", port)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

const request = `exec 3<>/dev/tcp/127.0.0.1/$1; printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3; `

func TestOtherUsersAreRefused(t *testing.T) {
	t.Setenv("SUDO_UID", "")
	g := &Guard{SameUser: true}
	var gone atomic.Pointer[chan struct{}] // closed: check now
	until := func() chan struct{} { c := make(chan struct{}); gone.Store(&c); return c }
	result := make(chan error, 1)
	s, port := serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-*gone.Load()
		err := g.Check(r)
		result <- err
		fmt.Fprintln(w, err)
	}), Options{MaxConnections: 10})
	_ = s
	t.Run("a process of another user", func(t *testing.T) {
		close(until())
		out, err := asNobody(t, request+"cat <&3", port).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "User 65534 of this host may not") {
			t.Errorf("%v: %s", err, out)
		}
		<-result
	})
	t.Run("one that has closed its connection, which the kernel shows as root's", func(t *testing.T) {
		check := until()
		if out, err := asNobody(t, request, port).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		close(check)
		select {
		case err := <-result:
			if err == nil {
				t.Error("served")
			} else if !strings.Contains(err.Error(), "not known which user") {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("no request")
		}
	})
	t.Run("not the server's own user", func(t *testing.T) {
		resp, err := http.Get("http://localhost:" + port)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if err := <-result; err != nil || string(body) != "<nil>\n" {
			t.Errorf("%v: %s", err, body)
		}
	})
}

func serveTest(t *testing.T, h http.Handler, o Options) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, h, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return s, port
}
