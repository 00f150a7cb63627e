package scheduler

import (
	"encoding/json"
	"net/http"

	"thaw/iam"
)

// Needs is what a request must be allowed: its action on what it names, and the passing of the role that the schedule takes.
// Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EventBridge Scheduler".
func (s *Server) Needs(r *http.Request, _, region string, body []byte) []iam.Ask {
	o, name, ok := route(r)
	if !ok {
		return nil
	}
	resource, role := "*", ""
	switch o.name {
	case "CreateSchedule", "UpdateSchedule":
		var in struct {
			GroupName *string
			Target    *struct {
				RoleARN *string `json:"RoleArn"`
			}
		}
		json.Unmarshal(body, &in) //nolint:errcheck // the operation will say what is wrong with it
		if in.Target != nil {
			role = given(in.Target.RoleARN)
		}
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
	all := []iam.Ask{{Action: "scheduler:" + o.name, Resource: resource}}
	if role != "" { // else whoever may make schedules could do what a role may that others have
		pass := iam.Context{}
		pass.Set("iam:PassedToService", "scheduler.amazonaws.com")
		all = append(all, iam.Ask{Action: "iam:PassRole", Resource: role, Context: pass})
	}
	return all
}
