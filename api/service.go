package api

import (
	"net/http"
	"strings"

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
	if r.URL.Path != "/" { // every operation of Lambda has a path of its own
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

// answerAs takes the order of checks of call.answer, and hands the request on.
func (c *call) answerAs(o Service) error {
	a, err := c.begin(o.Name())
	if err != nil {
		c.swallow()
		return err
	}
	c.op = &operation{name: o.Name()} // for the words about a body that is too large
	release, err := c.readBody(controlLimit)
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
