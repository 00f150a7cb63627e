package eventbridge

import (
	"encoding/json"
	"slices"

	"thaw/iam"
	"thaw/internal/plainjson"
	"thaw/internal/shape"
)

// policy is the policy of a bus, as PutPermission makes it.
type policy struct {
	Version   string
	Statement []json.RawMessage
}

type statement struct {
	Sid       string
	Effect    string
	Principal any
	Action    string
	Resource  string
	Condition any `json:",omitempty"`
}

func (b *Bus) policy() policy {
	p := policy{Version: "2012-10-17"}
	json.Unmarshal(b.Policy, &p) //nolint:errcheck // none, or what was put
	return p
}

// without takes a statement out.
func (p *policy) without(id string) (found bool) {
	n := len(p.Statement)
	p.Statement = slices.DeleteFunc(p.Statement, func(m json.RawMessage) bool {
		var s statement
		return json.Unmarshal(m, &s) == nil && s.Sid == id
	})
	return len(p.Statement) < n
}

// maxPolicy is how long the policy of a bus may be. Source: EventBridge User Guide, quotas.
const maxPolicy = 10_240

func putPermission(c *call) (any, error) {
	in, err := decode[struct {
		EventBusName, Action, Principal, StatementID, Policy *string
		Condition                                            *struct{ Type, Key, Value string }
	}](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Text("eventBusName", in.EventBusName, busName)
	v.Text("action", in.Action, actionText)
	v.Text("principal", in.Principal, principalText)
	v.Text("statementId", in.StatementID, statementID)
	if err := violated(v); err != nil {
		return nil, err
	}
	k := c.busOf(in.EventBusName)
	return nil, c.s.changeBus(c.ctx(), k, func(b *Bus) error {
		switch {
		case in.Policy != nil:
			text, ok := compacted([]byte(*in.Policy))
			if _, err := iam.Parse([]byte(*in.Policy), iam.Resource); err != nil || !ok {
				return invalid("Parameter Policy is not valid. Reason: %v", err)
			}
			b.Policy = text
		case in.Action == nil || in.Principal == nil || in.StatementID == nil:
			return invalid("Parameter(s) Action, Principal, StatementId, or Policy must be specified.")
		default:
			s := statement{Sid: *in.StatementID, Effect: "Allow", Action: *in.Action, Resource: c.s.busARN(k), Principal: "*"}
			if *in.Principal != "*" {
				s.Principal = map[string]string{"AWS": "arn:aws:iam::" + *in.Principal + ":root"}
			}
			if in.Condition != nil {
				s.Condition = map[string]any{in.Condition.Type: map[string]string{in.Condition.Key: in.Condition.Value}}
			}
			p := b.policy()
			p.without(s.Sid)
			p.Statement = append(p.Statement, plainjson.Value(s))
			b.Policy = plainjson.Value(p)
		}
		if len(b.Policy) > maxPolicy {
			return fail("PolicyLengthExceededException", "The policy of the event bus would be longer than %d characters.", maxPolicy)
		}
		b.Modified = c.s.o.Now()
		return nil
	})
}

func removePermission(c *call) (any, error) {
	in, err := decode[struct {
		EventBusName, StatementID *string
		RemoveAllPermissions      bool
	}](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Text("eventBusName", in.EventBusName, busName)
	v.Text("statementId", in.StatementID, statementID)
	if err := violated(v); err != nil {
		return nil, err
	}
	return nil, c.s.changeBus(c.ctx(), c.busOf(in.EventBusName), func(b *Bus) error {
		p := b.policy()
		switch {
		case in.RemoveAllPermissions:
			p.Statement = nil
		case in.StatementID == nil:
			return invalid("Parameter StatementId must be specified.")
		case len(p.Statement) == 0:
			return notFound("EventBus does not have a policy.")
		case !p.without(*in.StatementID):
			return notFound("Statement with the provided id does not exist.")
		}
		b.Policy = nil
		if len(p.Statement) > 0 {
			b.Policy = plainjson.Value(p)
		}
		b.Modified = c.s.o.Now()
		return nil
	})
}
