package logpattern

// expr is a condition, or some of them joined: what both JSON and space-delimited patterns are made of. S is what is looked at.
type expr[S any] interface {
	holds(subject S) bool
}

type and[S any] []expr[S]

func (e and[S]) holds(subject S) bool {
	for _, part := range e {
		if !part.holds(subject) {
			return false
		}
	}
	return true
}

type or[S any] []expr[S]

func (e or[S]) holds(subject S) bool {
	for _, part := range e {
		if part.holds(subject) {
			return true
		}
	}
	return false
}

// maxNesting bounds the parentheses in parentheses; the service's bound is not known.
const maxNesting = 100

// either reads conditions joined by || and &&, of which && binds more; one reads a condition.
func either[S any](p *parser, depth int, one func(*parser) (expr[S], error)) (expr[S], error) {
	var parts or[S]
	for {
		part, err := both(p, depth, one)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if p.space(); !p.take("||") {
			break
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return parts, nil
}

func both[S any](p *parser, depth int, one func(*parser) (expr[S], error)) (expr[S], error) {
	var parts and[S]
	for {
		part, err := inner(p, depth, one)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if p.space(); !p.take("&&") {
			break
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return parts, nil
}

// inner is a condition, or an expression in parentheses.
func inner[S any](p *parser, depth int, one func(*parser) (expr[S], error)) (expr[S], error) {
	if p.space(); !p.take("(") {
		return one(p)
	}
	if depth == maxNesting {
		return nil, invalid("Invalid filter pattern: more than %d parentheses in each other", maxNesting)
	}
	e, err := either(p, depth+1, one)
	if err != nil {
		return nil, err
	}
	if p.space(); !p.take(")") {
		return nil, invalid("Invalid filter pattern: a parenthesis is not closed")
	}
	return e, nil
}
