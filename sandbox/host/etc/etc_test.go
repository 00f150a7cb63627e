package etc

import (
	"net/netip"
	"testing"

	"thaw/sandbox/host/network"
)

// A function finds its user, the host and its name servers by name.
func TestFilesOfEverySandbox(t *testing.T) {
	files, err := Files([]netip.Addr{network.Gateway, netip.MustParseAddr("192.0.2.1")})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/etc/passwd":        "root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n",
		"/etc/group":         "root:x:0:\nsbx_user1051:x:990:\n",
		"/etc/hosts":         "127.0.0.1 localhost sandbox.localdomain sandbox\n198.19.255.1 host.thaw.internal\n",
		"/etc/hostname":      "sandbox\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"/etc/resolv.conf":   "nameserver 198.19.255.1\nnameserver 192.0.2.1\n",
	} {
		if got := string(files[path]); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}
