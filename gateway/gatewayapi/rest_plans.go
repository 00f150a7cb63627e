package gatewayapi

import (
	"errors"
	"reflect"
	"strings"

	"thaw/gateway"
	"thaw/push"
)

// restPlan is a UsagePlan.
type restPlan struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Stages      []planStage       `json:"apiStages"`
	Throttle    *throttle         `json:"throttle,omitempty"`
	Quota       *quota            `json:"quota,omitempty"`
	ProductCode string            `json:"productCode,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

type planStage struct {
	API      string              `json:"apiId"`
	Stage    string              `json:"stage"`
	Throttle map[string]throttle `json:"throttle,omitempty"`
}

type throttle struct {
	Burst int     `json:"burstLimit"`
	Rate  float64 `json:"rateLimit"`
}

type quota struct {
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
	Period string `json:"period"`
}

func viewPlan(p *gateway.Plan) restPlan {
	v := restPlan{ID: p.ID, Name: p.Name, Description: p.Description, Stages: []planStage{}, ProductCode: p.ProductCode, Tags: p.Tags}
	for _, s := range p.Stages {
		one := planStage{API: s.API, Stage: s.Stage}
		for path, t := range s.Throttles {
			put(&one.Throttle, path, throttle{t.Burst, t.Rate})
		}
		v.Stages = append(v.Stages, one)
	}
	if p.Throttle != (gateway.Throttle{}) {
		v.Throttle = &throttle{p.Throttle.Burst, p.Throttle.Rate}
	}
	if p.Quota != nil {
		v.Quota = &quota{p.Quota.Limit, p.Quota.Offset, p.Quota.Period}
	}
	return v
}

func (v *restPlan) apply(c *call, p *gateway.Plan) error {
	switch {
	case v.Name == "":
		return badRequest("Usage Plan name is required")
	case v.Quota != nil && !known(v.Quota.Period, "DAY|WEEK|MONTH"):
		return badRequest("Invalid quota period: it is DAY, WEEK or MONTH")
	case v.Quota != nil && (v.Quota.Limit < 0 || v.Quota.Offset < 0 || v.Quota.Offset > v.Quota.Limit):
		return badRequest("Usage Plan quota limit and offset are not negative, and the offset is not above the limit")
	case v.Throttle != nil && (v.Throttle.Burst < 0 || v.Throttle.Rate < 0):
		return badRequest("Usage Plan throttle limits are not negative")
	}
	p.Name, p.Description, p.ProductCode, p.Stages, p.Throttle, p.Quota = v.Name, v.Description, v.ProductCode, nil, gateway.Throttle{}, nil
	for _, s := range v.Stages {
		a := c.apis().APIs.Get(s.API)
		switch {
		case !c.ours(a) || a.Kind != gateway.REST:
			return notFound("Invalid API identifier specified: %s", s.API)
		case a.Stages[s.Stage] == nil:
			return notFound("API Stage not found: %s:%s", s.API, s.Stage)
		}
		one := gateway.PlanStage{API: s.API, Stage: s.Stage}
		for path, t := range s.Throttle {
			put(&one.Throttles, path, gateway.Throttle{Burst: t.Burst, Rate: t.Rate})
		}
		p.Stages = append(p.Stages, one)
	}
	if v.Throttle != nil {
		p.Throttle = gateway.Throttle{Burst: v.Throttle.Burst, Rate: v.Throttle.Rate}
	}
	if v.Quota != nil {
		p.Quota = &gateway.Quota{Limit: v.Quota.Limit, Offset: v.Quota.Offset, Period: v.Quota.Period}
	}
	return nil
}

func (c *call) createPlan() (any, error) {
	v := restPlan{}
	if err := c.read(&v); err != nil {
		return nil, err
	}
	p := &gateway.Plan{ID: newID(6), Tags: v.Tags}
	if err := v.apply(c, p); err != nil {
		return nil, err
	}
	if err := c.apis().Shared.Put(c.ctx(), "plan/"+p.ID, &gateway.Account{Plan: p}); err != nil {
		return nil, err
	}
	return viewPlan(p), nil
}

var errNoPlan = notFound("Invalid Usage Plan ID specified")

func (c *call) plan() (*gateway.Plan, error) {
	if s := c.apis().Shared.Get("plan/" + c.vars["usageplanId"]); s != nil && s.Plan != nil {
		return s.Plan, nil
	}
	return nil, errNoPlan
}

func (c *call) getPlan() (any, error) {
	p, err := c.plan()
	if err != nil {
		return nil, err
	}
	return viewPlan(p), nil
}

func (c *call) getPlans() (any, error) {
	all := map[string]*gateway.Plan{}
	for _, s := range c.apis().Shared.All() {
		if key := c.query.Get("keyId"); s.Plan != nil && (key == "" || s.Plan.Keys[key] != "") {
			all[s.Plan.ID] = s.Plan
		}
	}
	return listed(c, all, viewPlan)
}

// changePlan gives a copy to f, and stores it.
func (c *call) changePlan(id string, f func(p *gateway.Plan) error) (*gateway.Plan, error) {
	p := new(gateway.Plan)
	err := c.apis().Shared.Change(c.ctx(), "plan/"+id, func(old *gateway.Account) (*gateway.Account, error) {
		if old == nil || old.Plan == nil {
			return nil, errNoPlan
		}
		kept(keep(old.Plan), p)
		return &gateway.Account{Plan: p}, f(p)
	})
	return p, err
}

func (c *call) updatePlan() (any, error) {
	p, err := c.changePlan(c.vars["usageplanId"], func(p *gateway.Plan) error {
		v := viewPlan(p)
		if err := c.patch(&v, "name|description|productCode|throttle|quota", v.stages); err != nil {
			return err
		}
		return v.apply(c, p)
	})
	if err != nil {
		return nil, err
	}
	return viewPlan(p), nil
}

// stages takes patches of a plan's stages: /apiStages with API:STAGE for its value, and below /apiStages/API:STAGE.
func (v *restPlan) stages(o *patchOperation, path []string) (bool, error) {
	if path[0] != "apiStages" {
		return false, nil
	}
	name := o.value()
	if len(path) > 1 {
		name = path[1]
	}
	api, stage, is := strings.Cut(name, ":")
	at := -1
	for i, s := range v.Stages {
		if s.API == api && s.Stage == stage {
			at = i
		}
	}
	switch {
	case !is:
		return false, badRequest("Invalid API stage %q: it is API:STAGE", name)
	case len(path) > 2 && at >= 0:
		if !step(reflect.ValueOf(&v.Stages[at]).Elem(), path[2:], o) {
			return false, badRequest("Invalid patch path '%s' specified for op '%s'", o.Path, o.Op)
		}
	case o.Op == "remove" && at >= 0:
		v.Stages = append(v.Stages[:at:at], v.Stages[at+1:]...)
	case o.Op == "add" && at < 0:
		v.Stages = append(v.Stages, planStage{API: api, Stage: stage})
	case o.Op == "add":
		return false, conflict("API Stage %s is in the usage plan already", name)
	default:
		return false, notFound("API Stage not found: %s", name)
	}
	return true, nil
}

func (c *call) deletePlan() (any, error) {
	p, err := c.plan()
	if err != nil {
		return nil, err
	}
	if len(p.Stages) > 0 {
		return nil, badRequest("Cannot delete Usage Plan %s because there are API stages associated", p.ID)
	}
	err = c.apis().Shared.Delete(c.ctx(), "plan/"+p.ID)
	if errors.Is(err, push.ErrNone) {
		return nil, errNoPlan
	}
	return nil, err
}

// planKey is a UsagePlanKey.
type planKey struct {
	ID    string `json:"id"`
	Type  string `json:"type"`
	Value string `json:"value,omitempty"`
	Name  string `json:"name,omitempty"`
}

func (c *call) viewPlanKey(id string) planKey {
	v := planKey{ID: id, Type: "API_KEY"}
	if s := c.apis().Shared.Get("key/" + id); s != nil && s.Key != nil {
		v.Value, v.Name = s.Key.Value, s.Key.Name
	}
	return v
}

func (c *call) createPlanKey() (any, error) {
	var in struct{ KeyID, KeyType string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	_, err := c.changePlan(c.vars["usageplanId"], func(p *gateway.Plan) error {
		s := c.apis().Shared.Get("key/" + in.KeyID)
		switch {
		case in.KeyType != "API_KEY":
			return badRequest("Usage Plan key type is API_KEY")
		case s == nil || s.Key == nil:
			return errNoKey
		case p.Keys[in.KeyID] != "":
			return conflict("Usage Plan %s has the key %s already", p.ID, in.KeyID)
		}
		put(&p.Keys, in.KeyID, in.KeyType)
		return nil
	})
	return c.viewPlanKey(in.KeyID), err
}

func (c *call) getPlanKeys() (any, error) {
	p, err := c.plan()
	if err != nil {
		return nil, err
	}
	all := map[string]planKey{}
	for id := range p.Keys {
		if k := c.viewPlanKey(id); strings.HasPrefix(k.Name, c.query.Get("name")) {
			all[id] = k
		}
	}
	return listed(c, all, func(k planKey) planKey { return k })
}

func (c *call) getPlanKey() (any, error) {
	p, err := c.plan()
	if err != nil {
		return nil, err
	}
	if p.Keys[c.vars["keyId"]] == "" {
		return nil, errNoKey
	}
	return c.viewPlanKey(c.vars["keyId"]), nil
}

func (c *call) deletePlanKey() (any, error) {
	_, err := c.changePlan(c.vars["usageplanId"], func(p *gateway.Plan) error {
		if p.Keys[c.vars["keyId"]] == "" {
			return errNoKey
		}
		delete(p.Keys, c.vars["keyId"])
		return nil
	})
	return nil, err
}
