package access

import (
	"context"
	"maps"

	"thaw/iam"
)

// Caller is who sent a request, and by which policies that is judged.
type Caller struct {
	iam.Principal
	// Everything: the root of the server's own account, whom no policy limits.
	Everything bool
	Identity   []*iam.Policy
	Session    []*iam.Policy
	// Organization is o-..., where the key has one. SourceFunction is the ARN of the function that was given the
	// credentials.
	Organization, SourceFunction string
	Key                          string // ID of the lasting key that was signed with; empty: a session's, or root's
	// Request is what is known of the request, where the caller is handed on.
	Request iam.Context
}

// RootOf is the root of an account.
func RootOf(account string) Caller {
	return Caller{Principal: iam.Principal{Kind: iam.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account}, Everything: true}
}

// ServiceOf is a service of AWS, or what speaks for one: s3.amazonaws.com. Only a resource's policy allows it anything.
func ServiceOf(name string) Caller {
	return Caller{Principal: iam.Principal{Kind: iam.Service, Name: name}}
}

// May decides whether the caller may do something with what belongs to owner and has the policy resource; nil: it has
// none.
func (c *Caller) May(ask iam.Ask, owner string, resource *iam.Policy) iam.Decision {
	ask.Context = c.in(ask.Context)
	return iam.Decide(c.Principal, ask, iam.Policies{Identity: c.Identity, Session: c.Session, Resource: resource, Owner: owner})
}

// in adds what is known of the caller to what is known of a request.
func (c *Caller) in(given iam.Context) iam.Context {
	in := iam.Context{}
	maps.Copy(in, c.Request)
	maps.Copy(in, given)
	in.Set("aws:PrincipalOrgID", c.Organization)
	in.Set("lambda:SourceFunctionArn", c.SourceFunction)
	return in
}

type callerKey struct{}

// WithCaller notes who sent the request whose context it is.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is who sent the request; nil: nobody noted it.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}
