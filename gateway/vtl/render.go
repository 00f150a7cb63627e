package vtl

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of rendering. Source: "Amazon API Gateway quotas": 1,000 rounds of #foreach; the others are ours.
const (
	maxSteps  = 200_000
	maxRounds = 1000
	maxOutput = 10 << 20 // bytes: what an answer may have
	maxMade   = 32 << 20 // bytes of all texts on the way
)

// ErrBounds says that a template does or makes more than it may.
var ErrBounds = errors.New("the template goes beyond its bounds")

// Object is a value with members of its own: $input, $util.
type Object interface {
	// Get is a member; nil: there is none.
	Get(name string) any
	// Call calls a method. known is false: there is none of that name.
	Call(name string, args []any) (v any, known bool, err error)
}

// Settable is an Object whose members a template may set.
type Settable interface {
	Set(name string, v any) error
}

// Render renders a template with its variables. Errors: ErrBounds, and what methods of objects say.
func (t *Template) Render(vars map[string]any) (string, error) {
	r := &run{vars: make(map[string]any, len(vars)+8)}
	for name, v := range vars {
		r.vars[name] = v
	}
	var b strings.Builder
	if _, err := r.nodes(t.nodes, &b); err != nil {
		return "", err
	}
	return b.String(), nil
}

// run is one rendering.
type run struct {
	vars  map[string]any
	steps int
	made  int // bytes
	depth int
}

// after says how nodes ended.
type after int

const (
	goOn after = iota
	leaveLoop
	leaveAll
)

func (r *run) step() error {
	if r.steps++; r.steps > maxSteps {
		return fmt.Errorf("%w: more than %d steps", ErrBounds, maxSteps)
	}
	return nil
}

// charge counts what is made.
func (r *run) charge(n int) error {
	if r.made += n; r.made > maxMade {
		return fmt.Errorf("%w: more than %d bytes are made", ErrBounds, maxMade)
	}
	return nil
}

func (r *run) nodes(all []node, b *strings.Builder) (after, error) {
	for _, n := range all {
		if err := r.step(); err != nil {
			return goOn, err
		}
		end, err := r.node(n, b)
		if err != nil || end != goOn {
			return end, err
		}
		if b.Len() > maxOutput {
			return goOn, fmt.Errorf("%w: more than %d bytes come out", ErrBounds, maxOutput)
		}
	}
	return goOn, nil
}

func (r *run) node(n node, b *strings.Builder) (after, error) {
	switch n := n.(type) {
	case text:
		b.WriteString(string(n))
	case *reference:
		s, err := r.shown(n)
		if err != nil {
			return goOn, err
		}
		b.WriteString(s)
	case set:
		v, err := r.value(n.value)
		if err != nil {
			return goOn, err
		}
		return goOn, r.set(n.to, v)
	case conditional:
		for _, one := range n {
			is := one.condition == nil
			if !is {
				v, err := r.value(one.condition)
				if err != nil {
					return goOn, err
				}
				is = truth(v)
			}
			if is {
				return r.nodes(one.body, b)
			}
		}
	case loop:
		return r.loop(n, b)
	case breakLoop:
		return leaveLoop, nil
	case stop:
		return leaveAll, nil
	}
	return goOn, nil
}

// shown is a reference as text. One whose variable was never set stays as it was written, as Velocity has it; one that
// is null is nothing, as API Gateway has it.
func (r *run) shown(ref *reference) (string, error) {
	if _, is := r.vars[ref.name]; !is {
		if ref.quiet {
			return "", nil
		}
		return ref.source, nil
	}
	v, err := r.value(ref)
	if err != nil {
		return "", err
	}
	s := Text(v)
	return s, r.charge(len(s))
}

// position is $foreach.
type position struct {
	index, count int // of rounds that were, and that there are
	parent       any
}

// Get implements Object.
func (p *position) Get(name string) any {
	switch name {
	case "index":
		return int64(p.index)
	case "count":
		return int64(p.index + 1)
	case "hasNext":
		return p.index+1 < p.count
	case "first":
		return p.index == 0
	case "last":
		return p.index+1 == p.count
	case "parent":
		return p.parent
	}
	return nil
}

// Call implements Object.
func (p *position) Call(name string, _ []any) (any, bool, error) {
	v := p.Get(name)
	return v, v != nil, nil
}

func (r *run) loop(l loop, b *strings.Builder) (after, error) {
	v, err := r.value(l.over)
	if err != nil {
		return goOn, err
	}
	all := members(v)
	if err := r.charge(len(all)); err != nil {
		return goOn, err
	}
	outer, was := r.vars["foreach"]
	old, had := r.vars[l.name]
	defer func() {
		restore(r.vars, "foreach", outer, was)
		restore(r.vars, l.name, old, had)
		delete(r.vars, "velocityCount")
	}()
	for i, v := range all {
		if i == maxRounds {
			return goOn, fmt.Errorf("%w: more than %d rounds of #foreach", ErrBounds, maxRounds)
		}
		r.vars["foreach"], r.vars[l.name], r.vars["velocityCount"] = &position{i, len(all), outer}, v, int64(i+1)
		end, err := r.nodes(l.body, b)
		if err != nil || end == leaveAll {
			return end, err
		}
		if end == leaveLoop {
			break
		}
	}
	return goOn, nil
}

func restore(vars map[string]any, name string, v any, is bool) {
	if is {
		vars[name] = v
	} else {
		delete(vars, name)
	}
}

// members are what a loop goes through: of a map its values, as Velocity has it.
func members(v any) []any {
	switch v := v.(type) {
	case *List:
		return v.Items
	case *Map:
		all := make([]any, 0, v.Len())
		for _, k := range v.Keys {
			all = append(all, v.values[k])
		}
		return all
	}
	return nil
}

func (r *run) set(to *reference, v any) error {
	if len(to.steps) == 0 {
		r.vars[to.name] = v
		return nil
	}
	in, err := r.walk(to.name, to.steps[:len(to.steps)-1])
	if err != nil {
		return err
	}
	last := to.steps[len(to.steps)-1]
	var key any = last.name
	if last.index != nil {
		if key, err = r.value(last.index); err != nil {
			return err
		}
	}
	switch in := in.(type) {
	case *Map:
		in.Put(Text(key), v)
	case *List:
		if i, is := index(key, len(in.Items)); is {
			in.Items[i] = v
		}
	case Settable:
		return in.Set(Text(key), v)
	}
	return nil
}
