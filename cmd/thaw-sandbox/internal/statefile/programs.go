package statefile

import (
	"path"
	"strings"
)

// Region is where a program has its generator's functions, as offsets into its file.
type Region struct {
	Lo uint64 `json:"lo"`
	Hi uint64 `json:"hi"`
}

// IsLibcrypto knows OpenSSL's library by its name; packages that bundle it put a hash into that (libcrypto-1a2b3c4d.so.1.1).
func IsLibcrypto(file string) bool {
	base := path.Base(file)
	return strings.HasPrefix(base, "libcrypto.so") || strings.HasPrefix(base, "libcrypto-") && strings.Contains(base, ".so")
}
