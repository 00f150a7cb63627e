package telemetry

import (
	"strconv"
	"strings"
	"testing"
)

// Output of Init is kept up to a bound, the newest, between all platform events; and keeping it takes the same for each
// line, however many there were.
func TestHistory(t *testing.T) {
	var h history
	const lines = 200_000 // when each one moved all that was kept, this took minutes
	for i := range lines {
		if i%50_000 == 0 {
			h.add(news{kind: Platform, text: "p" + strconv.Itoa(i)})
		}
		h.add(news{kind: Function, text: strconv.Itoa(i) + "\n"})
		if len(h.all) > 2*maxReplayLines+10 {
			t.Fatalf("%d places for %d lines", len(h.all), h.lines)
		}
	}
	var got []string
	h.replay(func(n news) { got = append(got, strings.TrimSuffix(n.text, "\n")) })
	want := []string{"p0", "p50000", "p100000", "p150000"}
	for i := lines - maxReplayLines; i < lines; i++ {
		want = append(want, strconv.Itoa(i))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("kept are %d news, from %v on", len(got), got[:6])
	}

	long := news{kind: Extension, text: strings.Repeat("x", maxReplay-10)}
	h.add(long)
	if h.lines != 2 || h.kept > maxReplay { // it and the last line
		t.Errorf("beside a long line %d are kept, %d bytes", h.lines, h.kept)
	}
	h.add(news{kind: Extension, text: strings.Repeat("x", 2*maxReplay)})
	if h.lines != 1 {
		t.Errorf("beside one that is too long %d are kept", h.lines)
	}
}
