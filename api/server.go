// Package api is the public HTTP API of AWS Lambda: wire forms, checks of form, the router. One file per operation or
// group of them, errors mapped once in errors.go, every operation of the service in operations.go, those that are not
// there yet included. What an operation does is done by others: controlplane changes functions, invoke has them run.
//
// A Server owns nothing that needs an end. Requests are the HTTP server's.
package api

import (
	"context"
	"crypto/rand"
	"net/http"

	"thaw/access"
	"thaw/async"
	"thaw/controlplane"
	"thaw/function"
	"thaw/signing"
)

// Credential is one pair of keys that requests may be signed with.
type Credential struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string // empty: none is wanted
}

// Options of a Server. Members without a stated default are required.
type Options struct {
	Plane    *controlplane.Plane
	Signing  *signing.Configs
	Services []Service // others than Lambda
	// Fronts are asked before everything else. They and Services are set before the first request comes.
	Fronts []Front
	// Events takes events whose senders do not wait; nil: they are refused. It is set before the first request comes.
	Events Events

	// Sources runs event source mappings; nil: there are none. It is set before the first request comes.
	Sources Sources

	// URLs say how function URLs are called. It is set before the first request comes.
	URLs URLNames

	AccountID   string       // 12 digits
	Region      string       // of requests that name none; empty: us-east-1
	Credentials []Credential // of the account's root, who may do everything
	// Access knows the keys of others, roles and sessions; nil: there are none.
	Access *access.Store
	// Verify refuses requests that nobody signed whom Credentials or Access knows. Otherwise, and while Access has no keys,
	// any credential, or none, will do, and only its region is read.
	Verify bool
	// Guard refuses requests before anything else is looked at; its error is told to the sender. nil: none. It is for a
	// server that does not Verify, and asked as long as Access has no keys.
	Guard func(*http.Request) error
	// URLDoor is what stands before function URLs instead of Guard.
	URLDoor URLDoor
	// Uploads is a folder of this server alone, for big bodies on their way in; made when missing. Empty: the system's
	// folder for temporary files.
	Uploads string
}

// Events takes events for functions whose senders do not wait; *async.Queue does.
type Events interface {
	// Accept returns when the event is on disk. Errors: async.ErrFull, async.ErrStopping.
	Accept(ctx context.Context, e *async.Event) error
}

// Server is the API. It is an http.Handler.
type Server struct {
	Options
	view   *function.View
	router router
	auth   *verifier
	tokens tokens

	uploads, bigBodies chan struct{} // places: body.go
}

// New returns a Server ready to serve.
func New(o Options) (*Server, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	s := &Server{
		Options: o, view: o.Plane.View(), router: newRouter(), auth: newVerifier(&o, o.Plane.Now),
		uploads: make(chan struct{}, maxUploads), bigBodies: make(chan struct{}, maxBigBodies),
	}
	if err := sweepUploads(o.Uploads); err != nil {
		return nil, err
	}
	rand.Read(s.tokens.key[:]) //nolint:errcheck // never fails: documented
	s.tokens.now = o.Plane.Now
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := s.front(r); f != nil {
		f.ServeHTTP(w, r)
		return
	}
	s.serve(w, r, s.verifies())
}

func (s *Server) verifies() bool { return s.Verify || s.Access != nil && s.Access.Signed() }

// Signed answers requests that must be signed, whatever Verify says: on a listener that others than its user reach.
func (s *Server) Signed() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.front(r); f != nil {
			f.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), signedKey{}, true)))
			return
		}
		s.serve(w, r, true)
	})
}

type signedKey struct{}

// MustBeSigned says whether a request came where all that ask who sent them must be signed.
func MustBeSigned(r *http.Request) bool { return r.Context().Value(signedKey{}) != nil }

func (s *Server) serve(w http.ResponseWriter, r *http.Request, verify bool) {
	c := &call{s: s, w: w, r: r, id: newRequestID(), verify: verify}
	w.Header()["X-Amzn-Requestid"] = []string{c.id}
	var err error
	if u, ok := s.urlOf(r); ok {
		err = c.answerURL(u)
	} else {
		err = c.answer()
	}
	if err != nil {
		c.writeError(err)
	}
}
