package descriptors

import "testing"

func TestLastNamed(t *testing.T) {
	for _, test := range []struct {
		args []string
		want int
	}{
		{nil, 2},
		{[]string{"runsc-sandbox", "--log=/proc/self/fd/147", "--log-fd=3", "boot", "--total-memory=25276502016", "--dev-io-fd=-1"}, 3},
		{[]string{"--io-fds=4,17", "--stdio-fds=11,12,13"}, 17},
		{[]string{"--pass-fd=14:3,15:1000"}, 15},
		{[]string{"--x-fd=many", "fd=20", "--root=/proc/self/fd/4"}, 2},
	} {
		if got := lastNamed(test.args); got != test.want {
			t.Errorf("lastNamed(%q) = %d, want %d", test.args, got, test.want)
		}
	}
}
