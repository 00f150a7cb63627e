package eventpattern

import (
	"errors"
	"fmt"
	"slices"
)

// Compile reads a pattern. The error says what is wrong with it, and of which member; how the caller's callers are told
// differs from service to service.
func Compile(source []byte) (*Pattern, error) {
	d, err := Parse(source)
	if err != nil {
		return nil, errors.New("it is not valid JSON")
	}
	if !d.IsObject() {
		return nil, errors.New("it is not an object")
	}
	c := compiler{d}
	b, err := c.branch(0, nil)
	if err != nil {
		return nil, err
	}
	return &Pattern{*b}, nil
}

// compiler makes a pattern of the document that it is written in.
type compiler struct{ *Document }

// children are the values directly inside of one.
func (c compiler) children(at int32) []int32 {
	var all []int32
	for i := at + 1; i < c.values[at].next; i = c.values[i].next {
		all = append(all, i)
	}
	return all
}

func (c compiler) key(at int32) string {
	v := &c.values[at]
	if v.keyEscaped {
		return c.unescape(v.keyStart, v.keyEnd)
	}
	return string(c.source[v.keyStart:v.keyEnd])
}

func (c compiler) branch(at int32, path []string) (*branch, error) {
	b := &branch{depth: len(path)}
	children := c.children(at)
	if len(children) == 0 {
		return nil, fmt.Errorf("%s is an empty object", where(path))
	}
	for _, child := range children {
		name := c.key(child)
		if c.member(at, name) != child {
			continue // a later one has the same name
		}
		below := append(slices.Clone(path), name)
		if name == "$or" && c.isChoice(child) {
			choice, err := c.choice(child, path)
			if err != nil {
				return nil, err
			}
			b.choices = append(b.choices, choice)
			continue
		}
		m := member{path: below}
		var err error
		switch c.values[child].kind {
		case object:
			m.object, err = c.branch(child, below)
		case array:
			m.leaves, err = c.leaves(child, below)
		default:
			err = fmt.Errorf("%s is neither an object nor a list", where(below))
		}
		if err != nil {
			return nil, err
		}
		b.members = append(b.members, m)
	}
	return b, nil
}

// isChoice tells $or from a member that happens to have this name: a choice is among objects that are no operators.
func (c compiler) isChoice(at int32) bool {
	if c.values[at].kind != array || len(c.children(at)) == 0 {
		return false
	}
	return !slices.ContainsFunc(c.children(at), func(i int32) bool {
		if c.values[i].kind != object {
			return true
		}
		inner := c.children(i)
		return len(inner) == 1 && operators[c.key(inner[0])] != nil
	})
}

func (c compiler) choice(at int32, path []string) ([]branch, error) {
	var all []branch
	for _, i := range c.children(at) {
		b, err := c.branch(i, path)
		if err != nil {
			return nil, err
		}
		all = append(all, *b)
	}
	return all, nil
}

func (c compiler) leaves(at int32, path []string) ([]leaf, error) {
	var all []leaf
	for _, i := range c.children(at) {
		l, err := c.leaf(i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where(path), err)
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s is an empty list", where(path))
	}
	return all, nil
}

func (c compiler) leaf(at int32) (leaf, error) {
	switch c.values[at].kind {
	case array:
		return leaf{}, errors.New("a list in a list")
	case object:
		children := c.children(at)
		if len(children) != 1 {
			return leaf{}, errors.New("an operator is an object with one member")
		}
		name := c.key(children[0])
		operator := operators[name]
		if operator == nil {
			return leaf{}, fmt.Errorf("unknown operator %q", name)
		}
		l, err := operator(c, children[0])
		if err != nil {
			return leaf{}, fmt.Errorf("%s %w", name, err)
		}
		return l, nil
	}
	return c.literal(at), nil
}

func (c compiler) literal(at int32) leaf {
	v := &c.values[at]
	return leaf{test: isLiteral, kind: v.kind, text: string(c.string(v))}
}

func where(path []string) string {
	if len(path) == 0 {
		return "the pattern"
	}
	s := fmt.Sprintf("member %q", path[len(path)-1])
	if len(path) > 1 {
		s += fmt.Sprintf(" of %q", path[:len(path)-1])
	}
	return s
}
