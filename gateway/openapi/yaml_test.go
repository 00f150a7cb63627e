package openapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What YAML says is what the same says in JSON.
func TestYAMLAsJSON(t *testing.T) {
	got, err := readYAML([]byte(`
info: {title: shop, version: 2015-07-09, x-n: 1.50, x-h: 0x10, x-t: true, x-no: no, x-null: ~, x-s: "200"}
x-base: &base {type: object, required: [a]}
paths:
  /a:
    get:
      responses:
        200:
          description: |-
            two
            lines
      schema: {<<: *base, required: [b]}
      more: {<<: [{a: 1}, {a: 2, b: 2}], c: 3}
`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"info":{"title":"shop","version":"2015-07-09","x-h":16,"x-n":1.5,"x-no":"no","x-null":null,"x-s":"200","x-t":true},` +
		`"paths":{"/a":{"get":{"more":{"a":1,"b":2,"c":3},"responses":{"200":{"description":"two\nlines"}},"schema":{"required":["b"],"type":"object"}}}},` +
		`"x-base":{"required":["a"],"type":"object"}}`; string(b) != want {
		t.Errorf("%s\nwant\n%s", b, want)
	}
}

// A document of some hundred bytes that stands for gigabytes, or one that is all brackets, takes neither the memory nor the
// time of the server.
func TestYAMLIsBounded(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("openapi: 3.0.1\ninfo: {title: a, version: '1'}\npaths: {}\na: &a [x,x,x,x,x,x,x,x,x]\n")
	for name := 'b'; name < 'l'; name++ {
		fmt.Fprintf(&bomb, "%c: &%c [%s*%c]\n", name, name, strings.Repeat(fmt.Sprintf("*%c,", name-1), 8), name-1)
	}
	for text, why := range map[string]string{
		bomb.String():                 "more than",
		"a: &a [*a]":                  "deeper than",
		strings.Repeat("[", 1<<20):    "max depth",
		strings.Repeat("- ", 1<<20):   "max depth",
		strings.Repeat("{a: ", 1<<20): "max depth",
		strings.Repeat("[", 2000) + strings.Repeat("]", 2000): "deeper than",
		"? [a, b]\n: c": "no text",
		"":              "no object",
	} {
		if _, err := Read([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60q: %.300v, want %q", text, err, why)
		}
	}
}
