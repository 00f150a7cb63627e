package api

import (
	"net/http"
	"strings"
	"time"

	"thaw/access"
	"thaw/iam"
)

// Service is another service of AWS for which this server speaks, at the same endpoint. Its requests have gone through
// the same guard, signatures and bounds as those of Lambda when it sees them. Request IDs are in the answer's header.
type Service interface {
	// Name is the service's in the scope of a signature, and Target what the header X-Amz-Target of its requests begins
	// with; empty: they have none, and the signature alone tells them.
	Name() string
	Target() string
	// Needs is what a request must be allowed, of what belongs to the server's account. Nothing: whoever signed it may.
	Needs(r *http.Request, operation, region string, body []byte) []iam.Ask
	// Serve answers a request. Who sent it is in its context (access.CallerOf). operation is the rest of the target, region that of the signature.
	Serve(w http.ResponseWriter, r *http.Request, operation, region string, body []byte)
	// Refuse answers a request that does not come so far, in the service's own form.
	Refuse(w http.ResponseWriter, code, message string)
}

// service is the one that a request is for; nil: Lambda.
func (s *Server) service(r *http.Request) Service {
	if len(s.Services) == 0 {
		return nil
	}
	target := r.Header.Get("X-Amz-Target")
	for _, o := range s.Services {
		if t := o.Target(); t != "" && strings.HasPrefix(target, t) {
			return o
		}
	}
	if lambdaPath(r.URL.Path) {
		return nil
	}
	sig, _ := readSignature(r) //nolint:errcheck // what is wrong with it is said later
	for _, o := range s.Services {
		if sig.service == o.Name() {
			return o
		}
	}
	return nil
}

// Front answers requests that are no operation of a service: what comes through gateways, and from senders that sign in
// ways of their own. It bounds bodies itself, and says who may call.
type Front interface {
	// Serves says whether a request is for it, by its host and path alone.
	Serves(r *http.Request) bool
	http.Handler
}

// front is the one that a request is for; nil: it is for a function URL or an operation. On the host of a function URL
// every path is the function's.
func (s *Server) front(r *http.Request) http.Handler {
	if len(s.Fronts) == 0 {
		return nil
	}
	if u, ok := s.urlOf(r); ok && u.region != "" {
		return nil
	}
	for _, f := range s.Fronts {
		if f.Serves(r) {
			return f
		}
	}
	return nil
}

// Sender says who signed a request for a front, for the service in the signature's scope: execute-api. Where nobody's
// signature can be verified it is the account's root, after the door for strangers (URLDoor).
func (s *Server) Sender(r *http.Request, service string, body []byte) (*access.Caller, string, error) {
	c := &call{s: s, r: r, verify: s.verifies() || MustBeSigned(r), body: body}
	if check := s.URLDoor.Strangers; check != nil && c.guarded() {
		if err := check(r); err != nil {
			return nil, "", fail("AccessDeniedException", "%v", err)
		}
	}
	sig, err := c.begin(service)
	if err != nil {
		return nil, "", err
	}
	if c.verify {
		if err := s.auth.verify(r, sig, body); err != nil {
			return nil, "", err
		}
	}
	return c.caller, sig.accessKey, nil
}

// Enforced says whether signatures are verified, and so whether policies are asked.
func (s *Server) Enforced() bool { return s.verifies() }

// Public says whether a request is for functions rather than for this server: through a URL of one, or through a front.
func (s *Server) Public(r *http.Request) bool { return s.front(r) != nil || s.ForURL(r) }

// lambdaPath says whether a path begins with the date of a version, as all of Lambda's do: /2015-03-31/.
func lambdaPath(p string) bool {
	if len(p) < len("/2015-03-31/") || p[:3] != "/20" {
		return false
	}
	_, err := time.Parse("/2006-01-02/", p[:len("/2015-03-31/")])
	return err == nil
}

// answerAs takes the order of checks of call.answer, and hands the request on.
func (c *call) answerAs(o Service) error {
	a, err := c.begin(o.Name())
	if err != nil {
		c.swallow()
		return err
	}
	c.op = &operation{name: o.Name()} // for the words about a body that is too large
	limit := int64(controlLimit)
	if large, ok := o.(interface{ Limit() int64 }); ok { // some take more than operations need
		limit = large.Limit()
		c.op.limit = limit
	}
	release, err := c.readBody(limit)
	if err != nil {
		return err
	}
	defer release()
	if c.verify {
		if err := c.s.auth.verify(c.r, a, c.body); err != nil {
			return err
		}
	}
	region := a.region
	if region == "" {
		region = c.s.Region
	}
	operation := strings.TrimPrefix(c.r.Header.Get("X-Amz-Target"), o.Target())
	if !c.caller.Everything {
		for _, ask := range o.Needs(c.r, operation, region, c.body) {
			if err := c.mayDo(ask, nil); err != nil {
				return err
			}
		}
	}
	who := *c.caller
	who.Request = c.context()
	o.Serve(c.w, c.r.WithContext(access.WithCaller(c.r.Context(), &who)), operation, region, c.body)
	return nil
}
