package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"thaw/internal/plainjson"
	"thaw/layer"
)

type addLayerPermissionInput struct{ StatementId, Action, Principal, OrganizationId *string }

func (in *addLayerPermissionInput) check(v *violations) {
	v.notNull("statementId", in.StatementId == nil)
	v.text("statementId", in.StatementId, 1, 100, statementRE, statementPattern)
	v.notNull("action", in.Action == nil)
	if in.Action != nil && *in.Action != getLayerVersion {
		v.add(quoted(*in.Action), "action", patternRule(getLayerVersion))
	}
	v.notNull("principal", in.Principal == nil)
	v.text("principal", in.Principal, 0, -1, layerPrincipalRE, layerPrincipalPattern)
	v.text("organizationId", in.OrganizationId, 0, 34, orgRE, orgPattern)
}

var errStaleLayerPolicy = fail("PreconditionFailedException",
	"The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id")

// layerStatement is a statement as policies show it.
type layerStatement struct {
	Sid, Effect string
	Principal   any
	Action      string
	Resource    string
	Condition   any `json:",omitempty"`
}

func shownStatement(r *layer.Record, v *layer.Version, s *layer.Statement) layerStatement {
	out := layerStatement{Sid: s.ID, Effect: "Allow", Principal: s.Principal, Action: getLayerVersion, Resource: r.VersionARN(v.Number)}
	switch {
	case s.Principal == "*":
	case strings.HasPrefix(s.Principal, "arn:"):
		out.Principal = map[string]string{"AWS": s.Principal}
	default:
		out.Principal = map[string]string{"AWS": "arn:" + r.Partition + ":iam::" + s.Principal + ":root"}
	}
	if s.Organization != "" {
		out.Condition = map[string]map[string]string{"StringEquals": {"aws:PrincipalOrgID": s.Organization}}
	}
	return out
}

// AddLayerVersionPermission: POST /2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy?RevisionId= -> 201. Supported.
func (c *call) addLayerVersionPermission() error {
	var in addLayerPermissionInput
	t, err := c.readLayerVersion(&in)
	if err != nil {
		return err
	}
	s := layer.Statement{ID: *in.StatementId, Principal: *in.Principal}
	if in.OrganizationId != nil {
		s.Organization = *in.OrganizationId
	}
	v, err := c.changeLayerPolicy(t, func(v *layer.Version) error {
		if slices.ContainsFunc(v.Statements, func(o layer.Statement) bool { return o.ID == s.ID }) {
			return fail("ResourceConflictException", "The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", s.ID)
		}
		if err := c.checkLayerRevision(v); err != nil {
			return err
		}
		v.Statements = append(v.Statements, s)
		return nil
	})
	if err != nil {
		return err
	}
	text, err := plainjson.Marshal(shownStatement(c.s.Plane.Layers.Get(t.Key), v, &s))
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, struct{ Statement, RevisionId string }{string(text), v.PolicyRevision})
}

// RemoveLayerVersionPermission: DELETE .../policy/{StatementId}?RevisionId= -> 204. Supported.
func (c *call) removeLayerVersionPermission() error {
	t, err := c.readLayerVersion(nil)
	if err != nil {
		return err
	}
	id := c.labels[2]
	var bad violations
	bad.text("statementId", &id, 1, 100, statementRE, statementPattern)
	if err := bad.err(); err != nil {
		return err
	}
	_, err = c.changeLayerPolicy(t, func(v *layer.Version) error {
		if err := c.checkLayerRevision(v); err != nil {
			return err
		}
		n := len(v.Statements)
		v.Statements = slices.DeleteFunc(v.Statements, func(s layer.Statement) bool { return s.ID == id })
		if len(v.Statements) == n {
			return fail("ResourceNotFoundException", "Statement %s is not found in resource policy.", id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// GetLayerVersionPolicy: GET /2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy -> 200. Supported.
func (c *call) getLayerVersionPolicy() error {
	t, err := c.readLayerVersion(nil)
	if err != nil {
		return err
	}
	r, v, err := c.layerVersion(t, noLayer(t))
	if err != nil {
		return err
	}
	if len(v.Statements) == 0 {
		return fail("ResourceNotFoundException", "No policy is associated with the given resource.")
	}
	policy := struct {
		Version, Id string
		Statement   []layerStatement
	}{Version: "2012-10-17", Id: "default"}
	for i := range v.Statements {
		policy.Statement = append(policy.Statement, shownStatement(r, v, &v.Statements[i]))
	}
	text, err := plainjson.Marshal(policy)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct{ Policy, RevisionId string }{string(text), v.PolicyRevision})
}

func noLayer(t layerTarget) string { return "Layer version " + t.arn() + " does not exist." }

// checkLayerRevision refuses a change of a policy whose sender knows an older one.
func (c *call) checkLayerRevision(v *layer.Version) error {
	if id, ok := c.query("RevisionId"); ok && id != v.PolicyRevision {
		return errStaleLayerPolicy
	}
	return nil
}

func (c *call) changeLayerPolicy(t layerTarget, f func(v *layer.Version) error) (*layer.Version, error) {
	v, err := c.s.Plane.Layers.ChangePolicy(c.r.Context(), t.Key, t.number, f)
	if errors.Is(err, layer.ErrNotFound) {
		return nil, fail("ResourceNotFoundException", "%s", noLayer(t))
	}
	return v, err
}
