package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestInvalidJSON(t *testing.T) {
	for _, good := range []string{
		`null`, `true`, `false`, `0`, `-0`, `1.5e+10`, `""`, `"a"`, `{}`, `[]`, ` {"a" : [ 1 , 2 , {"b":null} ] } `, `[[],{}]`, `"\u00e4\n\"\\"`, `"ä€𝄞"`, "\t\r\n1",
		`{"a":1,"a":2}`, strings.Repeat("[", 100000) + strings.Repeat("]", 100000), strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), `"\ud800"`,
		`"0123456789abcdef0123456789abcdef\"0123456789"`,
	} {
		if at, what := invalidJSON([]byte(good)); what != "" {
			t.Errorf("%.60q: %s at byte %d", good, what, at)
		}
	}
	cases := []struct {
		in, what string
		at       int
	}{
		{``, "unexpected end", 0}, {` `, "unexpected end", 1}, {`{`, "unexpected end", 1}, {`[1`, "unexpected end", 2}, {`[1,`, "unexpected end", 3},
		{`{"a"`, "unexpected end", 4}, {`{"a":`, "unexpected end", 5}, {`{"a":1`, "unexpected end", 6}, {`{"a":1,`, "unexpected end", 7}, {`tru`, "unexpected end", 3},
		{`[1,]`, "unexpected character", 3}, {`[,1]`, "unexpected character", 1}, {`{"a":1,}`, "unexpected character", 7}, {`{,}`, "unexpected character", 1},
		{`{"a" 1}`, "unexpected character", 5}, {`{1:2}`, "unexpected character", 1}, {`[1 2]`, "unexpected character", 3}, {`[1}`, "unexpected character", 2},
		{`{"a":1]`, "unexpected character", 6}, {`]`, "unexpected character", 0}, {`nul1`, "unexpected character", 0}, {`'a'`, "unexpected character", 0}, {"\ufeff{}", "unexpected character", 0},
		{`01`, "text after the end of the value", 1}, {`{} x`, "text after the end of the value", 3}, {`1 2`, "text after the end of the value", 2},
		{`-`, "unexpected character in a number", 1}, {`1.`, "unexpected character in a number", 2}, {`1e`, "unexpected character in a number", 2}, {`-a`, "unexpected character in a number", 1},
		{`"a`, "unexpected end in a string", 2}, {"\"a\nb\"", "control character in a string", 2}, {`"\x"`, "wrong escape in a string", 1}, {`"\u12"`, "wrong escape in a string", 1},
		{"\"aaaaaaaaaaaaaaa\x01\"", "control character in a string", 16},
		{"\"\xff\"", "invalid UTF-8", 1}, {"\"aaaaaaaaaa\xc3\"", "invalid UTF-8", 11}, {"\"\xed\xa0\x80\"", "invalid UTF-8", 1},
	}
	for _, c := range cases {
		if at, what := invalidJSON([]byte(c.in)); what != c.what || at != c.at {
			t.Errorf("%q: %q at %d, want %q at %d", c.in, what, at, c.what, c.at)
		}
	}
}

func FuzzInvalidJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":null}],"c":"\u00e4\n"}`, `[[[[[[]]]]]]`, `-1.5e+10`, `"ä"`, `{"a":1,}`, `[1 2]`, "\"\x00\"", `"0123456789abcdef\"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at, what := invalidJSON(b)
		// encoding/json has a limit of depth and is content with bytes that are no UTF-8.
		want := json.Valid(b) && utf8.Valid(b)
		if (what == "") != want && bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) < 10000 {
			t.Errorf("%q: %q at %d; encoding/json says %v", b, what, at, want)
		}
		if at < 0 || at > len(b) {
			t.Errorf("%q: position %d", b, at)
		}
	})
}

func BenchmarkInvalidJSON(b *testing.B) {
	numbers := func() []byte {
		var s bytes.Buffer
		s.WriteByte('[')
		for i := range 100000 {
			fmt.Fprintf(&s, `{"id":%d,"name":"item %d"},`, i, i)
		}
		s.WriteString("0]")
		return s.Bytes()
	}()
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"small", []byte(`{"a":1,"b":"some text","c":[1,2,3]}`)},
		{"5 MB in one string", []byte(`{"a":"` + strings.Repeat("x", 5<<20) + `"}`)},
		{"objects", numbers},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.b)))
			b.ReportAllocs()
			for b.Loop() {
				if _, what := invalidJSON(c.b); what != "" {
					b.Fatal(what)
				}
			}
		})
	}
}
