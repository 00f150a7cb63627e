package agent

import (
	"bytes"
	"testing"

	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/rand"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/limits"
)

// Addresses follow from the secret while there is one, and nothing else that is drawn does.
func TestLayout(t *testing.T) {
	old := rand.Reader
	defer func() { rand.Reader = old }()
	reader := &layoutReader{next: old}
	rand.Reader = reader
	c := new(arch.Context64)
	type places struct {
		topDown, bottomUp, program hostarch.Addr
	}
	draw := func(secret string) places {
		if reader.secret.Store(nil); secret != "" {
			b := bytes.Repeat([]byte(secret), 32)
			reader.secret.Store(&b)
		}
		l, err := c.NewMmapLayout(hostarch.Addr(65536), 0x7ffffffff000, limits.NewLimitSet())
		if err != nil {
			t.Fatal(err)
		}
		return places{l.TopDownBase, l.BottomUpBase, c.PIELoadAddress(l)}
	}
	a := draw("a")
	if again := draw("a"); again != a {
		t.Errorf("one secret gave %x and %x", a, again)
	}
	for _, other := range []string{"b", ""} {
		if o := draw(other); o.topDown == a.topDown || o.program == a.program {
			t.Errorf("secret %q gave %x, and a gave %x", other, o, a)
		}
	}
	if one, two := draw(""), draw(""); one == two {
		t.Error("without a secret nothing is random")
	}
	draw("a")
	var first, second [8]byte // the size that addresses are drawn in
	rand.Read(first[:])
	rand.Read(second[:])
	one, two := rand.Int63n(1<<40), rand.Int63n(1<<40)
	if first == second || one == two {
		t.Error("what is no address repeats")
	}
}
