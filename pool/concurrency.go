package pool

import "thaw/function"

// concurrency is what is in flight, as far as limits go.
type concurrency struct {
	inFlight   map[function.ARN]int      // by unqualified ARN
	named      map[function.Resource]int // the same, as their senders named it
	unreserved int                       // of functions without a reservation, provisioned concurrency apart
	owned      map[versionKey]int        // on provisioned concurrency
	ownedBy    map[function.ARN]int      // the same by unqualified ARN
}

func newConcurrency() concurrency {
	return concurrency{inFlight: map[function.ARN]int{}, named: map[function.Resource]int{}, owned: map[versionKey]int{}, ownedBy: map[function.ARN]int{}}
}

// share is what one invocation was counted against.
type share struct {
	version           versionKey
	named             function.Resource
	unreserved, owned bool
}

// take counts an invocation against the provisioned concurrency of its version, else against reserved or account
// concurrency. full: which of them has no more.
func (c *concurrency) take(r *Request) (s share, full Reason) {
	s.version, s.named = keyOf(r.Version).versionKey, r.Version.Resource(r.InvokedARN)
	arn := s.version.function
	s.owned = c.owned[s.version] < r.Limits.Provisioned
	s.unreserved = !s.owned && r.Limits.Reserved < 0
	switch {
	case s.owned:
	case !s.unreserved && c.inFlight[arn]-c.ownedBy[arn] >= r.Limits.Reserved-r.Limits.ProvisionedAll:
		return s, ReservedConcurrency
	case s.unreserved && c.unreserved >= r.Limits.Unreserved:
		return s, AccountConcurrency
	}
	c.add(s, 1)
	return s, ""
}

// give uncounts an invocation.
func (c *concurrency) give(s share) { c.add(s, -1) }

func (c *concurrency) add(s share, n int) {
	count(c.inFlight, s.version.function, n)
	count(c.named, s.named, n)
	if s.unreserved {
		c.unreserved += n
	}
	if s.owned {
		count(c.owned, s.version, n)
		count(c.ownedBy, s.version.function, n)
	}
}

func (c *concurrency) total() (n int) {
	for _, of := range c.inFlight {
		n += of
	}
	return n
}

// count adds to one count of many, and keeps none that is 0.
func count[K comparable](m map[K]int, k K, n int) {
	if m[k] += n; m[k] == 0 {
		delete(m, k)
	}
}
