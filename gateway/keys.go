package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// usage counts what keys have done under plans. It is in memory: a quota begins anew with the server.
type usage struct {
	mu   sync.Mutex
	keys map[usageKey]*spent
}

type usageKey struct{ plan, key, method string }

// spent is what one key has done under one plan.
type spent struct {
	bucket *bucket
	of     Throttle
	period string // that count is of
	count  int
}

// checkKey asks for the API key of a route that needs one, and for what its plan lets it do.
// Source: API Gateway Developer Guide, "Usage plans and API keys for REST APIs".
func (c *call) checkKey() error {
	if !c.found.NeedsKey || !c.isREST() {
		return nil
	}
	value := c.r.Header.Get("X-Api-Key")
	if c.place.API.APIKeySource == "AUTHORIZER" {
		value = c.who.UsageKey
	}
	key, plan := c.s.planOf(value, c.place)
	if plan == nil {
		return &Refusal{Kind: InvalidAPIKey, Why: "the API key is missing, is not enabled, or no usage plan has it for this stage"}
	}
	c.key = key
	return c.s.usage.spend(plan, key, c.place, c.found.path+"/"+c.found.method, c.s.Now())
}

// planOf is the key of a value, and the plan that lets it into a stage; nil: none does. What was found is noted, and
// holds as long as the records say the same.
func (s *Server) planOf(value string, p *Place) (*APIKey, *Plan) {
	if value == "" {
		return nil, nil
	}
	note := keyNote{sha256.Sum256([]byte(value)), p.API.ID, p.Stage.Name}
	if v, ok := s.noted.Load(note); ok {
		ids := v.([2]string)
		key, plan := s.Records.Shared.Get("key/"+ids[0]), s.Records.Shared.Get("plan/"+ids[1])
		if key != nil && plan != nil && key.Key.opens(value) && plan.Plan.lets(key.Key, p) {
			return key.Key, plan.Plan
		}
		s.noted.Delete(note)
	}
	all := s.Records.Shared.All()
	for _, k := range all {
		if k.Key == nil || !k.Key.opens(value) {
			continue
		}
		for _, a := range all {
			if a.Plan != nil && a.Plan.lets(k.Key, p) {
				s.noted.Store(note, [2]string{k.Key.ID, a.Plan.ID})
				return k.Key, a.Plan
			}
		}
	}
	return nil, nil
}

// keyNote is a key's value, which is not kept in the clear, and a stage.
type keyNote struct {
	value      [sha256.Size]byte
	api, stage string
}

func (k *APIKey) opens(value string) bool {
	return k.Enabled && subtle.ConstantTimeCompare([]byte(k.Value), []byte(value)) == 1
}

func (p *Plan) lets(k *APIKey, at *Place) bool {
	return p.Keys[k.ID] != "" && slices.ContainsFunc(p.Stages, func(st PlanStage) bool { return st.API == at.API.ID && st.Stage == at.Stage.Name })
}

// spend takes one request of a key's. Its error is a *Refusal.
func (u *usage) spend(plan *Plan, key *APIKey, p *Place, method string, now time.Time) error {
	throttle, of := plan.Throttle, ""
	for _, st := range plan.Stages {
		if t, ok := st.Throttles[method]; ok && st.API == p.API.ID && st.Stage == p.Stage.Name {
			throttle, of = t, st.API+"/"+st.Stage+method
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	rate := u.of(usageKey{plan.ID, key.ID, of})
	if rate.bucket == nil && rate.of == (Throttle{}) || rate.of != throttle {
		rate.of, rate.bucket = throttle, newBucket(throttle)
	}
	if rate.bucket != nil && !rate.bucket.AllowN(now, 1) {
		return &Refusal{Kind: Throttled, Why: "the API key's bound: " + strconv.FormatFloat(throttle.Rate, 'g', -1, 64) + " requests per second"}
	}
	if q := plan.Quota; q != nil && q.Limit > 0 {
		total := u.of(usageKey{plan.ID, key.ID, "*"})
		if period := q.period(now); total.period != period {
			total.period, total.count = period, 0
		}
		if total.count >= q.Limit {
			return &Refusal{Kind: QuotaExceeded, Why: "the API key's quota: " + strconv.Itoa(q.Limit) + " requests per " + q.Period}
		}
		total.count++
	}
	return nil
}

func (u *usage) of(k usageKey) *spent {
	if u.keys == nil {
		u.keys = map[usageKey]*spent{}
	}
	if u.keys[k] == nil {
		u.keys[k] = &spent{}
	}
	return u.keys[k]
}

// period names the day, week or month of a time, in UTC. Weeks begin on Sunday.
func (q *Quota) period(now time.Time) string {
	now = now.UTC()
	switch q.Period {
	case "WEEK":
		now = now.AddDate(0, 0, -int(now.Weekday()))
	case "MONTH":
		return now.Format("2006-01")
	}
	return now.Format(time.DateOnly)
}

// Used is how many requests each key has made under a plan in the current period of its quota, by key ID.
func (s *Server) Used(plan *Plan) map[string]int {
	out := map[string]int{}
	if plan.Quota == nil {
		return out
	}
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(plan.Keys)) {
		if u := s.usage.keys[usageKey{plan.ID, key, "*"}]; u != nil && u.period == plan.Quota.period(s.Now()) {
			out[key] = u.count
		}
	}
	return out
}
