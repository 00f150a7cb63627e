package openapi

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Bounds of a document in YAML: aliases can make gigabytes of a line, and values can be within each other without end.
const (
	maxValues  = 1 << 20
	maxNesting = 1000
)

// readYAML reads a document in YAML into what encoding/json would make of the same.
func readYAML(text []byte) (any, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	c := &converter{}
	return c.value(&n, 0)
}

type converter struct{ values int }

func (c *converter) value(n *yaml.Node, depth int) (any, error) {
	if c.values++; c.values > maxValues {
		return nil, fmt.Errorf("it has more than %d values, with what its aliases stand for", maxValues)
	}
	if depth > maxNesting {
		return nil, fmt.Errorf("it has values within each other deeper than %d", maxNesting)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return c.value(n.Content[0], depth)
	case yaml.AliasNode:
		return c.value(n.Alias, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, one := range n.Content {
			v, err := c.value(one, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		return c.object(n, depth)
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null", "!!bool", "!!int", "!!float":
			var v any
			err := n.Decode(&v)
			return v, err
		}
		return n.Value, nil // dates, too, are texts in JSON
	}
	return nil, nil // an empty document
}

// object is a mapping. Its keys are texts, as 200 of responses is in JSON; what << merges gives way to its own members.
func (c *converter) object(n *yaml.Node, depth int) (any, error) {
	m, merged := make(map[string]any, len(n.Content)/2), map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		v, err := c.value(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("line %d: a key is no text", key.Line)
		case key.ShortTag() != "!!merge":
			m[key.Value] = v
			continue
		}
		list, is := v.([]any)
		if !is {
			list = []any{v}
		}
		for _, one := range list {
			from, is := one.(map[string]any)
			if !is {
				return nil, errors.New("<< merges mappings alone")
			}
			for k, v := range from { // the first of a list wins
				if _, there := merged[k]; !there {
					merged[k] = v
				}
			}
		}
	}
	for k, v := range merged {
		if _, own := m[k]; !own {
			m[k] = v
		}
	}
	return m, nil
}
