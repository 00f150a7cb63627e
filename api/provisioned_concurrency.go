package api

import (
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

// allocation describes how far a version's provisioned concurrency is. The environments are the state; nothing of it is stored.
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

// provisionTarget reads the published version of a request; of an operation that changes, or of one that reads.
func (c *call) provisionTarget(v *violations, latest string) (target, *function.Entry, *function.VersionRecord, error) {
	ref, qualifier := c.checkTarget(v, readNames, c.label)
	_, given := c.query("Qualifier")
	v.notNull("qualifier", !given)
	if err := v.err(); err != nil {
		return target{}, nil, nil, err
	}
	t, err := c.resolve(ref, qualifier)
	if err != nil {
		return t, nil, nil, err
	}
	e := c.s.view.Get(t.key)
	switch t.qualifier.Kind() {
	case function.QualifierLatest:
		return t, nil, nil, invalidParameter("%s", latest)
	case function.QualifierAlias: // there are none here
		return t, nil, nil, fail("ResourceNotFoundException", "Cannot find alias arn: %s", t.qualified())
	case function.QualifierNumber:
		if e != nil {
			if r := e.Version(t.qualifier.Number()); r != nil {
				return t, e, r, nil
			}
		}
	}
	return t, nil, nil, notFound(t.qualified())
}

// Of $LATEST. C-109.
const (
	unpublished  = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
	notPublished = "The function resource provided must be an alias or a published version."
)

var errNoProvision = fail("ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function")

// provision tells the pool what a function's versions want.
func (s *Server) provision(e *function.Entry) {
	for _, r := range e.Versions() {
		n := e.ProvisionedOf(r.Number)
		if v := e.Serving(r.Number); v != nil && n > 0 {
			s.Pool.Provision(v, n)
		}
	}
}
