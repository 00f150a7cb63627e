package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thaw/function"
)

// ErrNoEventInvoke says that a qualifier has no configuration of asynchronous invocations.
var ErrNoEventInvoke = errors.New("no configuration of asynchronous invocations")

// DestinationError refuses a destination. The texts are the service's.
type DestinationError struct{ Text string }

func (e *DestinationError) Error() string { return e.Text }

// PutEventInvoke sets how asynchronous invocations of a qualifier are treated, by edit of what is set; it begins with
// nothing unless merge. Errors: function.ErrNotFound for the function and for the qualifier, ErrNoEventInvoke when there
// is nothing to merge with, *DestinationError.
func (p *Plane) PutEventInvoke(ctx context.Context, k function.Key, q function.Qualifier, merge bool, edit func(*function.EventInvoke)) (c function.EventInvoke, err error) {
	if q == "" {
		q = function.Latest
	}
	_, err = p.Change(ctx, k, func(e *function.Entry, r *function.Record) error {
		if e.Named(q) == nil {
			return function.ErrNotFound
		}
		was, there := r.EventInvoke[q]
		if merge && !there {
			return ErrNoEventInvoke
		}
		if c = (function.EventInvoke{}); merge {
			c = was
		}
		edit(&c)
		if err := p.checkDestinations(k, &c); err != nil {
			return err
		}
		c.Modified = p.Now()
		if r.EventInvoke == nil {
			r.EventInvoke = map[function.Qualifier]function.EventInvoke{}
		}
		r.EventInvoke[q] = c
		return nil
	})
	return c, err
}

// DeleteEventInvoke removes it. Errors: function.ErrNotFound, ErrNoEventInvoke.
func (p *Plane) DeleteEventInvoke(ctx context.Context, k function.Key, q function.Qualifier) error {
	if q == "" {
		q = function.Latest
	}
	_, err := p.Change(ctx, k, func(_ *function.Entry, r *function.Record) error {
		if _, ok := r.EventInvoke[q]; !ok {
			return ErrNoEventInvoke
		}
		delete(r.EventInvoke, q)
		return nil
	})
	return err
}

// destinationServices can be destinations, buckets of failures only. Source: Lambda Developer Guide, asynchronous
// invocation, "Adding a destination".
var destinationServices = []string{"sqs", "sns", "events", "lambda"}

// checkDestinations refuses what nobody can be told at. C-098.
func (p *Plane) checkDestinations(k function.Key, c *function.EventInvoke) error {
	valid := true
	for _, to := range []string{c.OnSuccess, c.OnFailure} {
		if to == "" {
			continue
		}
		parts := strings.SplitN(to, ":", 6)
		of := ""
		if len(parts) == 6 {
			of = parts[2]
		}
		switch {
		case of == "lambda":
			ref, err := function.ParseRead(to)
			at := function.Key{Account: ref.Account, Region: ref.Region, Name: ref.Name}
			if e := p.view.Get(at); err != nil || e == nil || e.Named(ref.Qualifier) == nil {
				return &DestinationError{fmt.Sprintf("The destination ARN %s is invalid.", to)}
			}
			if at == k {
				return &DestinationError{"You can't specify the function as a destination for itself."}
			}
		case slices.Contains(destinationServices, of):
		case of == "s3" && to == c.OnFailure && to != c.OnSuccess:
		default:
			valid = false
		}
	}
	if valid {
		return nil
	}
	part := func(name, arn string) string {
		if arn == "" {
			return "null"
		}
		return name + "(destination=" + arn + ")"
	}
	return &DestinationError{fmt.Sprintf("The provided destination config DestinationConfig(onSuccess=%s, onFailure=%s) is invalid.",
		part("OnSuccess", c.OnSuccess), part("OnFailure", c.OnFailure))}
}
