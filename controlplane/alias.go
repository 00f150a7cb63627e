package controlplane

import (
	"context"
	"errors"
	"slices"
	"strings"

	"thaw/function"
)

// AliasSettings are what a customer sets about an alias, as far as said: a nil member keeps what is there.
type AliasSettings struct {
	Version     *function.VersionNumber
	Description *string
	Weights     *map[function.VersionNumber]float64 // of other versions; empty: none
}

// CreateAlias gives a version a name.
func (p *Plane) CreateAlias(ctx context.Context, k function.Key, name function.Qualifier, s AliasSettings) (*function.Entry, *function.Alias, error) {
	return p.changeAlias(ctx, k, name, func(e *function.Entry, was *function.Alias) (*function.Alias, error) {
		if e.Named(function.Qualifier(*s.Version)) == nil {
			return nil, noFunction(e.Record.ARN().Version(*s.Version))
		}
		if was != nil {
			return nil, refuse(Conflict, "Alias already exists: %s", e.Record.ARN().Qualified(name))
		}
		return &function.Alias{}, nil
	}, s)
}

// UpdateAlias changes an alias. With it go the provisioned environments that it has.
func (p *Plane) UpdateAlias(ctx context.Context, k function.Key, name function.Qualifier, revision string, s AliasSettings) (*function.Entry, *function.Alias, error) {
	return p.changeAlias(ctx, k, name, func(e *function.Entry, was *function.Alias) (*function.Alias, error) {
		if was == nil {
			return nil, refuse(NotFound, "Alias not found: %s", e.Record.ARN().Qualified(name))
		}
		return was, CheckRevision(revision, was.RevisionID)
	}, s)
}

// changeAlias makes or changes an alias: base says what the settings are laid over, or refuses.
func (p *Plane) changeAlias(ctx context.Context, k function.Key, name function.Qualifier,
	base func(*function.Entry, *function.Alias) (*function.Alias, error), s AliasSettings) (e *function.Entry, a *function.Alias, err error) {
	var was *function.Entry
	e, err = p.Change(ctx, k, func(now *function.Entry, r *function.Record) error {
		was = now
		from, err := base(now, now.Alias(name))
		if err != nil {
			return err
		}
		next := from.Clone()
		set(&next.Version, s.Version)
		set(&next.Description, s.Description)
		set(&next.Weights, s.Weights)
		if err := checkAlias(now, &next); err != nil {
			return err
		}
		next.RevisionID = newRevisionID()
		if r.Aliases == nil {
			r.Aliases = map[function.Qualifier]function.Alias{}
		}
		r.Aliases[name] = next
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	p.provision(was, e)
	return e, e.Alias(name), nil
}

// checkAlias refuses an alias that leads nowhere, in the order of the service.
func checkAlias(e *function.Entry, a *function.Alias) error {
	if e.Named(function.Qualifier(a.Version)) == nil {
		return noFunction(e.Record.ARN().Version(a.Version))
	}
	if len(a.Weights) > 1 {
		return invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
	}
	for n := range a.Weights {
		switch {
		case n == a.Version:
			return invalid("Invalid function version %s. Function version %s is already included in routing configuration.", n, n)
		case a.Version == function.Latest:
			return invalid("$LATEST is not supported for an alias pointing to more than 1 version")
		case e.Version(n.Int()) == nil:
			return noFunction(e.Record.ARN().Version(n))
		}
	}
	if len(a.Weights) == 0 {
		a.Weights = nil
	}
	return nil
}

func noFunction(arn function.ARN) *Refusal { return refuse(NotFound, "Function not found: %s", arn) }

// DeleteAlias takes a name away, and what belongs to it. One that is not there is no error.
func (p *Plane) DeleteAlias(ctx context.Context, k function.Key, name function.Qualifier) error {
	var was *function.Entry
	e, err := p.Change(ctx, k, func(now *function.Entry, r *function.Record) error {
		was = now
		if now.Alias(name) == nil {
			return errNothing
		}
		delete(r.Aliases, name)
		r.Forget(name)
		return nil
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err == nil {
		p.provision(was, e)
	}
	return err
}

// checkUnused refuses to delete a version that aliases name.
func checkUnused(r *function.Record, n function.VersionNumber) error {
	var names []string
	for name, a := range r.Aliases {
		if a.Uses(n) {
			names = append(names, string(name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return refuse(Conflict, "Unable to delete version because the following aliases reference it: [%s]", strings.Join(names, ", "))
}
