// Package etc has what /etc holds in every sandbox that isolates, and whom functions run as there.
package etc

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"thaw/sandbox/host/network"
)

// Whom functions run as. Source: recordings of the real service.
const (
	UserName = "sbx_user1051"
	UserID   = 993
	GroupID  = 990
)

// HostName is the sandbox's own.
const HostName = "sandbox"

// Certificates is where the certificates of authorities are, with another path at which programs look for them: the
// tools and runtimes of Debian look at the first, those of Amazon Linux at the second.
const Certificates, CertificatesToo = "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"

// bundles of certificate authorities, in the order in which Go's crypto/x509 looks for them.
var bundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// Files are the files by their paths inside; dns are whom the sandbox asks for names. Certificates is among them where
// the host has some; CertificatesToo is not, since it is the same file.
func Files(dns []netip.Addr) (map[string][]byte, error) {
	var resolv strings.Builder
	for _, a := range dns {
		fmt.Fprintf(&resolv, "nameserver %s\n", a)
	}
	files := map[string][]byte{
		"/etc/passwd": fmt.Appendf(nil, "root:x:0:0:root:/root:/sbin/nologin\n%s:x:%d:%d::/home/%s:/sbin/nologin\n",
			UserName, UserID, GroupID, UserName),
		"/etc/group": fmt.Appendf(nil, "root:x:0:\n%s:x:%d:\n", UserName, GroupID),
		"/etc/hosts": fmt.Appendf(nil, "127.0.0.1 localhost %[1]s.localdomain %[1]s\n%[2]s %[3]s\n",
			HostName, network.Gateway, network.HostName),
		"/etc/hostname":      []byte(HostName + "\n"),
		"/etc/nsswitch.conf": []byte("passwd: files\ngroup: files\nhosts: files dns\n"),
		"/etc/resolv.conf":   []byte(resolv.String()),
	}
	for _, p := range bundles {
		if _, err := os.Stat(p); err != nil {
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		files[Certificates] = text
		break
	}
	return files, nil
}
