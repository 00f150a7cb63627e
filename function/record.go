package function

import (
	"maps"
	"reflect"
	"slices"
	"time"
)

// Config is everything that a customer sets about a function and that a version keeps. It is stored: members may be added, never renamed.
type Config struct {
	Runtime         string
	Role            string
	Handler         string
	Description     string
	TimeoutSeconds  int
	MemoryMiB       int
	EphemeralMiB    int
	Architecture    string
	Vars            map[string]string `json:",omitempty"` // nil: never set; empty: set to nothing
	VarsSet         bool              // Vars was given, if only empty
	KMSKeyARN       string            `json:",omitempty"`
	Tracing         string            // PassThrough, Active
	DeadLetterARN   string            `json:",omitempty"`
	VPC             *VPC              `json:",omitempty"` // nil: never set
	Logging         Logging
	SnapStart       bool   // ApplyOn=PublishedVersions
	TenantIsolation string `json:",omitempty"` // PER_TENANT; empty: none. Set at creation, for good
	Package
}

// VPC is kept for the customer's tools; it has no effect on a sandbox's network.
type VPC struct {
	ID               string `json:",omitempty"` // empty: nobody could say
	SubnetIDs        []string
	SecurityGroupIDs []string
	IPv6             bool
}

// Logging is where and how a function's output is kept.
type Logging struct {
	Format   string // Text, JSON
	AppLevel string `json:",omitempty"` // JSON only
	SysLevel string `json:",omitempty"` // JSON only
	Group    string
}

// Equal says that two configurations are the same in everything, the code included.
func (c *Config) Equal(d *Config) bool { return reflect.DeepEqual(c, d) }

// Clone returns a copy that shares nothing with c.
func (c *Config) Clone() Config {
	d := *c
	d.Vars, d.Package = maps.Clone(c.Vars), c.Package.Clone()
	if c.VPC != nil {
		v := *c.VPC
		v.SubnetIDs, v.SecurityGroupIDs = slices.Clone(v.SubnetIDs), slices.Clone(v.SecurityGroupIDs)
		d.VPC = &v
	}
	return d
}

// VersionRecord is $LATEST or a published version as it is stored. A value that a View gave out is never changed.
type VersionRecord struct {
	// Optimized says that a snapshot stands behind a published version: OptimizationStatus On.
	Optimized  bool `json:",omitempty"`
	Number     VersionNumber
	Config     Config
	Life       Life
	Reason     string `json:",omitempty"` // of Failed, UpdateFailed, and Inactive after waking failed, for people
	ReasonCode string `json:",omitempty"` // InvalidRuntime ...
	RevisionID string // UUID, new with every change that a customer can see
	Modified   time.Time
	// SourceDescription is the description that $LATEST had when this version was published: what the next publish compares with.
	SourceDescription string `json:",omitempty"`
	// Revision is the store's, for its optimistic lock; 0 in $LATEST, which is part of Record.
	Revision uint64 `json:"-"`
}

// Served is the configuration that invocations get while another one is being prepared, or after that failed.
type Served struct {
	Config Config
	Epoch  uint64
}

// Record is a function as it is stored: all that changes with one write. Published versions have records of their own, which
// exist only as far as Numbers lists them. A value that a View gave out is never changed: Clone it.
type Record struct {
	Key
	Partition      string
	Incarnation    uint64                           // tells functions of the same name, one after the other, apart; part of the keys of its versions
	Latest         VersionRecord                    // as customers see it
	Epoch          uint64                           // of Latest when that serves
	Before         *Served                          `json:",omitempty"` // serves instead of Latest while set
	Numbers        []int                            // published versions, ascending
	NextNumber     int                              // of the next version; never goes back
	Reserved       *int                             `json:",omitempty"` // reserved concurrency
	Provisioned    map[Qualifier]Provision          `json:",omitempty"` // provisioned concurrency, by version or alias
	Aliases        map[Qualifier]Alias              `json:",omitempty"`
	Policies       map[Qualifier][]Permission       `json:",omitempty"` // resource policies; of the unqualified function under ""
	Documents      map[Qualifier]string             `json:",omitempty"` // resource policies that were put as a whole, as they came: instead of Policies
	RuntimeUpdates map[VersionNumber]RuntimeUpdates `json:",omitempty"`
	Scaling        map[VersionNumber]Scaling        `json:",omitempty"`
	CodeSigningARN string                           `json:",omitempty"` // of a code signing configuration
	Tags           map[string]string
	RecursiveLoop  string                    `json:",omitempty"` // Terminate unless set
	EventInvoke    map[Qualifier]EventInvoke `json:",omitempty"` // of asynchronous invocations, by qualifier
	URLs           map[Qualifier]URL         `json:",omitempty"` // of the unqualified function under ""; that of an alias outlives the alias
	Revision       uint64                    `json:"-"`          // the store's, for its optimistic lock
}

