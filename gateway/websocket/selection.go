package websocket

import (
	"strings"

	"github.com/tidwall/gjson"

	"thaw/gateway"
)

// defaultKey is the route of messages that no other is for.
const defaultKey = "$default"

// Selection is what a route selection expression is evaluated over.
type Selection struct {
	Body      []byte
	Variables map[string]string // of the stage
	Context   map[string]string // connectionId and the like
}

// Select evaluates an expression: text with $name and ${name} in it. Empty: something is missing, or the body is no JSON
// where that is asked. Source: API Gateway Developer Guide, "WebSocket API route selection expressions" and "WebSocket API
// mapping expressions".
func (s *Selection) Select(expression string) string {
	var out strings.Builder
	for rest := expression; rest != ""; {
		text, after, found := strings.Cut(rest, "$")
		out.WriteString(strings.TrimSuffix(text, `\`))
		if !found {
			break
		}
		if strings.HasSuffix(text, `\`) { // \$ is a dollar
			out.WriteByte('$')
			rest = after
			continue
		}
		var name string
		if braced, ok := strings.CutPrefix(after, "{"); ok {
			if name, rest, ok = strings.Cut(braced, "}"); !ok {
				return ""
			}
		} else {
			end := strings.IndexFunc(after, func(r rune) bool { return !nameRune(r) })
			if end < 0 {
				end = len(after)
			}
			name = strings.TrimRight(after[:end], ".") // a dot at the end is text
			rest = after[len(name):]
		}
		value, ok := s.value(name)
		if !ok {
			return ""
		}
		out.WriteString(value)
	}
	return out.String()
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.[]", r)
}

func (s *Selection) value(name string) (string, bool) {
	kind, key, _ := strings.Cut(name, ".")
	switch kind {
	case "request":
		place, path, _ := strings.Cut(key, ".")
		if place != "body" || !gjson.ValidBytes(s.Body) {
			return "", false
		}
		if path == "" {
			return string(s.Body), true
		}
		v := gjson.GetBytes(s.Body, jsonPath(path))
		if !v.Exists() || v.Type == gjson.JSON || v.Type == gjson.Null {
			return "", false
		}
		return v.String(), true
	case "stageVariables":
		v, ok := s.Variables[key]
		return v, ok
	case "context":
		v, ok := s.Context[key]
		return v, ok
	}
	return "", false
}

// jsonPath is a path as gjson has it: a.b[0] is a.b.0, and no sign but the dot means more than itself.
func jsonPath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; c {
		case '[':
			b.WriteByte('.')
		case ']':
		case '*', '?', '|', '#', '@', '!', '{', '}', '=', '<', '>', '%', '"', '\\', '(', ')', '~', ':', ',', '\'', '$':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// routeFor is the route of a message; nil: there is none for it.
func routeFor(d *gateway.Definition, s *Selection) *gateway.Route {
	if key := s.Select(d.RouteSelection); key != "" && key[0] != '$' { // nobody sends $connect
		if r := routeOf(d, key); r != nil {
			return r
		}
	}
	return routeOf(d, defaultKey)
}

// routeOf is the route with a key; nil: there is none.
func routeOf(d *gateway.Definition, key string) *gateway.Route {
	for _, r := range d.Routes {
		if r.Key == key {
			return r
		}
	}
	return nil
}
