package eventpattern

import (
	"fmt"
	"slices"
	"sync"
)

// Index holds a document against many patterns at once. Most patterns ask for one of a few strings somewhere, a source, a
// type or an id: each stands in a bucket of one such string, and a document is held against the patterns of the buckets
// that its own strings name. Where a pattern could stand in several it takes what fewest others have taken.
//
// Any number of goroutines may use it. The zero value is empty.
type Index[T comparable] struct {
	mu      sync.RWMutex
	paths   map[string]*path[T] // by their names, quoted
	loose   []entry[T]          // patterns that ask for no string
	entries map[T]entry[T]
}

// path is one place in documents, and the patterns that ask for a string there.
type path[T comparable] struct {
	names   []string
	buckets map[string][]entry[T]
	n       int
}

type entry[T comparable] struct {
	key     T
	pattern *Pattern
	path    string   // where it stands; of a loose one empty
	names   []string // the same
	strings []string // its buckets
}

// newPathCosts is how many patterns in one bucket are as bad as a place more that is looked up in every document.
const newPathCosts = 8

// Set has a pattern found under a key, instead of the one before.
func (x *Index[T]) Set(key T, p *Pattern) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(key)
	if x.entries == nil {
		x.entries, x.paths = map[T]entry[T]{}, map[string]*path[T]{}
	}
	best, least := entry[T]{key: key, pattern: p}, -1
	for _, m := range p.root.strings(nil) {
		name := fmt.Sprintf("%q", m.names)
		cost := newPathCosts
		if there := x.paths[name]; there != nil {
			cost = 0
			for _, s := range m.strings {
				cost = max(cost, len(there.buckets[s]))
			}
		}
		if least < 0 || cost < least {
			best.path, best.names, best.strings, least = name, m.names, m.strings, cost
		}
	}
	x.entries[key] = best
	if least < 0 {
		x.loose = append(x.loose, best)
		return
	}
	there := x.paths[best.path]
	if there == nil {
		there = &path[T]{names: best.names, buckets: map[string][]entry[T]{}}
		x.paths[best.path] = there
	}
	there.n++
	for _, s := range best.strings {
		there.buckets[s] = append(there.buckets[s], best)
	}
}

// Remove takes a pattern out.
func (x *Index[T]) Remove(key T) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(key)
}

func (x *Index[T]) remove(key T) {
	e, there := x.entries[key]
	if !there {
		return
	}
	delete(x.entries, key)
	same := func(o entry[T]) bool { return o.key == key }
	if e.strings == nil {
		x.loose = slices.DeleteFunc(x.loose, same)
		return
	}
	p := x.paths[e.path]
	for _, s := range e.strings {
		if p.buckets[s] = slices.DeleteFunc(p.buckets[s], same); len(p.buckets[s]) == 0 {
			delete(p.buckets, s)
		}
	}
	if p.n--; p.n == 0 {
		delete(x.paths, e.path)
	}
}

// Match are the keys of the patterns that let a document pass, each once, in no order.
func (x *Index[T]) Match(d *Document) []T {
	if len(d.values) == 0 {
		return nil
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found []T
	try := func(list []entry[T], again bool) {
		for i := range list {
			if list[i].pattern.Match(d) && (!again || !slices.Contains(found, list[i].key)) {
				found = append(found, list[i].key)
			}
		}
	}
	try(x.loose, false)
	var texts []string
	for _, p := range x.paths {
		texts = d.texts(0, p.names, texts[:0])
		slices.Sort(texts) // an array may have many, and the same one often
		for i, s := range slices.Compact(texts) {
			try(p.buckets[s], i > 0)
		}
	}
	return found
}

// texts appends each string that a path leads to, by whichever elements of arrays.
func (d *Document) texts(at int32, names []string, all []string) []string {
	v := &d.values[at]
	switch {
	case v.kind == array:
		for i := at + 1; i < v.next; i = d.values[i].next {
			all = d.texts(i, names, all)
		}
	case len(names) == 0:
		if v.kind == text {
			all = append(all, string(d.string(v)))
		}
	case v.kind == object:
		if i := d.member(at, names[0]); i != none {
			all = d.texts(i, names[1:], all)
		}
	}
	return all
}

// asked is a place at which a pattern asks for one of some strings.
type asked struct{ names, strings []string }

// strings are the places at which every document that passes has one of some strings.
func (b *branch) strings(all []asked) []asked {
	for i := range b.members {
		m := &b.members[i]
		if m.object != nil {
			all = m.object.strings(all)
			continue
		}
		a := asked{names: m.path}
		for j := range m.leaves {
			if l := &m.leaves[j]; l.test == isLiteral && l.kind == text {
				if !slices.Contains(a.strings, l.text) {
					a.strings = append(a.strings, l.text)
				}
				continue
			}
			a.strings = nil
			break
		}
		if a.strings != nil {
			all = append(all, a)
		}
	}
	return all
}
