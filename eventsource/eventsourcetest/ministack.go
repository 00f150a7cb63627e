package eventsourcetest

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

var ministack struct {
	sync.Mutex
	endpoint, root string
}

// Ministack starts ministack, which stands for many services of AWS, once for all tests of a package. It speaks HTTP/2 under
// TLS, and pushes records to subscriptions as Kinesis does; root, in PEM, has signed its certificate. Shards that were split
// lose at once what they have. What it has is lost when it ends.
func Ministack(t testing.TB) (endpoint, root string) {
	t.Helper()
	ministack.Lock()
	defer ministack.Unlock()
	if ministack.endpoint == "" {
		dir := Python(t, "ministack==1.5.33")
		pair, root := Certificate(t)
		key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		tmp := Dir(t)
		certFile, keyFile := filepath.Join(tmp, "server.crt"), filepath.Join(tmp, "server.key")
		for name, text := range map[string][]byte{certFile: []byte(root), keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		at := net.JoinHostPort("127.0.0.1", strconv.Itoa(Port(t)))
		Launch(t, Program{
			Args: []string{filepath.Join(dir, "bin", "hypercorn"), "--workers", "0", "--bind", at, "--certfile", certFile,
				"--keyfile", keyFile, "ministack.app:app"},
			Env: []string{"SERVICES=kinesis,dynamodb,dynamodbstreams", "MINISTACK_ACCOUNT_ID=123456789012",
				"MINISTACK_REGION=eu-west-1", "LOG_LEVEL=ERROR", "PERSIST_STATE=0",
				"TMPDIR=" + tmp, "MINISTACK_SSL_CERT=" + certFile, "MINISTACK_SSL_KEY=" + keyFile},
			Ready: Listens(at),
		})
		ministack.endpoint, ministack.root = "https://"+at, root
	}
	return ministack.endpoint, ministack.root
}
