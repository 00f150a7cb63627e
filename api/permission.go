package api

import (
	"net/http"
	"regexp"
	"strings"

	"thaw/function"
	"thaw/internal/plainjson"
)

type addPermissionInput struct {
	StatementId, Action, Principal, SourceArn, SourceAccount, EventSourceToken, PrincipalOrgID, FunctionUrlAuthType *string
	InvokedViaFunctionUrl                                                                                           *bool
	RevisionId                                                                                                      string
}

// The patterns of AddPermission, as the model has them.
const (
	statementPattern = `([a-zA-Z0-9-_]+)`
	actionPattern    = `(lambda:[*]|lambda:[a-zA-Z]+|[*])`
	principalPattern = `[^\s]+`
	sourceARNPattern = `arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)`
	accountPattern   = `\d{12}`
	tokenPattern     = `[a-zA-Z0-9._\-]+`
	orgPattern       = `o-[a-z0-9]{10,32}`
	removePattern    = `([a-zA-Z0-9-_.]+)`
)

var (
	statementRE, actionRE, principalRE = whole(statementPattern), whole(actionPattern), whole(principalPattern)
	sourceARNRE, accountRE, tokenRE    = whole(sourceARNPattern), whole(accountPattern), whole(tokenPattern)
	orgRE, removeRE                    = whole(orgPattern), whole(removePattern)
)

func (in *addPermissionInput) check(v *violations) {
	for _, m := range []struct {
		name     string
		value    *string
		min, max int
		re       *regexp.Regexp
		pattern  string
		required bool
	}{
		{"statementId", in.StatementId, 1, 100, statementRE, statementPattern, true},
		{"action", in.Action, 0, -1, actionRE, actionPattern, true},
		{"principal", in.Principal, 0, -1, principalRE, principalPattern, true},
		{"sourceArn", in.SourceArn, 0, -1, sourceARNRE, sourceARNPattern, false},
		{"sourceAccount", in.SourceAccount, 0, 12, accountRE, accountPattern, false},
		{"eventSourceToken", in.EventSourceToken, 0, 256, tokenRE, tokenPattern, false},
		{"principalOrgID", in.PrincipalOrgID, 12, 34, orgRE, orgPattern, false},
	} {
		v.notNull(m.name, m.required && m.value == nil)
		v.text(m.name, m.value, m.min, m.max, m.re, m.pattern)
	}
	v.oneOf("functionUrlAuthType", in.FunctionUrlAuthType, "NONE", "AWS_IAM")
}

func (in *addPermissionInput) permission(partition string) (function.Permission, error) {
	p := function.Permission{ID: *in.StatementId, Action: *in.Action, SourceARN: text(in.SourceArn), SourceAccount: text(in.SourceAccount),
		EventToken: text(in.EventSourceToken), Organisation: text(in.PrincipalOrgID), URLAuthType: text(in.FunctionUrlAuthType), ViaURL: in.InvokedViaFunctionUrl}
	switch who := *in.Principal; {
	case strings.HasSuffix(who, ".amazonaws.com"):
		p.Service = who
	case accountRE.MatchString(who):
		p.Principal = "arn:" + partition + ":iam::" + who + ":root"
	case strings.HasPrefix(who, "arn:"):
		p.Principal = who
	case who == "*":
		p.Anybody = true
	default:
		return p, invalidParameter("The provided principal was invalid. Please check the principal and try again.")
	}
	return p, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// AddPermission: POST /2015-03-31/functions/{FunctionName}/policy?Qualifier= -> 201. Supported.
func (c *call) addPermission() error {
	var in addPermissionInput
	t, err := c.read(readNames, &in)
	if err != nil {
		return err
	}
	if t.qualifier == function.Latest {
		return invalidParameter("We currently do not support adding policies for $LATEST.")
	}
	e, err := c.entry(t)
	if err != nil {
		if t.qualifier.Kind() == function.QualifierAlias {
			return noAlias(t.qualified())
		}
		return err
	}
	p, err := in.permission(e.Record.Partition)
	if err != nil {
		return err
	}
	size := func(r *function.Record, list []function.Permission) int {
		s, _ := policyText(list, r.ARN().Qualified(t.qualifier)) //nolint:errcheck // texts only
		return len(s)
	}
	b, err := plainjson.Marshal(statementOf(&p, t.asNamed()))
	if err != nil {
		return err
	}
	if _, err := c.s.Plane.AddPermission(c.r.Context(), t.key, t.qualifier, in.RevisionId, p, b, size); err != nil {
		return absent(err, t.arn())
	}
	return c.json(http.StatusCreated, struct{ Statement string }{string(b)})
}

var errNoPolicy = fail("ResourceNotFoundException", "The resource you requested does not exist.")

// GetPolicy: GET /2015-03-31/functions/{FunctionName}/policy?Qualifier= -> 200. Supported.
func (c *call) getPolicy() error {
	t, err := c.read(readNames, nil)
	if err != nil {
		return err
	}
	return c.showPolicy(&t)
}

// removePermissionInput is what RemovePermission says in its path and query.
type removePermissionInput struct{ statement string }

func (in removePermissionInput) check(v *violations) {
	v.text("statementId", &in.statement, 1, 100, removeRE, removePattern)
}

// RemovePermission: DELETE /2015-03-31/functions/{FunctionName}/policy/{StatementId}?Qualifier=&RevisionId= -> 204. Supported.
func (c *call) removePermission() error {
	ref, qualifier, err := c.checked(readNames, removePermissionInput{c.labels[1]})
	if err != nil {
		return err
	}
	t, err := c.resolve(ref, qualifier)
	if err != nil {
		return err
	}
	if c.s.view.Get(t.key) == nil {
		return fail("ResourceNotFoundException", "No policy found for: %s", t.arn())
	}
	revision, _ := c.query("RevisionId")
	if err := c.s.Plane.RemovePermission(c.r.Context(), t.key, t.qualifier, revision, c.labels[1]); err != nil {
		return absent(err, t.arn())
	}
	return c.empty(http.StatusNoContent)
}
