package iam

import (
	"slices"
	"strings"
)

// PrincipalKind is what a principal is.
type PrincipalKind uint8

// The kinds of principal.
const (
	Anonymous PrincipalKind = iota
	Root                    // of an account, which may do everything there
	User
	Session // of a role
	Service // of AWS, or a part of a server that speaks for one
)

// Principal is who asks.
type Principal struct {
	Kind    PrincipalKind
	Account string
	ARN     string // of a session: arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION
	Role    string // of a session: its role's ARN
	ID      string // aws:userid
	Name    string // of a user, or a service: s3.amazonaws.com
}

// Ask is what a request needs to be allowed.
type Ask struct {
	Action, Resource string
	Context          Context // may be nil
}

// Policies are those that concern a request.
type Policies struct {
	Identity []*Policy // of the principal
	// Session, when not empty, are the policies that a session was limited with: they must allow, too.
	Session []*Policy
	// Resource is the policy of what is asked for, and Owner the account that this belongs to.
	Resource *Policy
	Owner    string
	// Trust says that Resource is a role's trust policy, without which nobody may, in its account neither.
	Trust bool
}

// Because is why a request was allowed or not.
type Because uint8

// The reasons. Only the first allows.
const (
	Allowed Because = iota
	DeniedByIdentity
	DeniedBySession
	DeniedByResource
	NoIdentityAllows
	NoSessionAllows
	NoResourceAllows
)

// Decision is the answer to an Ask.
type Decision struct {
	Because Because
	who     string
	ask     Ask
}

// OK says whether the request is allowed.
func (d Decision) OK() bool { return d.Because == Allowed }

// Message is what AWS tells whoever is denied. Source: IAM User Guide, "Access denied error message examples".
func (d Decision) Message() string {
	m := "User: " + d.who + " is not authorized to perform: " + d.ask.Action
	if d.ask.Resource != "" && d.ask.Resource != "*" {
		m += " on resource: " + d.ask.Resource
	} else {
		m += " on resource: *"
	}
	why := func(kind string) string {
		return " because no " + kind + " policy allows the " + d.ask.Action + " action"
	}
	switch d.Because {
	case DeniedByIdentity:
		return m + " with an explicit deny in an identity-based policy"
	case DeniedBySession:
		return m + " with an explicit deny in a session policy"
	case DeniedByResource:
		return m + " with an explicit deny in a resource-based policy"
	case NoSessionAllows:
		return m + why("session")
	case NoResourceAllows:
		return m + why("resource-based")
	}
	return m + why("identity-based")
}

// grant is how far a policy allows, in rising order.
type grant uint8

const (
	nothing    grant = iota
	delegated        // it allows the account, which decides for its users and roles
	granted          // it allows the principal itself
	forSession       // it names the session, which its own policies do not limit then
)

// Decide evaluates policies as AWS does: an explicit deny wins. Then, in one account, the identity's policies or the
// resource's must allow; between accounts, both.
func Decide(who Principal, ask Ask, p Policies) Decision {
	in := contextOf(who, ask.Context)
	d := Decision{who: who.shown(), ask: ask}
	identity, denied := evaluate(p.Identity, who, ask, in)
	session, sessionDenied := evaluate(p.Session, who, ask, in)
	resource, resourceDenied := nothing, false
	if p.Resource != nil {
		resource, resourceDenied = evaluate([]*Policy{p.Resource}, who, ask, in)
	}
	allows := identity > nothing || who.Kind == Root
	limited := len(p.Session) > 0 && session == nothing
	d.Because = because(who, p, resource, allows, limited)
	switch {
	case denied:
		d.Because = DeniedByIdentity
	case sessionDenied:
		d.Because = DeniedBySession
	case resourceDenied:
		d.Because = DeniedByResource
	}
	return d
}

// because is Decide where nothing denies.
func because(who Principal, p Policies, resource grant, identity, limited bool) Because {
	same := who.Account == p.Owner && who.Account != ""
	var ok bool
	none := NoIdentityAllows
	switch {
	case who.Kind == Anonymous, who.Kind == Service:
		ok, none = resource >= granted, NoResourceAllows
	case p.Trust && same:
		ok = resource >= granted || resource == delegated && identity
		if resource == nothing {
			none = NoResourceAllows
		}
	case same:
		ok = identity || resource >= granted
	default:
		ok = identity && resource > nothing
		if identity {
			none = NoResourceAllows
		}
	}
	switch {
	case !ok:
		return none
	case limited && resource != forSession:
		return NoSessionAllows
	}
	return Allowed
}

