package eventpattern

// none is the index of a value that is not there.
const none int32 = -1

// matcher holds one document against one pattern.
type matcher struct {
	*Document
	// The outermost array that the matcher is in, and how deep in the pattern it stands: a member is absent only if no
	// element of it has the member.
	array int32
	depth int
}

func (m *matcher) branch(b *branch, at int32) bool {
	if len(b.members)+len(b.choices) == 0 {
		return true
	}
	if at != none && m.values[at].kind == array {
		return m.elements(b, at)
	}
	if at != none && m.values[at].kind != object {
		at = none
	}
	for i := range b.members {
		if !m.member(&b.members[i], at) {
			return false
		}
	}
	for _, choice := range b.choices {
		if !m.choice(choice, at) {
			return false
		}
	}
	return true
}

// elements holds a branch against an array: it must hold as a whole for one element.
func (m *matcher) elements(b *branch, at int32) bool {
	inner := *m
	if m.array == none {
		inner.array, inner.depth = at, b.depth
	}
	end := m.values[at].next
	if end == at+1 {
		return m.branch(b, none) // of an empty array every member is absent
	}
	for i := at + 1; i < end; i = m.values[i].next {
		if inner.branch(b, i) {
			return true
		}
	}
	return false
}

func (m *matcher) choice(choice []branch, at int32) bool {
	for i := range choice {
		if m.branch(&choice[i], at) {
			return true
		}
	}
	return false
}

func (m *matcher) member(p *member, of int32) bool {
	at := none
	if of != none {
		at = m.Document.member(of, p.name())
	}
	if p.object != nil {
		return m.branch(p.object, at)
	}
	if m.leaves(p, at) {
		return true
	}
	if !p.mayBeAbsent() || at != none && m.exists(at) {
		return false
	}
	return m.array == none || !m.has(m.array, p.path[m.depth:])
}

// leaves says whether one of the leaves holds for a value, or for an element of it if it is an array.
func (m *matcher) leaves(p *member, at int32) bool {
	if at == none {
		return false
	}
	v := &m.values[at]
	switch v.kind {
	case object:
		return false
	case array:
		for i := at + 1; i < v.next; i = m.values[i].next {
			if m.leaves(p, i) {
				return true
			}
		}
		return false
	}
	for i := range p.leaves {
		if p.leaves[i].holds(m.Document, v) {
			return true
		}
	}
	return false
}

// exists says whether a value is a leaf, or an array with one in it.
func (m *matcher) exists(at int32) bool {
	v := &m.values[at]
	if v.kind != array {
		return v.kind != object
	}
	for i := at + 1; i < v.next; i = m.values[i].next {
		if m.exists(i) {
			return true
		}
	}
	return false
}

// has says whether a path leads to something that exists, by whichever elements of arrays.
func (m *matcher) has(at int32, path []string) bool {
	v := &m.values[at]
	switch {
	case len(path) == 0:
		return m.exists(at)
	case v.kind == array:
		for i := at + 1; i < v.next; i = m.values[i].next {
			if m.has(i, path) {
				return true
			}
		}
	case v.kind == object:
		if i := m.Document.member(at, path[0]); i != none {
			return m.has(i, path[1:])
		}
	}
	return false
}

func (m *member) mayBeAbsent() bool {
	for i := range m.leaves {
		if m.leaves[i].test == isAbsent {
			return true
		}
	}
	return false
}
