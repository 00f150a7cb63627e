package function

// Resource is what numbers are kept of: a function, how its senders name it, and the version that ran for them.
type Resource struct {
	Key
	Qualifier Qualifier     // never empty: $LATEST where the sender wrote none
	Version   VersionNumber // empty: before anything ran
}

// Resource is this version, invoked by that ARN.
func (v *Version) Resource(invoked ARN) Resource {
	q := invoked.Qualifier()
	if q == "" {
		q = Latest
	}
	return Resource{Key{Account: v.Account, Region: v.Region, Name: v.Name}, q, v.Number}
}

// Has says whether there still is such a function, with such a version, that can be named so.
func (v *View) Has(r Resource) bool {
	e := v.Get(r.Key)
	if e == nil || e.Named(r.Qualifier) == nil {
		return false
	}
	return r.Version == "" || r.Version == Latest || e.Version(r.Version.Int()) != nil
}
