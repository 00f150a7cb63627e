package gateway

import "thaw/trigger"

// authorizerEvent is what a Lambda authorizer is told of a request.
func (c *call) authorizerEvent(a *authorizer, identity []string) ([]byte, error) {
	r := c.request()
	r.Body = nil // authorizers see none
	switch {
	case a.Type == "TOKEN":
		return trigger.TokenEvent(first(identity), c.methodARN())
	case !c.isREST() && a.PayloadVersion != "1.0":
		return r.AuthorizerEvent(c.methodARN(), identity)
	}
	return r.ProxyAuthorizerEvent(c.methodARN(), identity)
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
