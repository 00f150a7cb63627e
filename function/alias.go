package function

import (
	"maps"
	"math"
	"time"
)

// Alias is a name for a version, or for two between which invocations are shared out. It is stored with its function.
type Alias struct {
	Version     VersionNumber // most invocations go there: the primary version
	Description string        `json:",omitempty"`
	// Weights are the shares of other versions, 0 to 1. The service takes one at most.
	Weights    map[VersionNumber]float64 `json:",omitempty"`
	RevisionID string                    // UUID, new with every change
}

// Clone returns a copy that shares nothing with a.
func (a *Alias) Clone() Alias {
	c := *a
	c.Weights = maps.Clone(a.Weights)
	return c
}

// Uses says whether an alias names a version, as its primary one or with a weight.
func (a *Alias) Uses(n VersionNumber) bool {
	_, weighted := a.Weights[n]
	return a.Version == n || weighted
}

// Provision is how many environments are kept initialised for a version, or for the versions of an alias.
type Provision struct {
	Requested int
	Modified  time.Time
}

// route is where a qualifier leads. It is made when an Entry is, so that an invocation makes none.
type route struct {
	primary, other *VersionRecord // other: nil unless invocations are shared out
	weight         float64        // of other
}

// Route returns the version that an invocation with this qualifier goes to; nil when the qualifier names nothing. dice is
// from 0 up to and not including 1, evenly spread, and decides where an alias shares out.
func (e *Entry) Route(q Qualifier, dice float64) *VersionRecord {
	if q == "" || q == Latest {
		return &e.Record.Latest
	}
	r := e.routes[q]
	if r.other != nil && dice < r.weight {
		return r.other
	}
	return r.primary
}

// Named returns the version that a qualifier names, the primary one where that is an alias; nil when it names nothing.
func (e *Entry) Named(q Qualifier) *VersionRecord { return e.Route(q, 1) }

// Alias returns an alias; nil when there is none of this name.
func (e *Entry) Alias(name Qualifier) *Alias {
	if a, ok := e.Record.Aliases[name]; ok {
		return &a
	}
	return nil
}

// routesOf says where the qualifiers of a function lead, but for $LATEST.
func (e *Entry) routesOf() map[Qualifier]route {
	routes := make(map[Qualifier]route, len(e.versions)+len(e.Record.Aliases))
	for n, v := range e.versions {
		routes[Qualifier(NumberOf(n))] = route{primary: v}
	}
	for name, a := range e.Record.Aliases {
		r := route{primary: e.numbered(a.Version)}
		for n, weight := range a.Weights {
			r.other, r.weight = e.numbered(n), weight
		}
		if r.primary != nil {
			routes[name] = r
		}
	}
	return routes
}

func (e *Entry) numbered(n VersionNumber) *VersionRecord {
	if n == Latest {
		return &e.Record.Latest
	}
	return e.versions[n.Int()]
}

// ProvisionedOf is how many environments of a version are to be kept initialised: its own, and its part of what the
// aliases have that name it. An alias that shares out does so with its provisioned concurrency, too.
func (e *Entry) ProvisionedOf(n VersionNumber) int { return e.provisioned[n] }

func (e *Entry) provisionedByVersion() map[VersionNumber]int {
	if len(e.Record.Provisioned) == 0 {
		return nil
	}
	by := map[VersionNumber]int{}
	for q, p := range e.Record.Provisioned {
		for n, count := range e.Record.Shares(q, p.Requested) {
			by[n] += count
		}
	}
	return by
}

// Shares says how the provisioned concurrency of a qualifier is shared out between versions.
func (r *Record) Shares(q Qualifier, n int) map[VersionNumber]int {
	a, ok := r.Aliases[q]
	if !ok {
		return map[VersionNumber]int{VersionNumber(q): n}
	}
	shares, rest := map[VersionNumber]int{}, n
	for other, weight := range a.Weights {
		part := min(int(math.Round(float64(n)*weight)), rest)
		shares[other] = part
		rest -= part
	}
	shares[a.Version] += rest
	return shares
}
