package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"gvisor.dev/gvisor/runsc/version"
)

func stateFile(t testing.TB, m Made, body []byte) []byte {
	made, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	head, err := json.Marshal(map[string]string{MadeKey: string(made)})
	if err != nil {
		t.Fatal(err)
	}
	return append(AppendHeader(nil, head, 0), body...)
}

func FuzzSplitState(f *testing.F) {
	f.Add(stateFile(f, Made{Key: "k", PagesSize: 8192, PagesSums: []uint32{1}}, []byte("kernel")))
	f.Add([]byte("gVisorSF\xff\xff\xff\xff\xff\xff\xff\xff{}"))
	f.Add([]byte("gVisorSF\x00\x00\x00\x00\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, body, err := Split(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v does not say what it is", err)
			}
			return
		}
		if !bytes.HasSuffix(b, body) {
			t.Error("the kernel is not what follows the header")
		}
		if n := int64(len(m.PagesSums)); n*SumBlock < m.PagesSize {
			t.Errorf("%d sums of %d bytes", n, m.PagesSize)
		}
	})
}

func TestMadeFits(t *testing.T) {
	m := Made{Key: "a", GVisor: version.Version()}
	if err := m.Fits("a"); err != nil {
		t.Error(err)
	}
	if m.Fits("b") == nil {
		t.Error("another key fits")
	}
	m.GVisor = "another"
	if m.Fits("a") == nil {
		t.Error("another gVisor fits")
	}
}
