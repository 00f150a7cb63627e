package eventpattern

import "slices"

// Pattern is a compiled pattern. It does not change: any number of goroutines may use it.
type Pattern struct{ root branch }

// branch is a pattern object: all of its members, and one branch of each of its choices, have to hold.
type branch struct {
	depth   int // how many names lead to it
	members []member
	choices [][]branch // the values of $or
}

// member is what a member of the document has to be: a branch if it is an object, otherwise one of the leaves.
type member struct {
	path   []string // of the document, down to this member's name
	object *branch
	leaves []leaf
}

func (m *member) name() string { return m.path[len(m.path)-1] }

// Match says whether the pattern lets the document pass.
func (p *Pattern) Match(d *Document) bool {
	m := matcher{Document: d, array: none}
	if len(d.values) == 0 {
		return false
	}
	return m.branch(&p.root, 0)
}

// Shape is what a pattern asks of one member of the document's top level.
type Shape int

// The shapes: sources treat records differently whose data is not what the pattern of their data asks for.
const (
	None   Shape = iota // the pattern says nothing about the member
	Plain               // a list of values
	Nested              // an object
)

// Shape says what the pattern asks of a member of the document's top level. A pattern that asks for both, in two
// choices of $or, is Nested.
func (p *Pattern) Shape(name string) Shape { return p.root.shape(name) }

func (b *branch) shape(name string) Shape {
	s := None
	for i := range b.members {
		if m := &b.members[i]; m.name() == name {
			if m.object != nil {
				return Nested
			}
			s = Plain
		}
	}
	for _, choice := range b.choices {
		for i := range choice {
			s = max(s, choice[i].shape(name))
		}
	}
	return s
}

// Without gives the pattern that asks nothing of a member of the document's top level, for records whose data cannot be
// held against it. A choice of $or that asks for nothing else then lets everything pass.
func (p *Pattern) Without(name string) *Pattern { return &Pattern{p.root.without(name)} }

func (b *branch) without(name string) branch {
	rest := branch{depth: b.depth, members: slices.DeleteFunc(slices.Clone(b.members), func(m member) bool { return m.name() == name })}
	for _, choice := range b.choices {
		others := make([]branch, 0, len(choice))
		for i := range choice {
			others = append(others, choice[i].without(name))
		}
		rest.choices = append(rest.choices, others)
	}
	return rest
}
