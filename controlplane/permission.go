package controlplane

import (
	"context"
	"slices"

	"thaw/function"
)

// maxPolicy is how long a policy may be, in bytes of its text.
const maxPolicy = 20480

// AddPermission adds a statement to the policy of a function (q empty), or of one of its versions or aliases. revision,
// where said, must be that of what the policy is of. statement is its text, size says how long the text of a policy is.
func (p *Plane) AddPermission(ctx context.Context, k function.Key, q function.Qualifier, revision string, add function.Permission,
	statement []byte, size func(*function.Record, []function.Permission) int) (*function.Entry, error) {
	return p.changePolicy(ctx, k, q, func(e *function.Entry, r *function.Record) error {
		if q == function.Latest {
			return errLatestPolicy
		}
		if err := checkNamed(e, q); err != nil {
			return err
		}
		if err := checkPolicyRevision(e, q, revision); err != nil {
			return err
		}
		if r.Documents[q] != "" {
			return addToDocument(r, q, add.ID, statement)
		}
		has := func(s function.Permission) bool { return s.ID == add.ID }
		if slices.ContainsFunc(r.Policies[q], has) {
			return statementExists(add.ID)
		}
		next := append(slices.Clone(r.Policies[q]), add)
		if n := size(r, next); n > maxPolicy {
			return policyTooLong(n)
		}
		if r.Policies == nil {
			r.Policies = map[function.Qualifier][]function.Permission{}
		}
		r.Policies[q] = next
		return nil
	})
}

// RemovePermission takes a statement away. The last one takes the policy with it.
func (p *Plane) RemovePermission(ctx context.Context, k function.Key, q function.Qualifier, revision, id string) error {
	_, err := p.changePolicy(ctx, k, q, func(e *function.Entry, r *function.Record) error {
		if err := checkNamed(e, q); err != nil {
			return err
		}
		if r.Documents[q] != "" {
			if err := checkPolicyRevision(e, q, revision); err != nil {
				return err
			}
			return removeFromDocument(r, q, id)
		}
		was := r.Policies[q]
		if len(was) == 0 {
			return errNoPolicy
		}
		next := slices.DeleteFunc(slices.Clone(was), func(s function.Permission) bool { return s.ID == id })
		if len(next) == len(was) {
			return noStatement(id)
		}
		if err := checkPolicyRevision(e, q, revision); err != nil {
			return err
		}
		if r.Policies[q] = next; len(next) == 0 {
			delete(r.Policies, q)
		}
		return nil
	})
	return err
}

var errLatestPolicy = invalid("We currently do not support adding policies for $LATEST.")

func statementExists(id string) *Refusal {
	return refuse(Conflict, "The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", id)
}

func noStatement(id string) *Refusal {
	return refuse(NotFound, "Statement %s is not found in resource policy.", id)
}

func policyTooLong(n int) *Refusal {
	return refuse(PolicyTooLong, "The final policy size (%d) is bigger than the limit (%d).", n, maxPolicy)
}

// changePolicy changes a policy and gives what it is of a new RevisionId, as the service does.
func (p *Plane) changePolicy(ctx context.Context, k function.Key, q function.Qualifier, f func(*function.Entry, *function.Record) error) (*function.Entry, error) {
	ctx, cancel := p.writing(ctx)
	defer cancel()
	return p.Change(ctx, k, func(e *function.Entry, r *function.Record) error {
		if err := f(e, r); err != nil {
			return err
		}
		switch v := e.Version(q.Number()); {
		case e.Alias(q) != nil:
			a := r.Aliases[q]
			a.RevisionID = newRevisionID()
			r.Aliases[q] = a
		case v != nil:
			next := *v
			next.RevisionID = newRevisionID()
			return p.Store.PutVersion(ctx, k, r.Incarnation, &next)
		default:
			r.Latest.RevisionID = newRevisionID()
		}
		return nil
	})
}

// RevisionOf is the RevisionId of a function (q empty), version or alias.
func RevisionOf(e *function.Entry, q function.Qualifier) string {
	if a := e.Alias(q); a != nil {
		return a.RevisionID
	}
	if v := e.Named(q); v != nil {
		return v.RevisionID
	}
	return ""
}

func checkPolicyRevision(e *function.Entry, q function.Qualifier, want string) error {
	if want != "" && want != RevisionOf(e, q) {
		return refuse(Stale, "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id")
	}
	return nil
}

// checkNamed refuses a qualifier that names nothing.
func checkNamed(e *function.Entry, q function.Qualifier) error {
	switch arn := e.Record.ARN().Qualified(q); {
	case e.Named(q) != nil:
		return nil
	case q.Kind() == function.QualifierAlias:
		return refuse(NotFound, "Cannot find alias arn: %s", arn)
	default:
		return noFunction(arn)
	}
}
