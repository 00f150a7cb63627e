package api

import (
	"net/http"

	"thaw/access"
	"thaw/function"
	"thaw/trigger"
)

// URLDoor is what stands before function URLs where nobody's signature can be verified: on a loopback without
// credentials. Guard keeps web pages and other users away from the API there. A URL with AuthType NONE and a policy that
// says so is meant for them: whoever may change functions here has opened it. So it asks less, and only of the path form,
// and the API is nowhere that a page of a function could reach it (urlOf, pageSandbox).
type URLDoor struct {
	// Host refuses requests under names that are not this server's, of pages that made their own name lead here. nil: none.
	Host func(*http.Request) error
	// Strangers refuses what Guard refuses, for URLs with AuthType AWS_IAM. nil: signatures are verified.
	Strangers func(*http.Request) error
}

// denied is what AWS says. C-116.
const denied = "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"

func (u *urlCall) deny() error {
	return u.refuseWith(http.StatusForbidden, "AccessDeniedException", denied)
}

// receive decides whether the sender may call, and reads the body. The request was answered already when release is nil and
// there is no error.
func (u *urlCall) receive() (caller *trigger.Caller, release func(), err error) {
	if u.entry.Named(u.to.Qualifier) == nil { // the alias is gone, its URL is not
		u.swallow()
		return nil, nil, u.deny()
	}
	if u.config.AuthType != function.URLSigned {
		if d := access.MayCallURL(&access.Caller{}, u.entry.Record, u.to.Qualifier, u.config.AuthType, u.s.Plane.Strict, u.context()); !d.OK() {
			u.swallow()
			return nil, nil, u.deny()
		}
		release, err = u.readBody(invokeLimit)
		return nil, release, err
	}
	if _, err := readSignature(u.r); err != nil {
		u.swallow()
		return nil, nil, u.deny()
	}
	if check := u.s.URLDoor.Strangers; check != nil && u.guarded() {
		if err := check(u.r); err != nil {
			return nil, nil, fail("AccessDeniedException", "%v", err)
		}
	}
	sig, err := u.begin("lambda")
	if err != nil {
		u.swallow()
		return nil, nil, err
	}
	who := u.call.caller
	if !access.MayCallURL(who, u.entry.Record, u.to.Qualifier, u.config.AuthType, true, u.context()).OK() {
		u.swallow()
		return nil, nil, u.deny()
	}
	if release, err = u.readBody(invokeLimit); err != nil {
		return nil, nil, err
	}
	if u.verify {
		if err := u.s.auth.verify(u.r, sig, u.body); err != nil {
			release()
			return nil, nil, err
		}
	}
	return &trigger.Caller{AccessKey: sig.accessKey, Account: who.Account, ARN: who.ARN, UserID: who.ID}, release, nil
}

// preflight reads what the URL says about pages, and answers the browser's question before a request, when it is one.
// Browsers do not sign it, so it comes before everything about who may call.
func (u *urlCall) preflight() bool {
	set := u.config.CORS
	if set == nil {
		return false
	}
	u.cors = &trigger.CORS{Origins: set.AllowOrigins, Methods: set.AllowMethods, Headers: set.AllowHeaders, ExposeHeaders: set.ExposeHeaders,
		Credentials: set.AllowCredentials != nil && *set.AllowCredentials}
	if set.MaxAge != nil {
		u.cors.MaxAge = *set.MaxAge
	}
	origin, method := first(u.r.Header["Origin"]), first(u.r.Header["Access-Control-Request-Method"])
	if u.r.Method != http.MethodOptions || origin == "" || method == "" {
		u.allow = u.cors.Answer(origin)
		return false
	}
	h := u.w.Header()
	for name, value := range u.cors.Preflight(origin, method, first(u.r.Header["Access-Control-Request-Headers"])) {
		h.Set(name, value)
	}
	h["Content-Length"] = []string{"0"}
	u.w.WriteHeader(http.StatusOK)
	return true
}
