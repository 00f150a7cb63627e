package openapi_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/gateway"
	"thaw/gateway/openapi"
	"thaw/internal/golden"
)

// counted makes IDs in a row.
func counted() func(int) string {
	n := 0
	return func(int) string { n++; return fmt.Sprintf("id%04d", n) }
}

func read(t *testing.T, text []byte) *openapi.Document {
	t.Helper()
	d, err := openapi.Read(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}

func shown(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A document is a definition, and what is exported of that, in every form, is the same one again.
func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		file  string
		kind  gateway.Kind
		forms []openapi.Form
	}{
		{"http.yaml", gateway.HTTP, []openapi.Form{{}, {YAML: true}}},
		{"rest.json", gateway.REST, []openapi.Form{{}, {YAML: true}, {Swagger: true}, {Swagger: true, YAML: true}}},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		a := &gateway.API{ID: "a", Kind: c.kind, Created: time.Unix(0, 0), APIKeySource: "HEADER"}
		s, warnings := read(t, text).Apply(&a.Draft, openapi.Options{Kind: c.kind, NewID: counted()})
		a.Name, a.Description, a.Version, a.Tags, a.MinCompression, a.Policy = s.Title, s.Description, s.Version, s.Tags, s.MinCompression, s.Policy
		stable(&a.Draft)
		first := shown(t, a.Draft)
		golden.Equal(t, filepath.Join("testdata", strings.TrimSuffix(c.file, filepath.Ext(c.file))+".golden"), first+"\n"+strings.Join(warnings, "\n")+"\n")
		for _, f := range c.forms {
			f.Extensions = true
			out, err := openapi.Export(a, &a.Draft, f)
			if err != nil {
				t.Fatal(err)
			}
			var again gateway.Definition
			settings, _ := read(t, out).Apply(&again, openapi.Options{Kind: c.kind, Old: &a.Draft, NewID: counted()})
			stable(&again)
			if got := shown(t, again); got != first {
				t.Errorf("%s exported as %+v and imported is another\n%s\n%s", c.file, f, got, out)
			}
			if got := shown(t, settings); got != shown(t, s) {
				t.Errorf("settings of %s by %+v: %s, want %s", c.file, f, got, shown(t, s))
			}
		}
	}
}

// stable takes out of schemas what differs in form alone: the order of their members.
func stable(d *gateway.Definition) {
	for _, m := range d.Models {
		var v any
		if json.Unmarshal([]byte(m.Schema), &v) == nil {
			b, _ := json.Marshal(v)
			m.Schema = string(b)
		}
	}
}

// A base path stands before all paths, or without its first part, or not at all.
func TestBasePath(t *testing.T) {
	const text = `{"openapi":"3.0.1","info":{"title":"a","version":"1"},"servers":[{"url":"https://example.org/prod/v1"}],"paths":{"/a":{"get":{"responses":{}}}}}`
	for how, want := range map[string]string{"ignore": "GET /a", "prepend": "GET /prod/v1/a", "split": "GET /v1/a", "": "GET /a"} {
		var d gateway.Definition
		read(t, []byte(text)).Apply(&d, openapi.Options{Kind: gateway.HTTP, BasePath: how, NewID: counted()})
		for _, r := range d.Routes {
			if r.Key != want {
				t.Errorf("%q: %s, want %s", how, r.Key, want)
			}
		}
	}
}

// What is no document is refused, and other files are not read.
func TestNoDocument(t *testing.T) {
	for _, text := range []string{"", "[]", "a: [", `{"openapi":"2"}`, `{"swagger":"2.0","paths":7}`,
		`{"openapi":"3.0.1","info":{"title":"a","version":"1"},"paths":{"/a":{"get":{"responses":{},"requestBody":{"$ref":"/etc/passwd"}}}}}`} {
		if d, err := openapi.Read([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, d)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, file := range []string{"http.yaml", "rest.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := openapi.Read(text)
		if err != nil {
			return
		}
		for _, kind := range []gateway.Kind{gateway.HTTP, gateway.REST} {
			a := &gateway.API{Kind: kind}
			d.Apply(&a.Draft, openapi.Options{Kind: kind, NewID: counted()})
			openapi.Export(a, &a.Draft, openapi.Form{Extensions: true}) //nolint:errcheck // that it ends is enough
		}
	})
}