func (p *Principal) shown() string {
	switch p.Kind {
	case Anonymous:
		return "anonymous"
	case Service:
		return p.Name
	}
	return p.ARN
}

// contextOf adds what is known of the principal. Source: IAM User Guide, "AWS global condition context keys".
func contextOf(who Principal, given Context) Context {
	in := make(Context, len(given)+6)
	for k, v := range given {
		in[k] = v
	}
	if who.Kind == Service {
		in.Set("aws:PrincipalIsAWSService", "true")
		in.Set("aws:PrincipalServiceName", who.Name)
		return in
	}
	in.Set("aws:PrincipalIsAWSService", "false")
	in.Set("aws:PrincipalAccount", who.Account)
	in.Set("aws:userid", who.ID)
	switch who.Kind {
	case Root:
		in.Set("aws:PrincipalType", "Account")
	case User:
		in.Set("aws:PrincipalType", "User")
		in.Set("aws:username", who.Name)
	case Session:
		in.Set("aws:PrincipalType", "AssumedRole")
	default:
		in.Set("aws:PrincipalType", "Anonymous")
	}
	if in.Set("aws:PrincipalArn", who.ARN); who.Role != "" {
		in.Set("aws:PrincipalArn", who.Role)
	}
	return in
}

// evaluate is the most that policies allow, and whether one denies.
func evaluate(list []*Policy, who Principal, ask Ask, in Context) (most grant, denied bool) {
	for _, p := range list {
		known := p.known(in)
		for i := range p.Statements {
			s := &p.Statements[i]
			g := s.concerns(who, ask, in, known)
			if s.Deny && g > nothing {
				return nothing, true
			}
			most = max(most, g)
		}
	}
	return most, denied
}

// known looks up policy variables; nil: the policy's version has none.
func (p *Policy) known(in Context) lookup {
	if !p.variables {
		return nil
	}
	return func(key string) (string, bool) {
		if v := in[key]; len(v) == 1 {
			return v[0], true
		}
		return "", false
	}
}

func (s *Statement) concerns(who Principal, ask Ask, in Context, known lookup) grant {
	if slices.ContainsFunc(s.Actions, func(a string) bool { return like(a, ask.Action) }) == s.NotActions {
		return nothing
	}
	if len(s.Resources) > 0 && slices.ContainsFunc(s.Resources, func(r string) bool { return covers(r, ask.Resource, known) }) == s.NotResources {
		return nothing
	}
	g := s.Principals.grant(who)
	if s.Deny && g == delegated { // what is denied to an account is denied to everybody in it
		g = granted
	}
	if g == nothing {
		return nothing
	}
	for i := range s.Conditions {
		if !s.Conditions[i].holds(in, known) {
			return nothing
		}
	}
	return g
}

// covers says whether a resource of a policy is the one asked for. Actions without a resource are asked for with *.
func covers(want, got string, known lookup) bool {
	if want == "*" {
		return true
	}
	p, ok := compile(want, known)
	return ok && p.matchesARN(got)
}

// grant says how a statement names a principal. A policy that is bound to an identity names it by that.
func (p *Principals) grant(who Principal) grant {
	if p == nil || p.Anybody {
		return granted
	}
	if who.Kind == Service {
		if slices.Contains(p.Services, who.Name) {
			return granted
		}
		return nothing
	}
	g := nothing
	for _, name := range p.AWS {
		switch {
		case who.ARN == "":
		case name == who.ARN && who.Kind == Session:
			g = max(g, forSession)
		case name == who.ARN, who.Role != "" && name == who.Role:
			g = max(g, granted)
		case name == who.Account, rootOf(name) == who.Account:
			if g = max(g, delegated); who.Kind == Root {
				g = max(g, granted)
			}
		}
	}
	return g
}

// rootOf is the account of arn:PARTITION:iam::ACCOUNT:root; empty for other names.
func rootOf(arn string) string {
	parts := strings.Split(arn, ":")
	if len(parts) == 6 && parts[2] == "iam" && parts[5] == "root" {
		return parts[4]
	}
	return ""
}