// Clone returns a copy to change.
func (r *Record) Clone() *Record {
	c := *r
	c.Latest.Config = r.Latest.Config.Clone()
	if r.Before != nil {
		c.Before = &Served{Config: r.Before.Config.Clone(), Epoch: r.Before.Epoch}
	}
	c.Numbers = slices.Clone(r.Numbers)
	if r.Reserved != nil {
		n := *r.Reserved
		c.Reserved = &n
	}
	c.Provisioned = maps.Clone(r.Provisioned)
	c.Aliases = maps.Clone(r.Aliases)
	for name, a := range c.Aliases {
		c.Aliases[name] = a.Clone()
	}
	c.RuntimeUpdates, c.Scaling = maps.Clone(r.RuntimeUpdates), maps.Clone(r.Scaling)
	c.Policies = maps.Clone(r.Policies)
	for q, list := range c.Policies {
		c.Policies[q] = slices.Clone(list)
	}
	c.Tags, c.Documents = maps.Clone(r.Tags), maps.Clone(r.Documents)
	c.EventInvoke = cloneEventInvoke(r.EventInvoke)
	c.URLs = maps.Clone(r.URLs) // what a URL points to is never changed
	return &c
}

// Forget takes away all that belongs to a version or an alias which goes.
func (r *Record) Forget(q Qualifier) {
	delete(r.Provisioned, q)
	delete(r.EventInvoke, q)
	delete(r.Policies, q)
	delete(r.Documents, q)
	delete(r.RuntimeUpdates, VersionNumber(q))
	delete(r.Scaling, VersionNumber(q))
}

// ProvisionedTotal is the provisioned concurrency of all versions and aliases together.
func (r *Record) ProvisionedTotal() (n int) {
	for _, p := range r.Provisioned {
		n += p.Requested
	}
	return n
}

// ARN is the unqualified ARN.
func (r *Record) ARN() ARN { return r.Key.ARN(r.Partition) }

// Has says whether version n is published.
func (r *Record) Has(n int) bool {
	_, ok := slices.BinarySearch(r.Numbers, n)
	return ok
}

// ServesLatest returns what an invocation of $LATEST runs now, nil when nothing can.
func (r *Record) ServesLatest() *Version {
	switch {
	case r.Before != nil:
		return r.version(Latest, &r.Before.Config, r.Before.Epoch)
	case r.Latest.Life == Live:
		return r.version(Latest, &r.Latest.Config, r.Epoch)
	}
	return nil
}

// Prepared is what a published version will be when it serves: for those who make it ready.
func (r *Record) Prepared(v *VersionRecord) *Version {
	return r.version(v.Number, &v.Config, r.Incarnation)
}

// Serves returns what an invocation of a published version runs, nil when it cannot. A published version never changes, so the
// incarnation is its epoch.
func (r *Record) Serves(v *VersionRecord) *Version {
	if v.Life != Live {
		return nil
	}
	return r.version(v.Number, &v.Config, r.Incarnation)
}

func (r *Record) version(number VersionNumber, c *Config, epoch uint64) *Version {
	return &Version{
		Partition: r.Partition, Region: r.Region, Account: r.Account, Name: r.Name,
		Number: number, Incarnation: r.Incarnation, Epoch: epoch,
		Role: c.Role, Runtime: c.Runtime, Handler: c.Handler, Architecture: c.Architecture,
		Timeout:   time.Duration(c.TimeoutSeconds) * time.Second,
		MemoryMiB: c.MemoryMiB, EphemeralMiB: c.EphemeralMiB,
		Vars:      c.Vars,
		Package:   c.Package,
		LogFormat: c.Logging.Format, AppLogLevel: c.Logging.AppLevel, SysLogLevel: c.Logging.SysLevel, LogGroup: c.Logging.Group,
		SnapStart:        c.SnapStart,
		PerTenant:        c.TenantIsolation == PerTenant,
		Tags:             r.Tags,
		InitWithoutLimit: c.SnapStart && number != Latest, Tracing: c.Tracing,
	}
}
