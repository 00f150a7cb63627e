package vtl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Input is what a template knows of a request, or of a backend's answer.
type Input struct {
	Body                []byte
	Path, Query, Header map[string]string
	Stage               map[string]string
	// Context is $context as an object, and Leaf what is not in it: identity.sourceIp.
	Context map[string]any
	Leaf    func(name string) string
	// Override takes what a template sets: responseOverride.status, requestOverride.header.NAME; nil: it sets nothing.
	Override func(name string, v string) error
}

// Vars are the variables of a request's template.
func (in *Input) Vars() map[string]any {
	return map[string]any{"input": &input{in: in}, "context": &context{in: in}, "stageVariables": stage(in.Stage), "util": util{}}
}

// input is $input.
type input struct {
	in     *Input
	parsed bool
	value  any
	spent  int // bytes that paths went through
}

// Get implements Object.
func (i *input) Get(name string) any {
	if name == "body" {
		return string(i.in.Body)
	}
	return nil
}

// Call implements Object.
func (i *input) Call(name string, args []any) (any, bool, error) {
	switch name + strconv.Itoa(len(args)) {
	case "json1":
		v, found, err := i.at(Text(args[0]))
		if !found {
			v = ""
		}
		return JSON(v), true, err
	case "path1":
		v, _, err := i.at(Text(args[0]))
		return v, true, err
	case "params0":
		m := NewMap()
		m.Put("path", MapOf(i.in.Path))
		m.Put("querystring", MapOf(i.in.Query))
		m.Put("header", MapOf(i.in.Header))
		return m, true, nil
	case "params1":
		return i.param(Text(args[0])), true, nil
	}
	return nil, false, nil
}

// param is looked for in the path, the query and the headers, in that order.
func (i *input) param(name string) string {
	for _, from := range []map[string]string{i.in.Path, i.in.Query, i.in.Header} {
		if v, is := from[name]; is {
			return v
		}
	}
	for k, v := range i.in.Header {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// at is what a path leads to in the body. A body that is no JSON is a text, and an empty one an empty object.
func (i *input) at(path string) (any, bool, error) {
	if !i.parsed {
		i.parsed = true
		switch v, err := ParseJSON(i.in.Body); {
		case len(i.in.Body) == 0:
			i.value = NewMap()
		case errors.Is(err, errNesting):
			return nil, false, err
		case err != nil:
			i.value = string(i.in.Body)
		default:
			i.value = v
		}
	}
	if i.spent += len(i.in.Body); i.spent > 8*maxMade {
		return nil, false, fmt.Errorf("%w: paths go through more than %d bytes; #set what $input.path('$') gives, and go on from there", ErrBounds, 8*maxMade)
	}
	return query(i.value, path)
}

// stage is $stageVariables.
type stage map[string]string

// Get implements Object.
func (s stage) Get(name string) any {
	if v, is := s[name]; is {
		return v
	}
	return nil
}

// Call implements Object.
func (s stage) Call(name string, args []any) (any, bool, error) {
	if name == "get" && len(args) == 1 {
		return s.Get(Text(args[0])), true, nil
	}
	v, is, err := mapCall(MapOf(s), name, args)
	return v, is, err
}

func mapCall(m *Map, name string, args []any) (any, bool, error) {
	v, is := mapMethod(m, name, args)
	return v, is, nil
}

// context is $context, or a part of it.
type context struct {
	in     *Input
	prefix string // identity.
	own    map[string]any
	part   bool
}

// Get implements Object. A name that nothing is known of may have names below it.
func (c *context) Get(name string) any {
	all := c.own
	if !c.part {
		all = c.in.Context
	}
	switch v := all[name].(type) {
	case map[string]any:
		return &context{c.in, c.prefix + name + ".", v, true}
	case nil:
	case string, bool, int64, float64:
		return v
	default:
		return fmt.Sprint(v)
	}
	if full := c.prefix + name; c.in.Leaf != nil && !strings.HasPrefix(full, "requestOverride") && !strings.HasPrefix(full, "responseOverride") {
		if v := c.in.Leaf(c.prefix + name); v != "" && v != "-" {
			return v
		}
	}
	return &context{c.in, c.prefix + name + ".", nil, true}
}

// Call implements Object.
func (c *context) Call(name string, args []any) (any, bool, error) {
	if name == "get" && len(args) == 1 {
		return c.Get(Text(args[0])), true, nil
	}
	if name == "toString" {
		return "", true, nil
	}
	return nil, false, nil
}

// Set implements Settable.
func (c *context) Set(name string, v any) error {
	if full := c.prefix + name; c.in.Override != nil && (strings.HasPrefix(full, "requestOverride.") || strings.HasPrefix(full, "responseOverride.")) {
		return c.in.Override(full, Text(v))
	}
	return fmt.Errorf("$context.%s%s cannot be set here", c.prefix, name)
}

// util is $util.
type util struct{}

// Get implements Object.
func (util) Get(string) any { return nil }

// Call implements Object.
func (util) Call(name string, args []any) (any, bool, error) {
	if len(args) != 1 {
		return nil, false, nil
	}
	s := Text(args[0])
	switch name {
	case "escapeJavaScript":
		return escaped(s), true, nil
	case "parseJson":
		v, err := ParseJSON([]byte(s))
		if err != nil {
			return nil, true, fmt.Errorf("$util.parseJson: %w", err)
		}
		return v, true, nil
	case "urlEncode":
		return url.QueryEscape(s), true, nil
	case "urlDecode":
		v, err := url.QueryUnescape(s)
		return v, true, err
	case "base64Encode":
		return base64.StdEncoding.EncodeToString([]byte(s)), true, nil
	case "base64Decode":
		v, err := base64.StdEncoding.DecodeString(s)
		return string(v), true, err
	}
	return nil, false, nil
}

var short = map[rune]string{'\'': `\'`, '"': `\"`, '\\': `\\`, '/': `\/`, '\b': `\b`, '\n': `\n`, '\t': `\t`, '\f': `\f`, '\r': `\r`}

// escaped is a text within quotes of JavaScript, as Apache's commons-lang 2 makes it, which API Gateway uses.
func escaped(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case short[c] != "":
			b.WriteString(short[c])
		case c >= 0x20 && c < 0x7f:
			b.WriteRune(c)
		default:
			for _, u := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&b, `\u%04X`, u)
			}
		}
	}
	return b.String()
}
