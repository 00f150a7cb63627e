package api

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"thaw/controlplane"
	"thaw/function"
	"thaw/pool"
)

// provisionedConcurrency is what the operations of provisioned concurrency answer.
type provisionedConcurrency struct {
	FunctionArn                              function.ARN `json:",omitempty"` // in lists
	RequestedProvisionedConcurrentExecutions int
	AvailableProvisionedConcurrentExecutions int
	AllocatedProvisionedConcurrentExecutions int
	Status                                   string
	StatusReason                             string `json:",omitempty"`
	LastModified                             string
}

// allocation describes how far provisioned concurrency is. The environments are the state; nothing of it is stored.
func allocation(p function.Provision, a pool.Allocation) provisionedConcurrency {
	out := provisionedConcurrency{RequestedProvisionedConcurrentExecutions: p.Requested, AvailableProvisionedConcurrentExecutions: a.Allocated,
		AllocatedProvisionedConcurrentExecutions: a.Allocated, Status: "IN_PROGRESS", LastModified: timestamp(p.Modified)}
	switch {
	case a.Allocated >= p.Requested:
		out.Status = "READY"
	case a.Failure != "":
		out.Status, out.StatusReason = "FAILED", a.Failure
	}
	return out
}

type provisionInput struct{ ProvisionedConcurrentExecutions *int }

func (in *provisionInput) check(v *violations) {
	v.notNull("provisionedConcurrentExecutions", in.ProvisionedConcurrentExecutions == nil)
	v.number("provisionedConcurrentExecutions", in.ProvisionedConcurrentExecutions, 1, 0)
}

// qualifierRequired is the form of the operations whose Qualifier must be given, around the body of one.
type qualifierRequired struct {
	c    *call
	body form
}

func (q qualifierRequired) check(v *violations) {
	if _, given := q.c.query("Qualifier"); !given {
		v.notNull("qualifier", true)
	}
	if q.body != nil {
		q.body.check(v)
	}
}

// provisionTarget reads the version or alias of a request. latest is what is said of $LATEST.
func (c *call) provisionTarget(body form, latest string) (target, *function.Entry, error) {
	if body != nil {
		if err := c.decode(body); err != nil {
			return target{}, nil, err
		}
	}
	ref, qualifier, err := c.checked(readNames, qualifierRequired{c, body})
	if err != nil {
		return target{}, nil, err
	}
	t, err := c.resolve(ref, qualifier)
	if err != nil {
		return t, nil, err
	}
	e := c.s.view.Get(t.key)
	switch t.qualifier.Kind() {
	case function.QualifierLatest:
		return t, nil, invalidParameter("%s", latest)
	case function.QualifierAlias:
		if e == nil || e.Alias(t.qualifier) == nil {
			return t, nil, noAlias(t.qualified())
		}
		return t, e, nil
	}
	if e == nil || e.Named(t.qualifier) == nil {
		return t, nil, notFound(t.qualified())
	}
	return t, e, nil
}

func noAlias(arn function.ARN) *Error {
	return fail("ResourceNotFoundException", "Cannot find alias arn: %s", arn)
}

// Of $LATEST. C-109.
const (
	unpublished  = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
	notPublished = "The function resource provided must be an alias or a published version."
)

// PutProvisionedConcurrencyConfig: PUT /2019-09-30/functions/{FunctionName}/provisioned-concurrency?Qualifier= -> 202.
// Supported.
//
// Differs: with SnapStart, unless the server is strict.
func (c *call) putProvisionedConcurrencyConfig() error {
	var in provisionInput
	t, _, err := c.provisionTarget(&in, unpublished)
	if err != nil {
		return err
	}
	p, before, err := c.s.Plane.Provision(c.r.Context(), t.key, t.qualifier, *in.ProvisionedConcurrentExecutions)
	if err != nil {
		return absent(err, t.qualified())
	}
	out := allocation(p, before)
	out.Status, out.StatusReason = "IN_PROGRESS", ""
	return c.json(http.StatusAccepted, out)
}

// GetProvisionedConcurrencyConfig: GET /2019-09-30/functions/{FunctionName}/provisioned-concurrency?Qualifier= -> 200.
// Supported.
func (c *call) getProvisionedConcurrencyConfig() error {
	t, e, err := c.provisionTarget(nil, notPublished)
	if err != nil {
		return err
	}
	p, ok := e.Record.Provisioned[t.qualifier]
	if !ok {
		return controlplane.ErrNoProvision
	}
	return c.json(http.StatusOK, allocation(p, c.s.Plane.Allocation(e, t.qualifier)))
}

// DeleteProvisionedConcurrencyConfig: DELETE /2019-09-30/functions/{FunctionName}/provisioned-concurrency?Qualifier= ->
// 204. Supported: the environments become ordinary ones, and go when they are idle for long enough.
func (c *call) deleteProvisionedConcurrencyConfig() error {
	t, _, err := c.provisionTarget(nil, notPublished)
	if err != nil {
		return err
	}
	if err := c.s.Plane.Unprovision(c.r.Context(), t.key, t.qualifier); err != nil {
		return absent(err, t.qualified())
	}
	return c.empty(http.StatusNoContent)
}

// ListProvisionedConcurrencyConfigs: GET
// /2019-09-30/functions/{FunctionName}/provisioned-concurrency?List=ALL&Marker=&MaxItems= -> 200. Supported: versions
// ascending, then aliases by name.
func (c *call) listProvisionedConcurrencyConfigs() error {
	p, e, err := c.readList("provisioned")
	if err != nil {
		return err
	}
	order := func(a, b function.Qualifier) int {
		return cmp.Or(cmp.Compare(a.Kind(), b.Kind()), cmp.Compare(a.Number(), b.Number()), cmp.Compare(a, b))
	}
	items := func(yield func(function.Qualifier) bool) {
		for _, q := range slices.SortedFunc(maps.Keys(e.Record.Provisioned), order) {
			if (p.after == "" || order(q, function.Qualifier(p.after)) > 0) && !yield(q) {
				return
			}
		}
	}
	var out struct {
		ProvisionedConcurrencyConfigs []provisionedConcurrency
		NextMarker                    string `json:",omitempty"`
	}
	out.ProvisionedConcurrencyConfigs, out.NextMarker = cut(p, items, func(q function.Qualifier) string { return string(q) },
		func(q function.Qualifier) provisionedConcurrency {
			one := allocation(e.Record.Provisioned[q], c.s.Plane.Allocation(e, q))
			one.FunctionArn = e.Record.ARN().Qualified(q)
			return one
		})
	return c.json(http.StatusOK, out)
}
