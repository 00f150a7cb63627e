package jail

import (
	"testing"

	"thaw/sandbox/firecracker/fcapi"
)

func TestWhichClockMachinesCountBy(t *testing.T) {
	for _, c := range []struct{ release, host, want string }{
		{"1.12.1", "tsc\n", " clocksource=tsc tsc=reliable"},
		{"1.15.1", "tsc\n", " clocksource=tsc tsc=reliable"},
		{"1.12.1", "kvm-clock\n", ""},
		{"1.12.1", "", ""},
		{"1.16.0", "tsc\n", ""},
	} {
		v, err := fcapi.ParseVersion(c.release)
		if err != nil {
			t.Fatal(err)
		}
		if got := clockArgs(v, c.host); got != c.want {
			t.Errorf("%s on a host that counts by %q: %q, want %q", c.release, c.host, got, c.want)
		}
	}
}
