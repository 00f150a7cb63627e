package pushtest

import (
	"context"
	"errors"
	"strings"
	"sync"

	"thaw/async"
	"thaw/invoke"
	"thaw/outbox"
	"thaw/push"
)

// Sinks note what functions and targets elsewhere are sent.
type Sinks struct {
	mu      sync.Mutex
	invoked []push.Delivery
	letters []outbox.Letter
}

// Accept is push.Functions', by the functions' names: denied, none and full refuse.
func (s *Sinks) Accept(_ context.Context, d *push.Delivery) (string, error) {
	switch name := d.Function.Unqualified(); {
	case strings.HasSuffix(string(name), ":denied"):
		return "", &push.NotAllowedError{Function: d.Function, Service: d.Service, Source: d.Source}
	case strings.HasSuffix(string(name), ":none"):
		return "", &invoke.NotFoundError{ARN: d.Function}
	case strings.HasSuffix(string(name), ":full"):
		return "", async.ErrFull
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invoked = append(s.invoked, *d)
	return d.RequestID, nil
}

// Take gives what came since the last time.
func (s *Sinks) Take() (invoked []push.Delivery, letters []outbox.Letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	invoked, letters = s.invoked, s.letters
	s.invoked, s.letters = nil, nil
	return invoked, letters
}

// Letters is the outbox of Sinks: what goes to a name that ends with full is refused.
type Letters struct{ *Sinks }

// Accept is outbox.Outbox's.
func (l Letters) Accept(_ context.Context, x *outbox.Letter) error {
	if strings.HasSuffix(x.To, "full") {
		return errors.New("the disk is full")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.letters = append(l.letters, *x)
	return nil
}
