package eventsourcetest

import (
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

var moto struct {
	sync.Mutex
	endpoint string
}

// Moto starts moto, which stands for many services of AWS, once for all tests of a package. What it has is lost when it
// ends.
func Moto(t testing.TB) (endpoint string) {
	t.Helper()
	moto.Lock()
	defer moto.Unlock()
	if moto.endpoint == "" {
		port := strconv.Itoa(Port(t))
		Launch(t, Program{
			Args:  []string{filepath.Join(Python(t, "moto[server]==5.2.5"), "bin", "moto_server"), "-H", "127.0.0.1", "-p", port},
			Ready: Listens("127.0.0.1:" + port),
		})
		moto.endpoint = "http://127.0.0.1:" + port
	}
	return moto.endpoint
}
