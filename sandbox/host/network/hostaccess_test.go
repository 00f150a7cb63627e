package network

import (
	"fmt"
	"testing"
)

func TestParseHostAccess(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "[]"},
		{"5432", "[{127.0.0.1 5432 5432}]"},
		{" 5432 , 8000-8010,", "[{127.0.0.1 5432 5432} {127.0.0.1 8000 8010}]"},
		{"192.168.1.5:80, 127.0.0.2:1-65535", "error"}, // port 80 of the name twice
		{"192.168.1.5:80, 127.0.0.2:81-90", "[{192.168.1.5 80 80} {127.0.0.2 81 90}]"},
		{"5432,5432-5433", "[{127.0.0.1 5432 5432} {127.0.0.1 5432 5433}]"},
		{"0", "error"}, {"65536", "error"}, {"2-1", "error"}, {"1-", "error"}, {"all", "error"}, {"localhost:1", "error"}, {"[::1]:1", "error"}, {"0.0.0.0:1", "error"}, {"224.0.0.1:1", "error"},
	} {
		list, err := ParseHostAccess(c.text)
		if got := fmt.Sprint(list); err == nil && got != c.want || (err != nil) != (c.want == "error") {
			t.Errorf("%q: %s, %v; want %s", c.text, got, err, c.want)
		}
	}
}
