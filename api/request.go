package api

import (
	"errors"

	"thaw/function"
)

// form is the body of a request. It checks its members by the rules of the service's framework.
type form interface{ check(*violations) }

// read is how operations about one function or version begin: the body is decoded, name, qualifier and members are checked
// together, and the target is resolved. It need not exist. in: nil when there is no body.
func (c *call) read(n names, in form) (target, error) {
	ref, qualifier, err := c.readForm(n, in)
	if err != nil {
		return target{}, err
	}
	return c.resolve(ref, qualifier)
}

// readFunction is read for operations that take no version.
func (c *call) readFunction(n names, in form) (target, error) {
	ref, _, err := c.readForm(n, in)
	if err != nil {
		return target{}, err
	}
	return c.resolveFunction(ref)
}

// readChecked is readFunction with a form that was decoded, or has no body.
func (c *call) readChecked(n names, in form) (target, error) {
	ref, _, err := c.checked(n, in)
	if err != nil {
		return target{}, err
	}
	return c.resolveFunction(ref)
}

func (c *call) readForm(n names, in form) (function.Reference, function.Qualifier, error) {
	if in != nil {
		if err := c.decode(in); err != nil {
			return function.Reference{}, "", err
		}
	}
	return c.checked(n, in)
}

// checked checks name, qualifier and a form that was decoded.
func (c *call) checked(n names, in form) (function.Reference, function.Qualifier, error) {
	var v violations
	ref, qualifier := c.checkTarget(&v, n, c.label)
	if in != nil {
		in.check(&v)
	}
	return ref, qualifier, v.err()
}

// resolveFunction is resolve for operations that take no version.
func (c *call) resolveFunction(ref function.Reference) (target, error) {
	t, err := c.resolve(ref, "")
	if err == nil && t.qualifier != "" {
		err = invalidParameter(functionsOnly)
	}
	return t, err
}

const functionsOnly = "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. " +
	"Please specify either a function name or an unqualified function ARN."

// entry is the function that an operation names.
func (c *call) entry(t target) (*function.Entry, error) {
	if e := c.s.view.Get(t.key); e != nil {
		return e, nil
	}
	return nil, notFound(t.arn())
}

// absent says which function is not there, where that is what a change ran into.
func absent(err error, arn function.ARN) error {
	if errors.Is(err, function.ErrNotFound) {
		return notFound(arn)
	}
	return err
}
