package gatewayapi

import (
	"net/http"
	"time"
)

// restUsage is a Usage: for each key a pair for each day, of what it used and what it has left.
type restUsage struct {
	Plan     string              `json:"usagePlanId"`
	Start    string              `json:"startDate"`
	End      string              `json:"endDate"`
	Position string              `json:"position,omitempty"`
	Items    map[string][][2]int `json:"values"`
}

// getUsage tells of the current period of the plan's quota alone: this server keeps no days before. They are shown as the
// last day asked for.
func (c *call) getUsage() (any, error) {
	p, err := c.plan()
	if err != nil {
		return nil, err
	}
	v := restUsage{Plan: p.ID, Start: c.query.Get("startDate"), End: c.query.Get("endDate"), Items: map[string][][2]int{}}
	from, err := time.Parse(time.DateOnly, v.Start)
	if err != nil {
		return nil, badRequest("Invalid startDate: it is YYYY-MM-DD")
	}
	to, err := time.Parse(time.DateOnly, v.End)
	if err != nil || to.Before(from) || to.Sub(from) > 366*24*time.Hour {
		return nil, badRequest("Invalid endDate: it is YYYY-MM-DD, and not before startDate, or a year behind it")
	}
	used := map[string]int{}
	if c.s.o.Used != nil {
		used = c.s.o.Used(p)
	}
	only, days := c.query.Get("keyId"), int(to.Sub(from)/(24*time.Hour))+1
	all := map[string][][2]int{}
	for id := range p.Keys {
		if only != "" && only != id {
			continue
		}
		left := 0
		if p.Quota != nil {
			left = p.Quota.Limit
		}
		for range days {
			all[id] = append(all[id], [2]int{0, left})
		}
		if today := c.now().Truncate(24 * time.Hour); !today.Before(from) && !today.After(to) {
			all[id][int(today.Sub(from)/(24*time.Hour))] = [2]int{used[id], max(left-used[id], 0)}
		}
	}
	type one struct {
		id   string
		days [][2]int
	}
	rows := map[string]one{}
	for id, days := range all {
		rows[id] = one{id, days}
	}
	list, next, err := page(c, rows)
	for _, r := range list {
		v.Items[r.id] = r.days
	}
	v.Position = next
	return v, err
}

// updateUsage would give a key more for the rest of a period.
func (c *call) updateUsage() (any, error) {
	return nil, fail(http.StatusNotImplemented, "NotImplementedException", "What is left of a quota is not changed here: raise the plan's quota (UpdateUsagePlan, /quota/limit).")
}

func (c *call) testInvoke() (any, error) {
	return nil, fail(http.StatusNotImplemented, "NotImplementedException",
		"Tests without a deployment are not there: deploy the API to a stage for tests (CreateDeployment with a stageName), and send the request there.")
}
