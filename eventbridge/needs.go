package eventbridge

import (
	"encoding/json"
	"net/http"

	"thaw/iam"
)

// Needs is what a request must be allowed: its action on what it names, and the passing of roles that it names.
// Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EventBridge".
func (s *Server) Needs(_ *http.Request, operation, region string, body []byte) []iam.Ask {
	var in struct {
		Name, Rule, EventBusName, ResourceARN *string
		Role                                  *string `json:"RoleArn"`
		Targets                               []struct {
			Role *string `json:"RoleArn"`
		}
		Entries []struct{ Source, DetailType, EventBusName *string }
	}
	json.Unmarshal(body, &in) //nolint:errcheck // the operation will say what is wrong with it
	ask := func(resource string) []iam.Ask { return []iam.Ask{{Action: "events:" + operation, Resource: resource}} }
	switch operation {
	case "PutEvents":
		var all []iam.Ask
		for _, e := range in.Entries {
			about := iam.Context{}
			about.Set("events:source", given(e.Source))
			about.Set("events:detail-type", given(e.DetailType))
			all = append(all, iam.Ask{Action: "events:PutEvents", Resource: s.busARN(s.busIn(region, e.EventBusName)), Context: about})
		}
		return all
	case "PutRule":
		return append(ask(s.ruleARNOf(s.busIn(region, in.EventBusName), given(in.Name))), passing(in.Role)...)
	case "DeleteRule", "DescribeRule", "EnableRule", "DisableRule":
		return ask(s.ruleARNOf(s.busIn(region, in.EventBusName), given(in.Name)))
	case "PutTargets":
		all := ask(s.ruleARNOf(s.busIn(region, in.EventBusName), given(in.Rule)))
		for _, t := range in.Targets {
			all = append(all, passing(t.Role)...)
		}
		return all
	case "RemoveTargets", "ListTargetsByRule":
		return ask(s.ruleARNOf(s.busIn(region, in.EventBusName), given(in.Rule)))
	case "CreateEventBus", "UpdateEventBus", "DeleteEventBus", "DescribeEventBus":
		return ask(s.busARN(s.busIn(region, in.Name)))
	case "PutPermission", "RemovePermission":
		return ask(s.busARN(s.busIn(region, in.EventBusName)))
	case "TagResource", "UntagResource", "ListTagsForResource":
		return ask(given(in.ResourceARN))
	}
	return ask("*")
}

// passing is what it needs to give a rule or a target a role.
func passing(role *string) []iam.Ask {
	if given(role) == "" {
		return nil
	}
	pass := iam.Context{}
	pass.Set("iam:PassedToService", "events.amazonaws.com")
	return []iam.Ask{{Action: "iam:PassRole", Resource: *role, Context: pass}}
}
