package vtl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"thaw/internal/plainjson"
)

// Values are nil, bool, string, int64, float64, json.Number (as it was written), *Map, *List and Objects.

// Map is a JSON object in the order in which its members came.
type Map struct {
	Keys   []string
	values map[string]any
}

// NewMap is an empty one.
func NewMap() *Map { return &Map{values: map[string]any{}} }

// MapOf is a map of texts, by its keys' order.
func MapOf(m map[string]string) *Map {
	made := NewMap()
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		made.Put(k, m[k])
	}
	return made
}

// Len is how many members there are.
func (m *Map) Len() int { return len(m.Keys) }

// Get is a member.
func (m *Map) Get(key string) (any, bool) {
	v, is := m.values[key]
	return v, is
}

// Put sets a member, and gives what it was.
func (m *Map) Put(key string, v any) any {
	old, is := m.values[key]
	if !is {
		m.Keys = append(m.Keys, key)
	}
	m.values[key] = v
	return old
}

// Remove takes a member out.
func (m *Map) Remove(key string) any {
	old, is := m.values[key]
	if is {
		delete(m.values, key)
		m.Keys = slices.DeleteFunc(m.Keys, func(k string) bool { return k == key })
	}
	return old
}

// List is a JSON array.
type List struct{ Items []any }

// maxNesting bounds values within values.
const maxNesting = 200

var errNesting = errors.New("JSON is nested too deep")

// ParseJSON reads a JSON value, and keeps the order of members and the form of numbers.
func ParseJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := decoded(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // as the decoder gives it
		return nil, errors.New("there is more behind the JSON value")
	}
	return v, nil
}

func decoded(d *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, errNesting
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		m := NewMap()
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decoded(d, depth+1)
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			m.Put(name, v)
		}
		_, err := d.Token()
		return m, err
	case json.Delim('['):
		l := &List{Items: []any{}}
		for d.More() {
			v, err := decoded(d, depth+1)
			if err != nil {
				return nil, err
			}
			l.Items = append(l.Items, v)
		}
		_, err := d.Token()
		return l, err
	}
	return t, nil
}

// JSON is a value as JSON.
func JSON(v any) string {
	var b strings.Builder
	writeJSON(&b, v, 0)
	return b.String()
}

func writeJSON(b *strings.Builder, v any, depth int) {
	if depth > 2*maxNesting || b.Len() > maxOutput { // it may be within itself
		b.WriteString("null")
		return
	}
	switch v := v.(type) {
	case *Map:
		b.WriteByte('{')
		for i, k := range v.Keys {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, k, depth)
			b.WriteByte(':')
			writeJSON(b, v.values[k], depth+1)
		}
		b.WriteByte('}')
	case *List:
		b.WriteByte('[')
		for i, one := range v.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, one, depth+1)
		}
		b.WriteByte(']')
	case string:
		b.Write(plainjson.Value(v))
	case nil:
		b.WriteString("null")
	default:
		b.WriteString(Text(v))
	}
}

// Text is a value as Velocity shows it: maps and lists as Java does.
func Text(v any) string {
	var b strings.Builder
	writeText(&b, v, 0)
	return b.String()
}

func writeText(b *strings.Builder, v any, depth int) {
	if depth > 2*maxNesting || b.Len() > maxOutput { // it may be within itself, more than once
		return
	}
	inside := func(v any) {
		if v == nil {
			b.WriteString("null")
			return
		}
		writeText(b, v, depth+1)
	}
	switch v := v.(type) {
	case string:
		b.WriteString(v)
	case json.Number:
		b.WriteString(v.String())
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(decimal(v))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case *Map:
		b.WriteByte('{')
		for i, k := range v.Keys {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(k + "=")
			inside(v.values[k])
		}
		b.WriteByte('}')
	case *List:
		b.WriteByte('[')
		for i, one := range v.Items {
			if i > 0 {
				b.WriteString(", ")
			}
			inside(one)
		}
		b.WriteByte(']')
	}
}

// decimal is a number as Java shows a double that is neither very large nor very small.
func decimal(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e7 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strings.ToUpper(strconv.FormatFloat(f, 'g', -1, 64))
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	return 0, false
}

func whole(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}

// index is a place in a list of n; from its end where it is negative.
func index(key any, n int) (int, bool) {
	i, is := whole(key)
	if !is {
		return 0, false
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}
