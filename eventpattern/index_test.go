package eventpattern

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func compiled(t testing.TB, s string) *Pattern {
	t.Helper()
	p, err := Compile([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return p
}

// An index finds what holding the document against each pattern finds, while patterns come and go.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	one := func() string {
		forms := []string{`{"source":["s%d"]}`, `{"source":["s%d","s1"],"detail-type":["t%d"]}`, `{"source":["app"],"detail":{"id":["i%d"]}}`, `{"source":[{"prefix":"s%d"}]}`,
			`{"resources":["r%d","r1"]}`, `{"$or":[{"source":["s%d"]},{"detail":{"id":["i%d"]}}]}`, `{"source":["app"],"detail":{"n":[%d]}}`, `{"source":["s%d",null]}`, `{"source":["app"],"detail":{"id":[{"exists":false}]}}`}
		f := forms[r.IntN(len(forms))]
		var v []any
		for range len(f) {
			if n := len(v); n < countVerbs(f) {
				v = append(v, r.IntN(6))
			}
		}
		return fmt.Sprintf(f, v...)
	}
	documents := []string{`{"source":"s1","detail-type":"t1","resources":["r1","r2","r1"]}`, `{"source":"app","detail":{"id":"i3","n":4}}`, `{"source":["s2","s1"],"detail-type":"t2"}`,
		`{"source":"app","detail":[{"id":"i1"},{"id":"i2"}]}`, `{"source":null}`, `{"source":"\u0073\u0031"}`, `[]`, `"s1"`, `{"source":"app"}`}
	var x Index[int]
	all := map[int]*Pattern{}
	for i := range 4000 {
		key := r.IntN(60)
		if r.IntN(3) == 0 {
			x.Remove(key)
			delete(all, key)
		} else {
			p := compiled(t, one())
			x.Set(key, p)
			all[key] = p
		}
		d, err := Parse([]byte(documents[i%len(documents)]))
		if err != nil {
			t.Fatal(err)
		}
		var want []int
		for key, p := range all {
			if p.Match(d) {
				want = append(want, key)
			}
		}
		got := x.Match(d)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %v, want %v", documents[i%len(documents)], got, want)
		}
	}
	for key := range all {
		x.Remove(key)
	}
	if len(x.paths)+len(x.loose)+len(x.entries) != 0 {
		t.Errorf("%+v", x.paths)
	}
}

func countVerbs(s string) (n int) {
	for i := range s {
		if s[i] == '%' {
			n++
		}
	}
	return n
}

func BenchmarkIndex(b *testing.B) {
	for _, form := range []string{`{"source":["app.%d"],"detail-type":["order"]}`, `{"source":["app"],"detail-type":["order"],"detail":{"id":["%d"]}}`, `{"source":["app"],"detail":{"id":[{"prefix":"%d-"}]}}`} {
		b.Run(form, func(b *testing.B) {
			var x Index[int]
			for i := range 10_000 {
				x.Set(i, compiled(b, fmt.Sprintf(form, i)))
			}
			d, err := Parse([]byte(`{"source":"app","detail-type":"order","detail":{"id":"7777","items":[1,2,3]}}`))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				x.Match(d)
			}
		})
	}
}
