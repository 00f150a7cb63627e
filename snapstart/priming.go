package snapstart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"thaw/execenv"
	"thaw/function"
	"thaw/snapshot"
)

// primes are the events that the policy which counts now wants invoked before the next snapshot of a version is taken, in order.
func (s *Service) primes(ctx context.Context, l *life, v *function.Version) ([]execenv.Prime, error) {
	s.mu.Lock()
	policy := l.policy()
	s.mu.Unlock()
	if len(policy.Prime) == 0 {
		return nil, nil
	}
	code, release, err := s.o.Environments.Code(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("code of %s: %w", v.ARN(), err)
	}
	defer release()
	var out []execenv.Prime
	for _, p := range policy.Prime {
		event := []byte(p.Event)
		if p.File != "" {
			if event, err = eventFile(code, p.File); err != nil {
				return nil, &execenv.PrimingError{Event: p.Name, Nth: 1, Of: p.Count, ErrorType: "Runtime.NotPrimed", Message: err.Error()}
			}
		}
		for n := range p.Count {
			out = append(out, execenv.Prime{Name: p.Name, Nth: n + 1, Of: p.Count, Event: event})
		}
	}
	return out, nil
}

// eventFile reads an event from the function's code. A link in the code leads nowhere outside of it.
func eventFile(code, name string) ([]byte, error) {
	root, err := os.OpenRoot(code)
	if err != nil {
		return nil, fmt.Errorf("code: %w", err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not in the function's code", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", name)
	}
	defer f.Close()
	event, err := io.ReadAll(io.LimitReader(f, snapshot.MaxEventBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read", name)
	case len(event) > snapshot.MaxEventBytes:
		return nil, fmt.Errorf("%s is larger than %d bytes", name, snapshot.MaxEventBytes)
	case !json.Valid(event):
		return nil, fmt.Errorf("%s is not JSON", name)
	}
	return event, nil
}
