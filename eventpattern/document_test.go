package eventpattern

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// tree gives a value as encoding/json has it.
func (d *Document) tree(at int32) any {
	v := &d.values[at]
	switch v.kind {
	case object:
		m := map[string]any{}
		for _, i := range (compiler{d}).children(at) {
			m[compiler{d}.key(i)] = d.tree(i)
		}
		return m
	case array:
		a := []any{}
		for _, i := range (compiler{d}).children(at) {
			a = append(a, d.tree(i))
		}
		return a
	case text:
		return string(d.string(v))
	case number:
		return json.Number(d.raw(v))
	case truth:
		return string(d.raw(v)) == "true"
	}
	return nil
}

// FuzzParse reads whatever comes as encoding/json does.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-0.5e+3,"x\u00e9\"",true,false,null,{},[]]}`, ` [ ] `, `{"a":1,"a":2}`, `01`, `1.`, `-`, `"\x"`, `"\ud800"`,
		`{"a"}`, `{"a":1,}`, `[1,]`, `tru`, "\"\x01\"", `"`, `{`, ``, `1 2`, `{"\u0061":1}`, `1e`, `"\u12g4"`, `{"a":1 "b":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		d, err := Parse(source)
		if json.Valid(source) != (err == nil) {
			t.Fatalf("%q: error %v, encoding/json finds it valid: %v", source, err, json.Valid(source))
		}
		if err != nil {
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(source))
		decoder.UseNumber()
		var want any
		if err := decoder.Decode(&want); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		// encoding/json replaces bytes that are not UTF-8 in all strings, the reader here only in those with escapes.
		if got := d.tree(0); !reflect.DeepEqual(got, want) && bytes.Equal(bytes.ToValidUTF8(source, nil), source) {
			t.Fatalf("%q: %#v, want %#v", source, got, want)
		}
	})
}

// FuzzMatch makes a pattern of a document's own leaves, which has to let it pass, and holds patterns against documents
// that have nothing to do with them.
func FuzzMatch(f *testing.F) {
	f.Add([]byte(`{"a":[{"prefix":"x"},{"exists":false}]}`), []byte(`{"a":{"b":"c"},"d":[1,{"e":null}]}`))
	f.Add([]byte(`{"$or":[{"a":{"b":[1]}},{"c":[{"anything-but":{"wildcard":"a*"}}]}]}`), []byte(`{"a":[[{"b":1}]]}`))
	f.Add([]byte(`{"a":{"b":{"c":[{"exists":false}]}}}`), []byte(`{"a":[{"b":[{"c":1}]},{"b":[]}]}`))
	f.Fuzz(func(t *testing.T, pattern, source []byte) {
		d, err := Parse(source)
		if err != nil {
			return
		}
		if p, err := Compile(pattern); err == nil {
			p.Match(d)
			p.Without("a").Match(d)
		}
		if own := ownPattern(d.tree(0)); own != nil && bytes.Equal(bytes.ToValidUTF8(source, nil), source) {
			text, err := json.Marshal(own)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Compile(text)
			if err != nil {
				t.Fatalf("%s, made of %s: %v", text, source, err)
			}
			if !p.Match(d) {
				t.Fatalf("%s does not match %s, which it was made of", text, source)
			}
		}
	})
}

// ownPattern asks for each of a document's leaves that are not in arrays.
func ownPattern(v any) any {
	m, is := v.(map[string]any)
	if !is {
		return nil
	}
	all := map[string]any{}
	for name, inner := range m {
		switch inner.(type) {
		case map[string]any:
			if p := ownPattern(inner); p != nil {
				all[name] = p
			}
		case []any:
		default:
			all[name] = []any{inner}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func TestDepth(t *testing.T) {
	for depth, want := range map[int]bool{maxDepth: true, maxDepth + 2: false} {
		source := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		d, err := Parse([]byte(source))
		if (err == nil) != want {
			t.Errorf("depth %d: %v", depth, err)
		}
		if p, err := Compile([]byte(`{"a":{"b":[{"exists":false}]}}`)); err != nil || p.Match(d) != want {
			t.Errorf("depth %d: matches: %v, %v", depth, !want, err)
		}
	}
}

// The aim is a million decisions a second of one core, the reading of the record included.
func BenchmarkMatch(b *testing.B) {
	record := []byte(`{"messageId":"059f36b4-87a3-44ab-83d2-661975830a7d","body":{"level":"ERROR","service":"orders","tries":4,` +
		`"user":{"id":"u-1234","country":"SE"}},"eventSource":"aws:sqs"}`)
	for name, pattern := range map[string]string{
		"one member": `{"body":{"level":["WARN","ERROR"]}}`,
		"many":       `{"body":{"level":[{"prefix":"ERR"}],"tries":[{"numeric":[">",3]}],"user":{"country":["SE","NO"]},"x":[{"exists":false}]}}`,
		"no match":   `{"body":{"level":["INFO"]}}`,
	} {
		p, err := Compile([]byte(pattern))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var d Document
			matched := 0
			for b.Loop() {
				if d.Reset(record) == nil && p.Match(&d) {
					matched++
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
		})
	}
}
