package gateway

import (
	"math"
	"reflect"

	"golang.org/x/time/rate"

	"thaw/iam"
)

// stage is a Stage made ready to serve. It is made once for each record of its API.
type stage struct {
	of         *Stage
	api        *API
	def        *Definition
	router     *router
	log        *logFormat // of the access log; nil: none
	authorizer map[string]*authorizer
	binary     mediaTypes
	// policy is the resource policy of a REST API; nil: none. One that cannot be read lets nobody in.
	policy       *iam.Policy
	policyBroken *Refusal
	buckets      map[string]*bucket // by route key
}

// compiled is what belongs to a route when it is served.
type compiled struct {
	integration *Integration
	authorizer  *authorizer // nil: none
	bucket      *bucket     // nil: no bound
	checks      *checks     // of requests, of REST APIs; nil: none
	broken      *Refusal    // why it cannot be served; nil: it can
}

// bucket is a token bucket with what it was made of.
type bucket struct {
	of Throttle
	*rate.Limiter
}

// newBucket is nil where there is no bound.
func newBucket(t Throttle) *bucket {
	if t.Rate <= 0 && t.Burst <= 0 {
		return nil
	}
	limit, burst := rate.Limit(t.Rate), t.Burst
	if t.Rate <= 0 {
		limit = rate.Limit(burst)
	}
	if burst <= 0 {
		burst = int(math.Ceil(t.Rate))
	}
	return &bucket{t, rate.NewLimiter(limit, burst)}
}

type stateKey struct{ api, stage string }

// stageOf is the stage of a place, made ready. What must outlive a change of the API (buckets, kept answers of
// authorizers) is taken over from the one before where its settings are the same.
func (s *Server) stageOf(p *Place) *stage {
	key := stateKey{p.API.ID, p.Stage.Name}
	var before *stage
	if v, ok := s.states.Load(key); ok {
		if before = v.(*stage); before.api == p.API {
			return before
		}
	}
	st := s.compile(p, before)
	s.states.Store(key, st)
	s.states.Range(func(k, _ any) bool {
		if a := s.Records.APIs.Get(k.(stateKey).api); a == nil || a.Stages[k.(stateKey).stage] == nil {
			s.states.Delete(k)
		}
		return true
	})
	return st
}

func (s *Server) compile(p *Place, before *stage) *stage {
	st := &stage{of: p.Stage, api: p.API, def: &Definition{}, authorizer: map[string]*authorizer{}, buckets: map[string]*bucket{}}
	if d := p.API.Deployments[p.Stage.Deployment]; d != nil {
		st.def = &d.Definition
	}
	if before == nil {
		before = &stage{}
	}
	if p.API.Kind == REST && p.API.Policy != "" {
		var err error
		if st.policy, err = parsePolicy(p.API.Policy); err != nil {
			st.policyBroken = &Refusal{Kind: APIConfiguration, Why: "the resource policy of the API: " + err.Error()}
		}
	}
	st.binary = newMediaTypes(st.def.BinaryTypes)
	for id, a := range st.def.Authorizers {
		if was := before.authorizer[id]; was != nil && reflect.DeepEqual(was.Authorizer, a) {
			st.authorizer[id] = was
			continue
		}
		st.authorizer[id] = newAuthorizer(a)
	}
	routes := make([]*route, 0, len(st.def.Routes))
	for _, r := range st.def.Routes {
		c := &route{Route: r}
		c.integration = st.def.Integrations[r.Integration]
		if c.integration == nil {
			c.integration = st.def.Integrations[r.ID] // of REST APIs
		}
		if r.Authorizer != "" {
			if c.authorizer = st.authorizer[r.Authorizer]; c.authorizer == nil {
				c.broken = &Refusal{Kind: AuthorizerConfig, Why: "its authorizer " + r.Authorizer + " is not there"}
			}
		}
		c.checks = newChecks(r, st.def)
		st.throttle(c, before)
		routes = append(routes, c)
	}
	st.router = newRouter(p.API.Kind == REST, routes)
	if l := p.Stage.AccessLog; l != nil && l.Format != "" {
		st.log = newLogFormat(l.Format)
	}
	return st
}

// throttle gives a route its bucket: each route has one of its own, also where the settings are the stage's.
func (st *stage) throttle(r *route, before *stage) {
	t, ok := st.of.Throttles[r.Key]
	if !ok {
		t = st.of.Throttles[""]
	}
	if was := before.buckets[r.Key]; was != nil && was.of == t {
		r.bucket = was
	} else {
		r.bucket = newBucket(t)
	}
	if r.bucket != nil {
		st.buckets[r.Key] = r.bucket
	}
}
