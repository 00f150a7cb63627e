package vtl

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/theory/jsonpath"
	"github.com/theory/jsonpath/spec"
)

// plain is a value as the library of JSONPath wants it.
func plain(v any) any {
	switch v := v.(type) {
	case *Map:
		m := make(map[string]any, v.Len())
		for _, k := range v.Keys {
			m[k] = plain(v.values[k])
		}
		return m
	case *List:
		l := make([]any, len(v.Items))
		for i, one := range v.Items {
			l[i] = plain(one)
		}
		return l
	}
	return v
}

// dashRE finds names that API Gateway's JSONPath takes bare, and RFC 9535 does not: $.user-id.
var dashRE = regexp.MustCompile(`\.([A-Za-z_$][\w$]*(?:-[\w$]+)+)`)

func pathOf(text string) (*jsonpath.Path, error) {
	full := strings.TrimSpace(text)
	if !strings.HasPrefix(full, "$") {
		full = "$." + full
	}
	p, err := jsonpath.Parse(full)
	if err != nil {
		p, err = jsonpath.Parse(dashRE.ReplaceAllString(full, "['$1']"))
	}
	if err != nil {
		return nil, fmt.Errorf("the JSONPath %q: %w", text, err)
	}
	return p, nil
}

// query is what a path leads to: one value where it can lead to one alone, else a list. Members are in the order of the
// document.
func query(root any, text string) (any, bool, error) {
	if text == "$" || text == "" {
		return root, true, nil
	}
	p, err := pathOf(text)
	if err != nil {
		return nil, false, err
	}
	found := p.SelectLocated(plain(root))
	if p.Query().Singular() != nil {
		if len(found) == 0 {
			return nil, false, nil
		}
		return located(root, found[0].Path), true, nil
	}
	l := &List{Items: []any{}}
	for _, n := range inOrder(root, found) {
		l.Items = append(l.Items, located(root, n.Path))
	}
	return l, true, nil
}

// located follows a normalised path in a value that keeps its order.
func located(v any, path spec.NormalizedPath) any {
	for _, s := range path {
		switch s := s.(type) {
		case spec.Name:
			m, is := v.(*Map)
			if !is {
				return nil
			}
			v, _ = m.Get(string(s))
		case spec.Index:
			v = member(v, int64(s))
		}
	}
	return v
}

// inOrder sorts what was found by its place in the document: the library gives members of an object in any order.
func inOrder(root any, found jsonpath.LocatedNodeList) jsonpath.LocatedNodeList {
	numbers := map[*Map]map[string]int{}
	places := make(map[*spec.LocatedNode][]int, len(found))
	for _, n := range found {
		v := root
		for _, s := range n.Path {
			at := 0
			switch s := s.(type) {
			case spec.Name:
				m, is := v.(*Map)
				if !is {
					continue
				}
				if numbers[m] == nil {
					numbers[m] = make(map[string]int, m.Len())
					for i, k := range m.Keys {
						numbers[m][k] = i
					}
				}
				at = numbers[m][string(s)]
				v = m.values[string(s)]
			case spec.Index:
				at = int(s)
				v = member(v, int64(s))
			}
			places[n] = append(places[n], at)
		}
	}
	slices.SortStableFunc(found, func(a, b *spec.LocatedNode) int { return slices.Compare(places[a], places[b]) })
	return found
}
