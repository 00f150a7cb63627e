package vtl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/internal/golden"
)

// request is what the templates of the table know.
func request(set map[string]string) *Input {
	return &Input{
		Body: []byte(`{"id":7,"price":1.50,"big":12345678901234567890,"name":"O'Neil","user-id":"u1","items":[{"sku":"b","n":2},{"sku":"a","n":1}],"tags":["x","y"],"none":null,"deep":{"z":1,"a":[true,false]}}`),
		Path: map[string]string{"id": "42"}, Query: map[string]string{"q": "a b", "id": "query"}, Header: map[string]string{"X-A": "1", "Host": "h"},
		Stage:   map[string]string{"table": "orders"},
		Context: map[string]any{"authorizer": map[string]any{"claims": map[string]any{"sub": "u1"}, "count": int64(3)}},
		Leaf: func(name string) string {
			return map[string]string{"identity.sourceIp": "10.0.0.1", "httpMethod": "POST"}[name]
		},
		Override: func(name, v string) error {
			set[name] = v
			return nil
		},
	}
}

// Each template of testdata/templates.txt, between lines of dashes, and what becomes of it.
func TestTemplates(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "templates.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for source := range strings.SplitSeq(string(text), "\n----\n") {
		set := map[string]string{}
		out, err := rendered(source, request(set))
		fmt.Fprintf(&table, "%s\n=>\n%s", source, out)
		if err != nil {
			fmt.Fprintf(&table, "!! %v", err)
		}
		if len(set) > 0 {
			fmt.Fprintf(&table, "\nsets %v", set)
		}
		table.WriteString("\n----\n")
	}
	golden.Equal(t, "testdata/templates.golden", table.String())
}

func rendered(source string, in *Input) (string, error) {
	tmpl, err := Parse(source)
	if err != nil {
		return "", err
	}
	return tmpl.Render(in.Vars())
}

// What an API's owner may write must not keep the server busy, nor fill it.
func TestBounds(t *testing.T) {
	for name, source := range map[string]string{
		"rounds":             `#foreach($i in [1..1001])x#end`,
		"rounds in rounds":   `#foreach($i in [1..1000])#foreach($j in [1..1000])#set($k = $i + $j)#end#end`,
		"a range":            `#set($x = [1..999999999])`,
		"a text that grows":  `#set($s = "aaaaaaaaaaaaaaaa")#foreach($i in [1..1000])#set($s = $s + $s)#end`,
		"replace":            `#set($s = "aaaaaaaaaaaaaaaa")#foreach($i in [1..1000])#set($s = $s.replace("a", "aaaaaaaa"))#end`,
		"replaceAll":         `#set($s = "aaaaaaaaaaaaaaaa")#foreach($i in [1..1000])#set($s = $s.replaceAll("a", "$0$0$0$0"))#end`,
		"output":             `#set($s = "aaaaaaaaaaaaaaaa")#foreach($i in [1..16])#set($s = $s + $s)#end#foreach($i in [1..1000])$s#end`,
		"a list in itself":   `#set($l = [])#foreach($i in [1..60])#set($x = $l.add($l))#end$l`,
		"a list compared":    `#set($l = [])#foreach($i in [1..60])#set($x = $l.add($l))#end#foreach($i in [1..1000])#if($l == $l)#end#end`,
		"paths in a loop":    `#foreach($i in [1..1000])#set($x = $input.path('$..*'))#end`,
		"a list in its list": `#set($l = ["a"])#foreach($i in [1..1000])#set($x = $l.addAll($l))#end`,
	} {
		t.Run(name, func(t *testing.T) {
			in := request(nil)
			in.Body = []byte(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`)
			began := time.Now()
			out, err := rendered(source, in)
			if !errors.Is(err, ErrBounds) {
				t.Errorf("%d bytes, %v", len(out), err)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
	for name, source := range map[string]string{
		"lists":       `#set($x = ` + strings.Repeat("[", 10000) + `)`,
		"parentheses": `#set($x = ` + strings.Repeat("(", 10000) + `)`,
		"not":         `#if(` + strings.Repeat("!", 10000) + `true)#end`,
		"#if":         strings.Repeat("#if(true)", 10000),
		"size":        strings.Repeat("a", maxSource+1),
	} {
		if _, err := Parse(source); !errors.As(err, new(*SyntaxError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No template and no body makes it fail otherwise than by saying so.
func FuzzRender(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "templates.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for source := range strings.SplitSeq(string(text), "\n----\n") {
		f.Add(source, `{"a":[1,{"b":null}]}`)
	}
	f.Fuzz(func(t *testing.T, source, body string) {
		in := request(map[string]string{})
		in.Body = []byte(body)
		if out, err := rendered(source, in); err == nil && len(out) > maxOutput+maxSource {
			t.Errorf("%d bytes", len(out))
		}
	})
}
