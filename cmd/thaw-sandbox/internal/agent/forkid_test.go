package agent

import (
	"testing"

	"thaw/cmd/thaw-sandbox/internal/statefile"
)

func TestForkIDs(t *testing.T) {
	for g := uint32(1); g < 2000; g++ {
		if offset(g) == offset(g+1) || offset(g) == 0 || int32(offset(g)+1<<22-1) < 0 {
			t.Fatalf("generation %d sees %x, the next %x", g, offset(g), offset(g+1))
		}
	}
	f := forkIDs{programs: map[string]statefile.Region{"/var/lang/bin/node": {Lo: 100, Hi: 200}}}
	for _, c := range []struct {
		file string
		off  uint64
		want bool
	}{
		{"/usr/lib/libcrypto.so.3", 0, true},
		{"/opt/lib/libcrypto-1a2b.so.1.1", 5, true},
		{"/usr/lib/libcryptography.so", 5, false},
		{"/usr/lib/libc.so.6", 5, false},
		{"/var/lang/bin/node", 99, false},
		{"/var/lang/bin/node", 100, true},
		{"/var/lang/bin/node", 200, false},
		{"/opt/bin/node", 150, false},
		{"", 150, false},
	} {
		if got := f.holdsGenerator(c.file, c.off); got != c.want {
			t.Errorf("%s at %d: %v, want %v", c.file, c.off, got, c.want)
		}
	}
}
