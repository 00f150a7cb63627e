package eventbridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// step is one step of a path: a member's name, an index, or all elements.
type step struct {
	name  string
	index int
	kind  stepKind
}

type stepKind uint8

const (
	member stepKind = iota
	element
	elements
)

var errPath = errors.New("a path is $ with names behind dots, and indices or * in brackets: $.detail.items[0].id")

// parsePath reads the part of JSONPath that EventBridge takes.
func parsePath(s string) ([]step, error) {
	rest, ok := strings.CutPrefix(s, "$")
	if !ok {
		return nil, errPath
	}
	var steps []step
	for rest != "" {
		switch {
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			name := rest[1:end]
			if name == "" || strings.ContainsAny(name, " \"'()?@,:]") {
				return nil, errPath
			}
			st := step{name: name}
			if name == "*" {
				st = step{kind: elements}
			}
			steps, rest = append(steps, st), rest[end:]
		case rest[0] == '[':
			inner, after, closed := strings.Cut(rest[1:], "]")
			if !closed {
				return nil, errPath
			}
			st, err := bracket(inner)
			if err != nil {
				return nil, err
			}
			steps, rest = append(steps, st), after
		default:
			return nil, errPath
		}
	}
	return steps, nil
}

func bracket(s string) (step, error) {
	if s == "*" {
		return step{kind: elements}, nil
	}
	if n := len(s); n > 2 && (s[0] == '\'' || s[0] == '"') && s[n-1] == s[0] {
		return step{name: s[1 : n-1]}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return step{}, errPath
	}
	return step{kind: element, index: n}, nil
}

// find is the text of what a path leads to; nil: it leads nowhere.
func find(event json.RawMessage, steps []step) json.RawMessage {
	if len(steps) == 0 {
		return bytes.TrimSpace(event)
	}
	st := steps[0]
	if st.kind == member {
		var o map[string]json.RawMessage
		if json.Unmarshal(event, &o) != nil || o[st.name] == nil {
			return nil
		}
		return find(o[st.name], steps[1:])
	}
	var list []json.RawMessage
	if json.Unmarshal(event, &list) != nil {
		return nil
	}
	if st.kind == element {
		if st.index >= len(list) {
			return nil
		}
		return find(list[st.index], steps[1:])
	}
	var found [][]byte
	for _, e := range list {
		if f := find(e, steps[1:]); f != nil {
			found = append(found, f)
		}
	}
	return append(append([]byte("["), bytes.Join(found, []byte(","))...), ']')
}
