package eventbridge

import (
	"encoding/json"
	"net/http"

	"thaw/iam"
)

// Needs is what a request must be allowed: its action on what it names.
// Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EventBridge".
func (s *Server) Needs(_ *http.Request, operation, region string, body []byte) []iam.Ask {
	var in struct {
		Name, Rule, EventBusName, ResourceARN *string
		Entries                               []struct{ Source, DetailType, EventBusName *string }
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
	case "PutRule", "DeleteRule", "DescribeRule", "EnableRule", "DisableRule":
		return ask(s.ruleARNOf(s.busIn(region, in.EventBusName), given(in.Name)))
	case "PutTargets", "RemoveTargets", "ListTargetsByRule":
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
