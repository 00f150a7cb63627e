package gateway

import (
	"net/http"

	"thaw/trigger"
)

// allowHeaders are what an HTTP API with CORS says itself: what a function says of it is dropped.
// Source: API Gateway Developer Guide, "Configure CORS for HTTP APIs".
var allowHeaders = []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
	"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age"}

func (c *call) cors() *trigger.CORS {
	set := c.stage.def.CORS
	if set == nil || c.isREST() {
		return nil
	}
	return &trigger.CORS{Credentials: set.Credentials, Origins: set.Origins, Methods: set.Methods, Headers: set.Headers,
		ExposeHeaders: set.ExposeHeaders, MaxAge: set.MaxAge}
}

// preflight answers the browser's question before a request, when it is one: of an API with CORS, unless a route takes
// OPTIONS itself. A route for all methods does not: else it would need one without authorization for the question.
func (c *call) preflight() bool {
	set := c.cors()
	if set == nil || c.r.Method != http.MethodOptions {
		return false
	}
	origin, method := c.r.Header.Get("Origin"), c.r.Header.Get("Access-Control-Request-Method")
	if origin == "" || method == "" {
		return false
	}
	if f := c.stage.router.find(http.MethodOptions, c.place.Path); f != nil && f.method == http.MethodOptions {
		return false
	}
	h := c.w.Header()
	for name, value := range set.Preflight(origin, method, c.r.Header.Get("Access-Control-Request-Headers")) {
		h.Set(name, value)
	}
	c.status = http.StatusNoContent
	c.w.WriteHeader(c.status)
	return true
}

// allowPages adds what CORS says to an answer.
func (c *call) allowPages() {
	set := c.cors()
	if set == nil {
		return
	}
	h := c.w.Header()
	for _, name := range allowHeaders {
		h.Del(name)
	}
	for name, value := range set.Answer(c.r.Header.Get("Origin")) {
		h.Add(name, value)
	}
}
