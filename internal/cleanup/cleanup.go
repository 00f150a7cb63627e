// Package cleanup undoes half-built things in reverse.
package cleanup

import "errors"

// Stack is a list of undo steps. The zero value is empty. It belongs to one goroutine.
type Stack struct{ steps []func() error }

// Add puts a step on top.
func (s *Stack) Add(undo func() error) { s.steps = append(s.steps, undo) }

// Run calls the steps, last one first, each once, and joins their errors. A second Run has nothing to do.
func (s *Stack) Run() error {
	var errs []error
	for i := len(s.steps) - 1; i >= 0; i-- {
		errs = append(errs, s.steps[i]())
	}
	s.steps = nil
	return errors.Join(errs...)
}

// Keep forgets the steps: what was built stays.
func (s *Stack) Keep() { s.steps = nil }
