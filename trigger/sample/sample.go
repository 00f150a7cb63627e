// Package sample has an event of every source that functions can have, to try a handler with. It is pure.
//
// Each is a file of events/SOURCE/TYPE.tmpl: lines that begin with # say what it is and what can be set in it, the rest
// is a template of JSON.
//
//	# An object was written
//	# bucket: example-bucket | name of the bucket
//	{"Records":[{"s3":{"bucket":{"name":"{{.bucket}}"}, ...
//
// A value is escaped where it stands inside a string of JSON. {{base64 .body}}, {{url .key}} and {{gzip ...}} encode it.
package sample

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"sync"
	"text/template"

	"thaw/internal/plainjson"
)

//go:embed events
var files embed.FS

// Sample is one kind of event.
type Sample struct {
	Source, Type string // s3, put
	Short        string // what happened
	Settings     []Setting
	text         string // of the template
}

// Setting is what can be set in an event.
type Setting struct{ Name, Default, Help string }

// value is what is set. As it is printed it may stand inside a string of JSON.
type value string

// String is the value without what ends a string of JSON.
func (v value) String() string {
	quoted := plainjson.Value(string(v))
	return string(quoted[1 : len(quoted)-1])
}

var functions = template.FuncMap{
	"base64": func(v value) string { return base64.StdEncoding.EncodeToString([]byte(v)) },
	"url":    func(v value) string { return strings.ReplaceAll(url.QueryEscape(string(v)), "%2F", "/") },
	"path":   func(v value) value { return "/" + value(strings.TrimPrefix(string(v), "/")) },
	"md5":    func(v value) string { sum := md5.Sum([]byte(v)); return hex.EncodeToString(sum[:]) }, //nolint:gosec // what services call a checksum
	// json is a value that is JSON itself.
	"json": func(v value) (string, error) {
		if !json.Valid([]byte(v)) {
			return "", fmt.Errorf("%q is no JSON", string(v))
		}
		return string(v), nil
	},
	"length": func(v value) int { return len(v) },
	// bytes is a list of signed bytes, as Kafka's headers are given.
	"bytes": func(v value) string {
		var list []string
		for _, b := range []byte(v) {
			list = append(list, fmt.Sprint(int8(b))) //nolint:gosec // they are signed
		}
		return strings.Join(list, ",")
	},
	// gzip packs a template's own text, as log groups send it.
	"gzip": func(text string) (string, error) {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(text)); err != nil {
			return "", err
		}
		err := w.Close()
		return base64.StdEncoding.EncodeToString(b.Bytes()), err
	},
}

var all = sync.OnceValues(func() (list []*Sample, err error) {
	err = fs.WalkDir(files, "events", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		s, err := parse(path.Base(path.Dir(name)), strings.TrimSuffix(path.Base(name), ".tmpl"), string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, s)
		return nil
	})
	return list, err
})

// All are the samples, by source and type.
func All() []*Sample {
	list, err := all()
	if err != nil { // they are part of this program: TestSamples
		panic(err)
	}
	return list
}

func parse(source, typ, text string) (*Sample, error) {
	s := &Sample{Source: source, Type: typ}
	for strings.HasPrefix(text, "#") {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		if s.Short == "" {
			s.Short = line
			continue
		}
		head, help, ok := strings.Cut(line, " | ")
		name, def, _ := strings.Cut(head, ": ")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not NAME: DEFAULT | HELP", line)
		}
		s.Settings = append(s.Settings, Setting{strings.TrimSuffix(name, ":"), def, help})
	}
	s.text = text
	return s, nil
}

// Event is the sample with what is set; what is not has its default. It is indented JSON.
func (s *Sample) Event(set map[string]string) ([]byte, error) {
	values := map[string]value{}
	for _, f := range s.Settings {
		values[strings.ReplaceAll(f.Name, "-", "_")] = value(f.Default)
	}
	for name, v := range set {
		key := strings.ReplaceAll(name, "-", "_")
		if _, ok := values[key]; !ok {
			return nil, fmt.Errorf("%s %s has no setting %s", s.Source, s.Type, name)
		}
		values[key] = value(v)
	}
	t, err := template.New(s.Source + "/" + s.Type).Funcs(functions).Option("missingkey=error").Parse(s.text)
	if err != nil {
		return nil, err
	}
	var b, out bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return nil, err
	}
	if err := json.Indent(&out, bytes.TrimSpace(b.Bytes()), "", "  "); err != nil {
		return nil, fmt.Errorf("%s %s is no JSON with these settings: %w", s.Source, s.Type, err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
