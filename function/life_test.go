package function

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files")

func TestNextOfEveryPair(t *testing.T) {
	var table strings.Builder
	for l := range numLives {
		for e := range numLifeEvents {
			to, err := l.Next(e)
			fmt.Fprintf(&table, "%v + %v -> %v", l, e, to)
			if err != nil {
				fmt.Fprintf(&table, " refused: %v", err)
			}
			table.WriteByte('\n')
			if err != nil && to != l {
				t.Errorf("%v + %v was refused yet moved to %v", l, e, to)
			}
			if _, s := to.Next(Settled); err == nil && to.Settling() && s != nil {
				t.Errorf("%v is settling, but cannot be settled", to)
			}
		}
	}
	const golden = "testdata/life.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if table.String() != string(want) {
		t.Errorf("the table differs from %s; run with -update and read the difference:\n%s", golden, table.String())
	}
}

func TestLivesSurviveText(t *testing.T) {
	for l := range numLives {
		b, err := l.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Life
		if err := back.UnmarshalText(b); err != nil || back != l {
			t.Errorf("%v became %v, %v", l, back, err)
		}
	}
	if err := new(Life).UnmarshalText([]byte("asleep")); err == nil {
		t.Error("an unknown life was read")
	}
	if _, err := numLives.MarshalText(); err == nil {
		t.Error("an unknown life was written")
	}
}
