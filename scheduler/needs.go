package scheduler

import (
	"encoding/json"
	"net/http"

	"thaw/iam"
)

// Needs is what a request must be allowed: its action on what it names.
// Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EventBridge Scheduler".
func (s *Server) Needs(r *http.Request, _, region string, body []byte) []iam.Ask {
	o, name, ok := route(r)
	if !ok {
		return nil
	}
	resource := "*"
	switch o.name {
	case "CreateSchedule", "UpdateSchedule":
		var in struct{ GroupName *string }
		json.Unmarshal(body, &in) //nolint:errcheck // the operation will say what is wrong with it
		resource = s.arn(key{region, or(in.GroupName, defaultGroup), name})
	case "GetSchedule", "DeleteSchedule":
		group := defaultGroup
		if g := r.URL.Query().Get("groupName"); g != "" {
			group = g
		}
		resource = s.arn(key{region, group, name})
	case "CreateScheduleGroup", "GetScheduleGroup", "DeleteScheduleGroup":
		resource = s.groupARN(groupKey{region, name})
	case "TagResource", "UntagResource", "ListTagsForResource":
		resource = name
	}
	return []iam.Ask{{Action: "scheduler:" + o.name, Resource: resource}}
}
