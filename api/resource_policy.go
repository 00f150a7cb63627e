package api

import (
	"net/http"
	"strings"

	"thaw/controlplane"
	"thaw/function"
	"thaw/iam"
)

// resourcePattern is what the operations of whole policies take: the whole ARN of a function, a version or an alias.
const resourcePattern = `arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?`

var resourceRE = whole(resourcePattern)

// policyTarget reads the ARN of the path. Violations collected before are reported with its own.
func (c *call) policyTarget(v *violations) (t target, err error) {
	v.text("resourceArn", &c.label, 0, 256, resourceRE, resourcePattern)
	if err := v.err(); err != nil {
		return t, err
	}
	ref, err := function.ParseRead(c.label)
	if err != nil {
		return t, err
	}
	return c.resolve(ref, "")
}

type resourcePolicy struct{ Policy, RevisionId string }

// policyOf is the text of a resource's policy; empty: it has none.
func policyOf(r *function.Record, t *target) (string, error) {
	if text := r.Documents[t.qualifier]; text != "" {
		return text, nil
	}
	if len(r.Policies[t.qualifier]) == 0 {
		return "", nil
	}
	return policyText(r.Policies[t.qualifier], t.asNamed())
}

// GetResourcePolicy: GET /2026-07-09/resource-policy/{ResourceArn} -> 200. Supported: also for what AddPermission made.
func (c *call) getResourcePolicy() error {
	t, err := c.policyTarget(&violations{})
	if err != nil {
		return err
	}
	return c.showPolicy(&t)
}

// showPolicy answers with a resource's policy.
func (c *call) showPolicy(t *target) error {
	e := c.s.view.Get(t.key)
	if e == nil {
		return errNoPolicy
	}
	policy, err := policyOf(e.Record, t)
	switch {
	case err != nil:
		return err
	case policy == "":
		return errNoPolicy
	}
	return c.json(http.StatusOK, resourcePolicy{policy, controlplane.RevisionOf(e, t.qualifier)})
}

// PutResourcePolicy: PUT /2026-07-09/resource-policy/{ResourceArn} -> 200.
//
// Supported: any document that can be evaluated here; it is kept and given back as it came. Differs: no policy is too
// public (PublicPolicyException): nobody has said that there may be none.
func (c *call) putResourcePolicy() error {
	var in struct {
		Policy     *string
		RevisionId string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	v.notNull("policy", in.Policy == nil)
	t, err := c.policyTarget(&v)
	if err != nil {
		return err
	}
	if _, err := c.entry(t); err != nil {
		return err
	}
	policy, err := iam.Parse([]byte(*in.Policy), iam.Resource)
	if err != nil {
		return invalidParameter("The resource policy is invalid: %v", err)
	}
	for _, s := range policy.Statements {
		for _, a := range s.Actions {
			if a != "*" && !strings.HasPrefix(a, "lambda:") {
				return invalidParameter("The resource policy is invalid: the action %q is none of Lambda", a)
			}
		}
	}
	e, err := c.s.Plane.PutPolicy(c.r.Context(), t.key, t.qualifier, in.RevisionId, *in.Policy)
	if err != nil {
		return absent(err, t.arn())
	}
	return c.json(http.StatusOK, resourcePolicy{*in.Policy, controlplane.RevisionOf(e, t.qualifier)})
}

// DeleteResourcePolicy: DELETE /2026-07-09/resource-policy/{ResourceArn}?RevisionId= -> 204. Supported.
func (c *call) deleteResourcePolicy() error {
	t, err := c.policyTarget(&violations{})
	if err != nil {
		return err
	}
	if _, err := c.entry(t); err != nil {
		return err
	}
	revision, _ := c.query("RevisionId")
	if err := c.s.Plane.DeletePolicy(c.r.Context(), t.key, t.qualifier, revision); err != nil {
		return absent(err, t.arn())
	}
	return c.empty(http.StatusNoContent)
}
