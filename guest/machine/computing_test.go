package machine

import "testing"

func TestRunnable(t *testing.T) {
	for text, want := range map[string]int{"0.00 0.01 0.05 1/123 456\n": 1, "9.90 1.00 0.00 12/80 7\n": 12, "": 0, "0.00 0.01 0.05 x/1 2": 0} {
		if got, err := runnable(text); got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]bool{"12 (node) R 1 12": true, "12 (node) S 1 12": false, "12 (a) R 1) D 1 12": false, "12 (a) S) R 1": true, "": false} {
		if got := running(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
