package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// SettingsFile is the file beside the code that says how its function is deployed.
const SettingsFile = "thaw.yaml"

// Settings is what the file says. What it leaves out, nil or empty here, is left as it is at the function.
type Settings struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Runtime     string `yaml:"runtime"`
	Handler     string `yaml:"handler"`
	Role        string `yaml:"role"`
	Memory      Number `yaml:"memory"`  // MiB
	Timeout     Number `yaml:"timeout"` // seconds
	Tmp         Number `yaml:"tmp"`     // MiB of /tmp

	Environment map[string]Text `yaml:"environment"` // all variables of the function
	Layers      []string        `yaml:"layers"`      // all layers: LAYER, LAYER:VERSION or an ARN
	Tags        map[string]Text `yaml:"tags"`        // set; others stay

	SnapStart   bool    `yaml:"snapstart"`   // publishes
	Publish     bool    `yaml:"publish"`     // a version
	Alias       string  `yaml:"alias"`       // leads to the version, so publishes one
	URL         *URL    `yaml:"url"`         // of the alias where there is one
	API         bool    `yaml:"api"`         // an HTTP API in front of it
	Concurrency *Number `yaml:"concurrency"` // reserved for the function
	Provisioned *Number `yaml:"provisioned"` // environments of the alias or the version
}

// URL is the function's URL. In the file it is also its auth alone.
type URL struct {
	Auth   string `yaml:"auth"`   // none or iam
	Stream *bool  `yaml:"stream"` // the response is streamed
	CORS   *CORS  `yaml:"cors"`
}

// CORS is who may call the URL from a web page of another origin.
type CORS struct {
	Origins     []string `yaml:"origins"`
	Methods     []string `yaml:"methods"`
	Headers     []string `yaml:"headers"`
	Expose      []string `yaml:"expose"`
	Credentials bool     `yaml:"credentials"`
	MaxAge      Number   `yaml:"maxage"` // seconds
}

// Auths are the ways in which a URL knows its callers.
var Auths = []string{"none", "iam"}

// Publishes says whether a version is published.
func (s *Settings) Publishes() bool { return s.Publish || s.SnapStart || s.Alias != "" }

// Validate finds settings that do not go together.
func (s *Settings) Validate() error {
	switch {
	case s.Provisioned != nil && !s.Publishes():
		return errors.New("provisioned concurrency needs a version: set publish or alias, too")
	case s.URL != nil && s.URL.Auth != "none" && s.URL.Auth != "iam":
		return fmt.Errorf("a URL's auth is none or iam, not %q", s.URL.Auth)
	}
	return nil
}

// Text is a scalar as it stands in the file: 1.50 and 007 are no numbers, but what a program reads from a variable.
type Text string

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (t *Text) UnmarshalYAML(n ast.Node) error {
	switch n := n.(type) {
	case *ast.StringNode:
		*t = Text(n.Value)
	case *ast.LiteralNode:
		*t = Text(n.Value.Value)
	case ast.ScalarNode:
		*t = Text(n.GetToken().Value)
	default:
		return &wrong{line(n), "must be a text"}
	}
	return nil
}

// Number is a whole number.
type Number int32

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (v *Number) UnmarshalYAML(n ast.Node) error {
	i, err := strconv.ParseInt(n.GetToken().Value, 0, 32)
	if _, is := n.(*ast.IntegerNode); !is || err != nil {
		return &wrong{line(n), "must be a whole number, not " + n.String()}
	}
	*v = Number(i)
	return nil
}

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (u *URL) UnmarshalYAML(decode func(any) error) error {
	if decode(&u.Auth) == nil {
		return nil
	}
	type plain URL
	return decode((*plain)(u))
}

// wrong is a value that cannot be taken.
type wrong struct {
	line int
	what string
}

func (w *wrong) Error() string { return w.what }

func line(n ast.Node) int { return n.GetToken().Position.Line }

// ReadSettings reads the file in a folder. Without one, nothing is set.
func ReadSettings(dir string) (s Settings, err error) {
	f, err := os.Open(filepath.Join(dir, SettingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer f.Close()
	d := yaml.NewDecoder(f, yaml.Strict())
	err = d.Decode(&s)
	if err == nil && d.Decode(new(any)) == nil {
		err = errors.New("it holds more than one document")
	}
	if err == nil {
		err = s.Validate()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return s, inFile(f.Name(), err)
	}
	return s, nil
}

// inFile says where in the file an error is, in words of the file.
func inFile(name string, err error) error {
	var (
		at      yaml.Error
		value   *wrong
		unknown *yaml.UnknownFieldError
		kind    *yaml.TypeError
	)
	switch {
	case errors.As(err, &value):
		return fmt.Errorf("%s:%d: the value %s", name, value.line, value.what)
	case errors.As(err, &unknown):
		err := fmt.Errorf("%s:%d: there is no key %s", name, unknown.Token.Position.Line, unknown.Token.Value)
		if unknown.Token.Position.Column == 1 {
			err = fmt.Errorf("%w; there are %s", err, strings.Join(keys(), ", "))
		}
		return err
	case errors.As(err, &kind):
		return fmt.Errorf("%s:%d: the value must be %s", name, kind.Token.Position.Line, called[kind.DstType.Kind()])
	case errors.As(err, &at):
		return fmt.Errorf("%s:%d: %s", name, at.GetToken().Position.Line, at.GetMessage())
	}
	return fmt.Errorf("%s: %w", name, err)
}

// called is what the kinds of values are called in messages.
var called = map[reflect.Kind]string{reflect.String: "a text", reflect.Bool: "true or false", reflect.Slice: "a list", reflect.Struct: "a list of keys and values",
	reflect.Map: "a list of keys and values"}

// keys are those of the file.
func keys() (list []string) {
	for f := range reflect.TypeFor[Settings]().Fields() {
		list = append(list, f.Tag.Get("yaml"))
	}
	return list
}
